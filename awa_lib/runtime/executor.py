"""Run handlers: a task for each attempt, blocking handlers in threads."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from awa_lib import logs
from awa_lib.runtime.calls import (
    DROPPED,
    HANDED_BACK,
    attempt_of,
    of_raised,
    of_unreadable,
    outcome_of,
    stand_in,
)
from awa_lib.runtime.context import LOST
from awa_lib.runtime.failures import Failures
from awa_lib.runtime.outcomes import of_error, of_failure
from awa_lib.runtime.stops import AFTER_CANCEL_SECONDS, Stops, log_survivor
from awa_lib.runtime.suspects import Suspects
from awa_lib.runtime.threads import HandlerThreads
from awa_lib.telemetry import metrics, tracing

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from awa_lib.config.queues import QueueOptions
    from awa_lib.config.workers import WorkerOptions
    from awa_lib.runtime.completer import Completer
    from awa_lib.runtime.context import Attempt, AttemptServices, Outcome
    from awa_lib.runtime.events import Events
    from awa_lib.runtime.handlers import Handlers
    from awa_lib.runtime.job_logs import JobLogs
    from awa_lib.runtime.limits import Slots

__all__ = ["Executor"]

logger = logs.Logger(__name__)

# Cancels kept for attempts that are being claimed; every process gets those of the whole fleet.
_EARLY_CANCELS: Final = 128
# A year: asyncio cannot wait for much longer.
_LONGEST_DRAIN_SECONDS: Final = 3.15e7


class _FirstYield:
    """Suspend a coroutine until its task runs it; a generator would take twice as long."""

    __slots__ = ()

    def __await__(self, _once: tuple[None] = (None,)) -> Generator[None, None, None]:
        return iter(_once)  # type: ignore[return-value] # an iterator is all that await needs


_FIRST_YIELD: Final = _FirstYield()


class Executor:
    """The attempts of a process, by job id and lease, from claim to durable end.

    ``_run`` owns what an attempt holds: its count as running, its slot, its deadline, its entry
    here.  It releases them exactly once, whatever the handler, a hook or a cancel does.
    """

    def __init__(
        self,
        options: WorkerOptions,
        *,
        handlers: Handlers,
        completer: Completer,
        services: AttemptServices,
        events: Events,
        job_logs: JobLogs,
    ) -> None:
        self._handlers = handlers
        self._completer = completer
        self._services = services
        self._events = events
        self._job_logs = job_logs
        slots = options.global_max_workers or sum(queue.capacity for queue in options.queues)
        self._threads = HandlerThreads(max(1, slots))
        self._loop = asyncio.get_running_loop()
        self._stops = Stops(options.cancel_grace_ms / 1000, self._give_up)
        self._suspects = Suspects(is_quiet=self._quiet, wake=self._claimable)
        self.failures = Failures()
        self.handed_back = 0
        """How many jobs were handed back since the stop began."""
        self._early: dict[tuple[int, int], Callable[[Attempt], None]] = {}
        self._tracing: tracing.Tracing | None = None
        self._spans = tracing.Allowance(options.spans_per_second)
        self._measuring = False
        # Handlers are called directly: there are no spans, no follow-ups and no kept logs.
        self._plain = False
        self._running = 0
        self._drained = asyncio.Event()
        self._drained.set()
        self.attempts: dict[tuple[int, int], Attempt] = {}
        # Handlers that still run although their attempt has ended.
        self._given_up: set[Attempt] = set()
        self.on_claimable: list[Callable[[], None]] = []
        """Called when ``may_claim`` may have become true."""

    @property
    def running(self) -> int:
        """Return how many handlers have not returned yet."""
        return self._running

    @property
    def may_claim(self) -> bool:
        """Return False while a suspect runs alone here or waits for that."""
        return self._suspects.may_claim

    def _claimable(self) -> None:
        for call in self.on_claimable:
            call()

    def _quiet(self) -> bool:
        """Return True when no handler is at work now."""
        for attempt in self.attempts.values():
            begun = attempt.turn is None or attempt.turn.done()
            if begun and attempt.task and not attempt.task.done() and not attempt.waiting:
                return False
        return True

    def spawn(
        self,
        rows: Sequence[tuple[Any, ...]],
        slots: Slots,
        queue: QueueOptions,
        on_free: Callable[[], None],
    ) -> None:
        """Start an attempt for each claimed row, in order."""
        loop = self._loop
        spans = self._allowance(len(rows))
        seconds = queue.deadline_seconds
        deadline = None if seconds is None else loop.time() + seconds
        began, hooked = time.perf_counter(), self._events.hooked
        on_stop, timed = self._stops.stopped, self._stops.timed
        alone = self._suspects.runs_alone
        self._drained.clear()
        for at, row in enumerate(rows):
            try:
                attempt = attempt_of(row, self._handlers, self._services, began, queue.backoff)
            except Exception as error:  # noqa: BLE001 - the other rows of the claim go on
                self._refuse(row, error, began, slots, on_free)
                continue
            self.attempts[attempt.job.id, attempt.lease] = attempt
            attempt.on_stop = on_stop
            if spans is not None:
                attempt.spanned = at < spans
            if deadline is not None:
                attempt.deadline = deadline
                timed.add(attempt)
            if alone or attempt.job._metadata:  # noqa: SLF001 - spares a call
                self._suspects.hold_back(attempt, self._running)
            self._running += 1
            if hooked:
                self._events.started(attempt)
            run = self._run(attempt, slots, on_free)
            # Enters its try block, so that a cancel before the first step is handled there.
            run.send(None)
            attempt.task = loop.create_task(run)
            if self._early and (cancel := self._early.pop((attempt.job.id, attempt.lease), None)):
                # After the first step of the task, so that its handler gets the cancel.
                loop.call_soon(cancel, attempt)
        if not self._running:
            self._drained.set()
        if deadline is not None:
            self._stops.start()

    def _allowance(self, count: int) -> int | None:
        """Return how many attempts may have a span of their own; None without tracing."""
        self._tracing, self._measuring = tracing.tracing(), metrics.measuring()
        self._plain = not (self._tracing or self._events.followed or self._job_logs.active)
        if self._tracing is None:
            return None
        self._tracing.leave()
        return self._spans.take(count)

    def _refuse(
        self,
        row: tuple[Any, ...],
        error: Exception,
        began: float,
        slots: Slots,
        on_free: Callable[[], None],
    ) -> None:
        """End the attempt of a row that cannot be read."""
        slots.release()
        on_free()
        shown = f"its row cannot be read ({type(error).__qualname__})"
        if row[1] not in self._handlers:
            shown = "no handler is registered for its kind"
        try:
            attempt = stand_in(row, self._services, began)
            self.attempts[attempt.job.id, attempt.lease] = attempt
            self.end(attempt, of_unreadable(error, shown))
        except Exception:
            logger.exception(
                "a claimed job cannot be read and will be rescued", extra={"job_id": row[0]}
            )

    def cancelled(self, job_id: int, lease: int, cancel: Callable[[Attempt], None]) -> None:
        """Call ``cancel`` with the attempt that an operator cancelled.

        The notification may arrive before the rows of the claim: it is then kept for the start.
        """
        attempt = self.attempts.get((job_id, lease))
        if attempt is not None:
            cancel(attempt)
        else:
            self._early[job_id, lease] = cancel
            while len(self._early) > _EARLY_CANCELS:
                del self._early[next(iter(self._early))]

    def set_deadline(self, attempt: Attempt, seconds: float | None) -> None:
        """Restart the deadline of a running attempt."""
        if seconds is not None:
            self._stops.watch(attempt, self._loop.time() + seconds)

    async def _run(self, attempt: Attempt, slots: Slots, on_free: Callable[[], None]) -> None:
        outcome: Outcome | None = DROPPED
        try:
            await _FIRST_YIELD
            # The context is the task's own, so nothing needs to be reset.
            logs.running.set(attempt.job)
            if self._plain and attempt.turn is None and attempt.stop_reason is None:
                outcome = await outcome_of(attempt, self._threads)
            else:
                outcome = await self._work(attempt)
        except BaseException as error:  # noqa: BLE001 - whatever is raised ends the attempt
            # An error of tracing after the handler's end does not change its outcome.
            outcome = attempt.ended[0] if attempt.ended else of_raised(attempt, error)
        finally:
            self._release(attempt, outcome, slots, on_free)

    async def _work(self, attempt: Attempt) -> Outcome | None:
        if attempt.turn is not None:
            refused = await self._suspects.wait(attempt)
            if refused is not None:
                return refused
        elif attempt.stop_reason in LOST:
            return DROPPED
        if self._job_logs.active:
            with self._job_logs.of(attempt):
                return await self._traced(attempt)
        return await self._traced(attempt)

    async def _traced(self, attempt: Attempt) -> Outcome | None:
        spans = self._tracing
        if spans is not None and attempt.spanned:
            return await spans.run(attempt, self._outcome(attempt))
        if spans is not None:
            spans.enter(attempt)
        outcome = await outcome_of(attempt, self._threads)
        if self._events.followed:
            outcome = self._follow(attempt, outcome)
        return outcome

    async def _outcome(self, attempt: Attempt) -> Outcome | None:
        outcome = self._follow(attempt, await outcome_of(attempt, self._threads))
        attempt.ended = (outcome,)
        return outcome

    def _follow(self, attempt: Attempt, outcome: Outcome | None) -> Outcome | None:
        """Set the follow-ups of an end; return its outcome, that of the error when they fail."""
        try:
            attempt.follow_ups = self._events.follow_up(attempt, outcome)
        except BaseException as error:  # noqa: BLE001 - the user's function may raise anything
            outcome = of_error(attempt, error)
        return outcome

    def _release(
        self, attempt: Attempt, outcome: Outcome | None, slots: Slots, on_free: Callable[[], None]
    ) -> None:
        """Release all that an attempt held; counts first, which cannot fail."""
        self._running -= 1
        slots.release()
        if attempt.deadline is not None:
            self._stops.timed.discard(attempt)
        try:
            if self._measuring or self._tracing is not None:
                attempt.ran = attempt.seconds
            if attempt.given_up:
                self._given_up.discard(attempt)
            elif outcome is None:
                self._completer.complete(attempt)
            elif outcome is DROPPED:
                metrics.dropped(attempt.job.queue)
                self.forget(attempt)
            else:
                self.end(attempt, outcome)
        except BaseException:
            self.forget(attempt)
            if not self._loop.is_closed():
                logger.exception(
                    "the end of a job could not be queued for writing; the job will be rescued",
                    extra={"job_id": attempt.job.id},
                )
        if attempt.turn is not None:
            self._suspects.over(attempt)
        if self._running <= self._suspects.held:
            self._emptied()
        on_free()

    def end(self, attempt: Attempt, outcome: Outcome) -> None:
        """Queue an end that is no completion, and log it if it is a failure."""
        kept = outcome
        if outcome.cause is not None:
            # Ends wait for the database, and an exception keeps the frames of its handler alive.
            kept = replace(outcome, cause=None)
        self._completer.end(attempt, kept)
        if outcome is HANDED_BACK:
            self.handed_back += 1
        else:
            self.failures.report(attempt, outcome)

    def _emptied(self) -> None:
        self._suspects.next()
        if not self._running:
            self._drained.set()

    def forget(self, attempt: Attempt) -> None:
        """Drop an attempt whose end is durable, or that has lost its job."""
        self.attempts.pop((attempt.job.id, attempt.lease), None)

    def _give_up(self, attempt: Attempt) -> None:
        """End the attempt of a handler that does not stop; its later result is dropped."""
        self._given_up.add(attempt)
        attempt.ran = attempt.seconds
        if attempt.stop_reason != "deadline":
            metrics.dropped(attempt.job.queue)
            self.forget(attempt)
            return
        outcome: Outcome | None = of_failure(attempt, "hard deadline exceeded")
        if self._events.followed:
            outcome = self._follow(attempt, outcome)
        if outcome is not None:
            self.end(attempt, outcome)

    def stop_attempts(self, reason: str) -> None:
        """Ask all attempts to stop; see ``Attempt.stop``."""
        self.handed_back = 0
        for attempt in list(self.attempts.values()):
            attempt.stop(reason)

    async def drain(self, seconds: float) -> list[Attempt]:
        """Wait for handlers, then cancel async ones; return those still running a second later."""
        try:
            if not self._drained.is_set():
                async with asyncio.timeout(min(seconds, _LONGEST_DRAIN_SECONDS)):
                    await self._drained.wait()
        except TimeoutError:
            logger.warning(
                "handlers did not end in time; async handlers are cancelled and their jobs are "
                "handed back",
                extra={"running": self._running},
            )
            for attempt in self._still_running():
                attempt.stop("handed back")
                # Also after an earlier stop: its grace is over.
                self._stops.interrupt(attempt)
            tasks = [a.task for a in self._still_running() if a.task and not a.blocking]
            if tasks:
                await asyncio.wait(tasks, timeout=AFTER_CANCEL_SECONDS)
        left = self._still_running()
        for attempt in left:
            if not attempt.blocking and not attempt.given_up:
                log_survivor(attempt)
        return left

    def _still_running(self) -> list[Attempt]:
        known = [*self.attempts.values(), *(self._given_up - set(self.attempts.values()))]
        return [a for a in known if a.task is not None and not a.task.done()]

    def close(self) -> None:
        """Stop the threads; a blocking handler that still runs keeps its thread."""
        self._stops.close()
        self.failures.summarize()
        self.failures.close()
        self._threads.close()
