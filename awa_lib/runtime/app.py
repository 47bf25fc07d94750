"""The worker runtime of one process: every duty, started and stopped in order."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import uuid
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING, Any, Final

from awa_lib.errors import AwaError
from awa_lib.health import HealthCheck, QueueHealth
from awa_lib.http_worker import HttpWorker
from awa_lib.ops import claims
from awa_lib.ops.runtime import InstanceSnapshot, described
from awa_lib.reads.health import available_counts
from awa_lib.runtime.callbacks import Callbacks
from awa_lib.runtime.completer import Completer
from awa_lib.runtime.connections import Link, Outage
from awa_lib.runtime.dispatcher import Dispatcher
from awa_lib.runtime.events import Events
from awa_lib.runtime.executor import Executor
from awa_lib.runtime.heartbeat import Heartbeat
from awa_lib.runtime.leader import Leader
from awa_lib.runtime.limits import Overflow
from awa_lib.runtime.listener import Listener
from awa_lib.runtime.policies import Policies
from awa_lib.runtime.scheduler import Declarer
from awa_lib.runtime.snapshot import Publisher

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from awa_lib.config import QueueOptions, WorkerOptions
    from awa_lib.descriptors import Descriptor
    from awa_lib.ops.cron import Schedule
    from awa_lib.ops.maintenance import Rescued
    from awa_lib.runtime.context import Attempt
    from awa_lib.runtime.events import Registry
    from awa_lib.runtime.handlers import Handlers

__all__ = ["Runtime", "idle_health"]

logger = logging.getLogger(__name__)


@cache
def version() -> str:
    """Return the version of this distribution, as published in the fleet's table."""
    try:
        return metadata.version("awa-toolkit")
    except metadata.PackageNotFoundError:
        return "unknown"


# Losing a claim in a server crash only leaves the job available, and the lease guard drops the
# end of an attempt whose claim was lost, so claims need not wait for the disk.
_CLAIM_DURABILITY: Final = "-c synchronous_commit=off"


def idle_health(*, connected: bool) -> HealthCheck:
    """Return the health of a client whose runtime does not run."""
    return HealthCheck(
        healthy=False, postgres_connected=connected, poll_loop_alive=False, heartbeat_alive=False,
        shutting_down=False, leader=False, queues={},
    )  # fmt: skip


