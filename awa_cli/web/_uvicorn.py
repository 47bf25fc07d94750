"""The parts of uvicorn that a server needs, without its command line, which loads click: 45 ms."""

from __future__ import annotations

import sys
from importlib.util import find_spec, module_from_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["Config", "H11Protocol", "Server"]


def _unfinished() -> ModuleType | None:
    """Register the package without running it; who asks it for more, as for ``run``, has it run.

    Returns None where it is loaded already, or cannot be put off.
    """
    spec = find_spec("uvicorn") if "uvicorn" not in sys.modules else None
    if spec is None or spec.loader is None:
        return None
    loader = spec.loader
    package = module_from_spec(spec)

    def more(name: str) -> Any:
        if name.startswith("__") and name != "__version__":
            raise AttributeError(name)
        del package.__dict__["__getattr__"]
        loader.exec_module(package)
        return getattr(package, name)

    package.__dict__["__getattr__"] = more
    sys.modules["uvicorn"] = package
    return package


_package = _unfinished()

from uvicorn.config import Config  # noqa: E402 - after the package is registered
from uvicorn.protocols.http.h11_impl import H11Protocol  # noqa: E402
from uvicorn.server import Server  # noqa: E402

if _package is not None:
    # Its other parts take these from the package.
    vars(_package).update(Config=Config, Server=Server)
