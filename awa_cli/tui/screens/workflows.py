"""The list of workflows: their progress; cancel them, retry what failed in them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Final

from textual import work
from textual.binding import Binding

from awa_cli.filters.query import Read
from awa_cli.tui.changes import workflows as changes
from awa_cli.tui.screens.growing_page import GrowingPage
from awa_cli.views.workflows import WORKFLOWS, can_cancel
from awa_lib.reads.names import workflow_names
from awa_lib.reads.workflows import WorkflowOverview, list_workflows

if TYPE_CHECKING:
    from awa_lib._sql import Op

__all__ = ["WorkflowsPage"]

# In 80 columns there is room for the age or for how long it took.
_COLUMNS: Final = tuple(replace(one, wide=True) if one.key == "took" else one for one in WORKFLOWS)


class WorkflowsPage(GrowingPage[WorkflowOverview]):
    """Workflows that match the filter, newest first."""

    COLUMNS = _COLUMNS
    EMPTY = "No workflows.  A program inserts them: client.workflow(NAME)"
    READ = Read.WORKFLOWS
    ACTIONS: ClassVar = {"cancel": "workflow.cancel", "retry": "workflow.retry-tasks"}
    BINDINGS: ClassVar = [
        Binding(
            "r",
            "retry",
            "Retry",
            id="workflow.retry",
            tooltip="Retry tasks that failed, alone or with all tasks behind them",
        ),
        Binding("c", "cancel", "Cancel", id="workflow.cancel"),
        Binding("e", "failed", "Failed tasks", id="workflow.failed"),
    ]

    def query_op(self) -> Op[list[WorkflowOverview]]:
        """Read the newest that match."""
        return list_workflows(limit=self.limit, **self.where)

    def names_op(self) -> Op[dict[str, list[str]]]:
        """Read the names of workflows."""
        return {"name": (yield from workflow_names())}

    def key(self, row: WorkflowOverview) -> int:
        """Return the id."""
        return row.id

    def opened(self, row: WorkflowOverview) -> None:
        """Open it."""
        self.app.enter("workflow", row.id)

    def action_failed(self) -> None:
        """Show its failed tasks."""
        if (row := self.grid.row) is not None:
            self.app.enter("tasks", row.id, filter="state:failed")

    def action_cancel(self) -> None:
        """Cancel it."""
        if (row := self.grid.row) is not None:
            self.app.apply(changes.cancel(row))

    @work(group="change", exit_on_error=False)
    async def action_retry(self) -> None:
        """Retry its tasks that failed."""
        if (row := self.grid.row) is not None:
            await changes.retry(self.app, row)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Hide what the workflow under the cursor does not allow."""
        if action in {"cancel", "retry", "failed"}:
            row = self.grid.row if self.value else None
            if row is None or not _allows(row, action):
                return False
        return super().check_action(action, parameters)


def _allows(row: WorkflowOverview, action: str) -> bool:
    if action == "cancel":
        return can_cancel(row)
    return row.failed > 0 or (action == "retry" and row.cancelled > 0)
