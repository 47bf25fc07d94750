"""Run handlers: one task an attempt, blocking handlers in threads."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

from awa_lib import logs, telemetry, tracing
from awa_lib._json import loads
from awa_lib.errors import AwaError
from awa_lib.models import Job
from awa_lib.runtime.context import Attempt
from awa_lib.runtime.outcomes import Outcome, of_error, of_failure, of_result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from awa_lib.config import QueueOptions
    from awa_lib.retries import Backoff
    from awa_lib.runtime.completer import Completer
    from awa_lib.runtime.context import Desk
    from awa_lib.runtime.events import Events
    from awa_lib.runtime.handlers import Handler, Handlers
    from awa_lib.runtime.limits import Slots

__all__ = ["Executor", "attempt_of", "outcome_of"]

logger = logging.getLogger(__name__)

# How often running attempts are compared with their deadlines: one sweep costs less than a timer
# for each attempt (4.5 µs each).
_SWEEP_SECONDS: Final = 0.25
# Cancels kept for attempts that are being claimed; every process hears those of the whole fleet.
_MOST_EARLY: Final = 128


class Executor:
    """The attempts this process runs, by job id, from claim to durable end."""

    def __init__(
        self,
        handlers: Handlers,
        completer: Completer,
        desk: Desk,
        events: Events,
        threads: int,
        spans_per_second: float,
    ) -> None:
        self._handlers = handlers
        self._completer = completer
        self._desk = desk
        self._events = events
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="awa handler")
        self._loop = asyncio.get_running_loop()
        self._sweep: asyncio.TimerHandle | None = None
        self._timed: set[Attempt] = set()
        self._early: dict[tuple[int, int], Callable[[Attempt], None]] = {}
        self._tracing: tracing.Tracing | None = None
        self._spans = tracing.Allowance(spans_per_second)
        self._measuring = False
        self._running = 0
        self._drained = asyncio.Event()
        self._drained.set()
        self.attempts: dict[int, Attempt] = {}

    @property
    def running(self) -> int:
        """Return how many handlers have not returned yet."""
        return self._running

    def spawn(
        self,
        rows: Sequence[tuple[Any, ...]],
        slots: Slots,
        queue: QueueOptions,
        on_free: Callable[[], None],
    ) -> None:
        """Start an attempt for each claimed row, in order."""
        loop = self._loop
        self._tracing, self._measuring = tracing.tracing(), telemetry.measuring()
        spans = None
        if self._tracing is not None:
            self._tracing.leave()
            spans = self._spans.take(len(rows))
        seconds = queue.deadline_seconds
        deadline = None if seconds is None else loop.time() + seconds
        began, hooked = time.perf_counter(), self._events.hooked
        for at, row in enumerate(rows):
            attempt = attempt_of(row, self._handlers, self._desk, began, queue.backoff)
            self.attempts[attempt.job.id] = attempt
            self._running += 1
            if spans is not None:
                attempt.spanned = at < spans
            if deadline is not None:
                attempt.deadline = deadline
                self._timed.add(attempt)
            if hooked:
                self._events.started(attempt)
            attempt.task = loop.create_task(self._run(attempt, slots, on_free))
            if self._early and (tell := self._early.pop((attempt.job.id, attempt.lease), None)):
                # After the first step of the task: one cancelled before never runs to its end.
                loop.call_soon(tell, attempt)
        self._drained.clear()
        if deadline is not None:
            self._watch_deadlines()

    def cancelled(self, job_id: int, lease: int, tell: Callable[[Attempt], None]) -> None:
        """Tell of an attempt that an operator cancelled.

        The notification can arrive before the rows of the claim: it is kept for the start.
        """
        attempt = self.attempts.get(job_id)
        if attempt is not None and attempt.lease == lease:
            tell(attempt)
        elif attempt is None or attempt.lease < lease:
            self._early[job_id, lease] = tell
            while len(self._early) > _MOST_EARLY:
                del self._early[next(iter(self._early))]

    def set_deadline(self, attempt: Attempt, seconds: float | None) -> None:
        """Start the deadline of a running attempt anew."""
        if seconds is not None:
            attempt.deadline = self._loop.time() + seconds
            self._timed.add(attempt)
            self._watch_deadlines()

    def _watch_deadlines(self) -> None:
        if self._sweep is None:
            self._sweep = self._loop.call_later(_SWEEP_SECONDS, self._check_deadlines)

    async def _run(self, attempt: Attempt, slots: Slots, on_free: Callable[[], None]) -> None:
        # The context is the task's own, so nothing need be set back.
        logs.running.set(attempt.job)
        spans = self._tracing
        if spans is not None and attempt.spanned:
            outcome = await spans.run(attempt, self._outcome(attempt))
        else:
            if spans is not None:
                spans.enter(attempt)
            outcome = await outcome_of(attempt, self._threads)
            if self._events.followed:
                outcome = self._follow(attempt, outcome)
        if self._measuring or spans is not None:
            attempt.ran = attempt.seconds
        self._timed.discard(attempt)
        if outcome is None:
            self._completer.complete(attempt)
        elif outcome.target == DROPPED:
            telemetry.dropped(attempt.job.queue)
            self.forget(attempt)
        else:
            self._completer.end(attempt, outcome)
        self._running -= 1
        if not self._running:
            self._drained.set()
        slots.release()
        on_free()

    async def _outcome(self, attempt: Attempt) -> Outcome | None:
        return self._follow(attempt, await outcome_of(attempt, self._threads))

    def _follow(self, attempt: Attempt, outcome: Outcome | None) -> Outcome | None:
        """Note what follows from an end; return the end, another one when that fails."""
        try:
            attempt.after = self._events.follow_up(attempt, outcome)
        except Exception as error:  # noqa: BLE001 - the caller's function may raise anything
            outcome = of_error(attempt, error)
        return outcome

    def _check_deadlines(self) -> None:
        """Stop attempts past their deadline; the leader's rescue covers dead processes."""
        self._sweep = None
        now = self._loop.time()
        for attempt in [a for a in self._timed if a.deadline is not None and a.deadline <= now]:
            self._timed.discard(attempt)
            if not attempt.waiting:
                attempt.stop("deadline")
        if self._timed:
            self._watch_deadlines()

    def forget(self, attempt: Attempt) -> None:
        """Drop an attempt whose end is durable, or that is not ours any more."""
        if self.attempts.get(attempt.job.id) is attempt:
            del self.attempts[attempt.job.id]

    def stop_attempts(self, reason: str, ids: Iterable[int] | None = None) -> None:
        """Ask attempts to stop; see ``Attempt.stop``."""
        chosen = list(self.attempts) if ids is None else ids
        for job_id in chosen:
            attempt = self.attempts.get(job_id)
            if attempt is not None:
                attempt.stop(reason)

    async def drain(self, seconds: float) -> list[Attempt]:
        """Wait for handlers, then cancel async ones; return the blocking ones still running."""
        try:
            await asyncio.wait_for(self._drained.wait(), seconds)
        except TimeoutError:
            logger.warning(
                "handlers did not end in time; async ones are cancelled and handed back",
                extra={"running": self._running},
            )
            self.stop_attempts("handed back")
            tasks = [a.task for a in self.attempts.values() if a.task and not a.blocking]
            if tasks:
                await asyncio.wait(tasks, timeout=1.0)
        return [a for a in self.attempts.values() if a.task is not None and not a.task.done()]

    def close(self) -> None:
        """Let go of the threads; a blocking handler still running keeps its own."""
        if self._sweep is not None:
            self._sweep.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)


