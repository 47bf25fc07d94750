"""Changes of jobs: of one, of those that are marked, of all that fit a filter."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from awa_cli.tui.changes.change import Deed
from awa_cli.views.actions import operator, recorded
from awa_cli.views.words import counted
from awa_lib.errors import Conflict, NotFound
from awa_lib.ops import jobs as ops

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from awa_lib._sql import Op
    from awa_lib.reads.dead_letters import DeadLetter
    from awa_lib.reads.jobs import JobRow

__all__ = ["BULK", "Bulk", "cancel", "discard", "move", "one_by_one", "retry", "set_priority"]


@dataclass(frozen=True, slots=True)
class Bulk:
    """One change of all jobs that fit: the name of its bulk operation, and of its action."""

    operation: str
    action_id: str


BULK: Final = {
    "retry": Bulk("retry", "jobs.retry"),
    "cancel": Bulk("cancel", "jobs.cancel"),
    "discard": Bulk("delete", "jobs.discard"),
    "priority": Bulk("set_priority", "jobs.priority"),
    "move": Bulk("move_queue", "jobs.move"),
}


# A change of one job has one name in the audit log, whoever makes it.
_NOTED: Final = {
    "jobs.retry": "job.retry", "jobs.cancel": "job.cancel", "jobs.discard": "job.delete",
    "jobs.priority": "job.priority", "jobs.move": "job.move",
}  # fmt: skip


def retry(jobs: Sequence[JobRow]) -> Deed:
    """Make the deed that runs jobs again."""
    return one_by_one("jobs.retry", _said(jobs), ops.retry, jobs)


def cancel(jobs: Sequence[JobRow]) -> Deed:
    """Make the deed that cancels jobs."""
    return one_by_one("jobs.cancel", _said(jobs), ops.cancel, jobs)


def discard(jobs: Sequence[JobRow]) -> Deed:
    """Make the deed that deletes jobs."""
    return one_by_one("jobs.discard", _said(jobs), ops.discard, jobs)


def set_priority(jobs: Sequence[JobRow], priority: int) -> Deed:
    """Make the deed that gives jobs a priority; undone, each gets its own again."""
    own = "the priority it had" if len(jobs) == 1 else "the priority each had"
    before = {job.id: job.priority for job in jobs}
    back = _priorities(f"{_said(jobs)} {own}", jobs, before)
    wanted = dict.fromkeys(before, priority)
    return replace(
        _priorities(f"{_said(jobs)} priority {priority}", jobs, wanted), undo=lambda: back
    )


def _priorities(said: str, jobs: Sequence[JobRow], wanted: Mapping[int, int]) -> Deed:
    return one_by_one(
        "jobs.priority", said, lambda job_id: ops.set_priority(job_id, wanted[job_id]), jobs,
        detail=lambda job_id: {"priority": wanted[job_id]},
    )  # fmt: skip


def move(jobs: Sequence[JobRow], to_queue: str) -> Deed:
    """Make the deed that moves jobs to another queue; undone, each goes back to its own."""
    before = {job.id: job.queue for job in jobs}
    back = _queues(f"{_said(jobs)} back", jobs, before)
    wanted = dict.fromkeys(before, to_queue)
    return replace(_queues(f"{_said(jobs)} to queue {to_queue}", jobs, wanted), undo=lambda: back)


def _queues(said: str, jobs: Sequence[JobRow], wanted: Mapping[int, str]) -> Deed:
    return one_by_one(
        "jobs.move", said, lambda job_id: ops.move_queue(job_id, wanted[job_id]), jobs,
        detail=lambda job_id: {"to_queue": wanted[job_id]},
    )  # fmt: skip


def one_by_one(
    action_id: str,
    said: str,
    op: Callable[[int], Op[Any]],
    rows: Sequence[JobRow | DeadLetter],
    *,
    thing: str = "job",
    detail: Callable[[int], dict[str, Any]] = lambda _: {},
) -> Deed:
    """Make the deed that changes each of these by itself, noted by itself.

    In one transaction the last refusal would take the others back.
    """
    noted_as, actor = _NOTED.get(action_id, action_id), operator()

    def noted(job_id: int) -> Op[Any]:
        return recorded(noted_as, job_id, op(job_id), via="tui", actor=actor, **detail(job_id))

    return Deed(action_id, said, lambda: _each(noted, rows, thing), in_parts=True)


def _said(jobs: Sequence[JobRow]) -> str:
    if len(jobs) == 1:
        return f"job {jobs[0].id} ({jobs[0].kind})"
    return counted(len(jobs))


def _each(
    op: Callable[[int], Op[Any]], jobs: Sequence[JobRow | DeadLetter], thing: str
) -> Op[None]:
    """Change jobs one by one; one that cannot be changed does not stop the others.

    Raises the last refusal, with the number of those that were changed.
    """
    refused: list[NotFound | Conflict] = []
    for job in jobs:
        try:
            yield from op(job.id)
        except (NotFound, Conflict) as error:
            refused.append(error)
    if refused and len(jobs) > 1:
        done = len(jobs) - len(refused)
        raise Conflict(
            f"{counted(done, thing)} changed, {len(refused):,} not",
            why=str(refused[-1]),
            hint=refused[-1].hint,
        )
    if refused:
        raise refused[0]
