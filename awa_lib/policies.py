"""The policy of a queue: limits and settings that hold for the whole fleet."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypedDict, TypeVar

from awa_lib.config.queues import RateLimit, Retention
from awa_lib.errors import ValidationError
from awa_lib.validation import INT32_MAX, LONGEST_HOURS

if TYPE_CHECKING:
    from datetime import datetime

    from awa_lib.config.queues import QueueOptions

__all__ = [
    "LONGEST_DEADLINE",
    "LONGEST_POLL_MS",
    "LONGEST_RETENTION",
    "RATES",
    "PolicyChanges",
    "QueuePolicy",
]

# Larger values mean the same, and intervals could not be computed.
LONGEST_DEADLINE: Final = 10 * 366 * 86_400.0
LONGEST_RETENTION: Final = LONGEST_HOURS
"""A hundred years, in hours."""
LONGEST_POLL_MS: Final = 86_400_000
RATES: Final = (1e-6, 1e9)


_N = TypeVar("_N", int, float)


class PolicyChanges(TypedDict, total=False):
    """Settings to change.  None resets a setting; a setting that is left out stays."""

    max_running: int | None
    max_running_per_key: int | None
    rate_limit: tuple[float, int] | None
    poll_interval_ms: int | None
    claim_batch: int | None
    deadline_seconds: float | None
    completed_retention_hours: float | None
    failed_retention_hours: float | None


@dataclass(frozen=True, slots=True)
class QueuePolicy:
    """The policy of a queue.  None means the setting that each worker was started with."""

    queue: str
    dead_letters: bool = False
    """Whether failed jobs become dead letters."""
    max_running: int | None = None
    """The maximum number of running jobs in the fleet; 0 lets none start, None is no limit."""
    max_running_per_key: int | None = None
    """The maximum number of running jobs with the same concurrency key in the fleet."""
    max_rate: float | None = None
    """The maximum number of jobs that each process starts per second."""
    burst: int | None = None
    """The size of the token bucket of ``max_rate``."""
    poll_interval_ms: int | None = None
    """The polling interval of an idle worker, also while notifications arrive."""
    claim_batch: int | None = None
    """The maximum number of jobs of a claim."""
    deadline_seconds: float | None = None
    """The longest run of an attempt; 0 for no limit."""
    completed_retention_hours: float | None = None
    failed_retention_hours: float | None = None
    updated_at: datetime | None = None
    """The last change; None for a queue without a policy."""

    @property
    def limited(self) -> bool:
        """Return True when claims are counted in the whole fleet."""
        return self.max_running is not None or self.max_running_per_key is not None

    def clamped(self) -> QueuePolicy:
        """Return the policy with each value put within its bounds.

        For rows that were written by hand.  Raises ValidationError for NaN.
        """
        return replace(
            self,
            max_running=self._within("max_running", 0, INT32_MAX),
            max_running_per_key=self._within("max_running_per_key", 1, INT32_MAX),
            max_rate=self._within("max_rate", *RATES),
            burst=self._within("burst", 1, INT32_MAX),
            poll_interval_ms=self._within("poll_interval_ms", 1, LONGEST_POLL_MS),
            claim_batch=self._within("claim_batch", 1, INT32_MAX),
            deadline_seconds=self._within("deadline_seconds", 0.0, LONGEST_DEADLINE),
            completed_retention_hours=self._within(
                "completed_retention_hours", 0.0, LONGEST_RETENTION
            ),
            failed_retention_hours=self._within("failed_retention_hours", 0.0, LONGEST_RETENTION),
        )

    def _within(self, name: str, least: _N, most: _N) -> _N | None:
        value: _N | None = getattr(self, name)
        if value is None:
            return None
        if math.isnan(value):
            raise ValidationError(f"{name} of queue {self.queue!r} is not a number")
        return min(max(value, least), most)

    def over(self, options: QueueOptions) -> QueueOptions:
        """Return the options of a worker, overridden by this policy."""
        rate, deadline = options.rate_limit, options.deadline_seconds
        if self.max_rate is not None and self.burst is not None:
            rate = RateLimit(_number(self.max_rate, *RATES), max(1, self.burst))
        if self.deadline_seconds is not None:
            deadline = _number(self.deadline_seconds, 0.0, LONGEST_DEADLINE) or None
        return replace(options, rate_limit=rate, deadline_seconds=deadline)

    def kept(self, own: Retention) -> Retention:
        """Return the retention of a worker, overridden by this policy."""
        return Retention(
            _kept(self.completed_retention_hours, own.completed_hours),
            _kept(self.failed_retention_hours, own.failed_hours),
        )


def _kept(hours: float | None, own: float | None) -> float | None:
    if hours is None or math.isnan(hours):
        hours = own
    return None if hours is None else _number(hours, 0.0, LONGEST_RETENTION)


def _number(value: float, least: float, most: float) -> float:
    """Return a number within bounds; NaN gives the largest, which limits nothing."""
    return most if math.isnan(value) else min(max(value, least), most)
