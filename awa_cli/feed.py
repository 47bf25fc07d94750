"""The polling loop: read repeatedly, at a rate that bounds the load on the database."""

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

# The share of the time that a read may keep the database busy.
_BUSY_SHARE: Final = 0.2
# After a lost connection the pause doubles from the first to the longest.
_FIRST_RETRY_SECONDS: Final = 0.25
_LONGEST_RETRY_SECONDS: Final = 5.0


class Pace:
    """The pause between reads: ``interval`` seconds, longer when a read is expensive."""

    def __init__(self, interval: float) -> None:
        self.interval = interval

    def after(self, cost: float) -> float:
        """Return the seconds to wait after a read that took ``cost`` seconds."""
        return max(self.interval - cost, cost * (1 / _BUSY_SHARE - 1))


def watch(read: Callable[[], T], interval: float) -> Iterator[T]:
    """Read at once, then repeatedly at the interval."""
    pace = Pace(interval)
    while True:
        began = time.perf_counter()
        value = read()
        cost = time.perf_counter() - began
        yield value
        time.sleep(pace.after(cost))


@dataclass(frozen=True, slots=True)
class Reading(Generic[T]):
    """The result of one read: ``value``, or the ``error`` that it raised."""

    value: T | None
    error: AwaError | None
    cost: float
    """Seconds."""


class Feed(Generic[T]):
    """Reads repeatedly without blocking; can be paused, and made to read at once.

    ``async for reading in feed`` never ends and raises no AwaError: a failed read is a reading
    with an error.  While the database cannot be reached, the pauses grow.
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
        """Return True while reading is paused."""
        return not self._open.is_set()

    def hold(self) -> None:
        """Pause until ``go_on``."""
        self._open.clear()

    def go_on(self) -> None:
        """Read at once, then at the interval again."""
        if self.held:
            self._open.set()
            self._hurry.set()

    def hurry(self) -> None:
        """Read now, without waiting for the end of the pause."""
        self._hurry.set()

    async def __aiter__(self) -> AsyncIterator[Reading[T]]:
        """Read at once, then repeatedly."""
        losses = 0
        while True:
            await self._open.wait()
            self._hurry.clear()
            reading = await self._read_once()
            losses = losses + 1 if isinstance(reading.error, Unavailable) else 0
            yield reading
            await self._rest(self.pace.after(reading.cost) if not losses else _backoff(losses))

    async def _read_once(self) -> Reading[T]:
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
    return min(_FIRST_RETRY_SECONDS * 2.0 ** (losses - 1), _LONGEST_RETRY_SECONDS)
