"""Insert, extend, signal and cancel workflows, and move them on."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, Literal

from awa_lib._json import dumps
from awa_lib._sql import atomic, sql
from awa_lib.codec import pgtext
from awa_lib.codec.encode import to_json
from awa_lib.codec.pgtext import int_array
from awa_lib.enqueue.workflow_copy import PlanText
from awa_lib.enqueue.workflow_nodes import LARGEST, Group, Task
from awa_lib.enqueue.workflow_rows import ROWS_PER_STATEMENT, Plan, batches, columns
from awa_lib.errors import Conflict, ValidationError, WorkflowNotFound
from awa_lib.ops.jobs import cancel_in_pages
from awa_lib.telemetry import metrics
from awa_lib.validation import int64_of, name_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from awa_lib._sql import Op
    from awa_lib.enqueue.workflows import Workflow

__all__ = [
    "BEGIN",
    "Page",
    "cancel_workflow",
    "extend_workflow",
    "forget_workflow",
    "insert_workflow",
    "lock_workflow",
    "note_ends",
    "resolve",
    "resolve_free",
    "resolve_left",
    "send_signal",
    "sweep",
]

OnTaken = Literal["raise", "keep"]

BEGIN: Final = (0, 0)
"""Where a sweep begins: a workflow and a node."""
# For this many nodes or fewer the extra round trips of COPY cost more than they save.
_COPIED_FROM: Final = 1000
_SWEPT_TASKS: Final = 1000
_LEFT_WORKFLOWS: Final = 100


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a sweep: tasks that were read, ends that were noted, where the next begins.

    ``left_after`` is the workflow behind which the next looks for notes that were left.
    """

    read: int
    noted: int
    place: tuple[int, int]
    left_after: int


@atomic
def insert_workflow(flow: Workflow, *, on_conflict: OnTaken = "raise") -> Op[int]:
    """Insert a workflow with all its tasks, start those that wait for nothing, return its id.

    Everything is inserted in one transaction, or nothing.  When another workflow has its name and
    key, raises Conflict, or, with ``on_conflict="keep"``, inserts nothing and returns the id of
    the other.  Raises ValidationError.
    """
    if on_conflict not in ("raise", "keep"):
        raise ValidationError(f"on_conflict must be 'raise' or 'keep', got {on_conflict!r}")
    flow.check()
    plan = Plan(flow, 1, {})
    rows = yield sql.workflows(
        "insert_workflow",
        name=flow.name,
        key=flow.key,
        nodes=plan.size,
        waiting=plan.waiting,
        started=plan.started,
    )
    if not rows:
        found = yield sql.workflows("find_workflow", name=flow.name, key=flow.key)
        if on_conflict == "raise" or not found:
            raise _taken(flow, found[0][0] if found else None)
        flow.id, flow.created = int(found[0][0]), False
        return flow.id
    workflow = int(rows[0][0])
    yield from _write(workflow, plan)
    flow.id, flow.created = workflow, True
    return workflow


@atomic
def extend_workflow(workflow_id: int, flow: Workflow) -> Op[int]:
    """Add tasks to an open workflow and return its id.

    Locks the workflow until the commit.  Names in ``after`` may be those of tasks that are there.
    When the workflow was extended with the key of ``flow`` before, nothing is added.
    Raises WorkflowNotFound, Conflict when the workflow has ended, ValidationError.
    """
    found = yield from lock_workflow(int64_of("workflow_id", workflow_id))
    # Also when it has ended: a program repeats an extension of which it has got no answer.
    if flow.key is not None and not (
        yield sql.workflows("add_extension", workflow=workflow_id, key=flow.key)
    ):
        flow.id, flow.created = workflow_id, False
        return workflow_id
    if found["state"] != "open" or found["is_cancelled"]:
        raise _over(workflow_id, found["state"])
    if (size := found["tasks"] + len(flow)) > LARGEST:
        raise ValidationError(f"a workflow has at most {LARGEST:,} tasks, got {size:,}")
    nodes = int(found["nodes"])
    known = yield from _known(workflow_id, flow, int(found["tasks"]))
    flow.check(known, {name for name, (_, of) in known.items() if of == "signal"})
    plan = Plan(flow, nodes + 1, {name: number for name, (number, _) in known.items()})
    yield sql.workflows(
        "add_nodes",
        workflow=workflow_id,
        nodes=plan.size,
        waiting=plan.waiting,
        started=plan.started,
    )
    yield from _write(workflow_id, plan)
    flow.id, flow.created = workflow_id, True
    return workflow_id


