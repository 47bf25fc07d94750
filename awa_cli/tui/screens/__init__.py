"""The screens: the pages of the navigation, the help, and the attempts of a job."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING

from textual.binding import Binding
from textual.dom import DOMNode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from textual.screen import Screen

    from awa_cli.tui.history import Visit
    from awa_cli.tui.navigation import PageEntry

__all__ = ["every_binding", "load_page"]


def load_page(entry: PageEntry, visit: Visit) -> Screen[None]:
    """Make a page; its module is imported when it is first opened."""
    module, _, name = entry.path.partition(":")
    page: Screen[None] = getattr(import_module(f"{__name__}.{module}"), name)(entry, visit)
    return page


def every_binding() -> Iterator[Binding]:
    """Yield the bindings of all screens and widgets; imports them all."""
    for folder in ("screens", "widgets"):
        package = import_module(f"awa_cli.tui.{folder}")
        for info in iter_modules(package.__path__):
            module = import_module(f"{package.__name__}.{info.name}")
            for made in vars(module).values():
                if isinstance(made, type) and issubclass(made, DOMNode):
                    yield from (one for one in made.BINDINGS if isinstance(one, Binding))