# The target of an attempt whose job is not ours any more: nothing is written.
DROPPED: Final = "dropped"
_STOPPED_HERE: Final = frozenset({"deadline", "cancelled", "lost", "handed back"})


def attempt_of(
    row: tuple[Any, ...],
    handlers: Mapping[str, Handler],
    desk: Desk,
    began: float,
    queue_backoff: Backoff | Callable[[int, BaseException], float] | None = None,
) -> Attempt:
    """Return the attempt that a claimed row begins; ``began`` is of ``time.perf_counter``."""
    job = Job(*row)
    attempt = Attempt(job, handlers[job.kind], desk, began, queue_backoff)
    job._attempt = attempt  # noqa: SLF001 - the job is bound to its attempt here only
    return attempt


async def outcome_of(attempt: Attempt, threads: ThreadPoolExecutor | None) -> Outcome | None:
    """Decode the args, call the handler, and return what its end means; None for completed."""
    job, handler = attempt.job, attempt.handler
    if attempt.beyond:
        return Outcome("failed", f"not begun: {job.kind} has {attempt.max_attempts} attempts")
    try:
        job._args = handler.decode(loads(job._raw_args))  # noqa: SLF001 - see attempt_of
    except Exception as error:  # noqa: BLE001 - any model may raise anything
        return _terminal(error)
    try:
        if handler.is_async:
            result = await handler.call(job)
        else:
            context = contextvars.copy_context()
            result = await asyncio.get_running_loop().run_in_executor(
                threads, context.run, _call, handler, job
            )
        return of_result(attempt, result)
    except asyncio.CancelledError as error:
        return _of_cancel(attempt, error)
    except (Exception, SystemExit) as error:  # sys.exit() ends a job, not the worker
        if attempt.stop_reason in _STOPPED_HERE:
            return _of_cancel(attempt, error)
        logger.debug("handler failed", exc_info=error, extra={"job_id": job.id})
        return of_error(attempt, error)


def _call(handler: Handler, job: Job) -> object:
    try:
        return handler.call(job)
    except StopIteration as error:
        # A future cannot hold it, and would never be done.
        raise RuntimeError("the handler raised StopIteration") from error


def _terminal(error: Exception) -> Outcome:
    text = f"{type(error).__qualname__}: {error}" if isinstance(error, AwaError) else repr(error)
    return Outcome("failed", text, terminal=True)


def _of_cancel(attempt: Attempt, error: BaseException) -> Outcome:
    """Return what a stopped handler's job becomes."""
    if attempt.stop_reason == "deadline":
        return of_failure(attempt, "hard deadline exceeded")
    if attempt.stop_reason in {"cancelled", "lost"}:
        return Outcome(DROPPED)
    if attempt.stop_reason == "handed back":
        return Outcome("available", attempt_back=1)
    return of_error(attempt, error)
