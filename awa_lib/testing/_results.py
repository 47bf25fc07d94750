"""The results of running jobs in a test."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

    from awa_lib.models import Job

__all__ = ["Drained", "JobRow", "NoJob", "Outcome", "WorkResult"]

Outcome = Literal[
    "completed", "retryable", "failed", "cancelled", "snoozed", "waiting_external", "no_job"
]
_OUTCOMES: Final[dict[str, Outcome]] = {
    "completed": "completed",
    "retryable": "retryable",
    "failed": "failed",
    "cancelled": "cancelled",
    "scheduled": "snoozed",
    "available": "snoozed",
    "waiting_external": "waiting_external",
}


class _NoJob:
    """Stands for the job if there was none; false."""

    def __bool__(self) -> Literal[False]:
        return False

    def __repr__(self) -> str:
        return "NoJob"


NoJob: Final = _NoJob()


@dataclass(frozen=True, slots=True)
class JobRow:
    """A job after its run; ``state`` is the snake_case name."""

    id: int
    kind: str
    queue: str
    args: Any
    attempt: int
    max_attempts: int
    priority: int
    tags: list[str]
    state: str | None = None

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Return the row of a dict of columns; tags and state may be missing."""
        names = ("id", "kind", "queue", "args", "attempt", "max_attempts", "priority")
        kept = {name: row[name] for name in names}
        return cls(**kept, tags=row.get("tags") or [], state=row.get("state"))

    @classmethod
    def of(cls, job: Job) -> Self:
        """Return the row of a job."""
        return cls(
            id=job.id,
            kind=job.kind,
            queue=job.queue,
            args=job.args,
            attempt=job.attempt,
            max_attempts=job.max_attempts,
            priority=job.priority,
            tags=job.tags,
            state=str(job.state),
        )


@dataclass(frozen=True, slots=True)
class WorkResult:
    """The result of running one job; ``error`` is the error that the run recorded, if any."""

    job: JobRow | _NoJob
    outcome: Outcome
    error: str | None = None

    @classmethod
    def of(cls, job: Job) -> Self:
        """Return the result that the row shows after a run."""
        outcome = _OUTCOMES[str(job.state)]
        last = job.errors[-1] if job.errors else {}
        error = last.get("error") if last.get("attempt") == job.attempt else None
        return cls(JobRow.of(job), outcome, error)

    def is_completed(self) -> bool:
        """Return True when the handler succeeded."""
        return self.outcome == "completed"

    def is_retryable(self) -> bool:
        """Return True when the job runs again, the attempt counted."""
        return self.outcome == "retryable"

    def is_failed(self) -> bool:
        """Return True when the job failed and has no attempts left."""
        return self.outcome == "failed"

    def is_cancelled(self) -> bool:
        """Return True when the job was cancelled."""
        return self.outcome == "cancelled"

    def is_snoozed(self) -> bool:
        """Return True when the job runs again, the attempt not counted."""
        return self.outcome == "snoozed"

    def is_waiting_external(self) -> bool:
        """Return True when the job waits for its callback."""
        return self.outcome == "waiting_external"

    def is_no_job(self) -> bool:
        """Return True when no job was available."""
        return self.outcome == "no_job"


@dataclass(frozen=True, slots=True)
class Drained:
    """The number of runs by their outcome."""

    completed: int = 0
    retryable: int = 0
    failed: int = 0
    cancelled: int = 0
    snoozed: int = 0
    waiting_external: int = 0

    @property
    def total(self) -> int:
        """The number of runs."""
        return sum(astuple(self))