def _known(workflow_id: int, flow: Workflow, tasks: int) -> Op[dict[str, tuple[int, str]]]:
    """Return number and type of the nodes of a workflow that have names of new ones or parents."""
    known: dict[str, tuple[int, str]] = {}
    names = flow.names()
    while names:
        rows = yield sql.workflows(
            "nodes_named", workflow=workflow_id, names=pgtext.text_array(names)
        )
        known |= {row[0]: (row[1], row[2]) for row in rows}
        names = flow.rename(known, tasks)
        tasks *= 2  # so that many names in a row are passed in a few looks
    if flow.unknown(known) is not None:
        # For the error, which names the nearest.
        rows = yield sql.workflows("named_nodes", workflow=workflow_id)
        known = {row[0]: (row[1], row[2]) for row in rows}
    return known


def send_signal(workflow_id: int, name: str, payload: Any = None) -> Op[bool]:
    """Send a signal to a workflow; return False if it was sent before.

    Its tasks that wait for the signal may start.  A signal that no task waits for is kept for tasks
    that are added later.  ``payload`` is JSON data.  Locks the workflow until the commit.  Raises
    WorkflowNotFound, Conflict when the workflow has ended, ValidationError, SerializationError.
    """
    return _send_signal(
        int64_of("workflow_id", workflow_id),
        name_of("name of a signal", name),
        dumps(to_json(payload, "payload")),
    )


@atomic
def _send_signal(workflow_id: int, name: str, text: str) -> Op[bool]:
    found = yield from lock_workflow(workflow_id)
    if found["state"] != "open":
        raise _over(workflow_id, found["state"])
    node = yield sql.workflows("named_node", workflow=workflow_id, name=name)
    if node and node[0][0] != "signal":
        raise ValidationError(f"{name!r} is a {node[0][0]} of workflow {workflow_id}, no signal")
    if node and node[0][2] != "waiting":
        return False
    yield sql.workflows("note_signal", workflow=workflow_id, name=name, payload=text)
    yield from _resolve_now(workflow_id)
    return True


def cancel_workflow(workflow_id: int) -> Op[int]:
    """Cancel a workflow: its waiting tasks and the jobs of those that have started.

    Tasks with ``when="always"`` still run.  Running handlers are stopped as ``cancel`` stops them.
    Returns the number of cancelled jobs.  Locks the workflow until the commit.  Raises
    WorkflowNotFound, Conflict when it has ended, ValidationError.
    """
    return _cancel_workflow(int64_of("workflow_id", workflow_id))


@atomic
def _cancel_workflow(workflow_id: int) -> Op[int]:
    found = yield from lock_workflow(workflow_id)
    if found["state"] != "open":
        raise _over(workflow_id, found["state"])
    yield sql.workflows("cancel_workflow", workflow=workflow_id)
    # A job that was retried a moment ago counts as started only after this.
    yield from _resolve_now(workflow_id)
    count, number = 0, 0
    while rows := (
        yield sql.workflows(
            "started_jobs", workflow=workflow_id, number=number, limit=ROWS_PER_STATEMENT
        )
    ):
        ids = [row[0] for row in rows]
        number = int(rows[-1][1])
        cancelled = yield from cancel_in_pages(ids)
        count += len(cancelled)
        yield from note_ends([(workflow_id, job_id) for job_id in cancelled])
    yield from _resolve_now(workflow_id)
    return count


def note_ends(ended: Iterable[tuple[int, int]]) -> Op[None]:
    """Note that jobs of workflows have ended: (workflow, job) each.  Takes no lock."""
    pairs = list(ended)
    if pairs:
        yield sql.workflows(
            "note_ends",
            workflows=int_array(workflow for workflow, _ in pairs),
            ids=int_array(job_id for _, job_id in pairs),
        )


def resolve(workflow_id: int) -> Op[bool]:
    """Move a workflow on; return True when there is more to do.

    Locks the workflow until the commit.  Raises Transient when it is locked for too long.
    """
    rows = yield sql.workflows("resolve", workflow=workflow_id)
    return bool(rows.scalar())


def resolve_free(workflow_ids: Sequence[int]) -> Op[dict[int, bool | None]]:
    """Do as ``resolve`` with many and without waiting; return for each what it would return.

    None stands for one that another transaction has locked; its notes stay for whoever calls this
    later.  One that is gone is left out.
    """
    rows = yield sql.workflows("resolve_free", workflows=int_array(workflow_ids))
    return {int(row[0]): row[1] for row in rows}


def resolve_left(workflow_id: int) -> Op[bool | None]:
    """Do as ``resolve_free`` with one; of one that is gone delete what was noted of it."""
    moved = yield from resolve_free([workflow_id])
    if workflow_id not in moved:
        yield sql.workflows("forget_events", workflow=workflow_id)
    return moved.get(workflow_id)


