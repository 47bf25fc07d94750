"""The worker runtime of one process: every duty, started and stopped in order."""

from __future__ import annotations

import asyncio
import logging
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any, Final

from awa_lib.errors import AwaError, Transient, Unavailable
from awa_lib.ops.runtime import InstanceSnapshot, described
from awa_lib.reads.health import ping
from awa_lib.runtime import forks
from awa_lib.runtime.callbacks import Callbacks
from awa_lib.runtime.calls import HANDED_BACK
from awa_lib.runtime.completer import Completer
from awa_lib.runtime.connections import within
from awa_lib.runtime.dispatcher import Dispatcher
from awa_lib.runtime.events import Events
from awa_lib.runtime.executor import Executor
from awa_lib.runtime.heartbeat import Heartbeat
from awa_lib.runtime.http_worker import HttpWorker
from awa_lib.runtime.leader import Leader
from awa_lib.runtime.limits import Overflow
from awa_lib.runtime.links import HEARTBEAT, Links
from awa_lib.runtime.listener import Listener
from awa_lib.runtime.policies import Policies
from awa_lib.runtime.publisher import Publisher
from awa_lib.runtime.scheduler import Declarer
from awa_lib.runtime.status import Status
from awa_lib.runtime.supervisor import Duty, Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from awa_lib.config import QueueOptions, WorkerOptions
    from awa_lib.descriptors import Descriptor
    from awa_lib.ops.cron import Schedule
    from awa_lib.ops.maintenance import Rescued
    from awa_lib.runtime.connections import Link
    from awa_lib.runtime.context import Attempt
    from awa_lib.runtime.events import Registry
    from awa_lib.runtime.handlers import Handlers
    from awa_lib.runtime.health import HealthCheck

__all__ = ["Runtime"]

logger = logging.getLogger(__name__)


_WATCH_SECONDS: Final = 1.0
_START_SECONDS: Final = 10.0
# What stop() may take beyond its argument.
_STOP_SECONDS: Final = 2.0


