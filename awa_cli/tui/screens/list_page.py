"""The base of pages that are a list."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from textual.binding import Binding

from awa_cli.tui.screens.page import Page
from awa_cli.tui.widgets.grid import Grid

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from textual.app import ComposeResult

    from awa_cli.views.columns import Column

__all__ = ["ListPage"]

T = TypeVar("T")


class ListPage(Page[list[T]], Generic[T]):
    """A list.  A subclass defines ``COLUMNS``, ``key``, ``query_op``, and ``opened`` for Enter."""

    COLUMNS: ClassVar[Sequence[Column[Any]]] = ()
    EMPTY: ClassVar[str] = "Nothing here."
    BINDINGS: ClassVar = [
        Binding("s", "sort", "Sort", id="list.sort", tooltip="Sort by a column"),
        Binding(
            "escape",
            "out",
            "Leave",
            show=False,
            id="app.out",
            tooltip="Unmark all rows, or go back",
        ),
        Binding(
            "t",
            "columns",
            "Columns",
            show=False,
            id="list.columns",
            tooltip="Choose the columns",
        ),
    ]

    def key(self, row: T) -> Hashable:
        """Return what identifies a row."""
        raise NotImplementedError

    def opened(self, row: T) -> None:
        """Open a row."""

    def body(self) -> ComposeResult:
        """Yield the grid."""
        columns = self.app.saved_state.get(f"columns.{self.entry.id}")
        order = self.app.saved_state.get(f"order.{self.entry.id}")
        yield Grid(
            self.COLUMNS,
            self.key,
            empty=self.EMPTY,
            shown=[self._column_key(name) for name in columns] if columns else None,
            order=self._column_key(order) if order else None,
            id="grid",
        )

    def _column_key(self, saved: str) -> str:
        """Return the key of a saved column; older state files hold its heading."""
        keys = {column.title: column.key for column in self.COLUMNS}
        name = saved.removeprefix("-")
        return ("-" if saved.startswith("-") else "") + keys.get(name, name)

    @property
    def grid(self) -> Grid[T]:
        """Return the grid."""
        return self.query_one("#grid", Grid)

    def show(self, value: list[T]) -> None:
        """Show the rows."""
        first = not self.grid.loaded
        self.grid.show(value)
        if first and (cursor := self.visit.state.get("cursor")) is not None:
            self.grid.put_cursor(cursor)

    def keep(self) -> dict[str, Any]:
        """Keep the cursor."""
        row = self.grid.row
        return {"cursor": None if row is None else self.key(row)}

    def on_grid_opened(self) -> None:
        """Open the row under the cursor."""
        if self.grid.row is not None:
            self.opened(self.grid.row)

    def on_grid_moved(self) -> None:
        """Offer the actions that the row allows."""
        self.offer()

    def on_grid_sorted(self, event: Grid.Sorted) -> None:
        """Sort by the column of a header."""
        self.order_by(event.key)

    def order_by(self, key: str) -> None:
        """Sort by a column; a second time in descending order."""
        grid = self.grid
        order = f"-{key}" if grid.order == key else key
        grid.sort_by(order)
        self.app.saved_state.put(f"order.{self.entry.id}", order)

    def action_sort(self) -> None:
        """Choose a column to sort by."""
        from awa_cli.tui.widgets.dialogs import Pick

        options = [(column.key, column.title) for column in self.grid.columns]
        current = (self.grid.order or "").removeprefix("-")

        def chosen(key: str | None) -> None:
            if key is not None:
                self.order_by(key)

        self.app.push_screen(Pick("Sort by", options, current), chosen)

    def action_columns(self) -> None:
        """Choose the columns to show."""
        from awa_cli.tui.widgets.dialogs import PickMany

        grid = self.grid
        options = [(column.key, column.title) for column in grid.columns]

        def chosen(keys: list[str] | None) -> None:
            if keys is not None:
                grid.choose(keys or None)
                self.app.saved_state.put(f"columns.{self.entry.id}", keys or None)

        self.app.push_screen(PickMany("Columns", options, grid.shown), chosen)

    def changed(self) -> None:
        """Unmark all rows, and show what a change did."""
        self.grid.clear_marks()
        super().changed()

    def action_out(self) -> None:
        """Unmark all rows; if none is marked, leave the page."""
        if not self.grid.clear_marks():
            self.app.action_out()
