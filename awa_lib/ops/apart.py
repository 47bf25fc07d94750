"""Change a set of rows of which some cannot be changed now: do the others, come back to those."""

from __future__ import annotations

import math
import time
from collections import deque
from typing import TYPE_CHECKING, Final, TypeVar

from awa_lib.errors import AwaError, Transient, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from awa_lib._sql import Op

__all__ = ["Aside", "change_apart"]

R = TypeVar("R")

# How long a statement waits for a lock, in milliseconds.  A statement that is refused leaves all
# its rows undone, so the fewer rows, the less is lost by not waiting.
_SET_WAITS: Final = 250
_PART_WAITS: Final = 50
_ROW_WAITS: Final = 20
# Looking for the rows in the way ends after so long; what was not looked at comes next time.
_SECONDS: Final = 2.0
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 15.0
# Rows in the way beyond this many are not remembered, and found again each time.
_MOST: Final = 20_000
_MOST_TRIED: Final = 500


class Aside:
    """Rows that could not be changed, and when each is tried again: 1 s later, doubling to 15 s.

    Whoever looks for work leaves them out, so that rows that somebody holds for long are never in
    the way of others.  Lives as long as its owner; forgetting it costs one search.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._rows: dict[int, tuple[float, float]] = {}

    def __contains__(self, job_id: object) -> bool:
        """Return True for a row that is put aside."""
        return job_id in self._rows

    @property
    def ids(self) -> list[int]:
        """Return all that are put aside."""
        return list(self._rows)

    def due(self) -> list[int]:
        """Return those to try again, in id order, at most 500."""
        now = self._clock()
        return sorted(i for i, (at, _) in self._rows.items() if at <= now)[:_MOST_TRIED]

    def put(self, ids: Sequence[int]) -> None:
        """Put rows aside, for twice as long as the last time."""
        now = self._clock()
        for job_id in ids:
            known = self._rows.get(job_id)
            if known is None and len(self._rows) >= _MOST:
                continue
            pause = _FIRST_PAUSE if known is None else min(2 * known[1], _LONGEST_PAUSE)
            self._rows[job_id] = (now + pause, pause)

    def drop(self, ids: Sequence[int]) -> None:
        """Forget rows: they were changed, or are no longer what was looked for."""
        for job_id in ids:
            self._rows.pop(job_id, None)


def change_apart(
    ids: Sequence[int],
    change: Callable[[Sequence[int], int], Op[Mapping[int, R]]],
    aside: Aside,
    blame: Callable[[int, AwaError], Op[Mapping[int, R]]],
) -> Op[dict[int, R]]:
    """Change all rows of a set that can be; return what became of those, by id.

    ``change`` is atomic; it gets ids and how long to wait for a lock in milliseconds, leaves out
    rows that others hold, and returns those it changed.  When it is refused for the whole set, it
    is called with parts, and in the parts that are refused row by row.  A row that something
    passing is in the way of goes aside; for one that is at fault itself ``blame`` is called.
    """
    done: dict[int, R] = {}
    left: deque[Sequence[int]] = deque([ids] if ids else [])
    until = math.inf
    while left:
        chosen = left.popleft()
        if time.monotonic() >= until:
            # Refused parts wait as a whole, so that the next look goes on behind them.
            aside.put([job_id for part in [chosen, *left] for job_id in part])
            break
        try:
            changed = yield from change(chosen, _patience(len(chosen), len(ids)))
        except Unavailable:
            raise
        except AwaError as error:
            if len(chosen) > 1:
                left.extend(_parts(chosen))
                until = min(until, time.monotonic() + _SECONDS)
            elif isinstance(error, Transient):
                aside.put(chosen)
            else:
                aside.drop(chosen)
                done.update((yield from blame(chosen[0], error)))
        else:
            _note(aside, chosen, changed)
            done.update(changed)
    return done


def _note(aside: Aside, chosen: Sequence[int], changed: Mapping[int, object]) -> None:
    """Put aside what was left out, once; what is left out again was gone or is looked for anew."""
    for job_id in chosen:
        if job_id in changed or job_id in aside:
            aside.drop([job_id])
        else:
            aside.put([job_id])


def _patience(rows: int, of: int) -> int:
    if rows == of:
        return _SET_WAITS
    return _ROW_WAITS if rows == 1 else _PART_WAITS


def _parts(ids: Sequence[int]) -> list[Sequence[int]]:
    size = math.isqrt(len(ids))
    return [ids[start : start + size] for start in range(0, len(ids), size)]
