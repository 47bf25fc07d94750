"""One failure: its message, where it was raised, and its latest jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual import work
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.widgets import Static

from awa_cli.tui.changes import failures as changes
from awa_cli.tui.screens.failures import CHANGES, about_failure
from awa_cli.tui.screens.page import Page
from awa_cli.tui.widgets.grid import Grid
from awa_cli.views.failures import FAILED_JOBS
from awa_lib.reads.failures import FailedJob, FailureDetails, failure_details

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from awa_lib._sql import Op

__all__ = ["FailurePage"]


class FailurePage(Page[FailureDetails]):
    """A failure; the subject of the visit is its id."""

    ACTIONS: ClassVar = {"retry": "failure.retry", "mute": "failure.mute"}
    BINDINGS: ClassVar = [
        *CHANGES,
        Binding("e", "jobs", "All its jobs", id="failure.jobs"),
    ]

    @property
    def failure(self) -> str:
        """Return the id."""
        return str(self.visit.subject)

    def query_op(self) -> Op[FailureDetails]:
        """Read the failure with its latest jobs."""
        return failure_details(self.failure)

    def body(self) -> ComposeResult:
        """Yield the facts and the jobs."""
        with VerticalScroll(id="failure", can_focus=False):
            yield Static(id="failure-text")
        yield Grid(FAILED_JOBS, _job, empty="No job is left that failed so last.", id="jobs")

    def on_mount(self) -> None:
        """Focus the jobs."""
        self.query_one(Grid).focus()

    def show(self, value: FailureDetails) -> None:
        """Show the failure."""
        self.query_one("#failure-text", Static).update(
            about_failure(value.failure, example=value.example)
        )
        self.query_one(Grid).show(value.jobs)

    def on_grid_opened(self, event: Grid.Opened) -> None:
        """Open a job or a dead letter."""
        row: FailedJob | None = event.grid.row
        if row is not None:
            self.app.enter("dead_letter" if row.state == "dead" else "job", row.id)

    @work(group="change", exit_on_error=False)
    async def action_retry(self) -> None:
        """Retry the jobs that failed so last."""
        await changes.retry(self.app, self.failure)

    def action_mute(self) -> None:
        """Leave it out of lists for a week, or show it again."""
        if self.value is not None:
            make = changes.unmute if self.value.failure.muted_until else changes.mute
            self.app.apply(make(self.failure))

    def action_jobs(self) -> None:
        """Show all its failed jobs."""
        self.app.enter("jobs", filter=f"state:failed failure:{self.failure}")


def _job(one: FailedJob) -> int:
    return one.id
