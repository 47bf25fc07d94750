"""Workflows: graphs of jobs that wait for each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from awa_cli.access import Identity
from awa_cli.views.actions import retried
from awa_cli.web.api.fields import BeforeId, Limit, Name, change
from awa_cli.web.endpoints import Routes
from awa_cli.web.json_schema import Rule
from awa_lib._sql import Op
from awa_lib.ops import workflows
from awa_lib.ops.workflow_retries import retry_workflow
from awa_lib.reads.workflow_tasks import (
    WorkflowDetails,
    WorkflowTask,
    list_workflow_tasks,
    workflow_details,
)
from awa_lib.reads.workflows import (
    WorkflowEdge,
    WorkflowOverview,
    list_workflows,
    workflow_edges,
)
from awa_lib.validation import INT32_MAX, INT64_MAX

__all__ = ["TaskState", "WorkflowState", "routes"]

routes = Routes("workflows")

WorkflowId = Annotated[int, Rule(minimum=1, maximum=INT64_MAX, description="Id of the workflow.")]
WorkflowState = Literal["open", "succeeded", "failed", "cancelled"]
TaskState = Literal["waiting", "started", "succeeded", "failed", "cancelled", "skipped"]
Most = Annotated[
    int, Rule(minimum=1, maximum=1000, description="At most this number of tasks and groups.")
]
After = Annotated[
    int, Rule(minimum=0, maximum=INT32_MAX, description="Only tasks behind this number.")
]
AfterParent = Annotated[
    int,
    Rule(
        minimum=0,
        maximum=INT32_MAX,
        description="With after_child: only edges behind that from this parent to that child.",
    ),
]
AfterChild = Annotated[int, Rule(minimum=0, maximum=INT32_MAX, description="See after_parent.")]
Tasks = Annotated[
    list[Name],
    Rule(
        minItems=1,
        maxItems=1000,
        description="Names of tasks, groups and members of groups, such as parts[3].",
    ),
]
Payload = Annotated[Any, Rule(description="JSON data that comes with the signal.")]


@dataclass(frozen=True, slots=True)
class CancelledWorkflow:
    """The number of jobs that were cancelled."""

    jobs: int


@dataclass(frozen=True, slots=True)
class SentSignal:
    """Whether the signal was sent: false if it was sent before."""

    sent: bool


@dataclass(frozen=True, slots=True)
class RetriedTasks:
    """The names of the tasks that run again, in order."""

    tasks: list[str]


@routes.get("/workflows")
def listed(
    *,
    state: WorkflowState | None = None,
    name: Name | None = None,
    key: Name | None = None,
    before_id: BeforeId = None,
    limit: Limit = 20,
) -> Op[list[WorkflowOverview]]:
    """List workflows, newest first."""
    return list_workflows(state=state, name=name, key=key, before_id=before_id, limit=limit)


@routes.get("/workflows/{workflow_id}")
def show(workflow_id: WorkflowId, *, limit: Most = 200) -> Op[WorkflowDetails]:
    """Show a workflow: its first tasks and groups, what each waits for, and their edges."""
    return workflow_details(workflow_id, limit=limit)


@routes.get("/workflows/{workflow_id}/tasks")
def tasks(
    workflow_id: WorkflowId,
    *,
    group: Name | None = None,
    state: TaskState | None = None,
    after: After = 0,
    limit: Limit = 100,
) -> Op[list[WorkflowTask]]:
    """List the tasks, groups and signals of a workflow, or the members of a group, in order."""
    return list_workflow_tasks(workflow_id, group=group, state=state, after=after, limit=limit)


@routes.get("/workflows/{workflow_id}/edges")
def edges(
    workflow_id: WorkflowId,
    *,
    after_parent: AfterParent = 0,
    after_child: AfterChild = 0,
    limit: Limit = 1000,
) -> Op[list[WorkflowEdge]]:
    """List the edges between the tasks, groups and signals of a workflow, in order."""
    return workflow_edges(workflow_id, after=(after_parent, after_child), limit=limit)


@routes.post("/workflows/{workflow_id}/cancel")
def cancel(who: Identity, workflow_id: WorkflowId) -> Op[CancelledWorkflow]:
    """Cancel the waiting tasks of a workflow, and the jobs of those that have started."""
    jobs = yield from change(
        who,
        "workflow.cancel",
        workflow_id,
        workflows.cancel_workflow(workflow_id),
        outcome=lambda count: {"jobs": count},
    )
    return CancelledWorkflow(jobs)


@routes.post("/workflows/{workflow_id}/signal")
def signal(
    who: Identity, workflow_id: WorkflowId, *, name: Name, payload: Payload = None
) -> Op[SentSignal]:
    """Send a signal to a workflow; nothing changes if it was sent before."""
    sent = yield from change(
        who,
        "workflow.signal",
        workflow_id,
        workflows.send_signal(workflow_id, name, payload),
        outcome=lambda sent: {} if sent else None,
        signal=name,
    )
    return SentSignal(sent)


@routes.post("/workflows/{workflow_id}/retry")
def retry(
    who: Identity,
    workflow_id: WorkflowId,
    *,
    tasks: Tasks | None = None,
    downstream: bool = False,
) -> Op[RetriedTasks]:
    """Retry the tasks of a workflow that failed or were cancelled, or those named."""
    names = yield from change(
        who,
        "workflow.retry",
        workflow_id,
        retry_workflow(workflow_id, tasks=tasks, downstream=downstream),
        outcome=retried,
        downstream=downstream,
    )
    return RetriedTasks(names)