class Runtime:
    """Connections: claims, completions, listener, heartbeat, publisher, and two of the leader's."""

    def __init__(
        self,
        dsn: str,
        handlers: Handlers,
        options: WorkerOptions,
        queue_descriptors: Mapping[str, Descriptor],
        kind_descriptors: Mapping[str, Descriptor],
        schedules: Sequence[Schedule],
        registry: Registry,
    ) -> None:
        self._options = options
        self._handlers = handlers
        self._outage = Outage()
        self._claims = Link("claims", dsn, self._outage, hot=True, extra=_CLAIM_DURABILITY)
        self._ends = Link("completions", dsn, self._outage, hot=True)
        publisher = Link("publisher", dsn, self._outage)
        self._events = Events(registry, handlers, publisher)
        self._completer = Completer(self._ends, self._events, self._ended)
        blocking = sum(queue.capacity for queue in options.queues)
        self._executor = Executor(
            handlers, self._completer, self, self._events,
            threads=max(1, options.global_max_workers or blocking),
            spans_per_second=options.spans_per_second,
            cancel_grace=options.cancel_grace_ms / 1000,
        )  # fmt: skip
        self.callbacks = Callbacks(
            self._ends, self._deadline_of, self._events.waiting, self._resumed
        )
        overflow = Overflow(options) if options.global_max_workers is not None else None
        self._listener = Listener(
            dsn, [q.name for q in options.queues], self._outage, self._wake, self._cancelled,
            self.callbacks.heard, self._policy_changed,
        )  # fmt: skip
        self._dispatchers = {
            queue.name: self._dispatcher(queue, overflow) for queue in options.queues
        }
        self._heartbeat = Heartbeat(
            dsn, options.heartbeat_interval_ms / 1000, self._executor.attempts, self._outage,
            self._lost,
        )  # fmt: skip
        self._leader = Leader(
            Link("leader", dsn, self._outage),
            Link("maintenance", dsn, self._outage),
            options,
            self._rescued,
        )
        self._declarer = Declarer(publisher, schedules)
        self._publisher = Publisher(
            publisher,
            self.snapshot,
            described(self._dispatchers, queue_descriptors),
            described(handlers, kind_descriptors),
        )
        self._policies = Policies(publisher, self._dispatchers, self._publisher.poke)
        self._instance = str(uuid.uuid4())
        self._started_at = datetime.now(UTC)
        self.loop = asyncio.get_running_loop()
        self.shutting_down = False

    def _dispatcher(self, queue: QueueOptions, overflow: Overflow | None) -> Dispatcher:
        return Dispatcher(
            queue,
            self._options,
            sorted(self._handlers),
            self._claims,
            self._executor,
            self._completer,
            overflow,
            self._listener.listens,
        )

    async def start(self) -> None:
        """Start every duty.  Raises Unavailable when the database cannot be reached."""
        await self._claims.connection()
        await self._ends.connection()
        await self._publisher.start()
        await self._declarer.start()
        await self._policies.start()
        self._completer.start()
        self._heartbeat.start()
        await self._listener.start()
        for dispatcher in self._dispatchers.values():
            dispatcher.start()
        await self._leader.start()
        # The first snapshot was written before the loops ran: it says that none is alive.
        self._publisher.poke()
        logger.info("worker started", extra={"queues": list(self._dispatchers)})

    async def stop(self, timeout_seconds: float) -> list[Attempt]:
        """Claim no more, let handlers end, write their ends, stop every duty.

        Async handlers still running at the time-out are cancelled and their jobs handed back;
        blocking ones cannot be, and are returned: their rows stay running until they are rescued
        or released.
        """
        self.shutting_down = True
        self._publisher.poke()
        self._executor.stop_attempts("shutdown")
        self.callbacks.release()
        await asyncio.gather(*(d.stop() for d in self._dispatchers.values()))
        left = await self._executor.drain(timeout_seconds)
        try:
            await asyncio.wait_for(self._completer.drain(), max(1.0, timeout_seconds))
        except TimeoutError:
            logger.error(  # noqa: TRY400 - the time-out itself says nothing more
                "the database did not answer; ends of jobs were not recorded and will run again",
                extra={"jobs": self._completer.pending},
            )
        await self._leader.stop()
        await self._listener.stop()
        await self._heartbeat.stop()
        await self.callbacks.stop()
        await self._completer.stop()
        await self._claims.close()
        await self._events.stop()
        for handler in self._handlers.values():
            if isinstance(handler.call, HttpWorker):
                await handler.call.aclose()
        await self._declarer.stop()
        await self._policies.stop()
        await self._publisher.stop()
        self._executor.close()
        logger.info("worker stopped", extra={"abandoned": [a.job.id for a in left]})
        return left

    def snapshot(self) -> InstanceSnapshot:
        """Return what this process publishes of itself."""
        alive = self._alive()
        return InstanceSnapshot(
            instance_id=self._instance,
            hostname=os.environ.get("HOSTNAME") or socket.gethostname(),
            pid=os.getpid(),
            version=version(),
            started_at=self._started_at,
            healthy=alive and not self._outage.any and not self.shutting_down,
            postgres_connected=not self._outage.any,
            poll_loop_alive=all(d.alive for d in self._dispatchers.values()),
            heartbeat_alive=self._heartbeat.alive,
            maintenance_alive=self._leader.alive,
            shutting_down=self.shutting_down,
            leader=self._leader.is_leader,
            global_max_workers=self._options.global_max_workers,
            queues=[self._published(d) for d in self._dispatchers.values()],
            kinds=sorted(self._handlers),
        )

    def _alive(self) -> bool:
        return (
            all(d.alive for d in self._dispatchers.values())
            and self._heartbeat.alive
            and self._leader.alive
            and self._completer.alive
        )

    def _published(self, dispatcher: Dispatcher) -> dict[str, Any]:
        queue, weighted = dispatcher.queue, self._options.global_max_workers is not None
        limit = queue.rate_limit
        return {
            "queue": queue.name,
            "in_flight": dispatcher.slots.used,
            "overflow_held": self._overflow_held(dispatcher),
            "config": {
                "mode": "weighted" if weighted else "hard_reserved",
                "max_workers": queue.max_workers,
                "min_workers": queue.min_workers if weighted else None,
                "weight": queue.weight if weighted else None,
                "global_max_workers": self._options.global_max_workers,
                "poll_interval_ms": round(dispatcher.poll_interval_ms),
                # Readers of the published shape want an integer; 0 stands for no deadline.
                "deadline_duration_secs": round(queue.deadline_seconds or 0),
                "priority_aging_interval_secs": 60,
                "rate_limit": limit and {"max_rate": limit.max_rate, "burst": limit.burst},
            },
        }

    def _overflow_held(self, dispatcher: Dispatcher) -> int | None:
        if self._options.global_max_workers is None:
            return None
        return max(0, dispatcher.slots.used - dispatcher.queue.min_workers)

    async def health(self) -> HealthCheck:
        """Return the health of this process, with live counts of available jobs."""
        available: dict[str, int] = {}
        connected = True
        try:
            available = await self._ends.run(available_counts(list(self._dispatchers)))
        except AwaError:
            connected = False
        return HealthCheck(
            healthy=connected and self._alive() and not self.shutting_down,
            postgres_connected=connected,
            poll_loop_alive=all(d.alive for d in self._dispatchers.values()),
            heartbeat_alive=self._heartbeat.alive,
            shutting_down=self.shutting_down,
            leader=self._leader.is_leader,
            queues={n: self._queue_health(d, available) for n, d in self._dispatchers.items()},
        )

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

    def _wake(self, queue: str) -> None:
        dispatcher = self._dispatchers.get(queue)
        if dispatcher is not None:
            dispatcher.wake()

    def _ended(self, attempt: Attempt) -> None:
        self._executor.forget(attempt)
        dispatcher = self._dispatchers[attempt.job.queue]
        if dispatcher.policy.limited:
            dispatcher.wake()

    def _policy_changed(self) -> None:
        self._policies.poke()

    def _cancelled(self, job_id: int, lease: int) -> None:
        self._executor.cancelled(job_id, lease, self._cancel)

    def _cancel(self, attempt: Attempt) -> None:
        self._take_away(attempt, "cancelled")
        self._events.cancelled(attempt)

    def _lost(self, attempts: list[tuple[Attempt, int]]) -> None:
        for attempt, waits in attempts:
            if attempt.waits == waits:
                attempt.stop("lost")

    def _rescued(self, rescued: list[Rescued]) -> None:
        for row in rescued:
            attempt = self._executor.attempts.get((row.id, row.run_lease))
            if attempt is not None:
                self._take_away(attempt, "lost")
        self._events.rescued((row.id, row.kind) for row in rescued)

    def _take_away(self, attempt: Attempt, reason: str) -> None:
        if attempt.waiting:
            # Its wait ends with an error that says what became of the job.
            attempt.stop_reason = reason
            self.callbacks.heard(attempt.job.id)
        else:
            attempt.stop(reason)

    def _deadline_of(self, queue: str) -> float | None:
        return self._dispatchers[queue].queue.deadline_seconds

    def _resumed(self, attempt: Attempt) -> None:
        self._executor.set_deadline(attempt, self._deadline_of(attempt.job.queue))

    async def flush(self, attempt: Attempt) -> None:
        """Write the progress of a running attempt."""
        noted, text, waits = attempt.noted, attempt.progress_text, attempt.waits
        lease = [(attempt.job.id, attempt.lease)]
        # Shielded: a cancelled handler must not cut off the connection that all ends use.
        lost = await asyncio.shield(self._ends.run(claims.write_progress(lease, [text])))
        attempt.mark_written(noted)
        if lost:
            self._lost([(attempt, waits)])
