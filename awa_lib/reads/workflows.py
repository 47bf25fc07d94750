"""Read workflows, and their edges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from awa_lib._sql import sql
from awa_lib.errors import ValidationError, WorkflowNotFound
from awa_lib.filters import checked_limit
from awa_lib.states import WORKFLOW_STATES as STATES
from awa_lib.validation import INT32_MAX, LONGEST_NAME, int64_of, number_of, text_of, unknown_word

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from awa_lib._sql import Op

__all__ = [
    "STATES",
    "JobWorkflow",
    "WorkflowEdge",
    "WorkflowOverview",
    "check_state",
    "first_edges",
    "get_workflow",
    "label",
    "list_workflows",
    "workflow_edges",
    "workflow_of_job",
]


@dataclass(frozen=True, slots=True)
class WorkflowOverview:
    """One workflow, with the number of its tasks in each state.  Groups are not counted."""

    id: int
    name: str
    key: str | None
    state: str
    """``open``, ``succeeded``, ``failed`` or ``cancelled``."""
    tasks: int
    waiting: int
    started: int
    """The job of the task was inserted and has not ended; it may still wait in its queue."""
    succeeded: int
    failed: int
    cancelled: int
    skipped: int
    created_at: datetime
    cancelled_at: datetime | None
    finished_at: datetime | None
    seconds: float
    """From the insert to the end, or until now."""
    seconds_left: float | None
    """Until the end at the rate so far; None while no task has run, none is started, or it is
    less than a second."""


@dataclass(frozen=True, slots=True)
class WorkflowEdge:
    """``child`` waits for ``parent``; both are numbers of tasks, groups or signals."""

    parent: int
    child: int


@dataclass(frozen=True, slots=True)
class JobWorkflow:
    """The workflow that a job belongs to, and the task."""

    id: int
    name: str
    task: str
    state: str
    """Of the task."""


def list_workflows(
    *,
    state: str | None = None,
    name: str | None = None,
    key: str | None = None,
    before_id: int | None = None,
    limit: int = 20,
) -> Op[list[WorkflowOverview]]:
    """Return workflows, newest first: of all or one state, name and key, with a smaller id.

    Without a key, a rare state or name reads every workflow.  Takes no lock.
    Raises ValidationError.
    """
    check_state("a workflow", state, STATES)
    for field_name, value in (("name", name), ("key", key)):
        if value is not None:
            text_of(field_name, value, LONGEST_NAME)
    if before_id is not None:
        int64_of("before_id", before_id)
    rows = yield sql.read_workflows(
        "list_workflows",
        state=state,
        name=name,
        key=key,
        before_id=before_id,
        limit=checked_limit(limit),
    )
    return rows.into(WorkflowOverview)


def get_workflow(workflow_id: int) -> Op[WorkflowOverview]:
    """Return a workflow.  Takes no lock.  Raises WorkflowNotFound, ValidationError."""
    rows = yield sql.read_workflows("get_workflow", id=int64_of("workflow_id", workflow_id))
    if not rows:
        raise WorkflowNotFound(workflow_id)
    return rows.into(WorkflowOverview)[0]


def workflow_edges(
    workflow_id: int, *, after: tuple[int, int] = (0, 0), limit: int = 1000
) -> Op[list[WorkflowEdge]]:
    """Return the edges of a workflow behind the edge ``after``, by parent, then by child.

    Each is an edge between tasks, groups and signals; a group counts as one.  Takes no lock.
    Raises WorkflowNotFound, ValidationError.
    """
    int64_of("workflow_id", workflow_id)
    if not isinstance(after, tuple) or len(after) != 2:  # noqa: PLR2004 - parent and child
        raise ValidationError(f"after must be two numbers, got {after!r}")
    parent, child = (number_of("after", number, 0, INT32_MAX) for number in after)
    return (
        yield from first_edges(
            workflow_id, after=(parent, child), until=INT32_MAX, limit=checked_limit(limit)
        )
    )


def first_edges(
    workflow_id: int, *, after: tuple[int, int] = (0, 0), until: int, limit: int
) -> Op[list[WorkflowEdge]]:
    """Return edges as ``workflow_edges`` does, of parents up to the number ``until`` alone.

    Each edge is a step of the read: those of tasks that are not shown are better left out.
    """
    rows = yield sql.read_workflows(
        "edges", workflow=workflow_id, parent=after[0], child=after[1], until=until, limit=limit
    )
    if not rows:
        yield from get_workflow(workflow_id)
    return rows.into(WorkflowEdge)


def workflow_of_job(job_id: int) -> Op[JobWorkflow | None]:
    """Return the workflow that a job belongs to, also before the job is inserted; else None."""
    rows = yield sql.read_workflows("task_of_job", job=job_id)
    if not rows:
        return None
    workflow_id, name, task, state, place = rows[0]
    return JobWorkflow(workflow_id, name, label(task, place), state)


def check_state(of: str, state: str | None, known: Sequence[str]) -> None:
    """Raise ValidationError for an unknown state."""
    if state is not None and state not in known:
        raise unknown_word(f"unknown state of {of}: {state!r}", state, known)


def label(name: str | None, place: int | None) -> str:
    """Return the name of a task, or of the member of a group at a place."""
    return f"{name}" if place is None else f"{name}[{place}]"
