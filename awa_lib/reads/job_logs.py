"""Read what the handlers of a job have logged."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from awa_lib._json import loads
from awa_lib._sql import sql
from awa_lib.reads.jobs import job_row
from awa_lib.validation import INT32_MAX, int64_of, number_of

if TYPE_CHECKING:
    from awa_lib._sql import Op

__all__ = ["JobLog", "LogRecord", "get_job_logs"]


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


def get_job_logs(job_id: int, *, attempt: int | None = None) -> Op[list[JobLog]]:
    """Return what the runs of a job have logged, in their order; of one attempt if it is given.

    There are logs of kinds and queues with ``capture_logs``.  Records arrive with the heartbeats of
    the worker and at the end of a run.  Raises JobNotFound, ValidationError.
    """
    return _logs(
        int64_of("job_id", job_id),
        None if attempt is None else number_of("attempt", attempt, 0, INT32_MAX),
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
