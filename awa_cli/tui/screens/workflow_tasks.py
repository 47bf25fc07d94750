"""The tasks of a workflow as a list of any length: of a group, in a state, or all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

from textual import work
from textual.binding import Binding

from awa_cli.filters.query import Read
from awa_cli.filters.text import add_word
from awa_cli.tui.changes import workflows as changes
from awa_cli.tui.screens.filtered_page import FilteredPage
from awa_cli.tui.screens.workflow import job_page_of
from awa_cli.views.workflow_tasks import WORKFLOW_TASKS, can_retry, no_job_words
from awa_lib.reads.names import group_names
from awa_lib.reads.workflow_tasks import WorkflowTask, list_workflow_tasks
from awa_lib.reads.workflows import WorkflowOverview, get_workflow

if TYPE_CHECKING:
    from awa_cli.tui.widgets.grid import Grid
    from awa_lib._sql import Op

__all__ = ["TasksPage"]

# Rows by which the loaded part of the list moves on.
_STEP: Final = 200
# Rows of one read: the loaded part.
_ROWS: Final = 3 * _STEP


class TasksPage(FilteredPage[WorkflowTask]):
    """Tasks that match the filter, in order; the subject of the visit is the id of the workflow.

    A part of the list is loaded.  It moves on when the view nears an end of it.
    """

    COLUMNS = WORKFLOW_TASKS
    EMPTY = "No tasks match."
    READ = Read.TASKS
    ACTIONS: ClassVar = {"retry": "workflow.retry-tasks"}
    BINDINGS: ClassVar = [
        Binding(
            "r",
            "retry",
            "Retry",
            id="workflow.retry",
            tooltip="Retry tasks, alone or with all tasks behind them",
        ),
        Binding("e", "failed", "Failed", id="workflow.failed", tooltip="Show failed tasks alone"),
    ]

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        # The numbers behind which loaded parts begin, and the one that is on the screen.
        self._starts: list[int] = self.visit.state.get("starts", [0])
        self._read_from: int | None = None
        self._shown_from: int | None = None
        self._overview: WorkflowOverview | None = None

    @property
    def workflow(self) -> int:
        """Return the id of the workflow."""
        return int(self.visit.subject)

    def on_mount(self) -> None:
        """Keep the order of the tasks."""
        self.grid.sorts_itself = False

    def query_op(self) -> Op[list[WorkflowTask]]:
        """Read the loaded part again."""
        self._overview = yield from get_workflow(self.workflow)
        found = yield from self._read_part()
        if not found and len(self._starts) > 1:
            # The tasks here have left the state of the filter.
            self._starts = [0]
            found = yield from self._read_part()
        self._read_from = self._starts[-1]
        return found

    def _read_part(self) -> Op[list[WorkflowTask]]:
        after = self._starts[-1]
        return list_workflow_tasks(self.workflow, after=after, limit=_ROWS, **self.where)

    def show(self, value: list[WorkflowTask]) -> None:
        """Show the loaded part."""
        super().show(value)
        self._shown_from = self._read_from

    def names_op(self) -> Op[dict[str, list[str]]]:
        """Read the names of groups."""
        return {"group": (yield from group_names(self.workflow))}

    def key(self, row: WorkflowTask) -> int:
        """Return the number."""
        return row.number

    def keep(self) -> dict[str, Any]:
        """Keep the loaded part."""
        return {**super().keep(), "starts": self._starts}

    def on_grid_near_end(self, event: Grid.NearEnd) -> None:
        """Load the next part, or the one before; once, until it is on the screen."""
        if self.value is None or self._shown_from != self._starts[-1]:
            return
        if event.edge == "end" and len(self.value) == _ROWS:
            self._starts.append(self.value[_STEP - 1].number)
            self.reread()
        elif event.edge == "start" and len(self._starts) > 1:
            self._starts.pop()
            self.reread()

    def filtered(self) -> None:
        """Show what matches the new filter, from the first."""
        self._starts = [0]
        super().filtered()

    def order_by(self, key: str) -> None:
        """Keep the order of the tasks."""

    def opened(self, row: WorkflowTask) -> None:
        """Open the job of a task, or list the tasks of a group."""
        if row.members is not None:
            self.filter.put(add_word("", "group", row.name))
        elif (page_id := job_page_of(row)) is not None:
            self.app.enter(page_id, row.job_id)
        else:
            self.app.notify(no_job_words(row), markup=False)

    def action_failed(self) -> None:
        """Show the failed tasks, of the same group."""
        self.filter.put(add_word(self.filter.text, "state", "failed"))

    @work(group="change", exit_on_error=False)
    async def action_retry(self) -> None:
        """Retry the selected tasks, or all that failed."""
        if self._overview is not None:
            await changes.retry(self.app, self._overview, self.grid.selected)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Hide what the task under the cursor does not allow."""
        if action == "sort":
            return False
        if action == "retry":
            row = self.grid.row if self.value else None
            one = self._overview
            again = one is not None and one.failed + one.cancelled > 0
            if not again and (row is None or not can_retry(row)):
                return False
        return super().check_action(action, parameters)
