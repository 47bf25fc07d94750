"""The one polling loop: read again and again, at a pace the database can bear."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from awa_lib.errors import AwaError, Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

__all__ = ["Feed", "Pace", "Reading", "watch"]

T = TypeVar("T")

# A watched read may keep the database busy for this share of the time.
_SHARE: Final = 0.2
# A lost database is asked for after 0.25 s, and ever less often until this.
_FIRST_RETRY: Final = 0.25
_LONGEST_RETRY: Final = 5.0


class Pace:
    """Says how long to wait: ``interval`` seconds, more when a read is expensive."""

    def __init__(self, interval: float) -> None:
        self.interval = interval

    def after(self, cost: float) -> float:
        """Return the seconds to wait after a read that took ``cost`` seconds."""
        return max(self.interval - cost, cost * (1 / _SHARE - 1))


def watch(read: Callable[[], T], interval: float) -> Iterator[T]:
    """Read at once, and then for ever at the pace of the interval."""
    pace = Pace(interval)
    while True:
        began = time.perf_counter()
        value = read()
        cost = time.perf_counter() - began
        yield value
        time.sleep(pace.after(cost))


@dataclass(frozen=True, slots=True)
class Reading(Generic[T]):
    """What one look brought: ``value``, or the ``error`` that came in its place."""

    value: T | None
    error: AwaError | None
    cost: float
    """Seconds."""


class Feed(Generic[T]):
    """Reads again and again without blocking; can be held, and hurried.

    ``async for reading in feed`` never ends and never raises what the library raises: a lost
    database is a reading with an error, and is asked for again, ever less often.
    """

    def __init__(self, read: Callable[[], Awaitable[T]], interval: float) -> None:
        import asyncio

        self._read = read
        self.pace = Pace(interval)
        self._open = asyncio.Event()
        self._open.set()
        self._hurry = asyncio.Event()

    @property
    def held(self) -> bool:
        """Return True while nothing is read."""
        return not self._open.is_set()

    def hold(self) -> None:
        """Read nothing more until ``go_on``."""
        self._open.clear()

    def go_on(self) -> None:
        """Read at once, and then at the pace again."""
        if self.held:
            self._open.set()
            self._hurry.set()

    def hurry(self) -> None:
        """Read now instead of at the end of the pause."""
        self._hurry.set()

    async def __aiter__(self) -> AsyncIterator[Reading[T]]:
        """Read at once, and then for ever."""
        losses = 0
        while True:
            await self._open.wait()
            self._hurry.clear()
            reading = await self._look()
            losses = losses + 1 if isinstance(reading.error, Unavailable) else 0
            yield reading
            await self._rest(self.pace.after(reading.cost) if not losses else _backoff(losses))

    async def _look(self) -> Reading[T]:
        began = time.perf_counter()
        try:
            value = await self._read()
        except AwaError as error:
            return Reading(None, error, time.perf_counter() - began)
        return Reading(value, None, time.perf_counter() - began)

    async def _rest(self, seconds: float) -> None:
        import asyncio

        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._hurry.wait()


def _backoff(losses: int) -> float:
    return min(_FIRST_RETRY * 2.0 ** (losses - 1), _LONGEST_RETRY)
