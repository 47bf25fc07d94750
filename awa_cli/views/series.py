"""Time series of ended jobs for charts, updated incrementally.

Ends are counted in two ways.  Workers count them as they happen, which stays true when jobs are
retried or deleted; workers of awa 0.5 do not.  The rows of jobs show these.  A chart takes the
count that found more in its time, so that it shows at least what either knows, and never an end
twice.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from awa_lib.reads.failures import Ended, ends_over_time
from awa_lib.reads.statistics import Bucket, ended_series

if TYPE_CHECKING:
    from collections.abc import Mapping

    from awa_lib._sql import Op

__all__ = ["WINDOWS", "Series", "Window"]

# A transaction may commit some time after the time that it writes.
_SLACK: Final = timedelta(seconds=10)
# Workers write counts about a second late, into the minute before at the earliest.
_COUNT_SLACK: Final = timedelta(seconds=90)
_NONE: Final = Ended()


@dataclass(frozen=True, slots=True)
class Window:
    """The time span of a chart, and the width of its buckets."""

    name: str
    width: int
    """Seconds, a multiple of 60; of 3600 for a window of more than 47 hours."""
    buckets: int = 60


WINDOWS: Final = (
    Window("15m", 60, 15),
    Window("1h", 60),
    Window("24h", 1440),
    Window("7d", 10_800, 56),
)


class Series:
    """The buckets of a window, for a queue, a kind or all jobs, and the observed lag."""

    def __init__(self, window: Window, queue: str | None = None, kind: str | None = None) -> None:
        self.window = window
        self._of = {"queue": queue, "kind": kind}
        self._rows: dict[int, Bucket] = {}
        self._ends: dict[int, Ended] = {}
        self._lags: dict[int, float] = {}
        self._until: datetime | None = None

    def read(self, until: datetime) -> Op[None]:
        """Read the jobs that ended since the last read."""
        first = int(until.timestamp()) // self.window.width - self.window.buckets + 1
        yield from self._read_rows(first, until)
        yield from self._read_ends(first, until)
        self._lags = {number: lag for number, lag in self._lags.items() if number >= first}
        self._until = until

    def _since(self, first: int, slack: timedelta) -> datetime:
        """Return the start of the bucket that was not complete at the last read."""
        width = self.window.width
        since = datetime.fromtimestamp(first * width, UTC)
        if self._until is None:
            return since
        late = int((self._until - slack).timestamp()) // width * width
        return max(since, datetime.fromtimestamp(late, UTC))

    def _read_rows(self, first: int, until: datetime) -> Op[None]:
        since = self._since(first, _SLACK)
        read = yield from ended_series(since, until, self.window.width, **self._of)
        begin = int(since.timestamp()) // self.window.width
        kept = {number: one for number, one in self._rows.items() if first <= number < begin}
        again = {number: one for number, one in self._rows.items() if number >= begin}
        for one in read:
            again[one.number] = _still_failed(one, again.get(one.number))
        for number in again.keys() - {one.number for one in read}:
            again[number] = _still_failed(Bucket(number, 0, 0, None), again[number])
        self._rows = kept | again

    def _read_ends(self, first: int, until: datetime) -> Op[None]:
        width = self.window.width
        since = self._since(first, _COUNT_SLACK)
        # The bucket of a worker's last minute may begin later than this clock says.
        ahead = until + timedelta(minutes=1)
        read = yield from ends_over_time(since, ahead, seconds=width, **self._of)
        begin = int(since.timestamp()) // width
        kept = {number: one for number, one in self._ends.items() if first <= number < begin}
        self._ends = kept | {int(one.bucket.timestamp()) // width: one.ended for one in read}

    @property
    def begun(self) -> bool:
        """Return True after the first read."""
        return self._until is not None

    @property
    def until(self) -> datetime:
        """Return the time of the last read; there must have been one."""
        assert self._until is not None
        return self._until

    @property
    def begin(self) -> int:
        """Return the start of the first bucket, in epoch seconds."""
        return self._numbers.start * self.window.width

    def note_lag(self, seconds: float) -> None:
        """Record the present lag: how long the oldest job has waited."""
        if self._until is not None:
            number = int(self._until.timestamp()) // self.window.width
            self._lags[number] = max(seconds, self._lags.get(number, 0.0))

    @property
    def _numbers(self) -> range:
        if self._until is None:
            return range(0)
        last = int(self._until.timestamp()) // self.window.width
        return range(last - self.window.buckets + 1, last + 1)

    def completed(self) -> list[float | None]:
        """Return completed jobs per second by bucket; the last bucket counts its elapsed time.

        A last bucket that has only begun counts together with the one before: its own rate would
        fluctuate widely, and begin at zero.
        """
        counts = self._more("completed")
        return [self._rate(number, counts) for number in self._numbers]

    def failed(self) -> list[float | None]:
        """Return how many jobs failed for good by bucket."""
        counts = self._more("failed")
        return [float(counts.get(number, 0)) for number in self._numbers]

    def retried(self) -> list[float | None]:
        """Return the attempts that failed and are tried again, by bucket; rows do not show them."""
        return [float(self._ends.get(number, _NONE).retried) for number in self._numbers]

    def total(self, name: str) -> int:
        """Return how many jobs were ``completed`` or ``failed``, or attempts ``retried``."""
        return sum(self._more(name).values())

    def waited(self) -> list[float | None]:
        """Return the waiting time in seconds by bucket, None where no job completed."""
        known = self._rows
        return [known[n].waited if n in known else None for n in self._numbers]

    def lags(self) -> list[float | None]:
        """Return the longest observed lag by bucket, None where none was observed."""
        return [self._lags.get(number) for number in self._numbers]

    def _more(self, name: str) -> Mapping[int, int]:
        """Return the numbers of the count that found more: that of rows, or that of workers."""
        rows = {
            n: int(getattr(one, name, 0)) for n, one in self._rows.items() if n in self._numbers
        }
        ends = {n: int(getattr(one, name)) for n, one in self._ends.items() if n in self._numbers}
        return rows if sum(rows.values()) > sum(ends.values()) else ends

    def _rate(self, number: int, counts: Mapping[int, int]) -> float:
        width = self.window.width
        count = counts.get(number, 0)
        gone = min(width, self.until.timestamp() - number * width)
        if gone < width / 3:
            return (counts.get(number - 1, 0) + count) / (width + gone)
        return count / gone


def _still_failed(now: Bucket, before: Bucket | None) -> Bucket:
    """Keep counted failures: a retried job no longer counts as failed in the database."""
    return now if before is None else replace(now, failed=max(now.failed, before.failed))
