"""Parts that are installed on request."""

from __future__ import annotations

__all__ = ["need_serve"]


def need_serve(what: str) -> None:
    """Raise InvalidInput where the web framework is not installed."""
    from importlib.util import find_spec

    from awa_lib.errors import InvalidInput

    missing = [name for name in ("starlette", "uvicorn", "jinja2") if find_spec(name) is None]
    if missing:
        raise InvalidInput(
            f"{what} needs a web framework",
            why=f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed",
            hint="pip install 'awa-toolkit[serve]'",
        )