class Runtime:
    """Every duty of a process: claims, ends, callbacks, hooks, heartbeat, listener, the lead."""

    def __init__(
        self,
        dsn: str,
        *,
        handlers: Handlers,
        options: WorkerOptions,
        queue_descriptors: Mapping[str, Descriptor],
        kind_descriptors: Mapping[str, Descriptor],
        schedules: Sequence[Schedule],
        registry: Registry,
    ) -> None:
        self._options = options
        self._handlers = handlers
        self._supervisor = Supervisor()
        links = Links(dsn)
        self._links, self._outage = links, links.outage
        self._events = Events(registry, handlers, links.publisher)
        self._completer = Completer(links.ends, self._events, self._ended)
        blocking = sum(queue.capacity for queue in options.queues)
        self._executor = Executor(
            handlers, self._completer, self, self._events,
            threads=max(1, options.global_max_workers or blocking),
            spans_per_second=options.spans_per_second,
            cancel_grace=options.cancel_grace_ms / 1000,
        )  # fmt: skip
        self.callbacks = Callbacks(
            links.callbacks, self._deadline_of, self._events.waiting, self._resumed
        )
        overflow = Overflow(options) if options.global_max_workers is not None else None
        self._listener = Listener(
            dsn, [q.name for q in options.queues], self._outage, self._wake, self._cancelled,
            self.callbacks.heard, self._policy_changed,
        )  # fmt: skip
        self._dispatchers = {
            queue.name: self._dispatcher(queue, overflow) for queue in options.queues
        }
        self._heartbeat = self._beating(dsn)
        self._leader = Leader(
            dsn,
            outage=self._outage,
            supervisor=self._supervisor,
            options=options,
            on_rescued=self._rescued,
        )
        self._declarer = Declarer(links.publisher, schedules)
        self._publisher = Publisher(
            links.publisher,
            self.snapshot,
            described(self._dispatchers, queue_descriptors),
            described(handlers, kind_descriptors),
        )
        self._policies = Policies(links.publisher, self._dispatchers, self._publisher.poke)
        self._status = self._reporting()
        self._guards = ExitStack()
        self._ending: list[asyncio.Task[None]] = []
        self._watch = Duty("watch", self._look, seconds=_WATCH_SECONDS)
        self._said_healthy: bool | None = None
        self._outage_ended_at = self._outage.ended_at
        self.loop = asyncio.get_running_loop()
        self.shutting_down = False

    def _beating(self, dsn: str) -> Heartbeat:
        return Heartbeat(
            dsn,
            interval_seconds=self._options.heartbeat_interval_ms / 1000,
            bounds=HEARTBEAT,
            attempts=self._executor.attempts,
            outage=self._outage,
            on_lost=self._lost,
        )

    def _reporting(self) -> Status:
        return Status(
            options=self._options,
            kinds=sorted(self._handlers),
            outage=self._outage,
            supervisor=self._supervisor,
            completer=self._completer,
            dispatchers=self._dispatchers,
            heartbeat=self._heartbeat,
            leader=self._leader,
            link=self._links.health,
        )

    def _dispatcher(self, queue: QueueOptions, overflow: Overflow | None) -> Dispatcher:
        return Dispatcher(
            queue,
            options=self._options,
            kinds=sorted(self._handlers),
            link=self._links.claims,
            executor=self._executor,
            completer=self._completer,
            overflow=overflow,
            listening=self._listener.listens,
        )

    @property
    def hopeless(self) -> asyncio.Event:
        """Return what is set when a duty has failed for minutes: a new process may do better."""
        return self._supervisor.hopeless

    async def start(self) -> None:
        """Start every duty.  Raises Unavailable when the database cannot be reached."""
        self._guards.enter_context(forks.guard())
        first = (self._links.claims, self._links.ends, self._links.publisher)
        opened = await asyncio.gather(
            *(link.connection() for link in first), return_exceptions=True
        )
        for error in opened:
            # Only now: one that came later than the error would be left open.
            if isinstance(error, BaseException):
                raise error
        for begin in (self._publisher.start, self._declarer.start, self._policies.start):
            await self._patiently(begin)
        await self._completer.start()
        self._heartbeat.start()
        await self._listener.start()
        for dispatcher in self._dispatchers.values():
            await dispatcher.start()
        await self._leader.start()
        for state in (*(duty.state for duty in self._duties()), self._heartbeat.state):
            self._supervisor.watch(state)
        await self._watch.start()
        # The first snapshot was written before the loops ran: it says that none is alive.
        self._publisher.poke()
        logger.info("worker started", extra={"queues": list(self._dispatchers)})

    async def _patiently(self, begin: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Try a first step anew while somebody's lock is in its way, for ten seconds."""
        until = self.loop.time() + _START_SECONDS
        while True:
            try:
                return await begin()
            except Unavailable:
                raise
            except Transient:
                if self.loop.time() >= until:
                    raise
                await asyncio.sleep(0.1)

    def _duties(self) -> list[Duty]:
        return [
            self._completer.duty, self._listener.duty, self._publisher.duty, self._policies.duty,
            self._declarer.duty, self.callbacks.duty, *self._leader.duties,
            *(dispatcher.duty for dispatcher in self._dispatchers.values()),
        ]  # fmt: skip

    async def _look(self) -> None:
        """Look after what nobody else does: lost connections that are idle, overdue answers."""
        self._heartbeat.look()
        await self._supervisor.look()
        if self._outage_ended_at != self._outage.ended_at:
            self._outage_ended_at = self._outage.ended_at
            # Those that are due seldom would be in trouble until their next turn.
            for duty in self._duties():
                if duty.state.trouble_seconds:
                    duty.poke()
        healthy = self.snapshot().healthy
        if healthy != self._said_healthy:
            self._said_healthy = healthy
            self._publisher.poke()
        await asyncio.gather(
            *(self._try(link) for link in self._outage.lost_links),
            *(link.doubt(self._links.health) for link in self._outage.overdue_links),
        )

    async def _try(self, link: Link) -> None:
        if link.idle:
            with suppress(AwaError):
                await link.run(ping())

    async def stop(self, timeout_seconds: float, *, exiting: bool = False) -> list[Attempt]:
        """Claim no more, let handlers end, write their ends, stop every duty.

        Takes at most 2 s more than the time-out, whatever hangs.  Async handlers still running at
        the time-out are cancelled and their jobs handed back.  Those that do not end (blocking
        ones, and async ones that swallow the cancel) are returned; where the process is
        ``exiting`` their jobs are handed back too, else their rows stay running until rescued.
        Cancelled, it does not wait for handlers any more, and ends within 2 s all the same.
        """
        until = self.loop.time() + timeout_seconds + _STOP_SECONDS
        self.shutting_down = True
        self._publisher.poke()
        self._executor.stop_attempts("shutdown")
        self.callbacks.release()
        seconds = _STOP_SECONDS / 2
        claims = [asyncio.create_task(d.stop(seconds)) for d in self._dispatchers.values()]
        cancelled: asyncio.CancelledError | None = None
        try:
            if claims:
                await asyncio.wait(claims, timeout=seconds)
            left = await self._executor.drain(
                max(0.0, min(timeout_seconds, until - _STOP_SECONDS - self.loop.time()))
            )
        except asyncio.CancelledError as error:
            cancelled, until = error, min(until, self.loop.time() + _STOP_SECONDS)
            left = await self._executor.drain(0.0)
        finally:
            self._guards.close()
        if exiting:
            for attempt in left:
                if not attempt.given_up:
                    self._completer.end(attempt, HANDED_BACK)
        # What is left of the bound is shared: ends come first, all else stops beside them.
        seconds = max(0.1, until - self.loop.time() - 0.4)
        self._ending = [asyncio.create_task(step) for step in self._last_steps(claims, seconds)]
        bound = max(0.1, until - self.loop.time() - 0.1)
        _, late = await asyncio.wait(self._ending, timeout=bound)
        if late:
            # A cancelled statement waits for its server, and a loop that ends for its tasks.
            self._outage.cut()
            await asyncio.wait(late, timeout=0.1)
        self._executor.close()
        logger.info("worker stopped", extra={"abandoned": [a.job.id for a in left]})
        if cancelled is not None:
            raise cancelled
        return left

    def _last_steps(
        self, claims: Sequence[asyncio.Task[None]], seconds: float
    ) -> list[Coroutine[Any, Any, None]]:
        return [
            self._write_ends(seconds),
            self._end_claims(claims, seconds),
            self._watch.stop(),
            self._leader.stop(seconds),
            self._listener.stop(),
            self.callbacks.stop(),
            self._links.health.close(),
            self._say_goodbye(seconds),
            self._close_http(),
        ]

    async def _end_claims(self, stopping: Sequence[asyncio.Task[None]], seconds: float) -> None:
        if stopping:
            await asyncio.wait(stopping, timeout=seconds)
        await self._links.claims.close()

    async def _write_ends(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._completer.drain(), seconds)
        except TimeoutError:
            logger.error(  # noqa: TRY400 - the time-out itself says nothing more
                "ends of %d jobs could not be recorded in time: the database does not answer, or "
                "other transactions hold them; they will be rescued and run again",
                self._completer.pending,
            )
            self._outage.cut()
        await asyncio.gather(
            self._heartbeat.stop(0.2), self._completer.stop(), self._links.callbacks.close()
        )

    async def _say_goodbye(self, seconds: float) -> None:
        await self._declarer.stop()
        await self._policies.stop()
        await self._events.stop(seconds / 2)
        with suppress(TimeoutError):
            await within(seconds, self._publisher.stop())
        await self._links.publisher.close()

    async def _close_http(self) -> None:
        for handler in self._handlers.values():
            if isinstance(handler.call, HttpWorker):
                await handler.call.aclose()

    @property
    def broken(self) -> list[str]:
        """Return the duties in trouble while the database answers; for any thread to ask."""
        return [] if self._outage.any else self._supervisor.broken

    def snapshot(self) -> InstanceSnapshot:
        """Return what this process publishes of itself."""
        return self._status.snapshot(shutting_down=self.shutting_down)

    async def health(self) -> HealthCheck:
        """Return the health of this process, with live counts of available jobs; within 2 s."""
        return await self._status.health(shutting_down=self.shutting_down)

    def _wake(self, queue: str) -> None:
        dispatcher = self._dispatchers.get(queue)
        if dispatcher is not None:
            dispatcher.wake()

    def _ended(self, attempt: Attempt) -> None:
        self._executor.forget(attempt)
        dispatcher = self._dispatchers.get(attempt.job.queue)
        if dispatcher is not None and dispatcher.policy.limited:
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
        dispatcher = self._dispatchers.get(queue)
        return None if dispatcher is None else dispatcher.queue.deadline_seconds

    def _resumed(self, attempt: Attempt) -> None:
        self._executor.set_deadline(attempt, self._deadline_of(attempt.job.queue))

    async def flush(self, attempt: Attempt) -> None:
        """Write the progress of a running attempt, however long the database is away."""
        waits = attempt.waits
        if not await self._links.flushes.write(attempt):
            self._lost([(attempt, waits)])
