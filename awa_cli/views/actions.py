"""The changes that an operator can make, with the words for commands, dialogs and buttons."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from awa_lib._sql import Op
    from awa_lib.models import BulkOperation

__all__ = ["ACTIONS", "Action", "Danger", "operator", "recorded", "retried", "submitted"]

R = TypeVar("R")
# Of all tasks that were retried, in the audit log.
_NAMED: Final = 20


class Danger(IntEnum):
    """The cost of a mistake."""

    NONE = 0
    """The opposite action undoes it."""
    SOME = 1
    """Changes jobs; no data is lost."""
    DESTRUCTIVE = 2
    """Cannot be undone: needs confirmation at a terminal."""
    LOSS = 3
    """Ends work that was never done: without a terminal, --yes is required."""


@dataclass(frozen=True, slots=True)
class Action:
    """A change: ``verb`` labels a button, ``question`` asks before it, ``done`` reports it.

    ``question`` and ``done`` contain {target}.  ``opposite`` is the action that undoes the change.
    """

    id: str
    verb: str
    question: str
    danger: Danger
    done: str = "Done: {target}"
    opposite: str | None = None
    note: str = ""
    """What else to know before, in place of a warning that it is final."""


_ALL: Final = (
    Action("job.enqueue", "Enqueue", "Enqueue a job of kind {target}?", Danger.NONE),
    Action("job.retry", "Retry", "Retry job {target}?", Danger.SOME, done="Retried job {target}"),
    Action(
        "job.cancel", "Cancel", "Cancel job {target}?", Danger.SOME, done="Cancelled job {target}"
    ),
    Action("jobs.retry", "Retry", "Retry {target}?", Danger.SOME, done="Retried {target}"),
    Action("jobs.cancel", "Cancel", "Cancel {target}?", Danger.SOME, done="Cancelled {target}"),
    Action(
        "jobs.priority",
        "Set priority",
        "Give {target}?",
        Danger.NONE,
        done="Gave {target}",
        opposite="jobs.priority",
    ),
    Action(
        "jobs.move",
        "Move",
        "Move {target}?",
        Danger.NONE,
        done="Moved {target}",
        opposite="jobs.move",
    ),
    Action(
        "jobs.discard",
        "Discard",
        "Permanently delete {target}?",
        Danger.DESTRUCTIVE,
        done="Discarded {target}",
    ),
    Action(
        "job.retry-failed",
        "Retry failed",
        "Retry the failed jobs of {target}?",
        Danger.SOME,
        done="Retried the failed jobs of {target}",
    ),
    Action(
        "job.discard",
        "Discard",
        "Permanently delete all failed jobs of kind {target}?",
        Danger.DESTRUCTIVE,
    ),
    Action("job.priority", "Set priority", "Change the priority of job {target}?", Danger.SOME),
    Action("job.move", "Move", "Move job {target} to another queue?", Danger.SOME),
    Action("job.delete", "Delete", "Permanently delete job {target}?", Danger.DESTRUCTIVE),
    Action(
        "queue.pause",
        "Pause",
        "Pause queue {target}?",
        Danger.NONE,
        done="Paused queue '{target}'",
        opposite="queue.resume",
    ),
    Action(
        "queue.resume",
        "Resume",
        "Resume queue {target}?",
        Danger.NONE,
        done="Resumed queue '{target}'",
        opposite="queue.pause",
    ),
    Action(
        "queue.cancel-waiting",
        "Cancel waiting",
        "Cancel {target}?",
        Danger.LOSS,
        done="Cancelled {target}",
        note="Running jobs go on; cancelled jobs can be retried.",
    ),
    Action(
        "queue.purge",
        "Purge",
        "Permanently delete all jobs in queue {target} that are not running?",
        Danger.LOSS,
    ),
    Action(
        "queue.purge-ended",
        "Purge ended",
        "Permanently delete all ended jobs in queue {target}?",
        Danger.DESTRUCTIVE,
    ),
    Action(
        "queue.set",
        "Set",
        "Change the settings of queue {target}?",
        Danger.NONE,
        done="Changed the settings of queue '{target}'",
    ),
    Action("dlq.retry", "Retry", "Retry {target}?", Danger.SOME, done="Retried {target}"),
    Action(
        "dlq.purge", "Purge", "Permanently delete {target}?", Danger.LOSS, done="Purged {target}"
    ),
    Action("dlq.move", "Move", "Move job {target} to the dead letters?", Danger.SOME),
    Action(
        "dlq.retry-all",
        "Retry all",
        "Retry dead letters of {target}?",
        Danger.SOME,
        done="Retried {target}",
    ),
    Action(
        "dlq.purge-all",
        "Purge all",
        "Permanently delete dead letters of {target}?",
        Danger.LOSS,
        done="Purged {target}",
    ),
    Action(
        "dlq.move-all", "Move all", "Move failed jobs of {target} to the dead letters?", Danger.SOME
    ),
    Action(
        "dlq.enable", "Keep", "Keep failed jobs of queue {target} as dead letters?", Danger.NONE
    ),
    Action(
        "dlq.disable",
        "Leave",
        "Stop keeping failed jobs of queue {target} as dead letters?",
        Danger.NONE,
    ),
    Action("failure.retry", "Retry", "Retry the jobs of failure {target}?", Danger.SOME),
    Action(
        "failure.mute",
        "Mute",
        "Leave failure {target} out of lists?",
        Danger.NONE,
        done="Muted failure {target}",
        opposite="failure.unmute",
    ),
    Action(
        "failure.unmute",
        "Unmute",
        "Show failure {target} in lists again?",
        Danger.NONE,
        done="Unmuted failure {target}",
        opposite="failure.mute",
    ),
    Action("batch.submit", "Submit", "Submit {target}?", Danger.SOME),
    Action(
        "batch.run",
        "Run",
        "Run bulk operation {target} here?",
        Danger.SOME,
        done="Completed {target}",
    ),
    Action(
        "batch.cancel",
        "Stop",
        "Stop bulk operation {target}?",
        Danger.NONE,
        done="Stopped bulk operation {target}",
    ),
    Action(
        "workflow.cancel",
        "Cancel",
        "Cancel workflow {target}?",
        Danger.LOSS,
        done="Cancelled workflow {target}",
        note="Tasks with when=always still run; cancelled tasks can be retried.",
    ),
    Action(
        "workflow.signal",
        "Send",
        "Send a signal to workflow {target}?",
        Danger.SOME,
        done="Sent the signal to workflow {target}",
    ),
    Action(
        "workflow.retry",
        "Retry",
        "Retry the tasks of workflow {target} that failed?",
        Danger.SOME,
        done="Retried the tasks of workflow {target} that failed",
    ),
    Action(
        "workflow.retry-tasks", "Retry", "Retry {target}?", Danger.SOME, done="Retried {target}"
    ),
    Action("callback.complete", "Complete", "Complete the job of callback {target}?", Danger.SOME),
    Action("callback.fail", "Fail", "Fail the job of callback {target}?", Danger.SOME),
    Action("callback.resume", "Resume", "Resume the job of callback {target}?", Danger.SOME),
    Action("callback.retry", "Retry", "Retry the job of callback {target}?", Danger.SOME),
    Action("callback.heartbeat", "Extend", "Extend the timeout of callback {target}?", Danger.NONE),
    Action(
        "cron.trigger",
        "Trigger",
        "Enqueue the job of schedule {target} now?",
        Danger.NONE,
        done="Triggered schedule '{target}'",
    ),
    Action(
        "cron.pause",
        "Pause",
        "Pause schedule {target}?",
        Danger.NONE,
        done="Paused schedule '{target}'",
        opposite="cron.resume",
    ),
    Action(
        "cron.resume",
        "Resume",
        "Resume schedule {target}?",
        Danger.NONE,
        done="Resumed schedule '{target}'",
        opposite="cron.pause",
    ),
    Action(
        "cron.remove",
        "Remove",
        "Remove schedule {target}?",
        Danger.DESTRUCTIVE,
        done="Removed schedule '{target}'",
    ),
    Action("cron.apply", "Apply", "Change the schedules to match {target}?", Danger.SOME),
    Action(
        "storage.prepare",
        "Prepare",
        "Prepare the storage engine {target}?",
        Danger.SOME,
        done="Prepared the storage engine {target}",
    ),
    Action(
        "storage.abort",
        "Abort",
        "Clear the prepared storage engine?",
        Danger.SOME,
        done="Cleared the prepared storage engine",
    ),
    Action(
        "roles.apply",
        "Apply",
        "Create the roles {target} and revoke their other grants?",
        Danger.SOME,
        done="Roles are in place: {target}",
    ),
    Action(
        "index.retire",
        "Retire",
        "Drop the {target}, which only workers of awa 0.5 need?",
        Danger.NONE,
        done="Retired the {target}",
        opposite="index.restore",
    ),
    Action(
        "index.restore",
        "Restore",
        "Build the {target} for workers of awa 0.5?",
        Danger.NONE,
        done="Restored the {target}",
        opposite="index.retire",
    ),
)
ACTIONS: Final = {action.id: action for action in _ALL}


# These run in many transactions, so that a large backlog is not locked at once, or in none.
_PAGED: Final = frozenset(
    {
        "job.retry-failed",
        "queue.cancel-waiting",
        "dlq.retry-all",
        "dlq.purge-all",
        "dlq.move-all",
        "batch.run",
        "index.retire",
        "index.restore",
    }
)


def recorded(
    action_id: str,
    target: object,
    op: Op[R],
    *,
    via: str,
    actor: str,
    outcome: Callable[[R], dict[str, Any] | None] | None = None,
    **detail: Any,
) -> Op[R]:
    """Return the op of a change together with its entry in the audit log, for any surface."""
    from awa_lib.ops.audit import Entry, announced, audited

    entry = Entry(actor, via, ACTIONS[action_id].id, str(target), detail)
    return announced(op, entry) if action_id in _PAGED else audited(op, entry, outcome)


def retried(names: list[str]) -> dict[str, Any]:
    """Return the detail of an audit entry for retried tasks: how many, and the first names."""
    return {"tasks": len(names), "names": names[:_NAMED]}


def submitted(one: BulkOperation) -> dict[str, Any]:
    """Return the detail of an audit entry for a bulk operation, whose row is deleted earlier."""
    return {
        "id": one.id,
        "operation": one.operation,
        "total_matched": one.total_matched,
        "filter": one.filter,
        **one.spec,
    }


def operator() -> str:
    """Return the user and the host of this process, for the audit log."""
    import getpass
    import os
    import socket

    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = f"uid {os.getuid()}" if hasattr(os, "getuid") else "unknown"
    return f"{user}@{socket.gethostname()}"
