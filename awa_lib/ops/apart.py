"""Change a set of rows of which some cannot be changed now: do the others, come back to those."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from awa_lib.errors import AwaError, Transient, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from awa_lib._sql import Op

__all__ = ["Aside", "change_apart"]

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

# How long a statement waits for a lock, in milliseconds.  A statement that is refused leaves all
# its rows undone, so the fewer rows, the less is lost by not waiting.
_SET_WAITS: Final = 250
_PART_WAITS: Final = 10
_ROW_WAITS: Final = 2
# Looking for the rows in the way ends after so long; what was not looked at comes next time.
_SECONDS: Final = 1.0
_AGAIN_SECONDS: Final = 0.3
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 15.0
# Rows in the way beyond this many are not remembered, and found again each time.
_MOST: Final = 20_000
# Rows tried again at a time: few while they are refused, more when they are not.
_FEW: Final = 64
_MANY: Final = 1024


class Change(Protocol[R_co]):
    """Change those of some rows that can be, waiting so long for a lock; return them."""

    def __call__(self, ids: Sequence[int], milliseconds: int, /) -> Op[Mapping[int, R_co]]:
        """Do it."""
        ...


class Aside:
    """Rows that could not be changed, and when each is tried again: 1 s later, doubling to 15 s.

    Whoever looks for work leaves them out, so that rows that somebody holds for long are never in
    the way of others.  Lives as long as its owner; forgetting it costs one search.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._rows: dict[int, tuple[float, float]] = {}
        self._tried_at = -_FIRST_PAUSE

    def __contains__(self, job_id: object) -> bool:
        """Return True for a row that is put aside."""
        return job_id in self._rows

    def __len__(self) -> int:
        """Return how many are put aside."""
        return len(self._rows)

    def ready(self) -> bool:
        """Return True once a second."""
        now = self._clock()
        if not self._rows or now - self._tried_at < _FIRST_PAUSE:
            return False
        self._tried_at = now
        return True

    def due(self, limit: int) -> list[int]:
        """Return those to try again, the longest due, in id order."""
        now = self._clock()
        due = sorted((at, job_id) for job_id, (at, _) in self._rows.items() if at <= now)
        return sorted(job_id for _, job_id in due[:limit])

    def put(self, ids: Sequence[int], *, tried: bool = True) -> None:
        """Put rows aside; one that was tried by itself for twice as long as the last time."""
        now = self._clock()
        for job_id in ids:
            known = self._rows.get(job_id)
            if known is None and len(self._rows) >= _MOST:
                continue
            pause = _FIRST_PAUSE
            if known is not None and tried:
                pause = min(2 * known[1], _LONGEST_PAUSE)
            self._rows[job_id] = (now + pause, pause)

    def drop(self, ids: Sequence[int]) -> None:
        """Forget rows: they were changed, or are no longer what was looked for."""
        for job_id in ids:
            self._rows.pop(job_id, None)


def change_apart(
    ids: Sequence[int],
    change: Change[R],
    aside: Aside,
    blame: Callable[[int, AwaError], Op[Mapping[int, R]]],
) -> Op[dict[int, R]]:
    """Change all rows of a set that can be, and those put aside; return what became of them, by id.

    ``change`` is atomic; it gets ids and how long to wait for a lock in milliseconds, leaves out
    rows that others hold, and returns those it changed.  When it is refused for the whole set, it
    is called with parts, and in the parts that are refused row by row.  A row that something
    passing is in the way of goes aside; for one that is at fault itself ``blame`` is called.
    """
    again = aside.ready()
    done: dict[int, R] = {}
    single: list[int] = []
    until = time.monotonic() + _SECONDS
    for part in (yield from _refused([ids] if ids else [], _SET_WAITS, change, aside, done)):
        until = min(until, time.monotonic() + _SECONDS)
        for less in (yield from _refused(_parts(part), _PART_WAITS, change, aside, done)):
            single += less
    for place, job_id in enumerate(single):
        if time.monotonic() >= until:
            # They wait unseen, so that the next look goes on behind them.
            aside.put(single[place:], tried=False)
            break
        yield from _change_row(job_id, change, aside, blame, done)
    if again:
        yield from _try_again(change, aside, blame, done)
    return done


def _refused(
    sets: Sequence[Sequence[int]],
    milliseconds: int,
    change: Change[R],
    aside: Aside,
    done: dict[int, R],
) -> Op[list[Sequence[int]]]:
    """Change sets; return those that were refused."""
    refused: list[Sequence[int]] = []
    for chosen in sets:
        try:
            changed = yield from change(chosen, milliseconds)
        except Unavailable:
            raise
        except AwaError:
            refused.append(chosen)
        else:
            _note(aside, chosen, changed)
            done.update(changed)
    return refused


def _change_row(
    job_id: int,
    change: Change[R],
    aside: Aside,
    blame: Callable[[int, AwaError], Op[Mapping[int, R]]],
    done: dict[int, R],
) -> Op[None]:
    try:
        changed = yield from change([job_id], _ROW_WAITS)
    except Unavailable:
        raise
    except Transient:
        aside.put([job_id])
    except AwaError as error:
        aside.drop([job_id])
        done.update((yield from blame(job_id, error)))
    else:
        _note(aside, [job_id], changed)
        done.update(changed)


def _try_again(
    change: Change[R],
    aside: Aside,
    blame: Callable[[int, AwaError], Op[Mapping[int, R]]],
    done: dict[int, R],
) -> Op[None]:
    """Come back to rows that are aside."""
    until = time.monotonic() + _AGAIN_SECONDS
    size = _FEW
    while (batch := aside.due(size)) and time.monotonic() < until:
        size = min(4 * size, _MANY)
        for refused in (yield from _refused([batch], _PART_WAITS, change, aside, done)):
            size = _FEW
            for job_id in refused:
                yield from _change_row(job_id, change, aside, blame, done)


def _note(aside: Aside, chosen: Sequence[int], changed: Mapping[int, object]) -> None:
    """Put aside what was left out, once; what is left out again was gone or is looked for anew."""
    for job_id in chosen:
        if job_id in changed or job_id in aside:
            aside.drop([job_id])
        else:
            aside.put([job_id])


def _parts(ids: Sequence[int]) -> list[Sequence[int]]:
    size = math.isqrt(len(ids))
    return [ids[start : start + size] for start in range(0, len(ids), size)]
