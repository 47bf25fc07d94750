"""The worker runtime of a process: starts and stops every duty in order."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

from awa_lib.errors import Transient, Unavailable
from awa_lib.ops.runtime import InstanceSnapshot, described
from awa_lib.runtime import forks
from awa_lib.runtime.announcements import log_stop
from awa_lib.runtime.callbacks import Callbacks
from awa_lib.runtime.calls import HANDED_BACK
from awa_lib.runtime.completer import Completer
from awa_lib.runtime.context import wait_in_thread
from awa_lib.runtime.counts import EndCounts
from awa_lib.runtime.dispatcher import Dispatcher
from awa_lib.runtime.ending import Ending
from awa_lib.runtime.events import Events
from awa_lib.runtime.executor import Executor
from awa_lib.runtime.flushes import Flushes
from awa_lib.runtime.heartbeat import Heartbeat
from awa_lib.runtime.leader import Leader
from awa_lib.runtime.limits import Overflow
from awa_lib.runtime.links import HEARTBEAT, Links
from awa_lib.runtime.listener import Listener
from awa_lib.runtime.own_process import OwnProcess
from awa_lib.runtime.policies import Policies
from awa_lib.runtime.polls import Polls
from awa_lib.runtime.publisher import Publisher
from awa_lib.runtime.scheduler import Declarer
from awa_lib.runtime.status import Status
from awa_lib.runtime.supervisor import Duty, Supervisor
from awa_lib.runtime.workflows import Resolver, Sweep

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from awa_lib.config.queues import QueueOptions
    from awa_lib.config.workers import WorkerOptions
    from awa_lib.descriptors import Descriptor
    from awa_lib.ops.cron import Schedule
    from awa_lib.ops.maintenance import Rescued
    from awa_lib.runtime.context import Attempt
    from awa_lib.runtime.events import Registry
    from awa_lib.runtime.handlers import Handlers
    from awa_lib.runtime.health import HealthCheck

__all__ = ["Runtime"]

_WATCH_SECONDS: Final = 1.0
_START_SECONDS: Final = 10.0
# What stop() may take beyond its argument.
_STOP_SECONDS: Final = 2.0


class Runtime:
    """Every duty of a process: claims, ends, callbacks, hooks, heartbeat, listener, maintenance."""

    wait = staticmethod(wait_in_thread)
    shutting_down = False
    _told: tuple[bool, bool] | None = None

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
        self._options, self._handlers = options, handlers
        self._supervisor, self._guards = Supervisor(), ExitStack()
        links = Links(dsn)
        self._links, self._outage = links, links.outage
        self._process = OwnProcess(links.publisher, options)
        self._events = events = Events(registry, handlers, links.publisher)
        self._resolver = Resolver(links.workflows)
        self._completer = self._make_completer(links)
        self._executor = Executor(
            options, handlers=handlers, completer=self._completer, services=self, events=events
        )
        self._flushes = Flushes(links.callbacks)
        self.callbacks = Callbacks(
            links.callbacks,
            deadline_of=self._deadline_of,
            on_waiting=events.waiting,
            on_resumed=self._resumed,
            hold_seconds=options.callback_hold_ms / 1000,
        )
        self._listener = self._make_listener(dsn)
        overflow = Overflow(options) if options.global_max_workers is not None else None
        self._dispatchers = {q.name: self._make_dispatcher(q, overflow) for q in options.queues}
        self._heartbeat = self._make_heartbeat(dsn)
        self._leader = Leader(
            dsn, options, outage=links.outage, supervisor=self._supervisor, on_rescued=self._rescued
        )
        self._sweep = Sweep(links.publisher, lambda: self._leader.is_leader)
        self._declarer = Declarer(links.publisher, schedules)
        self._publisher = Publisher(
            self._process,
            self.snapshot,
            queues=described(self._dispatchers, queue_descriptors),
            kinds=described(handlers, kind_descriptors),
        )
        self._policies = Policies(links.publisher, self._dispatchers, self._publisher.poke)
        self._polls = Polls(links.claims, self._dispatchers.values())
        self._status = self._make_status()
        self._watch = Duty("watch", self._check, seconds=_WATCH_SECONDS)
        self._ending = self._make_ending()
        self._outage_ended_at = self._outage.ended_at
        self.loop = asyncio.get_running_loop()

    def _make_completer(self, links: Links) -> Completer:
        return Completer(
            links.ends,
            self._events,
            EndCounts(links.publisher),
            on_done=self._ended,
            on_written=self._resolver.ended,
        )

    def _make_listener(self, dsn: str) -> Listener:
        return Listener(
            dsn,
            queues=[queue.name for queue in self._options.queues],
            outage=self._outage,
            on_wake=self._wake,
            on_cancel=self._cancelled,
            on_callback=self.callbacks.notice,
            on_policy=lambda: self._policies.poke(),  # noqa: PLW0108 - not made yet
            on_lead=lambda: self._leader.duty.poke(),  # noqa: PLW0108 - as above
        )

    def _make_heartbeat(self, dsn: str) -> Heartbeat:
        return Heartbeat(
            dsn,
            interval_seconds=self._options.heartbeat_interval_ms / 1000,
            bounds=HEARTBEAT,
            attempts=self._executor.attempts,
            outage=self._outage,
            on_lost=self._lost,
        )

    def _make_status(self) -> Status:
        return Status(
            instance_id=self._process.instance_id,
            options=self._options,
            kinds=sorted(self._handlers),
            outage=self._outage,
            supervisor=self._supervisor,
            completer=self._completer,
            dispatchers=self._dispatchers,
            heartbeat=self._heartbeat,
            leader=self._leader,
            link=self._links.health,
            waits=self.callbacks.count,
        )

    def _make_dispatcher(self, queue: QueueOptions, overflow: Overflow | None) -> Dispatcher:
        return Dispatcher(
            queue,
            options=self._options,
            kinds=sorted(self._handlers),
            link=self._links.claims,
            executor=self._executor,
            completer=self._completer,
            overflow=overflow,
            leases=self._process.leases,
            listening=self._listener.listens,
        )

    def _make_ending(self) -> Ending:
        return Ending(
            links=self._links,
            completer=self._completer,
            resolver=self._resolver,
            sweep=self._sweep,
            heartbeat=self._heartbeat,
            listener=self._listener,
            leader=self._leader,
            callbacks=self.callbacks,
            events=self._events,
            policies=self._policies,
            declarer=self._declarer,
            publisher=self._publisher,
            status=self._status,
            handlers=self._handlers,
            watch=self._watch,
        )

    @property
    def hopeless(self) -> asyncio.Event:
        """Return the event that is set when only a new process may help."""
        return self._supervisor.hopeless

    async def start(self) -> None:
        """Start every duty.  Raises Unavailable when the database cannot be reached."""
        self._guards.enter_context(forks.guard())
        first = (self._links.claims, self._links.ends, self._links.publisher)
        opened = await asyncio.gather(
            *(link.connection() for link in first), return_exceptions=True
        )
        for error in opened:
            # Only after all are done: a connection that opens after the error would stay open.
            if isinstance(error, BaseException):
                raise error
        for begin in (self._publisher.start, self._declarer.start, self._policies.start):
            await self._retry_locked(begin)
        await self._completer.start()
        await self._completer.counts.start()
        await self._resolver.duty.start()
        self._heartbeat.start()
        if self._options.listens:
            await self._listener.start()
        for dispatcher in self._dispatchers.values():
            await dispatcher.start()
        await self._polls.start()
        await self._sweep.duty.start()
        await self._leader.start()
        for state in (*(duty.state for duty in self._duties()), self._heartbeat.state):
            self._supervisor.watch(state)
        await self._watch.start()
        # The first snapshot was written before the loops ran and shows none as alive.
        self._publisher.poke()

    async def _retry_locked(self, begin: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a step of the start, again while a lock blocks it, for ten seconds."""
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
        ends = self._completer
        duties = [
            ends.duty,
            ends.counts.duty,
            self._resolver.duty,
            self._listener.duty,
            self._publisher.duty,
        ]
        duties += [self._policies.duty, self._declarer.duty, self.callbacks.duty]
        duties += [self._polls.duty, *(one.duty for one in self._dispatchers.values())]
        return [*duties, *self._leader.duties]

    async def _check(self) -> None:
        """Check duties, health, lost connections that are idle, and overdue answers."""
        self._heartbeat.cut_if_overdue()
        self._supervisor.check()
        if self._outage_ended_at != self._outage.ended_at:
            self._outage_ended_at = self._outage.ended_at
            # Duties with a long interval would be in trouble until their next round.
            for duty in self._duties():
                if duty.state.trouble_seconds:
                    duty.poke()
        snapshot = self.snapshot()
        if (told := (snapshot.healthy, snapshot.leader)) != self._told:
            self._told = told
            self._publisher.poke()
        await self._links.repair()

    async def stop(self, timeout_seconds: float, *, exiting: bool = False) -> list[Attempt]:
        """Stop claiming, let handlers end, write their ends, stop every duty.

        Takes at most 2 s more than the time-out, whatever hangs.  Async handlers still running at
        the time-out are cancelled and their jobs handed back.  Handlers that still do not end
        (blocking handlers, and async handlers that swallow the cancel) are returned; when the
        process is ``exiting`` their jobs are handed back too, otherwise their rows stay running
        until they are rescued.  When it is cancelled it no longer waits for handlers and returns
        within 2 s.
        """
        until = self.loop.time() + timeout_seconds + _STOP_SECONDS
        self.shutting_down = True
        self._publisher.poke()
        self._executor.stop_attempts("shutdown")
        self.callbacks.release()
        seconds = _STOP_SECONDS / 2
        claims = [asyncio.create_task(d.stop(seconds)) for d in self._dispatchers.values()]
        claims.append(asyncio.create_task(self._polls.stop(seconds)))
        cancelled: asyncio.CancelledError | None = None
        try:
            await asyncio.wait(claims, timeout=seconds)
            self._seal()
            left = await self._executor.drain(
                max(0.0, min(timeout_seconds, until - _STOP_SECONDS - self.loop.time()))
            )
        except asyncio.CancelledError as error:
            cancelled, until = error, min(until, self.loop.time() + _STOP_SECONDS)
            self._seal()
            left = await self._executor.drain(0.0)
        finally:
            self._guards.close()
        if exiting:
            for attempt in left:
                if not attempt.given_up:
                    self._executor.end(attempt, HANDED_BACK)
        self._status.exiting = exiting
        await self._ending.run(claims, until)
        self._executor.close()
        log_stop(self._executor.handed_back, left)
        if cancelled is not None:
            raise cancelled
        return left

    def _seal(self) -> None:
        for dispatcher in self._dispatchers.values():
            dispatcher.seal()

    @property
    def broken(self) -> list[str]:
        """Return the duties in trouble while the database answers; may be read from any thread."""
        return [] if self._outage.any else self._supervisor.broken

    def snapshot(self) -> InstanceSnapshot:
        """Return what this process publishes about itself."""
        return self._status.snapshot(shutting_down=self.shutting_down)

    async def health(self) -> HealthCheck:
        """Return the health of this process, with live counts of available jobs; within 2 s."""
        return await self._status.health(shutting_down=self.shutting_down)

    def _wake(self, queue: str) -> None:
        if (dispatcher := self._dispatchers.get(queue)) is not None:
            dispatcher.notice()

    def _ended(self, attempt: Attempt) -> None:
        self._executor.forget(attempt)
        found = self._dispatchers.get(attempt.job.queue)
        if found is not None and found.policy.limited:
            found.wake()

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
            if attempt := self._executor.attempts.get((row.id, row.run_lease)):
                self._take_away(attempt, "lost")
        self._executor.failures.rescued(rescued)
        self._completer.counts.rescued(rescued)
        self._events.rescued((row.id, row.kind) for row in rescued)

    def _take_away(self, attempt: Attempt, reason: str) -> None:
        if attempt.waiting:
            # Its wait ends with an error that says what happened to the job.
            attempt.stop_reason = reason
            self.callbacks.notice(attempt.job.id)
        else:
            attempt.stop(reason)

    def _deadline_of(self, queue: str) -> float | None:
        dispatcher = self._dispatchers.get(queue)
        return None if dispatcher is None else dispatcher.queue.deadline_seconds

    def _resumed(self, attempt: Attempt) -> None:
        self._executor.set_deadline(attempt, self._deadline_of(attempt.job.queue))

    async def flush(self, attempt: Attempt) -> None:
        """Write the progress of a running attempt, retried until the database answers."""
        waits = attempt.waits
        if not await self._flushes.write(attempt):
            self._lost([(attempt, waits)])
