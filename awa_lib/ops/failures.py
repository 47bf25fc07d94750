"""Failures, which are groups of attempts that failed in the same way, and counts of all ends."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from awa_lib._json import dumps, loads
from awa_lib._sql import atomic, sql
from awa_lib.errors import Conflict, FailureNotFound
from awa_lib.ops.bulk import run_bulk_operation, submit_bulk_operation
from awa_lib.ops.dead_letters import bulk_retry_from_dlq
from awa_lib.telemetry.failures import OTHERS, RULE, Group
from awa_lib.validation import LONGEST_NAME, bounded, moment_of, text_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from awa_lib._sql import Op

__all__ = [
    "MOST_FAILURES",
    "OUTSIDE_BATCH",
    "EndCount",
    "Sighting",
    "checked_failure",
    "count_ends",
    "count_outside_ends",
    "forget_ends",
    "forget_failures",
    "mute_failure",
    "retry_failure",
    "unmute_failure",
]

MOST_FAILURES: Final = 1_000
_MOST_OF_KIND: Final = 200
FORGET_BATCH: Final = 5_000
OUTSIDE_BATCH: Final = 1_000
# Longer than the two days that a read by minutes may reach back.
_MINUTES_SECONDS: Final = 48 * 3600.0
_DEFAULT_MUTE: Final = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class EndCount:
    """How many attempts ended in one way; ``ago`` is in minutes, ``failure`` empty for none."""

    ago: int
    queue: str
    kind: str
    outcome: str
    failure: str
    ends: int


@dataclass(frozen=True, slots=True)
class Sighting:
    """A failure with the kind and the id of a job that failed so."""

    group: Group
    kind: str
    job_id: int


def count_ends(
    ends: Iterable[EndCount], seen: Iterable[Sighting], *, version: str | None = None
) -> Op[None]:
    """Add to the counts of ends and to the failures, in one statement.

    There are about 1,000 failures, and 200 of a kind; others are counted as ``others``.
    ``version`` is that of the application, for failures that are new.
    """
    yield sql.failures(
        "count_ends",
        ends=dumps([_fields(one) for one in ends]),
        failures=dumps([_described(one) for one in seen]),
        rule=RULE,
        version=version,
        most=MOST_FAILURES,
        most_of_kind=_MOST_OF_KIND,
    )


def count_outside_ends(lock_ms: int = 250) -> Op[int]:
    """Count a batch of ends by people and by callbacks; return how many rows told of them.

    At most OUTSIDE_BATCH.  The rows are deleted in the same transaction: each counts once.
    """
    if not (yield sql.failures("are_outside_ends")).scalar():
        return 0
    return (yield from _count_batch(lock_ms))


@atomic
def _count_batch(lock_ms: int) -> Op[int]:
    yield sql.maintenance("wait_at_most", milliseconds=lock_ms)
    rows = yield sql.failures("take_outside_ends", limit=OUTSIDE_BATCH)
    ends, seen, taken = [], {}, 0
    for ago, queue, kind, outcome, count, job_id, failure, number in rows:
        taken += number
        group = None if failure is None else Group(**loads(failure))
        if group is not None:
            seen[group.id] = Sighting(group, kind, job_id)
        ends.append(EndCount(ago, queue, kind, outcome, group.id if group else "", count))
    if ends:
        yield from count_ends(ends, seen.values())
    return taken


def _fields(one: EndCount) -> dict[str, Any]:
    return {name: getattr(one, name) for name in EndCount.__slots__}


def _described(one: Sighting) -> dict[str, Any]:
    group = one.group
    return {
        "id": group.id,
        "kind": one.kind,
        "error_type": group.error_type,
        "message": group.message,
        "frames": list(group.frames),
        "job_id": one.job_id,
    }


def forget_ends(days: float, limit: int = FORGET_BATCH) -> Op[int]:
    """Delete a batch of counts: of minutes after two days, of hours after ``days``, at least 2.

    Returns the larger number of the two: less than ``limit`` when none are left.
    """
    seconds = max(_MINUTES_SECONDS, bounded(days * 86_400.0))
    deleted = 0
    for minutes, age in ((1, _MINUTES_SECONDS), (60, seconds)):
        rows = yield sql.failures("forget_ends", minutes=minutes, seconds=age, limit=limit)
        deleted = max(deleted, int(rows.scalar()))
    return deleted


def forget_failures(days: float) -> Op[int]:
    """Delete failures that were not seen for ``days``, at least 2; muted ones stay."""
    seconds = max(_MINUTES_SECONDS, bounded(days * 86_400.0))
    return int((yield sql.failures("forget_failures", seconds=seconds)).scalar())


def mute_failure(failure_id: str, until: datetime | str | None = None) -> Op[None]:
    """Leave a failure out of lists ``until`` a moment, by default for 7 days; it is still counted.

    Raises FailureNotFound, ValidationError.
    """
    end = datetime.now(UTC) + _DEFAULT_MUTE if until is None else moment_of(until, "until")
    yield from _mute(failure_id, end)


def unmute_failure(failure_id: str) -> Op[None]:
    """Show a muted failure in lists again.  Raises FailureNotFound, ValidationError."""
    yield from _mute(failure_id, None)


def _mute(failure_id: str, until: datetime | None) -> Op[None]:
    text_of("failure_id", failure_id, LONGEST_NAME)
    if not (yield sql.failures("mute", id=failure_id, until=until)):
        raise FailureNotFound(failure_id)


def checked_failure(failure_id: str) -> Op[None]:
    """Raise ValidationError, FailureNotFound, or Conflict for the failures beyond the bounds."""
    text_of("failure_id", failure_id, LONGEST_NAME)
    if not (yield sql.failures("find", id=failure_id)):
        raise FailureNotFound(failure_id)
    if failure_id == OTHERS:
        raise Conflict(
            "'others' cannot be retried",
            why="it counts failures of many kinds beyond the number that is kept",
            hint="retry by kind or error: awa job retry --state failed --kind KIND",
        )


def retry_failure(failure_id: str) -> Op[int]:
    """Retry the jobs and dead letters that failed so last; return how many.

    Jobs are retried by a bulk operation: after a crash the fleet's leader continues it.
    Raises ValidationError, FailureNotFound, Conflict for ``others``, Transient when locks stay in
    the way.
    """
    yield from checked_failure(failure_id)
    submitted = yield from submit_bulk_operation("retry", state="failed", failure=failure_id)
    ended = yield from run_bulk_operation(submitted.id)
    return ended.processed + (yield from bulk_retry_from_dlq(failure=failure_id))
