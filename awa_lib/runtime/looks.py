"""How often to look from the start of an index, which dead rows make dear.

While a transaction holds an old snapshot, the entries of rows that have changed since stay in the
index, and a look from its start walks all of them.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from awa_lib._sql import Op

__all__ = ["Looks", "pause_after", "rest_after", "timed"]

R = TypeVar("R")

# A look that takes less longer than others than this needs no marks.
_DEAR_SECONDS: Final = 0.01
_REST_PER_LOOK: Final = 20


class Looks:
    """Looks from the start, and when the next is due; while they are cheap, each look is one.

    Between them, looks may begin at marks: where the last one has found the first row, or ended.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.due_at: float | None = None
        """When the next one is due, by the clock; None while each look is one."""

    @property
    def due(self) -> bool:
        """Return True when the next look must be one from the start."""
        return self.due_at is None or self._clock() >= self.due_at

    def took(self, seconds: float) -> bool:
        """Note how much longer than others one took; return True when others may begin at marks."""
        if seconds < _DEAR_SECONDS:
            self.due_at = None
            return False
        self.due_at = self._clock() + rest_after(seconds)
        return True

    def forget(self) -> None:
        """Look from the start next."""
        self.due_at = None


def rest_after(seconds: float) -> float:
    """Return the pause after a look from the start, so that all of them take a part of the time.

    A sixteenth of it; a fifth, if a look takes longer than a sixteenth of a second.
    """
    return min(16 * seconds, max(1.0, 4 * seconds))


def pause_after(look_seconds: float, interval_seconds: float) -> float | None:
    """Return the pause after a look that is dear, None for the interval.

    All looks of a duty take at most a twentieth of the time.
    """
    rest = look_seconds * _REST_PER_LOOK
    return rest if rest > interval_seconds else None


def timed(op: Op[R], clock: Callable[[], float] = time.monotonic) -> Op[tuple[R, float]]:
    """Run an op, and return also how long it took since its connection was free."""
    began = clock()
    result = yield from op
    return result, clock() - began
