"""A running attempt: what its handler sees, and what the runtime knows about it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import time
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from awa_lib.callbacks.cel import Expressions
from awa_lib.errors import AwaError
from awa_lib.runtime.attempt_steps import lasting, named
from awa_lib.runtime.progress import EMPTY, Progress
from awa_lib.telemetry.failures import group_of_text

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping
    from contextlib import AbstractContextManager
    from datetime import timedelta
    from functools import partial

    from awa_lib.codec.job_results import KeptResult
    from awa_lib.enqueue.new_jobs import NewJobs
    from awa_lib.models import Job
    from awa_lib.results import CallbackToken
    from awa_lib.retries import Backoff
    from awa_lib.runtime.attempt_steps import AttemptSteps, DurableSteps
    from awa_lib.runtime.handlers import Handler
    from awa_lib.runtime.slot_waits import SlotWaits
    from awa_lib.telemetry.failures import Group

__all__ = [
    "CANCELLED",
    "LOST",
    "OVER",
    "Attempt",
    "AttemptCallbacks",
    "AttemptServices",
    "Outcome",
    "wait_in_thread",
]

R = TypeVar("R")

LOST: Final = frozenset({"cancelled", "lost"})
"""Stop reasons of an attempt whose job belongs to it no longer."""
OVER: Final = LOST | {"deadline", "handed back"}
"""Stop reasons of an attempt that is over, whatever its handler still does."""
CANCELLED: Final = "cancelled: "
"""What the text of a cancelled attempt begins with when its handler asked for that."""
# Longest wait of a thread for the event loop and the database.
_THREAD_SECONDS: Final = 30.0
# A thread that waits without a bound checks at this interval whether the event loop is closed.
_LOOP_CHECK_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """The target state of an attempt that did not simply complete."""

    target: str
    error: str | None = None
    terminal: bool = False
    delay: float | None = None
    """Seconds until the next run; None means the default backoff."""
    attempt_back: int = 0
    """1 when the attempt does not count."""
    error_type: str | None = None
    """Qualified name of the exception."""
    cause: BaseException | None = field(default=None, repr=False, compare=False)
    """The exception, for the log; dropped before the end is queued."""
    shown: str | None = field(default=None, compare=False)
    """What the log says instead of an error that may quote the args."""
    group: Group | None = None
    """The failure that its exception belongs to."""
    limit: int | None = field(default=None, compare=False)
    """The most attempts of its kind, where that is less than those of the job."""

    @property
    def failure(self) -> Group | None:
        """Return the failure that an error belongs to; of an error without one, by its text."""
        if self.group is not None or self.error is None or self.error.startswith(CANCELLED):
            return self.group
        return group_of_text(self.error)


class AttemptCallbacks(Protocol):
    """Callbacks of running attempts, see ``runtime.callbacks``."""

    async def register(
        self, attempt: Attempt, timeout_seconds: float, expressions: Expressions
    ) -> CallbackToken:
        """Register the next callback of an attempt."""

    async def wait(self, attempt: Attempt, token: CallbackToken, *, hold: bool = False) -> Any:
        """Return the answer to a callback."""

    async def cancel(self, attempt: Attempt, token: CallbackToken) -> bool:
        """Withdraw a callback that has no answer."""


class AttemptServices(Protocol):
    """What the runtime does for a running attempt, on the event loop."""

    loop: asyncio.AbstractEventLoop

    @property
    def callbacks(self) -> AttemptCallbacks:
        """Return what registers callbacks and waits for them."""

    @property
    def slot_waits(self) -> SlotWaits:
        """Return what counts handlers that wait for other jobs."""

    @property
    def steps(self) -> DurableSteps:
        """Return what keeps durable steps."""

    async def flush(self, attempt: Attempt) -> None:
        """Write the attempt's progress."""

    @property
    def wait(self) -> Callable[[concurrent.futures.Future[Any], float], None]:
        """Return what waits in a thread for a future of the loop, at most some seconds."""


