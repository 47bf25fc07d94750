"""One leader in the fleet, by a session advisory lock."""

from __future__ import annotations

import asyncio
import logging
import random
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from awa_lib.errors import AwaError, Unavailable
from awa_lib.ops import runtime as ops
from awa_lib.reads.health import ping
from awa_lib.runtime.maintenance import Maintenance

if TYPE_CHECKING:
    from collections.abc import Callable

    from awa_lib.config import WorkerOptions
    from awa_lib.ops.maintenance import Rescued
    from awa_lib.runtime.connections import Link

__all__ = ["Leader"]

logger = logging.getLogger(__name__)

# The lock's connection is checked every third election: 30 s by default, as published.
_CHECK_EVERY: Final = 3


class Leader:
    """A candidate for leadership, and the fleet's maintenance while it leads.

    The lock is held by one connection for the whole term; the duties run on another, so that a
    statement that fails or hangs does not cost the lock.  Two leaders at once (a lost connection
    noticed late) do no harm: every statement locks and tests the rows it changes.
    """

    def __init__(
        self,
        lock: Link,
        work: Link,
        options: WorkerOptions,
        on_rescued: Callable[[list[Rescued]], None],
    ) -> None:
        self._lock = lock
        self._work = work
        self._options = options
        self._on_rescued = on_rescued
        self._term: Maintenance | None = None
        self._task: asyncio.Task[None] | None = None
        self._stop = asyncio.Event()

    @property
    def is_leader(self) -> bool:
        """Return True while this process leads."""
        return self._term is not None

    @property
    def alive(self) -> bool:
        """Return True while the candidate loop runs."""
        return self._task is not None and not self._task.done()

    async def start(self) -> None:
        """Start to stand for election."""
        self._task = asyncio.create_task(self._run(), name="awa leader")

    async def stop(self) -> None:
        """Stop every duty and give the lock up."""
        self._stop.set()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        await self._work.close()
        await self._lock.close()

    async def _run(self) -> None:
        retry = self._options.leader_election_interval_ms / 1000
        while not self._stop.is_set():
            try:
                if self._options.leads and await self._lock.run(ops.try_lead()):
                    await self._lead()
            except Unavailable:
                pass
            except AwaError:
                logger.exception("leader election failed; trying again")
            await self._wait(retry * random.uniform(0.9, 1.1))

    async def _lead(self) -> None:
        """Serve a term: until stopped, or until the lock's connection is lost."""
        self._term = Maintenance(self._work, self._options, self._on_rescued)
        logger.info("this process leads the fleet's maintenance")
        await self._term.start()
        try:
            while not self._stop.is_set():
                await self._wait(_CHECK_EVERY * self._options.leader_election_interval_ms / 1000)
                await self._lock.run(ping() if not self._stop.is_set() else ops.step_down())
        finally:
            term, self._term = self._term, None
            await term.stop()

    async def _wait(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), seconds)
