"""Read queues."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from awa_lib._sql import sql

if TYPE_CHECKING:
    from awa_lib._sql import Op

__all__ = ["QueueStat", "queue_stats"]


@dataclass(frozen=True, slots=True)
class QueueStat:
    """One queue now.  ``total_queued`` leaves out what has ended.

    ``lag_seconds`` is the age of the oldest job that could run, None when there is none.
    """

    queue: str
    total_queued: int
    scheduled: int
    available: int
    """Could run now."""
    retryable: int
    """Will run again later."""
    running: int
    failed: int
    waiting_external: int
    completed_last_hour: int
    """Completed within the last hour."""
    lag_seconds: float | None
    paused: bool
    """No job of it is started."""
    dead_letters: int = 0

    @property
    def waiting(self) -> int:
        """Return how many jobs ``cancel_waiting`` would cancel."""
        return self.scheduled + self.available + self.retryable + self.waiting_external


def queue_stats() -> Op[list[QueueStat]]:
    """Return one row per known queue, sorted by name; the counts are exact."""
    rows = yield sql.read_queues("queue_stats")
    return rows.into(QueueStat)
