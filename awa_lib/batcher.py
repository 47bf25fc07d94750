"""Single inserts of many callers in shared statements and commits."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from awa_lib.errors import AwaError, Unavailable
from awa_lib.new_jobs import NewJobs
from awa_lib.ops.inserts import insert_batch

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from awa_lib._sql import Op
    from awa_lib.models import Job

__all__ = ["Batcher"]

_MOST: Final = 1_000


class Batcher:
    """Gathers jobs while a statement is under way; the next one takes all of them.

    The first caller does not wait for others beyond one turn of the event loop, so a lone insert
    costs no time, and batches grow with the load.
    """

    def __init__(self, run: Callable[[Op[list[Job]]], Coroutine[Any, Any, list[Job]]]) -> None:
        self._run = run
        self._waiting: list[tuple[NewJobs, asyncio.Future[Job]]] = []
        self._task: asyncio.Task[None] | None = None

    async def insert(self, new: NewJobs) -> Job:
        """Insert one checked job and return it, or raise its own error."""
        future: asyncio.Future[Job] = asyncio.get_running_loop().create_future()
        self._waiting.append((new, future))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._flush(), name="awa enqueue")
        return await future

    async def _flush(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:_MOST], self._waiting[_MOST:]
            # A caller that went away before its job was sent does not want it any more.
            batch = [one for one in batch if not one[1].cancelled()]
            if batch:
                await self._send(batch)

    async def _send(self, batch: list[tuple[NewJobs, asyncio.Future[Job]]]) -> None:
        try:
            jobs = await self._run(insert_batch(NewJobs.merge([new for new, _ in batch])))
        except AwaError as error:
            if len(batch) == 1 or isinstance(error, Unavailable):
                _fail(batch, error)
                return
            # One job's error took all of them back: each goes by itself.
            for one in batch:
                await self._send([one])
        except BaseException as error:
            _fail(batch, error)
            raise
        else:
            for job, (_, future) in zip(jobs, batch, strict=True):
                if not future.done():
                    future.set_result(job)

    async def drain(self) -> None:
        """Wait until every job handed in is written."""
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)


def _fail(batch: list[tuple[NewJobs, asyncio.Future[Job]]], error: BaseException) -> None:
    for _, future in batch:
        if not future.done():
            future.set_exception(error)
