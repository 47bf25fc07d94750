"""The status that a worker process reports, derived from the record of its duties."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from awa_lib.errors import AwaError
from awa_lib.ops.runtime import InstanceSnapshot
from awa_lib.reads.health import available_counts
from awa_lib.runtime import identity
from awa_lib.runtime.health import HealthCheck, QueueHealth

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from awa_lib.config.queues import QueueOptions
    from awa_lib.config.workers import WorkerOptions
    from awa_lib.runtime.completer import Completer
    from awa_lib.runtime.dispatcher import Dispatcher
    from awa_lib.runtime.heartbeat import Heartbeat
    from awa_lib.runtime.leader import Leader
    from awa_lib.runtime.links import Link, Outage
    from awa_lib.runtime.supervisor import Supervisor

__all__ = ["Status", "idle_health"]

_HEALTH_SECONDS: Final = 2.0


def idle_health(*, connected: bool) -> HealthCheck:
    """Return the health of a client whose runtime does not run."""
    return HealthCheck(
        healthy=False,
        postgres_connected=connected,
        poll_loop_alive=False,
        heartbeat_alive=False,
        shutting_down=False,
        leader=False,
        queues={},
    )


class Status:
    """The health of a process, for its own program, its probes and the fleet's table."""

    def __init__(
        self,
        *,
        instance_id: str,
        options: WorkerOptions,
        kinds: Sequence[str],
        outage: Outage,
        supervisor: Supervisor,
        completer: Completer,
        dispatchers: Mapping[str, Dispatcher],
        heartbeat: Heartbeat,
        leader: Leader,
        link: Link,
        waits: Callable[[str], int],
    ) -> None:
        self._options = options
        self._kinds = kinds
        self._outage = outage
        self._supervisor = supervisor
        self._completer = completer
        self._dispatchers = dispatchers
        self._heartbeat = heartbeat
        self._leader = leader
        self._link = link
        self._waits = waits
        self.exiting = False
        """The jobs that still run were handed back: they are no longer in flight."""
        self._instance = instance_id
        self._asked: asyncio.Task[dict[str, int] | None] | None = None
        self._started_at = datetime.now(UTC)

    def is_healthy(self, *, shutting_down: bool) -> bool:
        """Return whether the process publishes that it is healthy."""
        return not (shutting_down or self._outage.any or self._supervisor.troubled)

    def snapshot(self, *, shutting_down: bool) -> InstanceSnapshot:
        """Return what this process publishes about itself."""
        return InstanceSnapshot(
            instance_id=self._instance,
            hostname=identity.hostname(),
            pid=os.getpid(),
            version=identity.version(),
            started_at=self._started_at,
            healthy=self.is_healthy(shutting_down=shutting_down),
            postgres_connected=not self._outage.any,
            poll_loop_alive=self._claiming,
            heartbeat_alive=self._heartbeat.alive,
            maintenance_alive=self._leader.alive,
            shutting_down=shutting_down,
            leader=self._leader.is_leader,
            global_max_workers=self._options.global_max_workers,
            queues=[self._published(d) for d in self._dispatchers.values()],
            kinds=list(self._kinds),
        )

    @property
    def _claiming(self) -> bool:
        return self._completer.alive and all(d.alive for d in self._dispatchers.values())

    def _published(self, dispatcher: Dispatcher) -> dict[str, Any]:
        queue, weighted = dispatcher.queue, self._options.global_max_workers is not None
        limit = queue.rate_limit
        return {
            "queue": queue.name,
            "in_flight": 0 if self.exiting else dispatcher.slots.used,
            # Ours alone: slots held by handlers that wait for a callback.
            "waiting": self._waits(queue.name),
            "overflow_held": self._overflow_held(dispatcher),
            "config": {
                "mode": "weighted" if weighted else "hard_reserved",
                "max_workers": queue.max_workers,
                "min_workers": queue.min_workers if weighted else None,
                "weight": queue.weight if weighted else None,
                "global_max_workers": self._options.global_max_workers,
                "poll_interval_ms": round(dispatcher.poll_interval_ms),
                # awa 0.5 reads an integer here; 0 stands for no deadline.
                "deadline_duration_secs": round(queue.deadline_seconds or 0),
                "priority_aging_interval_secs": 60,
                "rate_limit": limit and {"max_rate": limit.max_rate, "burst": limit.burst},
            },
        }

    def _overflow_held(self, dispatcher: Dispatcher) -> int | None:
        if self._options.global_max_workers is None:
            return None
        return max(0, dispatcher.slots.used - dispatcher.queue.min_workers)

    async def health(self, *, shutting_down: bool) -> HealthCheck:
        """Return the health of this process, with live counts of available jobs; within 2 s."""
        # A fresh answer counts more than what the duties last saw.
        available = await self._available()
        connected = available is not None and not self._outage.unanswered
        troubled = self._supervisor.troubled
        return HealthCheck(
            healthy=connected and not troubled and not shutting_down,
            postgres_connected=connected,
            poll_loop_alive=self._claiming,
            heartbeat_alive=self._heartbeat.alive,
            shutting_down=shutting_down,
            leader=self._leader.is_leader,
            queues={
                name: self._queue_health(dispatcher, available or {})
                for name, dispatcher in self._dispatchers.items()
            },
            troubled=tuple(troubled),
        )

    async def _available(self) -> dict[str, int] | None:
        """Return the number of available jobs by queue; None when the database is too slow.

        Concurrent callers share one query.  A late query is not cancelled: that would wait for
        its connection.
        """
        if self._asked is None or self._asked.done():
            self._asked = asyncio.create_task(self._ask(), name="awa health")
        await asyncio.wait({self._asked}, timeout=_HEALTH_SECONDS)
        return self._asked.result() if self._asked.done() else None

    async def _ask(self) -> dict[str, int] | None:
        try:
            return await self._link.run(available_counts(list(self._dispatchers)))
        except AwaError:
            return None

    def _queue_health(self, dispatcher: Dispatcher, available: Mapping[str, int]) -> QueueHealth:
        queue: QueueOptions = dispatcher.queue
        weighted = self._options.global_max_workers is not None
        return QueueHealth(
            in_flight=dispatcher.slots.used,
            available=available.get(queue.name, 0),
            max_workers=queue.max_workers,
            min_workers=queue.min_workers if weighted else None,
            weight=queue.weight if weighted else None,
            overflow_held=self._overflow_held(dispatcher),
        )
