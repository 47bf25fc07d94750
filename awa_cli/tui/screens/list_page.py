"""A screen that is one grid: what all lists share."""

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
    """A list.  A subclass gives ``COLUMNS``, ``key``, ``query_op``, and where Enter leads."""

    COLUMNS: ClassVar[Sequence[Column[Any]]] = ()
    EMPTY: ClassVar[str] = "Nothing here."
    BINDINGS: ClassVar = [
        Binding("s", "sort", "Sort", id="list.sort"),
        Binding("escape", "out", "Out", show=False, id="app.out"),
        Binding("t", "columns", "Columns", show=False, id="list.columns"),
    ]

    def key(self, row: T) -> Hashable:
        """Return what tells rows apart."""
        raise NotImplementedError

    def opened(self, row: T) -> None:
        """Go into a row."""

    def body(self) -> ComposeResult:
        """Yield the grid."""
        memory, place = self.app.memory, self.place.id
        yield Grid(
            self.COLUMNS,
            self.key,
            empty=self.EMPTY,
            titles=memory.get(f"columns.{place}"),
            order=memory.get(f"order.{place}"),
            id="grid",
        )

    @property
    def grid(self) -> Grid[T]:
        """Return the grid."""
        return self.query_one("#grid", Grid)

    def show(self, value: list[T]) -> None:
        """Show the rows."""
        first = not self.grid.loaded
        self.grid.show(value)
        if first and (cursor := self.stop_here.memory.get("cursor")) is not None:
            self.grid.put_cursor(cursor)

    def keep(self) -> dict[str, Any]:
        """Keep the cursor."""
        row = self.grid.row
        return {"cursor": None if row is None else self.key(row)}

    def on_grid_opened(self) -> None:
        """Go into the row of the cursor."""
        if self.grid.row is not None:
            self.opened(self.grid.row)

    def on_grid_moved(self) -> None:
        """Offer what can be done with the row."""
        self.offer()

    def on_grid_sorted(self, event: Grid.Sorted) -> None:
        """Sort by a column, or the other way round."""
        self.order_by(event.title)

    def order_by(self, title: str) -> None:
        """Sort by the column of a title; a second time the other way round."""
        grid = self.grid
        order = f"-{title}" if grid.order == title else title
        grid.sort_by(order)
        self.app.memory.put(f"order.{self.place.id}", order)

    def action_sort(self) -> None:
        """Choose a column to sort by."""
        from awa_cli.tui.widgets.dialogs import Pick

        titles = [column.title for column in self.grid.columns]
        now = (self.grid.order or "").removeprefix("-")

        def chosen(title: str | None) -> None:
            if title is not None:
                self.order_by(title)

        options = [(title, title) for title in titles]
        self.app.push_screen(Pick("Sort by", options, now), chosen)

    def action_columns(self) -> None:
        """Choose the columns."""
        from awa_cli.tui.widgets.dialogs import PickMany

        grid = self.grid
        shown = grid.shown_titles

        def chosen(titles: list[str] | None) -> None:
            if titles is not None:
                grid.choose(titles or None)
                self.app.memory.put(f"columns.{self.place.id}", titles or None)

        every = [column.title for column in grid.columns]
        self.app.push_screen(PickMany("Columns", every, shown), chosen)

    def changed(self) -> None:
        """Show what a change did; what it was done to is not marked any more."""
        self.grid.clear_marks()
        super().changed()

    def action_out(self) -> None:
        """Take marks away; without any, go out."""
        if not self.grid.clear_marks():
            self.app.action_out()
