"""Events of jobs in this process, for hooks and follow-ups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from awa_lib.models import Job

__all__ = [
    "Cancelled",
    "Completed",
    "Event",
    "Exhausted",
    "Failed",
    "Rescued",
    "Retried",
    "Started",
    "Waiting",
]


@dataclass(frozen=True, slots=True)
class Event:
    """An event of ``job``."""

    job: Job

    @property
    def args(self) -> Any:
        """The job's arguments, as the type its handler declared."""
        return self.job.args


@dataclass(frozen=True, slots=True)
class Started(Event):
    """A worker claimed the job; its handler is about to run."""


@dataclass(frozen=True, slots=True)
class Completed(Event):
    """The handler returned."""

    duration_seconds: float


@dataclass(frozen=True, slots=True)
class Retried(Event):
    """The attempt failed, or asked for a retry, which runs at ``job.run_at`` (in a hook)."""

    error: str
    """Empty for RetryAfter."""
    attempt: int


@dataclass(frozen=True, slots=True)
class Exhausted(Event):
    """The last attempt failed."""

    error: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Failed(Event):
    """The job failed for good, although it had attempts left."""

    error: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Cancelled(Event):
    """The handler, ``discard_on`` or an operator cancelled the job while it ran here."""

    reason: str


@dataclass(frozen=True, slots=True)
class Waiting(Event):
    """The job waits for a callback."""


@dataclass(frozen=True, slots=True)
class Rescued(Event):
    """The leader, in this process, took the job from an attempt that did not end it."""

    reason: str
    attempt: int
