"""The health of a worker, as its own process sees it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["HealthCheck", "QueueHealth"]


@dataclass(frozen=True, slots=True)
class QueueHealth:
    """A queue as this process sees it."""

    in_flight: int
    available: int
    max_workers: int | None
    min_workers: int | None = None
    weight: int | None = None
    overflow_held: int | None = None


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """State of this process's worker runtime; all False before start() and after shutdown()."""

    healthy: bool
    postgres_connected: bool
    poll_loop_alive: bool
    heartbeat_alive: bool
    shutting_down: bool
    leader: bool
    queues: Mapping[str, QueueHealth]
    troubled: tuple[str, ...] = ()
    """Duties of the worker that fail or hang, by name."""
