"""A list with a panel below that says more about the row of the cursor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from awa_cli.tui.screens.list_page import ListPage

if TYPE_CHECKING:
    from textual.app import ComposeResult

__all__ = ["DetailedPage"]

T = TypeVar("T")


class DetailedPage(ListPage[T]):
    """A list.  A subclass gives what ``ListPage`` wants, ``about`` and, if it likes, ``head``."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._drawn: dict[str, str] = {}

    def about(self, row: T) -> Content:
        """Return more about a row."""
        raise NotImplementedError

    def head(self, rows: list[T]) -> Content:  # noqa: ARG002 - for subclasses
        """Return a line about all rows; an empty one is not shown."""
        return Content("")

    def body(self) -> ComposeResult:
        """Yield the line, the grid, and the panel."""
        yield Static(id="head")
        yield from super().body()
        with VerticalScroll(id="about", can_focus=False):
            yield Static(id="about-text")

    def on_mount(self) -> None:
        """Give the keys to the grid, and tell times anew each second."""
        self.grid.focus()
        self.set_interval(1.0, self._tick)

    def _tick(self) -> None:
        if self.value is not None and not self.leaving and self.app.app_focus:
            self.show(self.value)

    def show(self, value: list[T]) -> None:
        """Show the rows, and the one of the cursor."""
        super().show(value)
        line = self.head(value)
        self.query_one("#head").display = bool(line.plain)
        self._put("#head", line)
        self._show_about()

    def on_grid_moved(self) -> None:
        """Say more about another row."""
        super().on_grid_moved()
        self._show_about()

    def _show_about(self) -> None:
        row = self.grid.row
        self.query_one("#about").display = row is not None
        if row is not None:
            self._put("#about-text", self.about(row))

    def _put(self, place: str, text: Content) -> None:
        """Update a text, if it is another: each update goes to the terminal."""
        if self._drawn.get(place) != text.markup:
            self._drawn[place] = text.markup
            self.query_one(place, Static).update(text)
