"""Changes of jobs: of one, of those that are marked, of all that fit a filter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from awa_cli.output import counted
from awa_cli.tui.deeds import Deed
from awa_lib.errors import Conflict, NotFound
from awa_lib.ops import jobs as ops

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from awa_lib._sql import Op
    from awa_lib.reads.dead_letters import DeadLetter
    from awa_lib.reads.jobs import JobRow

__all__ = ["BULK", "Bulk", "cancel", "discard", "each", "move", "retry", "set_priority"]


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


def retry(jobs: Sequence[JobRow]) -> Deed:
    """Make the deed that runs jobs again."""
    return Deed("jobs.retry", _said(jobs), lambda: each(ops.retry, jobs))


def cancel(jobs: Sequence[JobRow]) -> Deed:
    """Make the deed that cancels jobs."""
    return Deed("jobs.cancel", _said(jobs), lambda: each(ops.cancel, jobs))


def discard(jobs: Sequence[JobRow]) -> Deed:
    """Make the deed that deletes jobs."""
    return Deed("jobs.discard", _said(jobs), lambda: each(ops.discard, jobs))


def set_priority(jobs: Sequence[JobRow], priority: int) -> Deed:
    """Make the deed that gives jobs a priority; undone, each gets its own again."""
    before = {job.id: job.priority for job in jobs}
    return Deed(
        "jobs.priority",
        f"{_said(jobs)} priority {priority}",
        lambda: each(lambda job_id: ops.set_priority(job_id, priority), jobs),
        lambda: Deed(
            "jobs.priority",
            f"{_said(jobs)} the priority it had" if len(jobs) == 1 else _each_its_own(jobs),
            lambda: each(lambda job_id: ops.set_priority(job_id, before[job_id]), jobs),
        ),
    )


def move(jobs: Sequence[JobRow], to_queue: str) -> Deed:
    """Make the deed that moves jobs to another queue; undone, each goes back to its own."""
    before = {job.id: job.queue for job in jobs}
    return Deed(
        "jobs.move",
        f"{_said(jobs)} to queue {to_queue}",
        lambda: each(lambda job_id: ops.move_queue(job_id, to_queue), jobs),
        lambda: Deed(
            "jobs.move",
            f"{_said(jobs)} back",
            lambda: each(lambda job_id: ops.move_queue(job_id, before[job_id]), jobs),
        ),
    )


def _said(jobs: Sequence[JobRow]) -> str:
    if len(jobs) == 1:
        return f"job {jobs[0].id} ({jobs[0].kind})"
    return counted(len(jobs))


def _each_its_own(jobs: Sequence[JobRow]) -> str:
    return f"{_said(jobs)} the priority each had"


def each(
    op: Callable[[int], Op[Any]], jobs: Sequence[JobRow | DeadLetter], thing: str = "job"
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
