"""The summary of queues and workers, for the first screen and the first page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from awa_cli.views.words import counted, span
from awa_cli.views.workers import is_recent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from awa_lib.reads.queues import QueueStat
    from awa_lib.reads.runtime import RuntimeInstance

__all__ = ["fleet_words", "queue_words"]


def fleet_words(fleet: Sequence[RuntimeInstance]) -> list[str]:
    """Return the number of workers, their jobs in flight, leader and versions.

    Workers that have stopped are left out, and those whose silence is no news any more.
    """
    live = [one for one in fleet if not one.stale and not one.stopped]
    flying = sum(queue.get("in_flight", 0) for one in live for queue in one.queues)
    versions = sorted({one.version for one in live})
    leader = next((f"{one.hostname}:{one.pid}" for one in live if one.leader), None)
    parts = [counted(len(live), "worker"), f"{flying:,} in flight"]
    parts += [f"leader {leader}"] if leader else []
    parts += [f"version {', '.join(versions)}"] if versions else []
    silent = sum(one.silent and is_recent(one) for one in fleet)
    return parts + ([f"{silent} silent"] if silent else [])


def queue_words(queues: Sequence[QueueStat]) -> list[str]:
    """Return the number of queues, their jobs, and the longest wait."""
    lags = [one.lag_seconds for one in queues if one.lag_seconds is not None]
    paused = sum(one.paused for one in queues)
    parts = [counted(len(queues), "queue")]
    parts += [f"{paused:,} paused"] if paused else []
    parts.append(f"{sum(one.running for one in queues):,} running")
    parts.append(f"{sum(one.available for one in queues):,} could run")
    return parts + ([f"the oldest waits {span(max(lags))}"] if lags else [])
