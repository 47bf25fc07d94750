"""Changes of jobs: of selected jobs, and of all that match a filter."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from awa_cli.tui.changes.change import Change
from awa_cli.views.actions import operator, recorded
from awa_cli.views.words import counted
from awa_lib.errors import Conflict, NotFound
from awa_lib.ops import jobs as ops

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from awa_lib._sql import Op
    from awa_lib.reads.dead_letters import DeadLetter
    from awa_lib.reads.jobs import JobRow

__all__ = [
    "BULK",
    "BulkChange",
    "cancel",
    "discard",
    "move",
    "one_by_one",
    "retry",
    "set_priority",
]


@dataclass(frozen=True, slots=True)
class BulkChange:
    """A change of all jobs that match a filter: its bulk operation and its action."""

    operation: str
    action_id: str


BULK: Final = {
    "retry": BulkChange("retry", "jobs.retry"),
    "cancel": BulkChange("cancel", "jobs.cancel"),
    "discard": BulkChange("delete", "jobs.discard"),
    "priority": BulkChange("set_priority", "jobs.priority"),
    "move": BulkChange("move_queue", "jobs.move"),
}
# The audit log has one name for a change of one job, whatever surface made it.
_AUDIT_NAMES: Final = {
    "jobs.retry": "job.retry",
    "jobs.cancel": "job.cancel",
    "jobs.discard": "job.delete",
    "jobs.priority": "job.priority",
    "jobs.move": "job.move",
}


def retry(jobs: Sequence[JobRow]) -> Change:
    """Return the change that retries jobs."""
    return one_by_one("jobs.retry", _describe(jobs), ops.retry, jobs)


def cancel(jobs: Sequence[JobRow]) -> Change:
    """Return the change that cancels jobs."""
    return one_by_one("jobs.cancel", _describe(jobs), ops.cancel, jobs)


def discard(jobs: Sequence[JobRow]) -> Change:
    """Return the change that deletes jobs."""
    return one_by_one("jobs.discard", _describe(jobs), ops.discard, jobs)


def set_priority(jobs: Sequence[JobRow], priority: int) -> Change:
    """Return the change that sets the priority of jobs; undo gives each its previous priority."""
    previous = "its previous priority" if len(jobs) == 1 else "their previous priorities"
    before = {job.id: job.priority for job in jobs}
    undo = _set_priorities(f"{_describe(jobs)} {previous}", jobs, before)
    wanted = dict.fromkeys(before, priority)
    target = f"{_describe(jobs)} priority {priority}"
    return replace(_set_priorities(target, jobs, wanted), undo=lambda: undo)


def _set_priorities(target: str, jobs: Sequence[JobRow], wanted: Mapping[int, int]) -> Change:
    return one_by_one(
        "jobs.priority",
        target,
        lambda job_id: ops.set_priority(job_id, wanted[job_id]),
        jobs,
        detail=lambda job_id: {"priority": wanted[job_id]},
    )


def move(jobs: Sequence[JobRow], to_queue: str) -> Change:
    """Return the change that moves jobs to another queue; undo moves each back to its own."""
    before = {job.id: job.queue for job in jobs}
    undo = _set_queues(f"{_describe(jobs)} back", jobs, before)
    wanted = dict.fromkeys(before, to_queue)
    target = f"{_describe(jobs)} to queue {to_queue}"
    return replace(_set_queues(target, jobs, wanted), undo=lambda: undo)


def _set_queues(target: str, jobs: Sequence[JobRow], wanted: Mapping[int, str]) -> Change:
    return one_by_one(
        "jobs.move",
        target,
        lambda job_id: ops.move_queue(job_id, wanted[job_id]),
        jobs,
        detail=lambda job_id: {"to_queue": wanted[job_id]},
    )


def one_by_one(
    action_id: str,
    target: str,
    op: Callable[[int], Op[Any]],
    rows: Sequence[JobRow | DeadLetter],
    *,
    noun: str = "job",
    detail: Callable[[int], dict[str, Any]] = lambda _: {},
) -> Change:
    """Return the change of several rows, each in its own transaction with its own audit entry.

    In one transaction a row that cannot be changed would roll back the others.
    """
    audit_name, actor = _AUDIT_NAMES.get(action_id, action_id), operator()

    def change_one(row_id: int) -> Op[Any]:
        return recorded(audit_name, row_id, op(row_id), via="tui", actor=actor, **detail(row_id))

    return Change(action_id, target, lambda: _each(change_one, rows, noun), in_parts=True)


def _describe(jobs: Sequence[JobRow]) -> str:
    if len(jobs) == 1:
        return f"job {jobs[0].id} ({jobs[0].kind})"
    return counted(len(jobs))


def _each(op: Callable[[int], Op[Any]], rows: Sequence[JobRow | DeadLetter], noun: str) -> Op[None]:
    """Change rows one by one; a row that cannot be changed does not stop the others.

    Raises the last refusal, with the number of rows that were changed.
    """
    refused: list[NotFound | Conflict] = []
    for row in rows:
        try:
            yield from op(row.id)
        except (NotFound, Conflict) as error:
            refused.append(error)
    if refused and len(rows) > 1:
        changed = len(rows) - len(refused)
        raise Conflict(
            f"{counted(changed, noun)} changed, {len(refused):,} not",
            why=str(refused[-1]),
            hint=refused[-1].hint,
        )
    if refused:
        raise refused[0]
