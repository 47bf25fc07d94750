"""Change a set of rows, some of which cannot be changed now: change the others, retry those."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from awa_lib.errors import AwaError, Transient, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from awa_lib._sql import Op

__all__ = ["Aside", "change_apart"]

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

# How long a statement waits for a lock.  A statement that fails changes none of its rows, so the
# fewer rows it has, the less a short wait costs.
_SET_LOCK_MS: Final = 250
_PART_LOCK_MS: Final = 10
_ROW_LOCK_MS: Final = 2
# The search for the rows that make a set fail ends after this time; the next call takes the rest.
_SEARCH_SECONDS: Final = 1.0
_RETRY_SECONDS: Final = 0.3
_FIRST_PAUSE_SECONDS: Final = 1.0
_LONGEST_PAUSE_SECONDS: Final = 15.0
# Further rows are not put aside and are found again by each search.
_ROWS_ASIDE: Final = 20_000
# Rows of a retry: a few while they fail, more while they succeed.
_SMALLEST_RETRY: Final = 64
_LARGEST_RETRY: Final = 1024


class Change(Protocol[R_co]):
    """Change the rows that can be changed within a lock timeout; return them."""

    def __call__(self, ids: Sequence[int], milliseconds: int, /) -> Op[Mapping[int, R_co]]:
        """Change the rows with these ids."""
        ...


class Aside:
    """Rows that could not be changed, and when each is retried: after 1 s, doubling to 15 s.

    Searches for work leave them out, so that rows that are locked for long never delay others.  It
    is kept in memory only; losing it costs one search.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._rows: dict[int, tuple[float, float]] = {}
        self._tried_at = -_FIRST_PAUSE_SECONDS

    def __contains__(self, job_id: object) -> bool:
        """Return True for a row that is put aside."""
        return job_id in self._rows

    def __iter__(self) -> Iterator[int]:
        """Iterate over the ids."""
        return iter(self._rows)

    def __len__(self) -> int:
        """Return how many are put aside."""
        return len(self._rows)

    def ready(self) -> bool:
        """Return True at most once a second, when rows are aside."""
        now = self._clock()
        if not self._rows or now - self._tried_at < _FIRST_PAUSE_SECONDS:
            return False
        self._tried_at = now
        return True

    def due(self, limit: int) -> list[int]:
        """Return at most ``limit`` rows to retry, those due longest, in id order."""
        now = self._clock()
        due = sorted((at, job_id) for job_id, (at, _) in self._rows.items() if at <= now)
        return sorted(job_id for _, job_id in due[:limit])

    def put(self, ids: Sequence[int], *, tried: bool = True) -> None:
        """Put rows aside; if ``tried``, for twice as long as the last time."""
        now = self._clock()
        for job_id in ids:
            known = self._rows.get(job_id)
            if known is None and len(self._rows) >= _ROWS_ASIDE:
                continue
            pause = _FIRST_PAUSE_SECONDS
            if known is not None and tried:
                pause = min(2 * known[1], _LONGEST_PAUSE_SECONDS)
            self._rows[job_id] = (now + pause, pause)

    def drop(self, ids: Sequence[int]) -> None:
        """Drop rows that were changed or need no change any longer."""
        for job_id in ids:
            self._rows.pop(job_id, None)


def change_apart(
    ids: Sequence[int],
    change: Change[R],
    aside: Aside,
    blame: Callable[[int, AwaError], Op[Mapping[int, R]]],
) -> Op[dict[int, R]]:
    """Change the rows of a set that can be changed, and rows put aside; return results by id.

    ``change`` is atomic; it gets ids and a lock timeout in milliseconds, skips locked rows, and
    returns those that it changed.  When it fails for the whole set it is called with parts, and row
    by row for the parts that fail.  A row with a transient error is put aside; for a row with
    another error ``blame`` is called.
    """
    again = aside.ready()
    done: dict[int, R] = {}
    single: list[int] = []
    until = time.monotonic() + _SEARCH_SECONDS
    for part in (yield from _failed([ids] if ids else [], _SET_LOCK_MS, change, aside, done)):
        until = min(until, time.monotonic() + _SEARCH_SECONDS)
        for rows in (yield from _failed(_parts(part), _PART_LOCK_MS, change, aside, done)):
            single += rows
    for place, job_id in enumerate(single):
        if time.monotonic() >= until:
            # Put aside untried, so that the next search goes on behind them.
            aside.put(single[place:], tried=False)
            break
        yield from _change_row(job_id, change, aside, blame, done)
    if again:
        yield from _retry(change, aside, blame, done)
    return done


def _failed(
    sets: Sequence[Sequence[int]],
    milliseconds: int,
    change: Change[R],
    aside: Aside,
    done: dict[int, R],
) -> Op[list[Sequence[int]]]:
    """Change sets; return the sets that failed."""
    failed: list[Sequence[int]] = []
    for chosen in sets:
        try:
            changed = yield from change(chosen, milliseconds)
        except Unavailable:
            raise
        except AwaError:
            failed.append(chosen)
        else:
            _note(aside, chosen, changed)
            done.update(changed)
    return failed


def _change_row(
    job_id: int,
    change: Change[R],
    aside: Aside,
    blame: Callable[[int, AwaError], Op[Mapping[int, R]]],
    done: dict[int, R],
) -> Op[None]:
    try:
        changed = yield from change([job_id], _ROW_LOCK_MS)
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


def _retry(
    change: Change[R],
    aside: Aside,
    blame: Callable[[int, AwaError], Op[Mapping[int, R]]],
    done: dict[int, R],
) -> Op[None]:
    """Retry rows that are aside."""
    until = time.monotonic() + _RETRY_SECONDS
    size = _SMALLEST_RETRY
    while (batch := aside.due(size)) and time.monotonic() < until:
        size = min(4 * size, _LARGEST_RETRY)
        for failed in (yield from _failed([batch], _PART_LOCK_MS, change, aside, done)):
            size = _SMALLEST_RETRY
            for job_id in failed:
                yield from _change_row(job_id, change, aside, blame, done)


def _note(aside: Aside, chosen: Sequence[int], changed: Mapping[int, object]) -> None:
    """Put skipped rows aside once; a row that is skipped again is left to the next search."""
    for job_id in chosen:
        if job_id in changed or job_id in aside:
            aside.drop([job_id])
        else:
            aside.put([job_id])


def _parts(ids: Sequence[int]) -> list[Sequence[int]]:
    size = math.isqrt(len(ids))
    return [ids[start : start + size] for start in range(0, len(ids), size)]