class Attempt:
    """A claimed job between its claim and the durable end of this attempt.

    Handlers in threads set progress while the heartbeat thread reads it, so it is replaced as a
    whole and never changed in place.
    """

    __slots__ = (
        "_services",
        "_written",
        "began",
        "blocking",
        "deadline",
        "ended",
        "follow_ups",
        "given_up",
        "handler",
        "interrupted",
        "job",
        "journal",
        "journal_used",
        "lease",
        "noted",
        "on_stop",
        "queue_backoff",
        "ran",
        "result",
        "spanned",
        "steps",
        "stop_reason",
        "task",
        "trace",
        "turn",
        "waiting",
        "waits",
    )

    # Positional: made for each claimed job, and keywords cost more than the rest of the call.
    def __init__(
        self,
        job: Job,
        handler: Handler,
        services: AttemptServices,
        began: float,
        queue_backoff: Backoff | Callable[[int, BaseException], float] | None,
    ) -> None:
        self.job = job
        self.lease = job.run_lease
        self.handler = handler
        self.queue_backoff = queue_backoff
        self.deadline: float | None = None
        text = job._progress  # noqa: SLF001 - spares a decode
        self.noted: Progress | None = Progress.of_text(text) if text else None
        self._written: Progress | None = self.noted
        self.stop_reason: str | None = None
        # Called on the event loop, once, when the attempt is asked to stop.
        self.on_stop: Callable[[Attempt], None] | None = None
        # CancelledError is due: a handler in a thread cannot get it.
        self.interrupted = False
        # The worker no longer waits for the handler.
        self.given_up = False
        # The handler is in a thread now.
        self.blocking = False
        self.task: asyncio.Task[None] | None = None
        # Of a suspect, which runs alone: set when it may begin.
        self.turn: asyncio.Future[str] | None = None
        # The outcome, once the handler has ended and other code of the attempt may still fail.
        self.ended: tuple[Outcome | None] | None = None
        # The row's journal of callbacks, read on first use, and how many of its entries this
        # attempt has asked for.
        self.journal: list[dict[str, Any]] | None = None
        self.journal_used = 0
        self.waiting = False
        # Waits so far: a changed count shows that the row was in another state meanwhile.
        self.waits = 0
        # What its end enqueues in the same transaction.
        self.follow_ups: NewJobs | None = None
        # What its completion keeps of the handler's return value.
        self.result: KeptResult | None = None
        self.trace: str | None = None  # The whole traceback, where a handler keeps it.
        # The durable steps, once the handler has asked for one.
        self.steps: AttemptSteps | None = None
        self.began = began
        # Seconds from the claim to the handler's return.
        self.ran = 0.0
        # The attempt has a span of its own, where spans are made.
        self.spanned = True
        self._services = services

    @property
    def progress(self) -> dict[str, Any] | None:
        """A copy of the progress as it is now."""
        return None if self.noted is None else self.noted.value

    @property
    def progress_text(self) -> str | None:
        """The progress as JSON text, which is what is written."""
        return None if self.noted is None else self.noted.text

    @property
    def backoff(self) -> Backoff | Callable[[int, BaseException], float] | None:
        """Return the handler's backoff, else the queue's; None for the default."""
        policy = self.handler.policy
        return self.queue_backoff if policy is None else policy.backoff or self.queue_backoff

    @property
    def max_attempts(self) -> int:
        """Return the limit of the job, or of the handler where that is lower."""
        policy, most = self.handler.policy, self.job.max_attempts
        if policy is None or policy.max_attempts is None:
            return most
        return min(most, policy.max_attempts)

    @property
    def is_last(self) -> bool:
        """Return True when no attempt is left after this one."""
        return self.job.attempt >= self.max_attempts

    @property
    def over_limit(self) -> bool:
        """Return True when failures or crashes have already used up the handler's limit.

        A rescue knows the limit of the job only.
        """
        policy = self.handler.policy
        if policy is None or policy.max_attempts is None or not self.job.errors:
            return False
        errors = [entry for entry in self.job.errors if isinstance(entry, dict)]
        last = next((entry for entry in reversed(errors) if "crash" not in entry), None)
        if self.job.attempt > policy.max_attempts:
            return last is not None and last.get("attempt") == self.job.attempt - 1
        # A crash is not a failure: its attempt was given back.  Crashes are counted since the last
        # retry by hand.
        crashed = bool(errors) and "crash" in errors[-1]
        crashes = self.job.metadata.get("_awa_crashes") if crashed else None
        return isinstance(crashes, int) and crashes >= policy.max_attempts

    @property
    def seconds(self) -> float:
        """Return how long ago the attempt was claimed."""
        return time.perf_counter() - self.began

    @property
    def has_news(self) -> bool:
        """Return True when the progress holds something that is not written."""
        return self.noted is not self._written

    def mark_written(self, noted: Progress | None) -> None:
        """Note that this progress is written."""
        self._written = noted

    def is_cancelled(self) -> bool:
        """Return True once the attempt should stop."""
        return self.stop_reason is not None

    def stop(self, reason: str) -> None:
        """Set the stop flag; the executor does the rest.

        The first reason stays, except for shutdown, which leaves handlers time to end well.
        """
        if self.stop_reason in (None, "shutdown") and self.stop_reason != reason:
            self.stop_reason = reason
            if self.on_stop is not None:
                self.on_stop(self)

    def set_progress(self, percent: int, message: str | None) -> None:
        """Replace percent and message, keep the checkpoint."""
        if isinstance(percent, bool) or not isinstance(percent, int):
            raise TypeError(f"percent must be an int, got {percent!r}")
        if percent < 0:
            raise ValueError(f"percent must be >= 0, got {percent}")
        text = None if message is None else str(message)
        self.noted = (self.noted or EMPTY).with_percent(min(percent, 100), text)

    def update_metadata(self, updates: Mapping[str, Any]) -> None:
        """Merge the present values of keys into the checkpoint (shallow)."""
        if not isinstance(updates, dict):
            raise ValueError(f"updates must be a dict, got {updates!r}")  # noqa: TRY004 - as awa 0.5 does
        self.noted = (self.noted or EMPTY).with_metadata(updates)

    async def flush_progress(self) -> None:
        """Write progress now, if it has changed."""
        if self.has_news:
            await self._services.flush(self)

    def flush_progress_sync(self) -> None:
        """Write progress now, from a thread."""
        self.from_thread(self.flush_progress())

    def from_thread(self, call: Coroutine[Any, Any, R], *, bounded: bool = True) -> R:
        """Run a coroutine on the worker's event loop, from another thread, and wait for it."""
        loop, verb = self._services.loop, str(getattr(call, "__name__", "it"))
        if _running_loop() is loop:
            call.close()
            raise AwaError(
                f"{verb}_sync was called on the event loop",
                why="it would block the event loop that it waits for",
                hint=f"await job.{verb}(...) instead",
            )
        try:
            future = asyncio.run_coroutine_threadsafe(call, loop)
        except RuntimeError:  # the loop is closed
            call.close()
            raise _no_loop(verb) from None
        if bounded:
            self._services.wait(future, _THREAD_SECONDS)
        else:
            while not future.done():
                self._services.wait(future, _LOOP_CHECK_SECONDS)
                if not future.done() and loop.is_closed():
                    raise _no_loop(verb)
        if not future.done():
            future.cancel()
            raise AwaError(
                f"{verb} was not done within {_THREAD_SECONDS:g} s",
                why="the database or the worker's event loop does not answer",
            )
        return future.result()

    async def register_callback(
        self, timeout_seconds: float, **expressions: str | None
    ) -> CallbackToken:
        """Register a callback, or return the one that an earlier attempt registered."""
        cel = Expressions(**expressions)
        return await self._services.callbacks.register(self, timeout_seconds, cel)

    async def wait_for_callback(self, token: CallbackToken, *, hold: bool = False) -> Any:
        """Wait for the answer to a callback and return its payload."""
        return await self._services.callbacks.wait(self, token, hold=hold)

    async def step(self, name: str, key: object, into: Any, call: partial[Any]) -> Any:
        """Run a durable step, or return the value of one that an earlier attempt has run."""
        return await self._services.steps.run(self, named(name, key), into, call)

    def step_sync(self, name: str, key: object, into: Any, call: partial[Any]) -> Any:
        """Do the same in the thread of a blocking handler."""
        return self._services.steps.run_in_thread(self, named(name, key), into, call)

    async def sleep(
        self, name: str, duration: float | str | timedelta | None, parts: dict[str, float | None]
    ) -> None:
        """Park the job until a time has passed."""
        await self._services.steps.sleep(self, named(name, None), lasting(duration, parts))

    def waits_for(self, job_id: int, queue: str) -> AbstractContextManager[None]:
        """Hold the slot during a wait for another job.  Raises WouldDeadlock.

        Does nothing in a task that outlives the handler.
        """
        if self.task is not None and self.task.done():
            return nullcontext()
        return self._services.slot_waits.hold(self, job_id, queue)

    async def cancel_callback(self, token: CallbackToken) -> bool:
        """Withdraw a callback."""
        return await self._services.callbacks.cancel(self, token)


def wait_in_thread(future: concurrent.futures.Future[Any], seconds: float) -> None:
    """Wait for a future of the event loop, at most ``seconds``."""
    concurrent.futures.wait([future], seconds)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _no_loop(verb: str) -> AwaError:
    return AwaError(f"{verb} is no longer possible", why="the worker has ended")
