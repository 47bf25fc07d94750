"""Run handlers: one task an attempt, blocking handlers in threads."""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

from awa_lib import logs
from awa_lib.runtime.calls import (
    DROPPED,
    attempt_of,
    of_raised,
    of_unreadable,
    outcome_of,
    stand_in,
)
from awa_lib.runtime.outcomes import Outcome, of_error, of_failure
from awa_lib.runtime.stops import Stops, tell_of_survivor
from awa_lib.runtime.suspects import Suspects
from awa_lib.telemetry import metrics, tracing

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from awa_lib.config import QueueOptions
    from awa_lib.runtime.completer import Completer
    from awa_lib.runtime.context import Attempt, Desk
    from awa_lib.runtime.events import Events
    from awa_lib.runtime.handlers import Handlers
    from awa_lib.runtime.limits import Slots

__all__ = ["Executor"]

logger = logging.getLogger(__name__)

# Cancels kept for attempts that are being claimed; every process hears those of the whole fleet.
_MOST_EARLY: Final = 128
# How long async handlers have after CancelledError at the end of a drain.
_LAST_SECONDS: Final = 1.0
_LONGEST_DRAIN: Final = 3.15e7


class _Rest:
    """Where a coroutine rests until its task takes it up; a generator would take twice as long."""

    __slots__ = ()

    def __await__(self, _once: tuple[None] = (None,)) -> Generator[None, None, None]:
        return iter(_once)  # type: ignore[return-value] # an iterator is all that await needs


_REST: Final = _Rest()


