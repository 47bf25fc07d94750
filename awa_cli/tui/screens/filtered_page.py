"""A list with a filter that takes the fields of a filter of jobs, or some of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from textual import work
from textual.binding import Binding

from awa_cli.tui.screens.list_page import ListPage
from awa_cli.tui.widgets.filter_bar import FilterBar
from awa_lib.errors import AwaError, InvalidInput
from awa_lib.reads.names import kind_names, queue_names, tag_names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.app import ComposeResult

    from awa_lib.reads.jobs import JobQuery

__all__ = ["FilteredPage"]

T = TypeVar("T")


class FilteredPage(ListPage[T]):
    """A list.  A subclass gives what ``ListPage`` wants, ``FIELDS`` and ``filtered``."""

    FIELDS: ClassVar[Sequence[str] | None] = None
    """What may be filtered by; None for all that jobs can be."""
    BINDINGS: ClassVar = [
        Binding("slash", "filter", "Filter", id="list.filter"),
        Binding("backspace", "clear_filter", "No filter", show=False, id="list.no-filter"),
    ]

    def filtered(self) -> None:
        """Show what fits now; reads anew."""
        self.reread()

    def body(self) -> ComposeResult:
        """Yield the filter and the grid."""
        yield FilterBar(self._first_filter(), self.FIELDS, id="filter")
        yield from super().body()

    def _first_filter(self) -> str:
        text = self.visit.state.get("filter")
        if text is None:
            text = self.app.saved_state.get(f"filter.{self.entry.id}", "")
        try:
            FilterBar("", self.FIELDS).read(text)
        except InvalidInput:  # as of another version
            return ""
        return str(text)

    def on_mount(self) -> None:
        """Give the keys to the grid."""
        self.grid.focus()
        # Once it has its first rows: nobody waits for what he may not need.
        self.call_after_refresh(self._read_names)

    @work(group="names", exit_on_error=False)
    async def _read_names(self) -> None:
        bar = self.query_one(FilterBar)
        try:
            bar.names = {
                "kind": await self.app.source.read(kind_names()),
                "queue": await self.app.source.read(queue_names()),
                "tag": await self.app.source.read(tag_names()),
            }
        except AwaError:
            return  # names are a convenience; the feed says what is wrong

    @property
    def filter(self) -> FilterBar:
        """Return the filter."""
        return self.query_one(FilterBar)

    @property
    def wanted(self) -> JobQuery:
        """Return the filter as it is read."""
        return self.filter.read(self.filter.text)

    def keep(self) -> dict[str, Any]:
        """Keep filter and cursor."""
        return {**super().keep(), "filter": self.filter.text}

    def action_filter(self) -> None:
        """Take another filter."""
        self.filter.open()

    def action_clear_filter(self) -> None:
        """Show everything."""
        self.filter.put("")

    def on_filter_bar_changed(self, event: FilterBar.Changed) -> None:
        """Show what fits now."""
        if self.visit.parent is None:
            self.app.saved_state.put(f"filter.{self.entry.id}", event.text or None)
        self.visit.state["filter"] = event.text
        self.grid.clear_marks()
        self.filtered()

    def on_filter_bar_closed(self) -> None:
        """Give the keys back to the grid."""
        self.grid.focus()
