"""A duty that runs at intervals, survives its errors and says them once."""

from __future__ import annotations

import asyncio
import logging
import random
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol

from awa_lib.errors import AwaError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["Periodic", "Service"]

logger = logging.getLogger(__name__)

_LONGEST_BACKOFF: Final = 30.0


class Service(Protocol):
    """What the process starts and stops."""

    @property
    def alive(self) -> bool:
        """Return True while the duty is looked after."""
        ...

    async def start(self) -> None:
        """Start; return when the duty runs."""

    async def stop(self) -> None:
        """Stop; return when nothing of it runs any more."""


class Periodic:
    """Run a coroutine function every ``seconds``, jittered by a tenth, the first time at once.

    A failure is logged when it begins and when it is over.  While the database is away the
    pauses double, up to 30 s.
    """

    def __init__(self, name: str, seconds: float, duty: Callable[[], Awaitable[None]]) -> None:
        self.name = name
        self._seconds = seconds
        self._duty = duty
        self._poke = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._failures = 0

    @property
    def alive(self) -> bool:
        """Return True while the loop runs."""
        return self._task is not None and not self._task.done()

    def poke(self) -> None:
        """Run now."""
        self._poke.set()

    async def start(self) -> None:
        """Start the loop."""
        self._task = asyncio.create_task(self._run(), name=f"awa {self.name}")

    async def stop(self) -> None:
        """Stop the loop, in the middle of a run if need be."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            self._poke.clear()
            wait = self._seconds
            try:
                await self._duty()
            except Unavailable:
                # The connection's own log line says it; this loop only slows down.
                self._failures += 1
                wait = min(max(wait, 0.1 * 2.0 ** min(self._failures, 10)), _LONGEST_BACKOFF)
            except AwaError as error:
                self._failures += 1
                if self._failures == 1:
                    logger.exception(
                        "a duty fails; it is tried again",
                        extra={"duty": self.name, "hint": error.hint},
                    )
            else:
                if self._failures:
                    logger.info("a duty works again", extra={"duty": self.name})
                self._failures = 0
            with suppress(TimeoutError):
                await asyncio.wait_for(self._poke.wait(), wait * random.uniform(0.9, 1.1))
