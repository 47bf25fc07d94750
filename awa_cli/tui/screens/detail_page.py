"""The base of lists with a panel about the row under the cursor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from awa_cli.tui.screens.list_page import ListPage

if TYPE_CHECKING:
    from textual.app import ComposeResult

__all__ = ["DetailPage"]

T = TypeVar("T")


class DetailPage(ListPage[T]):
    """A list with a panel.  A subclass also defines ``about`` and may define ``head``."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._drawn: dict[str, str] = {}

    def about(self, row: T) -> Content:
        """Return the text of the panel."""
        raise NotImplementedError

    def head(self, rows: list[T]) -> Content:  # noqa: ARG002 - subclasses use it
        """Return the line above the list; an empty line is hidden."""
        return Content("")

    def body(self) -> ComposeResult:
        """Yield the line, the grid, and the panel."""
        yield Static(id="head")
        yield from super().body()
        with VerticalScroll(id="about", can_focus=False):
            yield Static(id="about-text")

    def on_mount(self) -> None:
        """Focus the grid, and update ages each second."""
        self.grid.focus()
        self.set_interval(1.0, self._tick)

    def _tick(self) -> None:
        if self.value is not None and not self.leaving and self.app.app_focus:
            self.show(self.value)

    def show(self, value: list[T]) -> None:
        """Show the rows and the panel."""
        super().show(value)
        line = self.head(value)
        self.query_one("#head").display = bool(line.plain)
        self._put("#head", line)
        self._show_about()

    def on_grid_moved(self) -> None:
        """Show the panel of another row."""
        super().on_grid_moved()
        self._show_about()

    def _show_about(self) -> None:
        row = self.grid.row
        self.query_one("#about").display = row is not None
        if row is not None:
            self._put("#about-text", self.about(row))

    def _put(self, selector: str, text: Content) -> None:
        """Update a text if it has changed: each update is sent to the terminal."""
        if self._drawn.get(selector) != text.markup:
            self._drawn[selector] = text.markup
            self.query_one(selector, Static).update(text)
