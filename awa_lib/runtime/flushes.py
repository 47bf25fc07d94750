"""Write what running handlers want durable at once, in batches: progress and steps."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from awa_lib.errors import AwaError, Transient, Unavailable
from awa_lib.ops import claims
from awa_lib.ops.steps import write_steps

if TYPE_CHECKING:
    from awa_lib._sql import Op
    from awa_lib.ops.claims import Missed
    from awa_lib.ops.steps import NewStep
    from awa_lib.runtime.context import Attempt

__all__ = ["Flushes", "Sender", "StepWrites"]

R = TypeVar("R")

_ROWS_PER_STATEMENT: Final = 500
_BYTES_PER_STATEMENT: Final = 8 << 20


class Sender(Protocol):
    """What runs ops, and rests when they fail."""

    async def run(self, op: Op[R], /) -> R:
        """Run an op."""
        ...

    async def pause_after(self, failures: int, /) -> None:
        """Rest after so many failures in a row."""


class _Flush:
    __slots__ = ("answer", "attempt", "data")

    def __init__(self, attempt: Attempt, data: Any = None) -> None:
        self.attempt = attempt
        self.data = data
        self.answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()


class Flushes:
    """Collect flushes while a statement runs and write them with the next statement.

    A flush is retried until it is written, however long the database is away, or until its attempt
    stops.
    """

    def __init__(self, link: Sender) -> None:
        self._link = link
        self._waiting: list[_Flush] = []
        self._task: asyncio.Task[None] | None = None

    async def write(self, attempt: Attempt, data: Any = None) -> bool:
        """Write an attempt's data; return False when it no longer owns its job."""
        flush = _Flush(attempt, data)
        self._waiting.append(flush)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="awa flushes")
        return await flush.answer

    def _op(self, batch: list[_Flush], *, skip_locked: bool) -> Op[Missed]:
        """Write the progress of each attempt as it is now."""
        leases = [(flush.attempt.job.id, flush.attempt.lease) for flush in batch]
        for flush in batch:
            flush.data = flush.attempt.noted
        texts = [flush.attempt.progress_text for flush in batch]
        return claims.write_progress(leases, texts, skip_locked=skip_locked)

    def _written(self, flush: _Flush) -> None:
        flush.attempt.mark_written(flush.data)

    def _bytes(self, _flush: _Flush) -> int:
        return 0

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
        size = 0
        for flush in self._waiting:
            if flush.answer.done():
                continue  # its handler was cancelled
            full = len(batch) == _ROWS_PER_STATEMENT or size > _BYTES_PER_STATEMENT
            if flush.attempt.job.id in batch or full:
                rest.append(flush)
            else:
                batch[flush.attempt.job.id] = flush
                size += self._bytes(flush)
        self._waiting = rest
        return [batch[key] for key in sorted(batch)]

    async def _write(self, batch: list[_Flush]) -> None:
        try:
            missed = await self._link.run(self._op(batch, skip_locked=False))
        except Unavailable:
            raise
        except Transient:
            # A row is locked: write the others.
            missed = await self._link.run(self._op(batch, skip_locked=True))
        except AwaError as error:
            if len(batch) == 1:
                _end(batch[0], error)
                return
            for flush in batch:
                await self._write([flush])
            return
        for flush in batch:
            if flush.attempt.job.id not in missed.busy:
                self._written(flush)
                if not flush.answer.done():
                    flush.answer.set_result(flush.attempt.job.id not in missed.stale)


class StepWrites(Flushes):
    """The same for the steps of handlers; the data of a flush is its step."""

    def _op(self, batch: list[_Flush], *, skip_locked: bool) -> Op[Missed]:
        steps: list[NewStep] = [flush.data for flush in batch]
        return write_steps(steps, skip_locked=skip_locked)

    def _written(self, flush: _Flush) -> None:
        pass

    def _bytes(self, flush: _Flush) -> int:
        return len(flush.data.text)


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
