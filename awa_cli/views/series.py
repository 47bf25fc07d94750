"""Time series of ended jobs for charts, updated incrementally."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from awa_lib.reads.statistics import Bucket, ended_series

if TYPE_CHECKING:
    from awa_lib._sql import Op

__all__ = ["WINDOWS", "Series", "Window"]

# A transaction may commit some time after the time that it writes.
_SLACK: Final = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class Window:
    """The time span of a chart, and the width of its buckets."""

    name: str
    width: int
    """Seconds."""
    buckets: int = 60


WINDOWS: Final = (Window("15m", 15), Window("1h", 60), Window("24h", 1440))


class Series:
    """The buckets of a window, for a queue, a kind or all jobs, and the observed lag."""

    def __init__(self, window: Window, queue: str | None = None, kind: str | None = None) -> None:
        self.window = window
        self._of = {"queue": queue, "kind": kind}
        self._known: dict[int, Bucket] = {}
        self._lags: dict[int, float] = {}
        self._until: datetime | None = None

    def read(self, until: datetime) -> Op[None]:
        """Read the jobs that ended since the last read."""
        width = self.window.width
        first = int(until.timestamp()) // width - self.window.buckets + 1
        since = datetime.fromtimestamp(first * width, UTC)
        if self._until is not None:
            # Start with the bucket that was incomplete at the last read.
            late = int((self._until - _SLACK).timestamp()) // width * width
            since = max(since, datetime.fromtimestamp(late, UTC))
        read = yield from ended_series(since, until, width, **self._of)
        begin = int(since.timestamp()) // width
        kept = {number: one for number, one in self._known.items() if first <= number < begin}
        again = {number: one for number, one in self._known.items() if number >= begin}
        for one in read:
            again[one.number] = _still_failed(one, again.get(one.number))
        for number in again.keys() - {one.number for one in read}:
            again[number] = _still_failed(Bucket(number, 0, 0, None), again[number])
        self._known = kept | again
        self._lags = {number: lag for number, lag in self._lags.items() if number >= first}
        self._until = until

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
        """Return completed jobs per second by bucket; the last bucket counts its elapsed time."""
        return [self._rate(number, "completed") for number in self._numbers]

    def failed(self) -> list[float | None]:
        """Return the number of failures by bucket."""
        return [float(self._count(number, "failed")) for number in self._numbers]

    def waited(self) -> list[float | None]:
        """Return the waiting time in seconds by bucket, None where no job completed."""
        known = self._known
        return [known[n].waited if n in known else None for n in self._numbers]

    def lags(self) -> list[float | None]:
        """Return the longest observed lag by bucket, None where none was observed."""
        return [self._lags.get(number) for number in self._numbers]

    def _count(self, number: int, name: str) -> int:
        return int(getattr(self._known[number], name)) if number in self._known else 0

    def _rate(self, number: int, name: str) -> float:
        width = self.window.width
        elapsed = float(width)
        if self._until is not None:
            gone = self._until.timestamp() - number * width
            # The rate of a bucket that has just started would fluctuate widely.
            elapsed = max(min(gone, width), width / 3) if gone < width else width
        return self._count(number, name) / elapsed


def _still_failed(now: Bucket, before: Bucket | None) -> Bucket:
    """Keep counted failures: a retried job no longer counts as failed in the database."""
    return now if before is None else replace(now, failed=max(now.failed, before.failed))