class Executor:
    """The attempts this process runs, by job id and lease, from claim to durable end.

    ``_run`` owns what an attempt holds: its place among the running, its slot, its deadline, its
    entry here.  It gives them back once, whatever the handler, a hook or a cancel does.
    """

    def __init__(
        self,
        handlers: Handlers,
        completer: Completer,
        desk: Desk,
        events: Events,
        threads: int,
        spans_per_second: float,
        cancel_grace: float,
    ) -> None:
        self._handlers = handlers
        self._completer = completer
        self._desk = desk
        self._events = events
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="awa handler")
        self._loop = asyncio.get_running_loop()
        self._stops = Stops(cancel_grace, self._give_up)
        self._suspects = Suspects(self._quiet, self._claimable)
        self._early: dict[tuple[int, int], Callable[[Attempt], None]] = {}
        self._tracing: tracing.Tracing | None = None
        self._spans = tracing.Allowance(spans_per_second)
        self._measuring = False
        # Whether handlers are called without more ado: no spans, no follow-ups.
        self._plain = False
        self._running = 0
        self._drained = asyncio.Event()
        self._drained.set()
        self.attempts: dict[tuple[int, int], Attempt] = {}
        # Still running, though their job is not theirs any more.
        self._given_up: set[Attempt] = set()
        self.on_claimable: list[Callable[[], None]] = []
        """Called when ``may_claim`` may have become true."""

    @property
    def running(self) -> int:
        """Return how many handlers have not returned yet."""
        return self._running

    @property
    def may_claim(self) -> bool:
        """Return False while a job runs alone here, or waits to."""
        return self._suspects.may_claim

    def _claimable(self) -> None:
        for call in self.on_claimable:
            call()

    def _quiet(self) -> bool:
        """Return whether no handler does anything at the moment."""
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
                attempt = attempt_of(row, self._handlers, self._desk, began, queue.backoff)
            except Exception as error:  # noqa: BLE001 - the others of the claim go on
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
                self._suspects.look_at(attempt, self._running)
            self._running += 1
            if hooked:
                self._events.started(attempt)
            run = self._run(attempt, slots, on_free)
            # Now it rests inside its guard, which a cancel before the first step then meets.
            run.send(None)
            attempt.task = loop.create_task(run)
            if self._early and (tell := self._early.pop((attempt.job.id, attempt.lease), None)):
                # After the first step of the task, so that its handler hears of it.
                loop.call_soon(tell, attempt)
        if not self._running:
            self._drained.set()
        if deadline is not None:
            self._stops.start()

    def _allowance(self, count: int) -> int | None:
        """Return how many attempts may have a span of their own; None where none is made."""
        self._tracing, self._measuring = tracing.tracing(), metrics.measuring()
        self._plain = self._tracing is None and not self._events.followed
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
        logger.error(
            "a claimed job cannot be read; it fails", exc_info=error, extra={"job_id": row[0]}
        )
        try:
            attempt = stand_in(row, self._desk, began)
            self.attempts[attempt.job.id, attempt.lease] = attempt
            self._completer.end(attempt, of_unreadable(error))
        except Exception:
            logger.exception("it will be rescued", extra={"job_id": row[0]})

    def cancelled(self, job_id: int, lease: int, tell: Callable[[Attempt], None]) -> None:
        """Tell of an attempt that an operator cancelled.

        The notification can arrive before the rows of the claim: it is kept for the start.
        """
        attempt = self.attempts.get((job_id, lease))
        if attempt is not None:
            tell(attempt)
        else:
            self._early[job_id, lease] = tell
            while len(self._early) > _MOST_EARLY:
                del self._early[next(iter(self._early))]

    def set_deadline(self, attempt: Attempt, seconds: float | None) -> None:
        """Start the deadline of a running attempt anew."""
        if seconds is not None:
            self._stops.watch(attempt, self._loop.time() + seconds)

    async def _run(self, attempt: Attempt, slots: Slots, on_free: Callable[[], None]) -> None:
        outcome: Outcome | None = DROPPED
        try:
            await _REST
            # The context is the task's own, so nothing need be set back.
            logs.running.set(attempt.job)
            if self._plain and attempt.turn is None and attempt.stop_reason is None:
                outcome = await outcome_of(attempt, self._threads)
            else:
                outcome = await self._work(attempt)
        except BaseException as error:  # noqa: BLE001 - anything at all ends an attempt in order
            # What traces may raise after the handler's end is not its fault.
            outcome = attempt.ended[0] if attempt.ended else of_raised(attempt, error)
        finally:
            self._give_back(attempt, outcome, slots, on_free)

    async def _work(self, attempt: Attempt) -> Outcome | None:
        if attempt.turn is not None:
            refused = await self._suspects.wait(attempt)
            if refused is not None:
                return refused
        elif attempt.stop_reason in {"cancelled", "lost"}:
            return DROPPED
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
        """Note what follows from an end; return the end, another one when that fails."""
        try:
            attempt.after = self._events.follow_up(attempt, outcome)
        except BaseException as error:  # noqa: BLE001 - the caller's function may raise anything
            outcome = of_error(attempt, error)
        return outcome

    def _give_back(
        self, attempt: Attempt, outcome: Outcome | None, slots: Slots, on_free: Callable[[], None]
    ) -> None:
        """Give back all that an attempt held.  Counts first: nothing there can fail."""
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
                self._completer.end(attempt, outcome)
        except BaseException:
            self.forget(attempt)
            if not self._loop.is_closed():
                logger.exception(
                    "the end of a job was not taken down; it will be rescued",
                    extra={"job_id": attempt.job.id},
                )
        if attempt.turn is not None:
            self._suspects.over(attempt)
        if self._running <= self._suspects.held:
            self._emptied()
        on_free()

    def _emptied(self) -> None:
        self._suspects.next()
        if not self._running:
            self._drained.set()

    def forget(self, attempt: Attempt) -> None:
        """Drop an attempt whose end is durable, or that is not ours any more."""
        self.attempts.pop((attempt.job.id, attempt.lease), None)

    def _give_up(self, attempt: Attempt) -> None:
        """End the attempt of a handler that does not stop; what it does in the end is dropped."""
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
            self._completer.end(attempt, outcome)

    def stop_attempts(self, reason: str) -> None:
        """Ask all attempts to stop; see ``Attempt.stop``."""
        for attempt in list(self.attempts.values()):
            attempt.stop(reason)

    async def drain(self, seconds: float) -> list[Attempt]:
        """Wait for handlers, then cancel async ones; return those still running a second later."""
        try:
            if not self._drained.is_set():
                await asyncio.wait_for(self._drained.wait(), min(seconds, _LONGEST_DRAIN))
        except TimeoutError:
            logger.warning(
                "handlers did not end in time; async ones are cancelled and handed back",
                extra={"running": self._running},
            )
            for attempt in self._still_running():
                attempt.stop("handed back")
                # Whatever it was stopped for before: its grace is over.
                self._stops.interrupt(attempt)
            tasks = [a.task for a in self._still_running() if a.task and not a.blocking]
            if tasks:
                await asyncio.wait(tasks, timeout=_LAST_SECONDS)
        left = self._still_running()
        for attempt in left:
            if not attempt.blocking and not attempt.given_up:
                tell_of_survivor(attempt)
        return left

    def _still_running(self) -> list[Attempt]:
        known = [*self.attempts.values(), *(self._given_up - set(self.attempts.values()))]
        return [a for a in known if a.task is not None and not a.task.done()]

    def close(self) -> None:
        """Let go of the threads; a blocking handler still running keeps its own."""
        self._stops.close()
        self._threads.shutdown(wait=False, cancel_futures=True)
