"""Write the progress that handlers flush, in batches."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from awa_lib.errors import AwaError, Transient, Unavailable
from awa_lib.ops import claims

if TYPE_CHECKING:
    from awa_lib.runtime.context import Attempt
    from awa_lib.runtime.links import Link

__all__ = ["Flushes"]

_ROWS_PER_STATEMENT: Final = 500


class _Flush:
    __slots__ = ("answer", "attempt")

    def __init__(self, attempt: Attempt) -> None:
        self.attempt = attempt
        self.answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()


class Flushes:
    """Collect flushes while a statement runs and write them with the next statement.

    A flush is retried until it is written, however long the database is away, or until its attempt
    stops.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._waiting: list[_Flush] = []
        self._task: asyncio.Task[None] | None = None

    async def write(self, attempt: Attempt) -> bool:
        """Write an attempt's progress; return False when it no longer owns its job."""
        flush = _Flush(attempt)
        self._waiting.append(flush)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="awa flushes")
        return await flush.answer

    async def _run(self) -> None:
        failures = 0
        batch: list[_Flush] = []
        try:
            while batch := self._next():
                try:
                    await self._write(batch)
                except Transient as error:
                    _end_stopped(batch, error)
                self._waiting += [flush for flush in batch if not flush.answer.done()]
                left = all(flush.answer.done() for flush in batch)
                failures = 0 if left else failures + 1
                if failures:
                    await self._link.pause_after(failures)
        except BaseException as error:
            for flush in [*batch, *self._waiting]:
                _end(flush, error)
            self._waiting = []
            if not isinstance(error, Exception):
                raise

    def _next(self) -> list[_Flush]:
        """Take a batch, each job at most once."""
        batch: dict[int, _Flush] = {}
        rest = []
        for flush in self._waiting:
            if flush.answer.done():
                continue  # its handler was cancelled
            if flush.attempt.job.id in batch or len(batch) == _ROWS_PER_STATEMENT:
                rest.append(flush)
            else:
                batch[flush.attempt.job.id] = flush
        self._waiting = rest
        return [batch[key] for key in sorted(batch)]

    async def _write(self, batch: list[_Flush]) -> None:
        leases = [(flush.attempt.job.id, flush.attempt.lease) for flush in batch]
        noted = [flush.attempt.noted for flush in batch]
        texts = [flush.attempt.progress_text for flush in batch]
        try:
            missed = await self._link.run(claims.write_progress(leases, texts))
        except Unavailable:
            raise
        except Transient:
            # A row is locked: write the others.
            missed = await self._link.run(claims.write_progress(leases, texts, skip_locked=True))
        except AwaError as error:
            if len(batch) == 1:
                _end(batch[0], error)
                return
            for flush in batch:
                await self._write([flush])
            return
        for flush, written in zip(batch, noted, strict=True):
            if flush.attempt.job.id not in missed.busy:
                flush.attempt.mark_written(written)
                if not flush.answer.done():
                    flush.answer.set_result(flush.attempt.job.id not in missed.stale)


def _end_stopped(batch: list[_Flush], error: Transient) -> None:
    for flush in batch:
        if flush.attempt.is_cancelled():
            _end(flush, error)


def _end(flush: _Flush, error: BaseException) -> None:
    if flush.answer.done():
        return
    if isinstance(error, Exception):
        flush.answer.set_exception(error)
    else:
        flush.answer.cancel()
