"""Jobs: a live list of any length, with a filter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from textual import work
from textual.binding import Binding

from awa_cli.tui.changes import jobs as deeds
from awa_cli.tui.job_window import JobWindow
from awa_cli.tui.screens.filtered_page import FilteredPage
from awa_cli.tui.widgets.dialogs import AskText, Pick
from awa_cli.views.columns import JOBS
from awa_lib.errors import AwaError
from awa_lib.reads.jobs import JobRow, job_rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from awa_cli.tui.changes.change import Deed
    from awa_cli.tui.widgets.grid import Grid
    from awa_lib._sql import Op
    from awa_lib.filters import JobQuery

__all__ = ["JobsPage"]

# What the server sorts by; other columns cannot be sorted by.
_SORTS = {
    "ID": "id", "ATT": "attempt", "PRIO": "priority", "CREATED": "created_at",
    "WHEN": "finalized_at",
}  # fmt: skip
_SORTED = 300


class JobsPage(FilteredPage[JobRow]):
    """Jobs that fit the filter, newest first and without end, or the first few by another order."""

    COLUMNS = JOBS
    EMPTY = "No jobs fit."
    ACTIONS: ClassVar = {
        "retry": "jobs.retry", "cancel": "jobs.cancel", "discard": "jobs.discard",
        "priority": "jobs.priority", "move": "jobs.move", "bulk": "batch.submit",
    }  # fmt: skip
    BINDINGS: ClassVar = [
        Binding("f", "follow", "Follow", id="jobs.follow"),
        Binding("r", "retry", "Retry", id="jobs.retry"),
        Binding("c", "cancel", "Cancel", id="jobs.cancel"),
        Binding("p", "priority", "Priority", show=False, id="jobs.priority"),
        Binding("v", "move", "Move", show=False, id="jobs.move"),
        Binding("d", "discard", "Discard", show=False, id="jobs.discard"),
        Binding("o", "queue", "Its queue", show=False, id="jobs.queue"),
        Binding("b", "bulk", "All that fit", id="jobs.bulk"),
    ]

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._window = JobWindow({})
        self._query: JobQuery = {}
        self._paging = False

    # Reading

    def on_mount(self) -> None:
        """Begin at the newest, or as it was left."""
        self.grid.sorts_itself = False
        self._query = self.wanted
        kept = self.stop_here.memory.get("window")
        self._window = kept if kept is not None else JobWindow(self._query)
        self.grid.follow = self._window.follows

    def query_op(self) -> Op[list[JobRow]]:
        """Read what is on the screen."""
        # Ages in a filter mean the present one.
        self._query = self.wanted
        if (sort := self._sort) != "-id":
            return (yield from job_rows(sort=sort, limit=_SORTED, **self._query))
        self._window.query = self._query
        grid = self.grid
        yield from self._window.look(grid.scroll_offset.y - 5, grid.size.height + 10)
        return self._window.rows

    @property
    def _sort(self) -> str:
        order = self.grid.order or ""
        field = _SORTS.get(order.removeprefix("-"))
        return "-id" if field is None else f"-{field}" if order.startswith("-") else field

    def key(self, row: JobRow) -> int:
        """Return the id."""
        return row.id

    def show(self, value: list[JobRow]) -> None:
        """Show the rows."""
        super().show(value)
        follows = self._sort == "-id" and self._window.follows
        self.grid.set_class(follows, "-follows")

    def keep(self) -> dict[str, Any]:
        """Keep filter, rows and cursor."""
        return {**super().keep(), "window": self._window}

    def on_grid_short(self, event: Grid.Short) -> None:
        """Read a page more at an end."""
        if self._sort == "-id" and self.value is not None:
            step = self._window.down if event.edge == "end" else self._window.up
            self._page(step)

    @work(group="page", exit_on_error=False)
    async def _page(self, step: Callable[[], Op[None]]) -> None:
        if self._paging:
            return
        self._paging, before = True, self._window.rows
        try:
            await self.app.source.read(step())
        except AwaError:
            return  # the feed says what is wrong
        finally:
            self._paging = False
        if self._window.rows is not before and not self.leaving:
            self.grid.show(self._window.rows)

    def on_grid_moved(self) -> None:
        """Stop following once the cursor leaves the newest."""
        if not self.grid.follow:
            self._window.hold()

    def order_by(self, title: str) -> None:
        """Sort by what the server can sort by."""
        if title in _SORTS:
            super().order_by(title)
            self._anew()

    def action_follow(self) -> None:
        """Go to the newest and follow them, or hold what is there."""
        if self.grid.follow:
            self.grid.follow = False
            self._window.hold()
            self.reread()
        else:
            self._anew()

    def _anew(self) -> None:
        self._window = JobWindow(self._query)
        self.grid.follow = True
        self.reread()

    def filtered(self) -> None:
        """Read what fits now."""
        self._query = self.wanted
        self._anew()

    # Changes

    def opened(self, row: JobRow) -> None:
        """Go into a job."""
        self.app.enter("job", row.id)

    def action_queue(self) -> None:
        """Go into the queue of the job."""
        if self.grid.row is not None:
            self.app.enter("queue", self.grid.row.queue)

    def _do(self, make: Callable[[list[JobRow]], Deed]) -> None:
        if picked := self.grid.picked:
            self.app.do(make(picked))

    def action_retry(self) -> None:
        """Run the picked jobs again."""
        self._do(deeds.retry)

    def action_cancel(self) -> None:
        """Cancel the picked jobs."""
        self._do(deeds.cancel)

    def action_discard(self) -> None:
        """Delete the picked jobs."""
        self._do(deeds.discard)

    def action_priority(self) -> None:
        """Give the picked jobs another priority."""
        jobs = self.grid.picked

        def chosen(number: str | None) -> None:
            if number is not None and jobs:
                self.app.do(deeds.set_priority(jobs, int(number)))

        self.app.push_screen(ask_priority(), chosen)

    def action_move(self) -> None:
        """Move the picked jobs to another queue."""
        jobs = self.grid.picked

        def named(queue: str | None) -> None:
            if queue is not None and jobs:
                self.app.do(deeds.move(jobs, queue))

        self.app.push_screen(AskText("Move to which queue?"), named)

    @work(group="change", exit_on_error=False)
    async def action_bulk(self) -> None:
        """Change all jobs that fit the filter."""
        from awa_cli.tui.bulk import change_all

        await change_all(self.app, self.filter.text)


def ask_priority() -> Pick:
    """Return the dialog that asks for a priority."""
    words = ("1  most urgent", "2  as usual", "3", "4  least urgent")
    return Pick("Which priority?", [(word[0], word) for word in words], "2")
