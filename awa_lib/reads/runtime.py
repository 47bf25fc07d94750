"""Read the worker fleet."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from awa_lib._json import as_queues
from awa_lib._sql import sql

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from awa_lib._sql import Op

__all__ = [
    "QueueRuntime",
    "RuntimeInstance",
    "RuntimeOverview",
    "count_workers",
    "live_instances",
    "queue_runtimes",
    "runtime_instances",
    "runtime_overview",
]


_NEWS: Final = timedelta(minutes=5)
_UNSETTLED: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class RuntimeInstance:
    """One worker process as it last described itself.

    ``stale`` means that it no longer reports: it has stopped, or it fell silent.  It fell silent
    when it missed three reports, when its session has ended, or when jobs were rescued from it.
    """

    instance_id: str
    hostname: str | None
    pid: int
    version: str
    """The version of awa."""
    app_version: str | None
    """The version of the application, from ``AWA_APP_VERSION``."""
    storage_capability: str
    started_at: datetime
    last_seen_at: datetime
    snapshot_interval_ms: int
    """How often it reports."""
    stale: bool
    session_ended: bool
    """The session of its reports is gone, without a clean stop."""
    rescued_at: datetime | None
    """When jobs were rescued from it since its last report, because its heartbeats had stopped."""
    healthy: bool
    """It says so, and still reports."""
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
    """One object for each queue it works: queue, in_flight, waiting and settings."""

    @property
    def in_flight(self) -> int:
        """Return how many jobs it ran when it last reported."""
        return sum(int(queue.get("in_flight") or 0) for queue in self.queues)

    @property
    def stopped(self) -> bool:
        """Return True after a clean stop: it left no job behind."""
        return self.shutting_down and not self.in_flight

    @property
    def silent(self) -> bool:
        """Return True when it fell silent without a clean stop: killed, hung or cut off."""
        return self.stale and not self.stopped

    def is_news(self, now: datetime) -> bool:
        """Return True while its silence is worth a word.

        That is five minutes after the rescue of its jobs, or after its last report if it ran none
        then; an hour while no rescue of its jobs is known.
        """
        settled = self.rescued_at or (None if self.in_flight else self.last_seen_at)
        if settled is not None:
            return self.silent and now - settled < _NEWS
        return self.silent and now - self.last_seen_at < _UNSETTLED


@dataclass(frozen=True, slots=True)
class RuntimeOverview:
    """The fleet: its processes and counts of them; leaders and healthy processes are live."""

    total_instances: int
    live_instances: int
    stale_instances: int
    healthy_instances: int
    leader_instances: int
    instances: list[RuntimeInstance]


@dataclass(frozen=True, slots=True)
class QueueRuntime:
    """The processes that work one queue.

    ``config`` is the configuration of the first live process; ``config_mismatch`` is True when
    another live process has a different one.  ``overflow_held_total`` is None unless slots are
    shared by weight.
    """

    queue: str
    instance_count: int
    live_instances: int
    stale_instances: int
    healthy_instances: int
    total_in_flight: int
    overflow_held_total: int | None
    config_mismatch: bool
    config: dict[str, Any] | None


def runtime_overview() -> Op[RuntimeOverview]:
    """Return the fleet of the last day, the most recently seen process first."""
    found = yield from runtime_instances()
    live = [worker for worker in found if not worker.stale]
    return RuntimeOverview(
        len(found),
        len(live),
        len(found) - len(live),
        sum(worker.healthy for worker in live),
        sum(worker.leader for worker in live),
        found,
    )


def queue_runtimes() -> Op[list[QueueRuntime]]:
    """Return one row per queue that a process of the last day works, sorted by name."""
    worked: dict[str, list[tuple[RuntimeInstance, dict[str, Any]]]] = {}
    for worker in (yield from runtime_instances()):
        for queue in worker.queues:
            worked.setdefault(queue["queue"], []).append((worker, queue))
    return [_queue_runtime(name, worked[name]) for name in sorted(worked)]


def _queue_runtime(name: str, worked: list[tuple[RuntimeInstance, dict[str, Any]]]) -> QueueRuntime:
    live = [(worker, queue) for worker, queue in worked if not worker.stale]
    configs = [queue.get("config") for _, queue in live]
    held = [queue["overflow_held"] for _, queue in live if queue.get("overflow_held") is not None]
    return QueueRuntime(
        name,
        len(worked),
        len(live),
        len(worked) - len(live),
        sum(worker.healthy for worker, _ in live),
        sum(queue.get("in_flight", 0) for _, queue in live),
        sum(held) if held else None,
        any(config != configs[0] for config in configs),
        configs[0] if configs else None,
    )


def runtime_instances() -> Op[list[RuntimeInstance]]:
    """Return every worker process of the last day, the most recently seen first."""
    rows = yield sql.read_runtime("runtime_instances")
    return rows.into(_instance)


def count_workers(queues: Sequence[str], kinds: Sequence[str]) -> Op[dict[str, int]]:
    """Return how many live workers of each queue could run the rarest of these kinds."""
    rows = yield sql.read_runtime("count_workers", queues=list(queues), kinds=list(kinds))
    return dict(rows)


def live_instances() -> Op[list[RuntimeInstance]]:
    """Return the worker processes that still report."""
    return [worker for worker in (yield from runtime_instances()) if not worker.stale]


def _instance(*, queues: str, **columns: Any) -> RuntimeInstance:
    return RuntimeInstance(queues=as_queues(queues), **columns)
