"""One running attempt: what its handler sees and what the runtime knows of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from awa_lib.args import encode_object

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Coroutine, Mapping

    from awa_lib.models import Job
    from awa_lib.runtime.handlers import Handler

__all__ = ["Attempt"]


class Attempt:
    """A claimed job between its claim and the durable end of this attempt.

    Handlers in threads write progress while the heartbeat thread reads it, so progress is
    replaced as a whole and never changed in place.
    """

    __slots__ = (
        "_flush", "_flush_sync", "_written", "blocking", "deadline", "handler", "job", "lease",
        "progress", "stop_reason", "task",
    )  # fmt: skip

    def __init__(
        self,
        job: Job,
        handler: Handler,
        flush: Callable[[Attempt], Coroutine[Any, Any, None]],
        flush_sync: Callable[[Attempt], None],
    ) -> None:
        self.job = job
        self.lease = job.run_lease
        self.handler = handler
        self.blocking = not handler.is_async
        self.deadline: float | None = None
        self.progress: dict[str, Any] | None = job.progress if job._progress else None  # noqa: SLF001 - spares a decode
        self._written: dict[str, Any] | None = self.progress
        self.stop_reason: str | None = None
        self.task: asyncio.Task[None] | None = None
        self._flush = flush
        self._flush_sync = flush_sync

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
            await self._flush(self)

    def flush_progress_sync(self) -> None:
        """Write progress now, from a thread."""
        if self.has_news:
            self._flush_sync(self)
