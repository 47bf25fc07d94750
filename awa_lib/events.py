"""Events of jobs in this process, for hooks and follow-ups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from typing_extensions import TypeVar as TypeVarWithDefault

    from awa_lib.models import Job

    A = TypeVarWithDefault("A", default=Any)
else:
    A = TypeVar("A")

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
class Event(Generic[A]):
    """An event of ``job``, whose args are of the type A."""

    job: Job[A]

    @property
    def args(self) -> A:
        """The job's arguments, as the type its handler declared."""
        return self.job.args


@dataclass(frozen=True, slots=True)
class Started(Event[A]):
    """A worker claimed the job; its handler is about to run."""


@dataclass(frozen=True, slots=True)
class Completed(Event[A]):
    """The handler returned."""

    duration_seconds: float


@dataclass(frozen=True, slots=True)
class Retried(Event[A]):
    """The attempt failed, or asked for a retry, which runs at ``job.run_at`` (in a hook)."""

    error: str
    """Empty for RetryAfter."""
    attempt: int


@dataclass(frozen=True, slots=True)
class Exhausted(Event[A]):
    """The last attempt failed."""

    error: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Failed(Event[A]):
    """The job failed for good, although it had attempts left."""

    error: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Cancelled(Event[A]):
    """The handler, ``discard_on`` or an operator cancelled the job while it ran here."""

    reason: str


@dataclass(frozen=True, slots=True)
class Waiting(Event[A]):
    """The job waits for a callback."""


@dataclass(frozen=True, slots=True)
class Rescued(Event[A]):
    """The leader, in this process, took the job from an attempt that did not end it."""

    reason: str
    attempt: int
