"""Read the tasks of a workflow, and what they wait for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from awa_lib._sql import sql
from awa_lib.codec.pgtext import int_array
from awa_lib.errors import ValidationError, WorkflowNotFound
from awa_lib.filters import checked_limit
from awa_lib.reads.workflow_reasons import (
    MOST_WAITS,
    SkipCause,
    WorkflowWait,
    causes_of,
    waits_of,
)
from awa_lib.reads.workflows import (
    WorkflowEdge,
    WorkflowOverview,
    check_state,
    first_edges,
    get_workflow,
    label,
)
from awa_lib.states import TASK_STATES
from awa_lib.validation import INT32_MAX, LONGEST_NAME, int64_of, number_of, text_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from awa_lib._sql import Op, Rows

__all__ = [
    "TASK_STATES",
    "GroupMembers",
    "WorkflowDetails",
    "WorkflowTask",
    "list_workflow_tasks",
    "workflow_details",
]

# Read for a page, however few tasks it has.
_LEAST_EDGES: Final = 2_000
_MOST_FAILED: Final = 3
# Members that are read for the ends of groups: 100,000 took 110 ms on a busy server.
_MOST_TIMED: Final = 20_000


@dataclass(frozen=True, slots=True)
class GroupMembers:
    """How many tasks a group has: that have not ended, and that ended in each way.

    ``failed`` counts those that were cancelled too.
    """

    total: int
    open: int
    succeeded: int
    failed: int
    skipped: int


@dataclass(frozen=True, slots=True)
class WorkflowTask:
    """A task of a workflow, a group of tasks, or a signal."""

    number: int
    """Its place in the workflow.  The members of a group follow it."""
    name: str
    """A member of a group has the name of the group and its place: ``parts[0]``."""
    type: Literal["task", "group", "signal"]
    state: str
    """``waiting``, ``started``, ``succeeded``, ``failed``, ``cancelled`` or ``skipped``.

    A group fails with its last member, when one of them has failed.
    """
    group: str | None
    """The name of the group that it is a member of."""
    members: GroupMembers | None
    """None for a task and a signal."""
    when: str
    on_parent_failure: str
    job_id: int | None
    """The id of its job, which is inserted when the task starts.  None for a group and a signal."""
    kind: str | None
    queue: str | None
    priority: int | None
    max_attempts: int | None
    not_before: datetime | None
    wait_seconds: float | None
    ended_at: datetime | None
    job_state: str | None = None
    """The state of the job, ``dead`` for a dead letter; None before the start, or when retention
    has deleted it."""
    attempt: int | None = None
    run_at: datetime | None = None
    error: str | None = None
    """The first 200 characters of the latest error of the job."""
    started_at: datetime | None = None
    """When the latest attempt of its job began; of a group, when its first task was started."""
    seconds: float | None = None
    """Of that attempt so far, or to its end.  None of an ended group of more than 20,000 tasks."""
    waits: list[WorkflowWait] = field(default_factory=list)
    """What it waits for: at most five, in the order of their numbers."""
    more_waits: int = 0
    """How many more tasks, groups and signals it waits for."""
    skipped_by: SkipCause | None = None
    """Why it was skipped: the first parent that failed, was cancelled or skipped, or, with
    ``all_failed``, that did not fail.  None with ``any_failed`` and ``any_succeeded``, where none
    of the parents did."""


@dataclass(frozen=True, slots=True)
class WorkflowDetails:
    """A workflow with its graph.  ``more`` says that it has more tasks or edges than are here."""

    workflow: WorkflowOverview
    tasks: list[WorkflowTask]
    edges: list[WorkflowEdge]
    more: bool
    failed: list[WorkflowTask] = field(default_factory=list)
    """The first tasks that failed, at most three, with those of groups."""


def list_workflow_tasks(
    workflow_id: int,
    *,
    group: str | None = None,
    state: str | None = None,
    after: int = 0,
    limit: int = 100,
) -> Op[list[WorkflowTask]]:
    """Return the tasks, groups and signals of a workflow behind the number ``after``, in order.

    A group stands for its members.  With ``group`` its members are returned, and with ``state``
    all tasks in this state, members too; a rare state reads every task.  Takes no lock.
    Raises WorkflowNotFound, ValidationError for an unknown state or group.
    """
    int64_of("workflow_id", workflow_id)
    check_state("a task", state, TASK_STATES)
    number_of("after", after, 0, INT32_MAX)
    checked_limit(limit)
    if group is None and state is None:
        rows = yield sql.read_workflows(
            "list_nodes", workflow=workflow_id, after=after, limit=limit
        )
    else:
        first, last = yield from _range(workflow_id, group)
        rows = yield sql.read_workflows(
            "list_tasks",
            workflow=workflow_id,
            state=state,
            after=max(first, after),
            until=last,
            limit=limit,
        )
    found = yield from _tasks(workflow_id, _nodes(rows))
    # Retention deletes the row first: what was read before it was there is whole.
    yield from get_workflow(workflow_id)
    return found


def workflow_details(workflow_id: int, *, limit: int = 200) -> Op[WorkflowDetails]:
    """Return a workflow with its first ``limit`` tasks and the edges between them.

    Of a graph with more than ten edges for each task some edges are left out.  When a task failed,
    the first of them are looked for in all tasks.  Takes no lock.
    Raises WorkflowNotFound, ValidationError.
    """
    number_of("limit", limit, 1, INT32_MAX // 10)
    workflow = yield from get_workflow(workflow_id)
    tasks = yield from list_workflow_tasks(workflow_id, limit=limit + 1)
    most = max(10 * limit, _LEAST_EDGES)
    until = tasks[:limit][-1].number if tasks else 0
    edges = yield from first_edges(workflow_id, until=until, limit=most)
    failed = []
    if workflow.failed:
        failed = yield from list_workflow_tasks(workflow_id, state="failed", limit=_MOST_FAILED)
    shown = {task.number for task in tasks[:limit]}
    return WorkflowDetails(
        workflow,
        tasks[:limit],
        [edge for edge in edges if edge.parent in shown and edge.child in shown],
        len(tasks) > limit or len(edges) == most,
        failed,
    )


class _Node(NamedTuple):
    """A row of awa.workflow_nodes."""

    number: int
    name: str | None
    type: Literal["task", "group", "signal"]
    group_number: int | None
    state: str
    rule: str
    on_parent_failure: str
    parents_open: int
    parents_succeeded: int
    parents_failed: int
    parents_skipped: int
    signals_open: int
    job_id: int | None
    kind: str | None
    queue: str | None
    priority: int | None
    max_attempts: int | None
    not_before: datetime | None
    wait_seconds: float | None
    ended_at: datetime | None

    @property
    def members(self) -> GroupMembers:
        """Those of a group, whose counts of parents are counts of members."""
        ends = (self.parents_succeeded, self.parents_failed, self.parents_skipped)
        return GroupMembers(self.parents_open + sum(ends), self.parents_open, *ends)


class _Job(NamedTuple):
    """What a task shows of its job; ``age`` is in seconds."""

    state: str | None = None
    attempt: int | None = None
    run_at: datetime | None = None
    error: str | None = None
    created_at: datetime | None = None
    began: datetime | None = None
    seconds: float | None = None
    age: float | None = None


_NO_JOB: Final = _Job()


def _nodes(rows: Rows) -> list[_Node]:
    return [_Node(*row) for row in rows]


def _range(workflow_id: int, group: str | None) -> Op[tuple[int, int]]:
    """Return the numbers between which the members of a group are, or all tasks."""
    if group is None:
        return 0, INT32_MAX
    text_of("group", group, LONGEST_NAME)
    found = _nodes((yield sql.read_workflows("named_node", workflow=workflow_id, name=group)))
    if not found or found[0].type != "group":
        yield from get_workflow(workflow_id)
        raise ValidationError(
            f"workflow {workflow_id} has no group {group!r}",
            why=f"it is a {found[0].type}" if found else "no group has this name",
            hint=f"see its tasks: awa workflow show {workflow_id}",
        )
    return found[0].number, found[0].number + found[0].members.total


def _tasks(workflow_id: int, nodes: Sequence[_Node]) -> Op[list[WorkflowTask]]:
    """Return tasks with the states of their jobs and what they wait for."""
    known = {node.number: node for node in nodes}
    # All members of a group have the same parents: the first stands for the group.
    missing = {n.number + 1 for n in nodes if n.type == "group" and n.members.total}
    missing |= {n.group_number for n in nodes if n.group_number is not None}
    if missing := missing - known.keys():
        rows = yield sql.read_workflows("nodes", workflow=workflow_id, numbers=int_array(missing))
        if len(rows) < len(missing):
            raise WorkflowNotFound(workflow_id)
        known |= {node.number: node for node in _nodes(rows)}
    deciding = {n.number: _deciding(n, known) for n in nodes}
    begun = [n.job_id for n in deciding.values() if n.state != "waiting" and n.job_id is not None]
    read = (yield sql.read_workflows("jobs_of_tasks", ids=int_array(begun))) if begun else []
    jobs = {row[0]: _Job(*row[1:]) for row in read}
    ends = yield from _group_ends(workflow_id, nodes)
    waiting = [n for n in deciding.values() if n.state == "waiting" and n.type == "task"]
    blocked = [n.number for n in waiting if _is_blocked(n)]
    waits = yield from waits_of(workflow_id, [n.number for n in waiting], blocked)
    skipped = {n.number: n.rule for n in deciding.values() if n.state == "skipped"}
    causes = yield from causes_of(workflow_id, skipped)
    found = []
    for n in nodes:
        first = deciding[n.number]
        job = _job_of(n, jobs.get(first.job_id or 0, _NO_JOB), ends.get(n.number))
        why, cause = waits.get(first.number, []), causes.get(first.number)
        found.append(_task(n, known, first, job, waits=why, cause=cause))
    return found


def _group_ends(workflow_id: int, nodes: Sequence[_Node]) -> Op[dict[int, datetime]]:
    over, left = [], _MOST_TIMED
    for n in nodes:
        if n.type == "group" and not n.members.open and 0 < n.members.total <= left:
            over.append(n.number)
            left -= n.members.total
    if not over:
        return {}
    rows = yield sql.read_workflows("group_ends", workflow=workflow_id, groups=int_array(over))
    return {number: ended_at for number, ended_at in rows if ended_at is not None}


def _job_of(node: _Node, job: _Job, ended_at: datetime | None) -> _Job:
    """Return the job of a task; of a group the times alone, which begin with its first job."""
    if node.type != "group":
        return job
    if (began := job.created_at) is None:
        return _NO_JOB
    if node.members.open:
        return _Job(began=began, seconds=job.age)
    # A retry may have given the first task a new job since.
    if ended_at is None or ended_at < began:
        return _NO_JOB
    return _Job(began=began, seconds=(ended_at - began).total_seconds())


def _deciding(node: _Node, known: dict[int, _Node]) -> _Node:
    """Return the node whose parents are those of this: of a group its first member."""
    return known.get(node.number + 1, node) if node.type == "group" and node.members.total else node


def _is_blocked(node: _Node) -> bool:
    """Return whether a parent must be retried before this can start."""
    return node.on_parent_failure == "wait" and node.parents_failed + node.parents_skipped > 0


def _task(
    node: _Node,
    known: dict[int, _Node],
    deciding: _Node,
    job: _Job,
    *,
    waits: list[WorkflowWait],
    cause: SkipCause | None,
) -> WorkflowTask:
    state = _group_state(node, deciding) if node.type == "group" else node.state
    total = 0
    if deciding.state == "waiting" and deciding.type == "task":
        blocked = deciding.parents_failed + deciding.parents_skipped if _is_blocked(deciding) else 0
        total = deciding.parents_open + deciding.signals_open + blocked
    if job.state == "scheduled":
        waits = [WorkflowWait("time", until=job.run_at)]
    elif node.state == "waiting" and not total and node.type != "signal" and node.not_before:
        waits = [WorkflowWait("time", until=node.not_before)]
    group = None if node.group_number is None else known[node.group_number]
    place = None if group is None else node.number - group.number - 1
    return WorkflowTask(
        number=node.number,
        name=label(node.name if group is None else group.name, place),
        type=node.type,
        state=state,
        group=None if group is None else group.name,
        members=node.members if node.type == "group" else None,
        when=deciding.rule,
        on_parent_failure=deciding.on_parent_failure,
        job_id=node.job_id,
        kind=node.kind,
        queue=node.queue,
        priority=node.priority,
        max_attempts=node.max_attempts,
        not_before=deciding.not_before,
        wait_seconds=deciding.wait_seconds,
        ended_at=node.ended_at,
        job_state=job.state,
        attempt=job.attempt,
        run_at=job.run_at,
        error=job.error,
        started_at=job.began,
        seconds=job.seconds,
        waits=waits,
        # A group that is open and has a failed member counts as both.
        more_waits=total - MOST_WAITS if len(waits) == MOST_WAITS else 0,
        skipped_by=cause if state == "skipped" else None,
    )


def _group_state(node: _Node, first: _Node) -> str:
    counts = node.members
    if counts.open:
        return "waiting" if counts.open == counts.total and first.state == "waiting" else "started"
    if counts.failed:
        return "cancelled" if first.state == "cancelled" else "failed"
    return "skipped" if counts.skipped and not counts.succeeded else "succeeded"
