"""The places one can go to, a module each."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING

from textual.binding import Binding
from textual.dom import DOMNode

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["every_binding"]


def every_binding() -> Iterator[Binding]:
    """Yield the bindings of all screens and of what they are made of."""
    for folder in ("screens", "widgets"):
        package = import_module(f"awa_cli.tui.{folder}")
        for info in iter_modules(package.__path__):
            module = import_module(f"{package.__name__}.{info.name}")
            for made in vars(module).values():
                if isinstance(made, type) and issubclass(made, DOMNode):
                    yield from (one for one in made.BINDINGS if isinstance(one, Binding))
