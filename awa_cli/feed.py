"""The one polling loop: read again and again, at a pace the database can bear."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Pace", "watch"]

T = TypeVar("T")

# A watched read may keep the database busy for this share of the time.
_SHARE: Final = 0.2


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
