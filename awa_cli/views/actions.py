"""Every change an operator can make, named once: command, dialog and button use these words."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from awa_lib._sql import Op
    from awa_lib.models import BulkOperation

__all__ = ["ACTIONS", "Action", "Danger", "operator", "recorded", "submitted"]

R = TypeVar("R")


class Danger(IntEnum):
    """How much a mistake costs."""

    NONE = 0
    """Undone by its opposite."""
    SOME = 1
    """Changes jobs; no data is lost."""
    DESTRUCTIVE = 2
    """Cannot be undone: asked about at a terminal."""
    LOSS = 3
    """Takes work that was never done: needs --yes where nobody can be asked."""


@dataclass(frozen=True, slots=True)
class Action:
    """One change: ``verb`` on a button, ``question`` before it and ``done`` after, with {target}.

    ``opposite`` is the action that undoes it.
    """

    id: str
    verb: str
    question: str
    danger: Danger
    done: str = "Done: {target}"
    opposite: str | None = None


_ALL: Final = (
    Action("job.enqueue", "Enqueue", "Enqueue a job of kind {target}?", Danger.NONE),
    Action("job.retry", "Retry", "Run job {target} again?", Danger.SOME, "Retried job {target}"),
    Action("job.cancel", "Cancel", "Cancel job {target}?", Danger.SOME, "Cancelled job {target}"),
    Action("jobs.retry", "Retry", "Run {target} again?", Danger.SOME, "Retried {target}"),
    Action("jobs.cancel", "Cancel", "Cancel {target}?", Danger.SOME, "Cancelled {target}"),
    Action(
        "jobs.priority",
        "Set priority",
        "Give {target}?",
        Danger.NONE,
        "Gave {target}",
        "jobs.priority",
    ),
    Action("jobs.move", "Move", "Move {target}?", Danger.NONE, "Moved {target}", "jobs.move"),
    Action(
        "jobs.discard",
        "Discard",
        "Delete {target} for good?",
        Danger.DESTRUCTIVE,
        "Discarded {target}",
    ),
    Action(
        "job.retry-failed",
        "Retry failed",
        "Run all failed jobs of {target} again?",
        Danger.SOME,
        "Retried the failed jobs of {target}",
    ),
    Action(
        "job.discard",
        "Discard",
        "Delete all failed jobs of kind {target} for good?",
        Danger.DESTRUCTIVE,
    ),
    Action("job.priority", "Set priority", "Change the priority of job {target}?", Danger.SOME),
    Action("job.move", "Move", "Move job {target} to another queue?", Danger.SOME),
    Action("job.delete", "Delete", "Delete job {target} for good?", Danger.DESTRUCTIVE),
    Action(
        "queue.pause",
        "Pause",
        "Stop starting jobs of queue {target}?",
        Danger.NONE,
        "Paused queue '{target}'",
        "queue.resume",
    ),
    Action(
        "queue.resume",
        "Resume",
        "Start jobs of queue {target} again?",
        Danger.NONE,
        "Resumed queue '{target}'",
        "queue.pause",
    ),
    Action(
        "queue.drain",
        "Drain",
        "Cancel every job that waits in queue {target}?",
        Danger.DESTRUCTIVE,
        "Drained queue '{target}'",
    ),
    Action(
        "queue.purge",
        "Purge",
        "Delete all jobs of queue {target} but running ones for good?",
        Danger.LOSS,
    ),
    Action(
        "queue.purge-ended",
        "Purge ended",
        "Delete all jobs of queue {target} that have ended for good?",
        Danger.DESTRUCTIVE,
    ),
    Action(
        "queue.set",
        "Set",
        "Change the settings of queue {target}?",
        Danger.NONE,
        "Changed the settings of queue '{target}'",
    ),
    Action("dlq.retry", "Retry", "Run {target} again?", Danger.SOME, "Retried {target}"),
    Action("dlq.purge", "Purge", "Delete {target} for good?", Danger.LOSS, "Purged {target}"),
    Action("dlq.move", "Move", "Move job {target} to the dead letters?", Danger.SOME),
    Action(
        "dlq.retry-all",
        "Retry all",
        "Run dead letters of {target} again?",
        Danger.SOME,
        "Retried {target}",
    ),
    Action(
        "dlq.purge-all",
        "Purge all",
        "Delete dead letters of {target} for good?",
        Danger.LOSS,
        "Purged {target}",
    ),
    Action(
        "dlq.move-all", "Move all", "Move failed jobs of {target} to the dead letters?", Danger.SOME
    ),
    Action("dlq.enable", "Keep", "Keep failed jobs of queue {target} apart?", Danger.NONE),
    Action("dlq.disable", "Leave", "Leave failed jobs of queue {target}?", Danger.NONE),
    Action("batch.submit", "Submit", "Submit {target}?", Danger.SOME),
    Action(
        "batch.run",
        "Carry out",
        "Carry bulk operation {target} out from here?",
        Danger.SOME,
        "Carried out {target}",
    ),
    Action(
        "batch.cancel",
        "Stop",
        "Stop bulk operation {target}?",
        Danger.NONE,
        "Stopped bulk operation {target}",
    ),
    Action("callback.complete", "Complete", "Complete the job of callback {target}?", Danger.SOME),
    Action("callback.fail", "Fail", "Fail the job of callback {target}?", Danger.SOME),
    Action("callback.resume", "Resume", "Answer callback {target}?", Danger.SOME),
    Action("callback.retry", "Retry", "Start the job of callback {target} over?", Danger.SOME),
    Action("callback.heartbeat", "Extend", "Give callback {target} more time?", Danger.NONE),
    Action(
        "cron.trigger",
        "Trigger",
        "Enqueue the job of schedule {target} now?",
        Danger.NONE,
        "Triggered schedule '{target}'",
    ),
    Action(
        "cron.pause",
        "Pause",
        "Keep schedule {target} from firing?",
        Danger.NONE,
        "Paused schedule '{target}'",
        "cron.resume",
    ),
    Action(
        "cron.resume",
        "Resume",
        "Let schedule {target} fire again?",
        Danger.NONE,
        "Resumed schedule '{target}'",
        "cron.pause",
    ),
    Action(
        "cron.remove",
        "Remove",
        "Remove schedule {target}?",
        Danger.DESTRUCTIVE,
        "Removed schedule '{target}'",
    ),
    Action("cron.apply", "Apply", "Make the schedules be as {target} says?", Danger.SOME),
    Action(
        "storage.prepare",
        "Prepare",
        "Note {target} as the storage engine to move to?",
        Danger.SOME,
        "Noted {target} as the engine to move to",
    ),
    Action(
        "roles.apply",
        "Apply",
        "Make the roles {target} and take back what was granted beyond?",
        Danger.SOME,
        "Roles are in place: {target}",
    ),
    Action(
        "storage.abort",
        "Abort",
        "Forget the prepared storage engine?",
        Danger.SOME,
        "Forgot the prepared engine",
    ),
)
ACTIONS: Final = {action.id: action for action in _ALL}


# They work in pages, each its own transaction, so that a large backlog is not locked at once.
_PAGED: Final = frozenset(
    {"job.retry-failed", "queue.drain", "dlq.retry-all", "dlq.purge-all", "dlq.move-all",
     "batch.run"}
)  # fmt: skip


def recorded(
    action_id: str,
    target: object,
    op: Op[R],
    *,
    via: str,
    actor: str,
    outcome: Callable[[R], dict[str, Any]] | None = None,
    **detail: Any,
) -> Op[R]:
    """Return the op of a change with its entry in the audit log: the one door for all surfaces."""
    from awa_lib.ops.audit import Entry, announced, audited

    entry = Entry(actor, via, ACTIONS[action_id].id, str(target), detail)
    return announced(op, entry) if action_id in _PAGED else audited(op, entry, outcome)


def submitted(one: BulkOperation) -> dict[str, Any]:
    """Return what an entry keeps of a bulk operation, which is forgotten long before it."""
    return {
        "id": one.id, "operation": one.operation, "total_matched": one.total_matched,
        "filter": one.filter, **one.spec,
    }  # fmt: skip


def operator() -> str:
    """Return who sits at this terminal, as far as the machine knows."""
    import getpass
    import os
    import socket

    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = f"uid {os.getuid()}" if hasattr(os, "getuid") else "unknown"
    return f"{user}@{socket.gethostname()}"
