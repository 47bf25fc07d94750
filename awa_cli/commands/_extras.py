"""Optional dependencies."""

from __future__ import annotations

__all__ = ["need_serve"]


def need_serve(what: str) -> None:
    """Raise InvalidInput if the web framework is not installed."""
    from importlib.util import find_spec

    from awa_lib.errors import InvalidInput

    missing = [name for name in ("starlette", "uvicorn", "jinja2") if find_spec(name) is None]
    if missing:
        raise InvalidInput(
            f"{what} needs packages that are not installed",
            why=f"missing: {', '.join(missing)}",
            hint="install them: pip install 'awa-toolkit[serve]'",
        )
