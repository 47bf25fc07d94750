"""One running attempt: what its handler sees and what the runtime knows of it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import time
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from awa_lib.callbacks.cel import Expressions
from awa_lib.errors import AwaError
from awa_lib.runtime.progress import EMPTY, Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from awa_lib.enqueue.new_jobs import NewJobs
    from awa_lib.models import Job
    from awa_lib.results import CallbackToken
    from awa_lib.retries import Backoff
    from awa_lib.runtime.callbacks import Callbacks
    from awa_lib.runtime.handlers import Handler
    from awa_lib.runtime.outcomes import Outcome

__all__ = ["Attempt", "Desk"]

R = TypeVar("R")
# How long a thread waits for the event loop and the database.
_THREAD_SECONDS: Final = 30.0
# How often a thread that waits without a bound sees whether the event loop is still there.
_LOOK_SECONDS: Final = 1.0


class Desk(Protocol):
    """What the runtime does for a running attempt, on the event loop."""

    callbacks: Callbacks
    loop: asyncio.AbstractEventLoop

    async def flush(self, attempt: Attempt) -> None:
        """Write the attempt's progress."""


class Attempt:
    """A claimed job between its claim and the durable end of this attempt.

    Handlers in threads note progress while the heartbeat thread reads it, so it is replaced as a
    whole and never changed in place.
    """

    __slots__ = (
        "_desk",
        "_written",
        "after",
        "asked",
        "began",
        "blocking",
        "deadline",
        "ended",
        "given_up",
        "handler",
        "interrupted",
        "job",
        "journal",
        "lease",
        "noted",
        "on_stop",
        "queue_backoff",
        "ran",
        "spanned",
        "stop_reason",
        "task",
        "turn",
        "waiting",
        "waits",
    )  # fmt: skip

    def __init__(
        self,
        job: Job,
        handler: Handler,
        desk: Desk,
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
        # Called once when it is asked to stop, on the event loop.
        self.on_stop: Callable[[Attempt], None] | None = None
        # Whether CancelledError is due: a handler in a thread cannot get it.
        self.interrupted = False
        # Whether the worker waits for its handler no more.
        self.given_up = False
        # Whether the handler is in a thread at the moment.
        self.blocking = False
        self.task: asyncio.Task[None] | None = None
        # For a suspect, which runs alone: set when it may begin.
        self.turn: asyncio.Future[str] | None = None
        # What the handler's end means, once it is known and something else may yet fail.
        self.ended: tuple[Outcome | None] | None = None
        # Callbacks: the row's journal once it was needed, and how many of it were asked for again.
        self.journal: list[dict[str, Any]] | None = None
        self.asked = 0
        self.waiting = False
        # Waits so far: tells whether the row was out of our hands since it was looked at.
        self.waits = 0
        # What its end enqueues in the same transaction.
        self.after: NewJobs | None = None
        self.began = began
        # Seconds from the claim to the handler's return.
        self.ran = 0.0
        # Whether this attempt has a span of its own, where spans are made.
        self.spanned = True
        self._desk = desk

    @property
    def progress(self) -> dict[str, Any] | None:
        """A copy of the progress as it is noted now."""
        return None if self.noted is None else self.noted.value

    @property
    def progress_text(self) -> str | None:
        """The same as JSON text, which is what is written."""
        return None if self.noted is None else self.noted.text

    @property
    def backoff(self) -> Backoff | Callable[[int, BaseException], float] | None:
        """Return the handler's backoff, else the queue's; None for the published one."""
        policy = self.handler.policy
        return self.queue_backoff if policy is None else policy.backoff or self.queue_backoff

    @property
    def max_attempts(self) -> int:
        """Return the job's limit, or the handler's where that is lower."""
        policy, most = self.handler.policy, self.job.max_attempts
        if policy is None or policy.max_attempts is None:
            return most
        return min(most, policy.max_attempts)

    @property
    def is_last(self) -> bool:
        """Return True when no attempt is left after this one."""
        return self.job.attempt >= self.max_attempts

    @property
    def beyond(self) -> bool:
        """Return True for one more than the handler's limit, after a failure or as many crashes.

        A rescue knows the job's own limit alone.
        """
        policy = self.handler.policy
        if policy is None or policy.max_attempts is None or not self.job.errors:
            return False
        errors = [entry for entry in self.job.errors if isinstance(entry, dict)]
        last = next((entry for entry in reversed(errors) if "crash" not in entry), None)
        if self.job.attempt > policy.max_attempts:
            return last is not None and last.get("attempt") == self.job.attempt - 1
        # A crash is no failure, its attempt was given back; the count is of this life.
        crashed = bool(errors) and "crash" in errors[-1]
        crashes = self.job.metadata.get("_awa_crashes") if crashed else None
        return isinstance(crashes, int) and crashes >= policy.max_attempts

    @property
    def seconds(self) -> float:
        """Return how long ago the attempt was claimed."""
        return time.perf_counter() - self.began

    @property
    def has_news(self) -> bool:
        """Return True when progress holds something not yet written."""
        return self.noted is not self._written

    def mark_written(self, noted: Progress | None) -> None:
        """Note that this progress is in the database."""
        self._written = noted

    def is_cancelled(self) -> bool:
        """Return True once the attempt should stop."""
        return self.stop_reason is not None

    def stop(self, reason: str) -> None:
        """Ask the handler to stop: the flag at once; what follows is the executor's.

        The first reason stays.  Shutdown is none yet, so that handlers may end well.
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
        self.noted = (self.noted or EMPTY).noted(min(percent, 100), text)

    def update_metadata(self, updates: Mapping[str, Any]) -> None:
        """Merge keys into the checkpoint (shallow), as they are now."""
        if not isinstance(updates, dict):
            raise ValueError(f"updates must be a dict, got {updates!r}")  # noqa: TRY004 - published
        self.noted = (self.noted or EMPTY).merged(updates)

    async def flush_progress(self) -> None:
        """Write progress now, if there is news."""
        if self.has_news:
            await self._desk.flush(self)

    def flush_progress_sync(self) -> None:
        """Write progress now, from a thread."""
        self.from_thread(self.flush_progress())

    def from_thread(self, call: Coroutine[Any, Any, R], *, bounded: bool = True) -> R:
        """Run a coroutine on the worker's event loop, from another thread, and wait for it."""
        loop, verb = self._desk.loop, str(getattr(call, "__name__", "it"))
        if _running_loop() is loop:
            call.close()
            raise AwaError(
                f"{verb}_sync was called on the event loop",
                why="it would wait for what only the event loop can do",
                hint=f"await job.{verb}(...) instead",
            )
        try:
            future = asyncio.run_coroutine_threadsafe(call, loop)
        except RuntimeError:  # the loop is closed
            call.close()
            raise _no_loop(verb) from None
        if bounded:
            concurrent.futures.wait([future], _THREAD_SECONDS)
        else:
            while not concurrent.futures.wait([future], _LOOK_SECONDS).done:
                if loop.is_closed():
                    raise _no_loop(verb)
        if not future.done():
            future.cancel()
            raise AwaError(
                f"{verb} was not done within {_THREAD_SECONDS:g} s",
                why="the database, or the event loop of the worker, does not answer",
            )
        return future.result()

    async def register_callback(
        self, timeout_seconds: float, **expressions: str | None
    ) -> CallbackToken:
        """Give the job a callback, or the one that an attempt before this one asked for."""
        cel = Expressions(**expressions)
        return await self._desk.callbacks.register(self, timeout_seconds, cel)

    async def wait_for_callback(self, token: CallbackToken) -> Any:
        """Wait for the answer to a callback and return its payload."""
        return await self._desk.callbacks.wait(self, token)

    async def cancel_callback(self, token: CallbackToken) -> bool:
        """Withdraw a callback."""
        return await self._desk.callbacks.cancel(self, token)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _no_loop(verb: str) -> AwaError:
    return AwaError(f"{verb} is not possible any more", why="the worker has ended")
