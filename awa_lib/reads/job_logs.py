"""Read what the handlers of a job have logged."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from awa_lib._json import loads
from awa_lib._sql import sql
from awa_lib.reads.job_dumps import dump_job, stamp, step_event
from awa_lib.reads.jobs import job_row
from awa_lib.validation import INT32_MAX, int64_of, number_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from awa_lib._sql import Op
    from awa_lib.states import StateName

__all__ = [
    "HistoryEntry",
    "JobLog",
    "LogRecord",
    "get_job_logs",
    "job_history",
    "latest_job_log",
]

_ERRORS: Final = frozenset({"ERROR", "CRITICAL"})


@dataclass(frozen=True, slots=True)
class LogRecord:
    """A record that a handler has logged."""

    time: datetime
    """By the clock of the worker."""
    level: str
    logger: str
    message: str
    exception: str | None
    """The traceback that was logged with it."""


@dataclass(frozen=True, slots=True)
class JobLog:
    """What a run of a job has logged.

    An attempt that did not count (a snooze, the death of its worker) and the next run of the job
    have the same number, and different leases.
    """

    job_id: int
    attempt: int
    run_lease: int
    created_at: datetime
    """When the first records were stored."""
    updated_at: datetime
    dropped: int
    """How many earlier records were dropped, because a run keeps 64 kB."""
    records: list[LogRecord]
    """The oldest first."""


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """An event of a job, or a record that a handler of it has logged."""

    timestamp: str
    """By the clock of the database, or of the worker for a record."""
    label: str
    """What happened, in words; the level of a record."""
    state: StateName | None
    detail: str | None
    """The text of an error; the message of a record, and its traceback."""
    is_error: bool
    attempt: int | None
    """The attempt that has logged the record; None for an event."""
    logger: str | None
    """The name of its logger; None for an event."""


def get_job_logs(job_id: int, *, attempt: int | None = None) -> Op[list[JobLog]]:
    """Return what the runs of a job have logged, in their order; of one attempt if it is given.

    There are logs of kinds and queues with ``capture_logs``.  Records arrive with the heartbeats of
    the worker and at the end of a run.  Raises JobNotFound, ValidationError.
    """
    return _logs(
        int64_of("job_id", job_id),
        None if attempt is None else number_of("attempt", attempt, 0, INT32_MAX),
    )


def latest_job_log(job_id: int) -> Op[JobLog | None]:
    """Return what the newest run of a job has logged; None if no log of it is kept."""
    rows = yield sql.job_logs("read_latest", id=job_id)
    return _log(**dict(zip(rows.columns, rows[0], strict=True))) if rows else None


def job_history(job_id: int, *, attempt: int | None = None) -> Op[list[HistoryEntry]]:
    """Return the events of a job and what its handlers have logged, oldest first.

    Raises JobNotFound, ValidationError.
    """
    dump = yield from dump_job(job_id)
    steps = {step_event(one) for one in dump.steps if one.attempt == attempt}
    logs = yield from get_job_logs(job_id, attempt=attempt)
    found = [
        HistoryEntry(one.timestamp, one.label, one.state, one.detail, one.is_error, None, None)
        for one in dump.timeline
        if attempt is None or f"{one.label} ".startswith(f"Attempt {attempt} ") or one in steps
    ]
    for log in logs:
        found += _entries(log)
    return sorted(found, key=lambda one: datetime.fromisoformat(one.timestamp))


def _entries(log: JobLog) -> Iterator[HistoryEntry]:
    if log.dropped and log.records:
        yield HistoryEntry(
            stamp(log.records[0].time),
            f"… {log.dropped} earlier records dropped",
            None,
            None,
            False,
            log.attempt,
            None,
        )
    for one in log.records:
        yield HistoryEntry(
            timestamp=stamp(one.time),
            label=one.level,
            state=None,
            detail=one.message if one.exception is None else f"{one.message}\n{one.exception}",
            is_error=one.level in _ERRORS,
            attempt=log.attempt,
            logger=one.logger,
        )


def _logs(job_id: int, attempt: int | None) -> Op[list[JobLog]]:
    rows = yield sql.job_logs("read", id=job_id, attempt=attempt)
    if not rows:
        yield from job_row(job_id)
    return [_log(**dict(zip(rows.columns, row, strict=True))) for row in rows]


def _log(lines: str, **columns: Any) -> JobLog:
    return JobLog(**columns, records=[_record(line) for line in lines.split("\n") if line])


def _record(line: str) -> LogRecord:
    found: dict[str, Any] = loads(line)
    return LogRecord(
        time=datetime.fromisoformat(found["time"]),
        level=found["level"],
        logger=found["logger"],
        message=found["message"],
        exception=found.get("exception"),
    )
