"""One running attempt: what its handler sees and what the runtime knows of it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from awa_lib.args import encode_object
from awa_lib.errors import AwaError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from awa_lib.cel import Expressions
    from awa_lib.models import Job
    from awa_lib.new_jobs import NewJobs
    from awa_lib.results import CallbackToken
    from awa_lib.retries import Backoff
    from awa_lib.runtime.callbacks import Callbacks
    from awa_lib.runtime.handlers import Handler

__all__ = ["Attempt", "Desk"]

R = TypeVar("R")
_THREAD_SECONDS: Final = 30.0


class Desk(Protocol):
    """What the runtime does for a running attempt, on the event loop."""

    callbacks: Callbacks
    loop: asyncio.AbstractEventLoop

    async def flush(self, attempt: Attempt) -> None:
        """Write the attempt's progress."""


class Attempt:
    """A claimed job between its claim and the durable end of this attempt.

    Handlers in threads write progress while the heartbeat thread reads it, so progress is
    replaced as a whole and never changed in place.
    """

    __slots__ = (
        "_desk",
        "_written",
        "after",
        "asked",
        "began",
        "deadline",
        "handler",
        "job",
        "journal",
        "lease",
        "progress",
        "queue_backoff",
        "ran",
        "spanned",
        "stop_reason",
        "task",
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
        self.progress: dict[str, Any] | None = job.progress if job._progress else None  # noqa: SLF001 - spares a decode
        self._written: dict[str, Any] | None = self.progress
        self.stop_reason: str | None = None
        self.task: asyncio.Task[None] | None = None
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
    def blocking(self) -> bool:
        """Return True for a handler that runs in a thread."""
        return not self.handler.is_async

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
        last = next((e for e in reversed(self.job.errors) if "crash" not in e), None)
        if self.job.attempt > policy.max_attempts:
            return last is not None and last.get("attempt") == self.job.attempt - 1
        # A crash is no failure, its attempt was given back; the count is of this life.
        crashes = self.job.metadata.get("_awa_crashes") if "crash" in self.job.errors[-1] else None
        return isinstance(crashes, int) and crashes >= policy.max_attempts

    @property
    def seconds(self) -> float:
        """Return how long ago the attempt was claimed."""
        return time.perf_counter() - self.began

    @property
    def has_news(self) -> bool:
        """Return True when progress holds something not yet written."""
        return self.progress is not self._written

    def mark_written(self, progress: dict[str, Any] | None) -> None:
        """Note that this progress is in the database."""
        self._written = progress

    def is_cancelled(self) -> bool:
        """Return True once the attempt should stop."""
        return self.stop_reason is not None

    def stop(self, reason: str) -> None:
        """Ask the handler to stop: the flag for all, CancelledError for async ones.

        The first reason stays.  Shutdown only raises the flag, so that handlers may end well.
        """
        if self.stop_reason in (None, "shutdown"):
            self.stop_reason = reason
            if reason != "shutdown" and not self.blocking and self.task is not None:
                self.task.cancel()

    def set_progress(self, percent: int, message: str | None) -> None:
        """Replace percent and message, keep the checkpoint."""
        if isinstance(percent, bool) or not isinstance(percent, int):
            raise TypeError(f"percent must be an int, got {percent!r}")
        if percent < 0:
            raise ValueError(f"percent must be >= 0, got {percent}")
        fresh: dict[str, Any] = {"percent": min(percent, 100)}
        if message is not None:
            fresh["message"] = str(message)
        if self.progress and "metadata" in self.progress:
            fresh["metadata"] = self.progress["metadata"]
        encode_object(fresh, name="progress")
        self.progress = fresh

    def update_metadata(self, updates: Mapping[str, Any]) -> None:
        """Merge keys into the checkpoint (shallow)."""
        if not isinstance(updates, dict):
            raise ValueError(f"updates must be a dict, got {updates!r}")  # noqa: TRY004 - published
        encode_object(updates, name="updates")
        current = (self.progress or {}).get("metadata", {})
        if not isinstance(current, dict):
            raise RuntimeError("progress metadata is not an object")  # noqa: TRY004 - published
        self.progress = {**(self.progress or {}), "metadata": {**current, **updates}}

    async def flush_progress(self) -> None:
        """Write progress now, if there is news."""
        if self.has_news:
            await self._desk.flush(self)

    def flush_progress_sync(self) -> None:
        """Write progress now, from a thread."""
        future = asyncio.run_coroutine_threadsafe(self.flush_progress(), self._desk.loop)
        try:
            future.result(timeout=_THREAD_SECONDS)
        except TimeoutError:
            raise AwaError(
                f"progress was not written within {_THREAD_SECONDS:g} s",
                why="the database, or the event loop of the worker, does not answer",
            ) from None

    def from_thread(self, call: Coroutine[Any, Any, R]) -> R:
        """Run a coroutine on the worker's event loop and wait for it."""
        return asyncio.run_coroutine_threadsafe(call, self._desk.loop).result()

    async def register_callback(
        self, timeout_seconds: float, expressions: Expressions
    ) -> CallbackToken:
        """Give the job a callback, or the one that an attempt before this one asked for."""
        return await self._desk.callbacks.register(self, timeout_seconds, expressions)

    async def wait_for_callback(self, token: CallbackToken) -> Any:
        """Wait for the answer to a callback and return its payload."""
        return await self._desk.callbacks.wait(self, token)

    async def cancel_callback(self, token: CallbackToken) -> bool:
        """Withdraw a callback."""
        return await self._desk.callbacks.cancel(self, token)
