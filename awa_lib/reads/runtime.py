"""The worker fleet as people and tools look at it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from awa_lib._json import loads
from awa_lib._sql import sql

if TYPE_CHECKING:
    from datetime import datetime

    from awa_lib._sql import Op

__all__ = ["RuntimeInstance", "live_instances", "runtime_instances"]


@dataclass(frozen=True, slots=True)
class RuntimeInstance:
    """One worker process as it last described itself.  ``stale`` means it fell silent."""

    instance_id: str
    hostname: str | None
    pid: int
    version: str
    storage_capability: str
    started_at: datetime
    last_seen_at: datetime
    snapshot_interval_ms: int
    """How often it reports."""
    stale: bool
    healthy: bool
    postgres_connected: bool
    poll_loop_alive: bool
    heartbeat_alive: bool
    maintenance_alive: bool
    shutting_down: bool
    """It starts no more jobs."""
    leader: bool
    """It promotes, rescues and cleans up for the fleet."""
    global_max_workers: int | None
    """Most jobs it runs at once over all queues; None is no limit."""
    queues: list[dict[str, Any]]
    """One object for each queue it works: queue, in_flight and settings."""


def runtime_instances() -> Op[list[RuntimeInstance]]:
    """Return every worker process of the last day, the one heard from last first."""
    rows = yield sql.read_runtime("runtime_instances")
    return rows.into(_instance)


def live_instances() -> Op[list[RuntimeInstance]]:
    """Return the worker processes that still report."""
    return [one for one in (yield from runtime_instances()) if not one.stale]


def _instance(*, queues: str, **columns: Any) -> RuntimeInstance:
    return RuntimeInstance(queues=loads(queues), **columns)
