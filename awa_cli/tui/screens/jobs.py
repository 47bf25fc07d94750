"""The list of jobs: live, of any length, with a filter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

from textual import work
from textual.binding import Binding

from awa_cli.tui.changes import jobs as changes
from awa_cli.tui.job_window import JobWindow
from awa_cli.tui.screens.filtered_page import FilteredPage
from awa_cli.tui.widgets.dialogs import AskText, PickPriority
from awa_cli.views.job_columns import JOBS
from awa_lib.errors import AwaError
from awa_lib.reads.jobs import JobRow, job_rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from awa_cli.tui.changes.change import Change
    from awa_cli.tui.widgets.grid import Grid
    from awa_lib._sql import Op
    from awa_lib.filters import JobQuery

__all__ = ["JobsPage"]

# Columns that the database can sort by, and its fields.
_SORTS: Final = {
    "id": "id",
    "att": "attempt",
    "prio": "priority",
    "created": "created_at",
    "when": "finalized_at",
}
# Rows of a list that is not sorted by id.
_SORTED_ROWS: Final = 300


class JobsPage(FilteredPage[JobRow]):
    """Jobs that match the filter: all of them, newest first, or the first 300 in another order."""

    COLUMNS = JOBS
    EMPTY = "No jobs match."
    ACTIONS: ClassVar = {
        "retry": "jobs.retry",
        "cancel": "jobs.cancel",
        "discard": "jobs.discard",
        "priority": "jobs.priority",
        "move": "jobs.move",
        "bulk": "batch.submit",
    }
    BINDINGS: ClassVar = [
        Binding("f", "follow", "Follow", id="jobs.follow"),
        Binding("r", "retry", "Retry", id="jobs.retry"),
        Binding("c", "cancel", "Cancel", id="jobs.cancel"),
        Binding("p", "priority", "Priority", show=False, id="jobs.priority"),
        Binding("v", "move", "Move", show=False, id="jobs.move"),
        Binding("d", "discard", "Discard", show=False, id="jobs.discard"),
        Binding("o", "queue", "Open queue", show=False, id="jobs.queue"),
        Binding("b", "bulk", "All matching", id="jobs.bulk"),
    ]

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._window = JobWindow({})
        self._query: JobQuery = {}
        self._reading = False

    # Reading

    def on_mount(self) -> None:
        """Start with the newest jobs, or with the rows of the previous visit."""
        self.grid.sorts_itself = False
        self._query = self.wanted
        kept = self.visit.state.get("window")
        self._window = kept if kept is not None else JobWindow(self._query)
        self.grid.follow = self._window.follows

    def query_op(self) -> Op[list[JobRow]]:
        """Read the rows on the screen."""
        # Ages in a filter count from now.
        self._query = self.wanted
        if (sort := self._sort) != "-id":
            return (yield from job_rows(sort=sort, limit=_SORTED_ROWS, **self._query))
        self._window.query = self._query
        grid = self.grid
        yield from self._window.refresh(grid.scroll_offset.y - 5, grid.size.height + 10)
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

    def on_grid_near_end(self, event: Grid.NearEnd) -> None:
        """Read more rows at an end."""
        if self._sort == "-id" and self.value is not None:
            window = self._window
            self._read_more(window.read_older if event.edge == "end" else window.read_newer)

    @work(group="rows", exit_on_error=False)
    async def _read_more(self, op: Callable[[], Op[None]]) -> None:
        if self._reading:
            return
        self._reading, before = True, self._window.rows
        try:
            await self.app.source.read(op())
        except AwaError:
            return  # the feed reports the error
        finally:
            self._reading = False
        if self._window.rows is not before and not self.leaving:
            self.grid.show(self._window.rows)

    def on_grid_moved(self) -> None:
        """Stop following once the cursor leaves the newest job."""
        if not self.grid.follow:
            self._window.hold()

    def order_by(self, key: str) -> None:
        """Sort by a column that the database can sort by."""
        if key in _SORTS:
            super().order_by(key)
            self._restart()

    def action_follow(self) -> None:
        """Follow the newest jobs, or hold the list."""
        if self.grid.follow:
            self.grid.follow = False
            self._window.hold()
            self.reread()
        else:
            self._restart()

    def _restart(self) -> None:
        self._window = JobWindow(self._query)
        self.grid.follow = True
        self.reread()

    def filtered(self) -> None:
        """Read what matches the new filter."""
        self._query = self.wanted
        self._restart()

    # Changes

    def opened(self, row: JobRow) -> None:
        """Open a job."""
        self.app.enter("job", row.id)

    def action_queue(self) -> None:
        """Open the queue of the job."""
        if self.grid.row is not None:
            self.app.enter("queue", self.grid.row.queue)

    def _apply(self, make: Callable[[list[JobRow]], Change]) -> None:
        if rows := self.grid.selected:
            self.app.apply(make(rows))

    def action_retry(self) -> None:
        """Retry the selected jobs."""
        self._apply(changes.retry)

    def action_cancel(self) -> None:
        """Cancel the selected jobs."""
        self._apply(changes.cancel)

    def action_discard(self) -> None:
        """Delete the selected jobs."""
        self._apply(changes.discard)

    def action_priority(self) -> None:
        """Set the priority of the selected jobs."""
        jobs = self.grid.selected

        def chosen(number: str | None) -> None:
            if number is not None and jobs:
                self.app.apply(changes.set_priority(jobs, int(number)))

        self.app.push_screen(PickPriority(), chosen)

    def action_move(self) -> None:
        """Move the selected jobs to another queue."""
        jobs = self.grid.selected

        def named(queue: str | None) -> None:
            if queue is not None and jobs:
                self.app.apply(changes.move(jobs, queue))

        self.app.push_screen(AskText("Move to which queue?"), named)

    @work(group="change", exit_on_error=False)
    async def action_bulk(self) -> None:
        """Change all jobs that match the filter."""
        from awa_cli.tui.bulk import change_all

        await change_all(self.app, self.filter.text)
