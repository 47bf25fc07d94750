"""A list with a filter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from textual import work
from textual.binding import Binding

from awa_cli.filters.query import Read
from awa_cli.filters.text import read_text
from awa_cli.tui.screens.list_page import ListPage
from awa_cli.tui.widgets.filter_bar import FilterBar
from awa_lib.errors import AwaError, InvalidInput
from awa_lib.reads.names import kind_names, queue_names, tag_names

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from awa_lib._sql import Op
    from awa_lib.filters import JobQuery

__all__ = ["FilteredPage"]

T = TypeVar("T")


class FilteredPage(ListPage[T]):
    """A list with a filter.  A subclass defines what ``ListPage`` needs, and ``READ``."""

    READ: ClassVar[Read] = Read.JOBS
    """What the list shows; it decides which fields filter."""
    BINDINGS: ClassVar = [
        Binding("slash", "filter", "Filter", id="list.filter", tooltip="Edit the filter"),
        Binding(
            "backspace",
            "clear_filter",
            "No filter",
            show=False,
            id="list.no-filter",
            tooltip="Remove the filter",
        ),
    ]

    def names_op(self) -> Op[dict[str, list[str]]]:
        """Read the names that complete a filter, by field."""
        return {
            "kind": (yield from kind_names()),
            "queue": (yield from queue_names()),
            "tag": (yield from tag_names()),
        }

    def filtered(self) -> None:
        """Read and show the rows that match."""
        self.reread()

    def body(self) -> ComposeResult:
        """Yield the filter and the grid."""
        yield FilterBar(self._first_filter(), self.READ, id="filter")
        yield from super().body()

    def _first_filter(self) -> str:
        text = self.visit.state.get("filter")
        if text is None:
            text = self.app.saved_state.get(f"filter.{self.entry.id}", "")
        try:
            read_text(text, self.READ)
        except InvalidInput:  # saved by another version
            return ""
        return str(text)

    def on_mount(self) -> None:
        """Focus the grid."""
        self.grid.focus()
        # After the first rows: completion may never be needed.
        self.call_after_refresh(self._read_names)

    @work(group="names", exit_on_error=False)
    async def _read_names(self) -> None:
        bar = self.query_one(FilterBar)
        try:
            bar.names = await self.app.source.read(self.names_op())
        except AwaError:
            return  # names only complete; the feed shows the error

    @property
    def filter(self) -> FilterBar:
        """Return the line that holds the filter."""
        return self.query_one(FilterBar)

    @property
    def wanted(self) -> JobQuery:
        """Return the filter; ages are relative to now."""
        return read_text(self.filter.text, self.READ)

    @property
    def where(self) -> Any:
        """Return the filter as arguments of the op: those of what ``READ`` says."""
        return self.wanted

    def keep(self) -> dict[str, Any]:
        """Keep filter and cursor."""
        return {**super().keep(), "filter": self.filter.text}

    def action_filter(self) -> None:
        """Edit the filter."""
        self.filter.open()

    def action_clear_filter(self) -> None:
        """Remove the filter."""
        self.filter.put("")

    def on_filter_bar_changed(self, event: FilterBar.Changed) -> None:
        """Save the filter, and show the rows that match."""
        if self.visit.parent is None:
            self.app.saved_state.put(f"filter.{self.entry.id}", event.text or None)
        self.visit.state["filter"] = event.text
        self.grid.clear_marks()
        self.filtered()

    def on_filter_bar_closed(self) -> None:
        """Focus the grid again."""
        self.grid.focus()
