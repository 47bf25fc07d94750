"""What is stored about a queue for the whole fleet: limits, and settings of its workers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypedDict

from awa_lib.config import RateLimit, Retention
from awa_lib.retention import MOST_HOURS, bounded

if TYPE_CHECKING:
    from datetime import datetime

    from awa_lib.config import QueueOptions

__all__ = ["PolicyChanges", "QueuePolicy"]


class PolicyChanges(TypedDict, total=False):
    """Settings to change; one that is None is taken back, one that is left out stays."""

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
    """Settings of one queue in the database; None means what each worker was started with."""

    queue: str
    dead_letters: bool = False
    """Whether failed jobs are kept apart."""
    max_running: int | None = None
    """Most jobs that run at once in the whole fleet; 0 lets none start, None is no limit."""
    max_running_per_key: int | None = None
    """Most jobs with the same concurrency key that run at once in the whole fleet."""
    max_rate: float | None = None
    """Jobs a second that each process may start."""
    burst: int | None = None
    """Size of the token bucket that goes with ``max_rate``."""
    poll_interval_ms: int | None = None
    """How often an idle worker looks for jobs, also while notifications arrive."""
    claim_batch: int | None = None
    """Most jobs one claim takes."""
    deadline_seconds: float | None = None
    """Longest run of one attempt; 0 for no limit."""
    completed_retention_hours: float | None = None
    failed_retention_hours: float | None = None
    updated_at: datetime | None = None
    """Last change; None for a queue nothing is stored about."""

    @property
    def limited(self) -> bool:
        """Return True when claims must be counted in the whole fleet."""
        return self.max_running is not None or self.max_running_per_key is not None

    def over(self, options: QueueOptions) -> QueueOptions:
        """Return what a worker of this queue goes by: these settings over its own."""
        rate, deadline = options.rate_limit, options.deadline_seconds
        if self.max_rate is not None and self.burst is not None:
            rate = RateLimit(self.max_rate, self.burst)
        if self.deadline_seconds is not None:
            deadline = bounded(self.deadline_seconds) or None
        return replace(options, rate_limit=rate, deadline_seconds=deadline)

    def kept(self, own: Retention) -> Retention:
        """Return how long ended jobs are kept: these settings over a worker's own."""
        completed, failed = self.completed_retention_hours, self.failed_retention_hours
        return Retention(
            own.completed_hours if completed is None else bounded(completed, MOST_HOURS),
            own.failed_hours if failed is None else bounded(failed, MOST_HOURS),
        )
