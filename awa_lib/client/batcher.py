"""Batch the single inserts of many tasks into shared statements."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final, TypeAlias

from awa_lib.enqueue.new_jobs import NewJobs
from awa_lib.errors import DatabaseError, Transient, Unavailable
from awa_lib.ops.inserts import insert_batch

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from awa_lib._sql import Op
    from awa_lib.models import Job

    Waiting: TypeAlias = tuple[NewJobs, asyncio.Future[Job]]

__all__ = ["Batcher"]

_BATCH: Final = 1_000
# How long the parts of a failed batch are retried while errors are transient.
_APART_SECONDS: Final = 10.0
_CLOSE_SECONDS: Final = 10.0


class Batcher:
    """Collects jobs while a statement runs; the next statement inserts all of them.

    The first caller waits for others for one turn of the event loop only, so a single insert is
    not delayed, and batches grow with the load.  Each caller gets its job or an error, even if the
    writing task is cancelled.
    """

    def __init__(self, run: Callable[[Op[list[Job]]], Coroutine[Any, Any, list[Job]]]) -> None:
        self._run = run
        self._waiting: list[Waiting] = []
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    async def insert(self, new: NewJobs) -> Job:
        """Insert one checked job and return it.  Raises the error of this job only."""
        if self._closed:
            raise _closed()
        future: asyncio.Future[Job] = asyncio.get_running_loop().create_future()
        self._waiting.append((new, future))
        self._start()
        return await future

    def _start(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._flush(), name="awa enqueue")
            self._task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Start a new task for the remaining callers if this task was cancelled."""
        if not task.cancelled() and (error := task.exception()) is not None:
            _fail(self._waiting, error)
        self._waiting = [item for item in self._waiting if not item[1].done()]
        if self._waiting and task is self._task:
            self._start()

    async def _flush(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:_BATCH], self._waiting[_BATCH:]
            # A caller that was cancelled before its job was sent does not need it.
            batch = [item for item in batch if not item[1].done()]
            try:
                if batch:
                    await self._send(batch, time.monotonic() + _APART_SECONDS)
            except BaseException as error:
                _fail(batch, error if isinstance(error, Exception) else _cut_off())
                if not isinstance(error, Exception):
                    raise

    async def _send(self, batch: list[Waiting], until: float) -> None:
        try:
            jobs = await self._run(insert_batch(NewJobs.merge([new for new, _ in batch])))
        except Exception as error:  # noqa: BLE001 - any error goes to the caller
            late = isinstance(error, Transient) and time.monotonic() > until
            if len(batch) == 1 or late or isinstance(error, Unavailable):
                _fail(batch, error)
            else:
                # The error of one job rolled back all of them: insert each half by itself.
                middle = len(batch) // 2
                await self._send(batch[:middle], until)
                await self._send(batch[middle:], until)
        else:
            for job, (_, future) in zip(jobs, batch, strict=True):
                if not future.done():
                    future.set_result(job)

    async def close(self) -> None:
        """Write the jobs that wait, for a limited time, and refuse new jobs."""
        self._closed = True
        until = time.monotonic() + _CLOSE_SECONDS
        # While callers wait, a cancelled task is followed by another.
        while (task := self._task) is not None and not task.done():
            _, late = await asyncio.wait({task}, timeout=max(until - time.monotonic(), 0))
            if late:
                waiting, self._waiting = self._waiting, []
                _fail(waiting, _closed())
                task.cancel()
                await asyncio.wait({task})
            else:
                # Its callback runs before this task continues, or in the next turn of the loop.
                await asyncio.sleep(0)


def _closed() -> DatabaseError:
    return DatabaseError("the client is closed", hint="make a new client")


def _cut_off() -> DatabaseError:
    return DatabaseError(
        "the insert was cut off",
        why="the task that writes the jobs of all callers was cancelled from outside",
        hint="check whether the job exists before you insert it again: awa job list",
    )


def _fail(batch: list[Waiting], error: BaseException) -> None:
    for _, future in batch:
        if not future.done():
            future.set_exception(error)
