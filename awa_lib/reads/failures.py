"""Read counts of ends, and failures: groups of attempts that failed in the same way.

Counts of minutes are kept for two days: a time that began earlier is counted by whole hours.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from awa_lib._sql import sql
from awa_lib.errors import FailureNotFound, ValidationError
from awa_lib.filters import checked_limit
from awa_lib.validation import LONGEST_NAME, moment_of, number_of, text_of

if TYPE_CHECKING:
    from awa_lib._sql import Op

__all__ = [
    "Ended",
    "EndsBucket",
    "FailedJob",
    "Failure",
    "FailureDetails",
    "ended_since",
    "ends_over_time",
    "failure_details",
    "get_failure",
    "list_failures",
    "minutes_back_to",
]

# An hour less than counts of minutes are kept.
_BY_MINUTE: Final = timedelta(hours=47)
_DEFAULT: Final = timedelta(hours=24)
_MONTH: Final = timedelta(days=30)
_MINUTE: Final = 60
_HOUR: Final = 3_600
_RECENT_JOBS: Final = 10
# Newest rows of each table in which the jobs of a failure are looked for.
_DEPTH: Final = 5_000


@dataclass(frozen=True, slots=True)
class Ended:
    """How many attempts ended in each way.

    ``retried`` failed and are tried again, ``failed`` failed for good.  ``requeued`` are jobs that
    someone retried after they had ended and that have run since.  Attempts that were handed back,
    and jobs that wait for a callback, have not ended.
    """

    completed: int = 0
    retried: int = 0
    failed: int = 0
    cancelled: int = 0
    snoozed: int = 0
    requeued: int = 0


@dataclass(frozen=True, slots=True)
class EndsBucket:
    """How attempts ended in the interval from ``bucket`` on."""

    bucket: datetime
    ended: Ended


@dataclass(frozen=True, slots=True)
class Failure:
    """Attempts that failed in the same way; counts are those of the time that was asked for.

    ``queues`` and ``kinds`` are where it happened then.  ``first_version`` is the version of the
    application that brought it, None when workers have none (``AWA_APP_VERSION``).  ``job_id`` is
    the last job that failed so.
    """

    id: str
    error_type: str
    message: str
    frames: list[str]
    queues: list[str]
    kinds: list[str]
    failed: int
    retried: int
    cancelled: int
    requeued: int
    first_seen_at: datetime
    last_seen_at: datetime
    first_version: str | None
    muted_until: datetime | None
    job_id: int

    @property
    def total(self) -> int:
        """Return how many attempts failed so."""
        return self.failed + self.retried + self.cancelled


@dataclass(frozen=True, slots=True)
class FailedJob:
    """A job whose last attempt failed so; ``state`` is ``dead`` for a dead letter.

    ``error`` is the text of its error, with the numbers and names that the failure leaves out.
    """

    id: int
    kind: str
    queue: str
    state: str
    attempt: int
    at: datetime | None
    error: str | None


@dataclass(frozen=True, slots=True)
class FailureDetails:
    """A failure with its latest jobs, newest first."""

    failure: Failure
    jobs: list[FailedJob]

    @property
    def example(self) -> str | None:
        """Return the first line of the latest job's error, None if no job is left."""
        text = (self.jobs[0].error or "").strip() if self.jobs else ""
        return text.splitlines()[0] if text else None


def ended_since(
    since: datetime,
    *,
    queue: str | None = None,
    kind: str | None = None,
    failure: str | None = None,
) -> Op[Ended]:
    """Return how attempts ended since a moment, of all or of a queue, kind or failure."""
    where = {"queue": queue, "kind": kind, "failure": failure}
    rows = yield sql.read_failures("ended_since", since=since, **_unit(since), **where)
    return Ended(**dict(rows))


def ends_over_time(
    since: datetime,
    until: datetime,
    *,
    seconds: int = 60,
    queue: str | None = None,
    kind: str | None = None,
    failure: str | None = None,
) -> Op[list[EndsBucket]]:
    """Return how attempts ended from ``since`` to ``until``, oldest first, for charts.

    Buckets begin at multiples of ``seconds``, which is a multiple of 60 (of 3600 for a time that
    began more than 47 hours ago); empty buckets are left out.  Raises ValidationError.
    """
    unit = _unit(since)
    least = _MINUTE if unit["minutes"] == 1 else _HOUR
    seconds = -(-number_of("seconds", seconds, 1, 366 * 86_400) // least) * least
    rows = yield sql.read_failures(
        "ends_over_time",
        since=since,
        until=until,
        seconds=seconds,
        queue=queue,
        kind=kind,
        failure=failure,
        **unit,
    )
    found: dict[datetime, dict[str, int]] = {}
    for bucket, outcome, ends in rows:
        found.setdefault(bucket, {})[outcome] = ends
    return [EndsBucket(bucket, Ended(**counts)) for bucket, counts in found.items()]


def list_failures(
    *,
    since: datetime | str | None = None,
    queue: str | None = None,
    kind: str | None = None,
    muted: bool = False,
    limit: int = 50,
) -> Op[list[Failure]]:
    """Return the failures since a moment, by default of 24 hours, the most frequent first.

    Muted failures are left out unless ``muted``.  Raises ValidationError.
    """
    begin = datetime.now(UTC) - _DEFAULT if since is None else moment_of(since, "since")
    for name, value in (("queue", queue), ("kind", kind)):
        if value is not None:
            text_of(name, value, LONGEST_NAME)
    if not isinstance(muted, bool):
        raise ValidationError(f"muted must be True or False, got {muted!r}")
    return (yield from _failures(begin, queue, kind, None, muted=muted, limit=limit))


def _failures(
    since: datetime,
    queue: str | None,
    kind: str | None,
    failure: str | None,
    *,
    muted: bool,
    limit: int,
) -> Op[list[Failure]]:
    rows = yield sql.read_failures(
        "list_failures",
        since=since,
        queue=queue,
        kind=kind,
        failure=failure,
        muted=muted,
        limit=checked_limit(limit),
        **_unit(since),
    )
    return rows.into(Failure)


def get_failure(failure_id: str, *, since: datetime | str | None = None) -> Op[Failure]:
    """Return one failure with its counts since a moment, by default of 30 days.

    Raises FailureNotFound, ValidationError.
    """
    text_of("failure_id", failure_id, LONGEST_NAME)
    begin = datetime.now(UTC) - _MONTH if since is None else moment_of(since, "since")
    found = yield from _failures(begin, None, None, failure_id, muted=True, limit=1)
    if not found:
        raise FailureNotFound(failure_id)
    return found[0]


def failure_details(failure_id: str, *, since: datetime | str | None = None) -> Op[FailureDetails]:
    """Return one failure with its latest ten jobs.  Raises as ``get_failure``.

    They are looked for among the newest 5,000 failed jobs, retries and dead letters.
    """
    failure = yield from get_failure(failure_id, since=since)
    rows = yield sql.read_failures(
        "failed_jobs", failure=failure_id, depth=_DEPTH, limit=_RECENT_JOBS
    )
    return FailureDetails(failure, rows.into(FailedJob))


def _unit(since: datetime) -> dict[str, Any]:
    """Return which counts reach back to a moment."""
    minutes = minutes_back_to(since)
    return {"minutes": minutes, "unit": "minute" if minutes == 1 else "hour"}


def minutes_back_to(since: datetime) -> int:
    """Return the length of the counts that reach back to a time: 1 minute or 60."""
    return 1 if datetime.now(UTC) - since < _BY_MINUTE else 60
