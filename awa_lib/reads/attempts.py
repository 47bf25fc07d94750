"""Read the attempts of a job: when each ran, for how long, and which worker ran it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Protocol

from awa_lib._sql import sql

if TYPE_CHECKING:
    from awa_lib._sql import Op
    from awa_lib.states import StateName

__all__ = [
    "FAULTLESS",
    "JobAttempt",
    "JobWorker",
    "attempts_of",
    "failed_attempt",
    "limit_of",
    "worker_of",
]

FAULTLESS: Final = frozenset({"running", "waiting_external", "completed"})
"""The last attempt of a job in one of these states has left no error."""


class Row(Protocol):
    """The part of a job that its attempts are read from."""

    @property
    def state(self) -> StateName: ...
    @property
    def attempt(self) -> int: ...
    @property
    def max_attempts(self) -> int: ...
    @property
    def run_lease(self) -> int: ...
    @property
    def attempted_at(self) -> datetime | None: ...
    @property
    def finalized_at(self) -> datetime | None: ...
    @property
    def errors(self) -> list[dict[str, Any]]: ...


@dataclass(frozen=True, slots=True)
class JobWorker:
    """The worker process that runs a job, or ran it last."""

    hostname: str
    pid: int
    version: str
    """The version of awa."""
    app_version: str | None
    """The version of the application, from ``AWA_APP_VERSION``."""
    started_at: datetime
    stopped_at: datetime | None
    """When it ended as it should; None for a process that runs, or died."""

    @property
    def name(self) -> str:
        """Return host and process id, as the errors of attempts have them."""
        return f"{self.hostname}:{self.pid}"


@dataclass(frozen=True, slots=True)
class JobAttempt:
    """An attempt of a job; one that ended with a snooze leaves no trace."""

    attempt: int | None
    outcome: str
    """running, waiting_external, completed, cancelled, failed, or crashed: its worker died."""
    started_at: datetime | None
    """None when a worker of awa 0.5, or of an older release, has ended it."""
    ended_at: datetime | None
    """Of a crashed attempt its last heartbeat."""
    worker: str | None
    """Host and process id; None when a worker of awa 0.5 or of an older release has run it."""
    app_version: str | None
    error: str | None
    """The first line of its error."""

    @property
    def seconds(self) -> float | None:
        """Return how long it ran; None for one that runs, or whose begin is not known."""
        if self.started_at is None or self.ended_at is None:
            return None
        return max(0.0, (self.ended_at - self.started_at).total_seconds())


def worker_of(job: Row) -> Op[JobWorker | None]:
    """Return the worker process that the lease of a job names; None when it names nobody."""
    if job.run_lease <= 0 or job.run_lease % 512 or job.attempted_at is None:
        return None
    rows = yield sql.read_jobs("get_worker", lease=job.run_lease, attempted_at=job.attempted_at)
    return rows.into(JobWorker)[0] if rows else None


def limit_of(job: Row) -> int:
    """Return how many attempts a job has: its own limit, or the lower one of its kind.

    That of the kind is known from the last error.
    """
    limit = job.errors[-1].get("max_attempts") if job.errors else None
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
        return job.max_attempts
    return min(limit, job.max_attempts)


def attempts_of(job: Row, worker: JobWorker | None) -> list[JobAttempt]:
    """Return the attempts of a job, oldest first: the failed ones, and the last one."""
    found = [failed_attempt(entry) for entry in job.errors]
    if job.attempted_at is None:
        return found
    of_row = JobAttempt(
        attempt=job.attempt,
        outcome=job.state,
        started_at=job.attempted_at,
        ended_at=job.finalized_at if job.state in {"completed", "cancelled"} else None,
        worker=None if worker is None else worker.name,
        app_version=None if worker is None else worker.app_version,
        error=None,
    )
    if found and _is_last(job, found[-1]):
        last = found[-1]
        found[-1] = replace(
            last,
            outcome="cancelled" if job.state == "cancelled" else last.outcome,
            started_at=of_row.started_at,
            worker=last.worker or of_row.worker,
            app_version=last.app_version or of_row.app_version,
        )
    # A retry counts attempts from 0 again, and keeps the time of the last one.
    elif job.attempt and job.state in {*FAULTLESS, "cancelled"}:
        found.append(of_row)
    return found


def _is_last(job: Row, failed: JobAttempt) -> bool:
    if job.state in FAULTLESS:
        return False  # by their begins, attempts in one transaction of a test are alike
    if failed.started_at is not None:
        return failed.started_at == job.attempted_at
    return failed.attempt == job.attempt


def failed_attempt(entry: dict[str, Any]) -> JobAttempt:
    """Return the attempt that left an error."""
    number, crashed = entry.get("attempt"), "crash" in entry
    error = entry.get("error")
    return JobAttempt(
        attempt=number if isinstance(number, int) else None,
        outcome="crashed" if crashed else "failed",
        started_at=_moment(entry.get("started")),
        ended_at=_moment(crashed and entry.get("heartbeat")) or _moment(entry.get("at")),
        worker=_text(entry.get("worker")),
        app_version=_text(entry.get("app_version")),
        error=error.partition("\n")[0] if isinstance(error, str) else None,
    )


def _moment(value: object) -> datetime | None:
    """Return a time of an entry, which anybody may have written."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return moment if moment.tzinfo else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