def sweep(
    place: tuple[int, int], left_seconds: float, left_after: int = 0
) -> Op[tuple[Page, list[int]]]:
    """Note the ends of a page of tasks that nobody has noted; return the page and what is left.

    That are workflows behind ``left_after`` with notes of this page, or older than
    ``left_seconds``, at most a hundred.  Takes no lock.
    """
    workflow, number = place
    rows = yield sql.workflows("unseen_ends", workflow=workflow, number=number, limit=_SWEPT_TASKS)
    read, noted, last, at = rows[0]
    rows = yield sql.workflows(
        "left_events",
        after=left_after,
        seconds=0.0 if noted else left_seconds,
        limit=_LEFT_WORKFLOWS,
    )
    left = [int(row[0]) for row in rows]
    # A hundred that cannot be moved on do not hide those behind them.
    more = left[-1] if len(left) == _LEFT_WORKFLOWS else 0
    return Page(read, noted, (last, at) if read == _SWEPT_TASKS else BEGIN, more), left


@atomic
def forget_workflow(seconds: float) -> Op[bool]:
    """Delete a batch of the workflow that ended first, longer ago than this.

    Return True when there may be more.  The first batch deletes the row, by which everything else
    is found: to others a workflow is whole or gone.  Whoever calls this next goes on with what is
    left.  Jobs have a retention of their own.
    """
    rows = yield sql.workflows("forget_workflow", seconds=seconds)
    if not rows:
        return False
    workflow = rows[0][0]
    for block in ("forget_edges", "forget_nodes"):
        gone = yield sql.workflows(block, workflow=workflow, limit=ROWS_PER_STATEMENT)
        if gone.scalar() == ROWS_PER_STATEMENT:
            return True
    yield sql.workflows("forgotten", workflow=workflow)
    return True


def _resolve_now(workflow_id: int) -> Op[None]:
    # What a very long cascade leaves is taken by a sweep.
    yield from resolve(workflow_id)


def lock_workflow(workflow_id: int) -> Op[dict[str, Any]]:
    """Lock a workflow until the commit, and return its state.  Raises WorkflowNotFound."""
    rows = yield sql.workflows("lock_workflow", workflow=workflow_id)
    if not rows:
        raise WorkflowNotFound(workflow_id)
    return dict(zip(rows.columns, rows[0], strict=True))


def _write(workflow_id: int, plan: Plan) -> Op[None]:
    """Insert the nodes and edges, start what can start, and tell the nodes their jobs."""
    if plan.decided and plan.size > _COPIED_FROM:
        yield from _copy(workflow_id, plan)
    else:
        yield from _insert(workflow_id, plan)
    metrics.inserted(chain.from_iterable(part.jobs.kinds_and_queues() for part in plan.flow.parts))


def _copy(workflow_id: int, plan: Plan) -> Op[None]:
    reserved = yield sql.jobs("reserve_ids", count=plan.waiting + plan.started)
    if not reserved:
        raise _other_engine()
    text = PlanText(plan, workflow_id, *reserved[0])
    yield sql.workflows.copy("copy_nodes", text.nodes())
    yield sql.workflows.copy("copy_edges", text.edges())
    for block, scheduled in (("copy_started", False), ("copy_scheduled", True)):
        if plan.started and text.starts(scheduled=scheduled):
            yield sql.workflows.copy(block, text.jobs(scheduled=scheduled))


def _insert(workflow_id: int, plan: Plan) -> Op[None]:
    number = plan.first
    for batch in batches(plan.rows()):
        ids = yield sql.workflows(
            "insert_nodes",
            workflow=workflow_id,
            first=number,
            decided=plan.decided,
            **columns(batch),
        )
        if not ids:
            raise _other_engine()
        for row, job_id in zip(batch, ids[0][0], strict=True):
            if isinstance(row.node, Task):
                row.node.job_id = job_id
            elif isinstance(row.node, Group) and job_id is not None:
                row.node.job_ids.append(job_id)
        number += len(batch)
    for parents, children in plan.edge_arrays():
        yield sql.workflows(
            "insert_edges", workflow=workflow_id, parents=parents, children=children
        )
    if not plan.decided:
        yield sql.workflows(
            "resolve_fresh", workflow=workflow_id, first=plan.first, parents=int_array(plan.older)
        )


def _other_engine() -> Conflict:
    return Conflict(
        "another storage engine takes the writes",
        why="the tasks of workflows are written by the engine canonical alone",
        hint="see which is active: awa storage status",
    )


def _taken(flow: Workflow, workflow_id: int | None) -> Conflict:
    which = "" if workflow_id is None else f": workflow {workflow_id}"
    return Conflict(
        f"a workflow {flow.name!r} with key {flow.key!r} is there already{which}",
        why="the key of a workflow is unique under its name until it is deleted",
        hint="on_conflict='keep' keeps it and returns its id",
    )


def _over(workflow_id: int, state: str) -> Conflict:
    how = "is being cancelled" if state == "open" else f"has ended: it {state}"
    return Conflict(
        f"workflow {workflow_id} {how if state != 'cancelled' else 'was cancelled'}",
        why="only an open workflow can be changed",
        hint=f"see its tasks: awa workflow show {workflow_id}",
    )
