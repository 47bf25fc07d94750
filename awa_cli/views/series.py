"""What ended when, as far back as a chart goes; only what is new is read again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from awa_lib.reads.statistics import Bucket, ended_series

if TYPE_CHECKING:
    from awa_lib._sql import Op

__all__ = ["WINDOWS", "Series", "Window"]

# A transaction that commits late writes a time that is past already.
_SLACK: Final = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class Window:
    """How far back charts go, and how wide their buckets are."""

    name: str
    width: int
    """Seconds."""
    buckets: int = 60


WINDOWS: Final = (Window("15m", 15), Window("1h", 60), Window("24h", 1440))


class Series:
    """The buckets of one window, of one queue, of one kind or of all, and the lag as seen."""

    def __init__(self, window: Window, queue: str | None = None, kind: str | None = None) -> None:
        self.window = window
        self._of = {"queue": queue, "kind": kind}
        self._known: dict[int, Bucket] = {}
        self._lags: dict[int, float] = {}
        self._until: datetime | None = None

    def read(self, until: datetime) -> Op[None]:
        """Read what ended since the last time."""
        width = self.window.width
        first = int(until.timestamp()) // width - self.window.buckets + 1
        since = datetime.fromtimestamp(first * width, UTC)
        if self._until is not None:
            # From the beginning of the bucket that was not full at the last look.
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
        """Return True once something was read."""
        return self._until is not None

    @property
    def until(self) -> datetime:
        """Return when it was read; only of one that has begun."""
        assert self._until is not None
        return self._until

    @property
    def begin(self) -> int:
        """Return when the first bucket begins, in epoch seconds."""
        return self._numbers.start * self.window.width

    def note_lag(self, seconds: float) -> None:
        """Note how long the oldest job waits now."""
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
        """Return jobs a second, by bucket; the last bucket is that far only as it has gone."""
        return [self._rate(number, "completed") for number in self._numbers]

    def failed(self) -> list[float | None]:
        """Return the number of failures by bucket."""
        return [float(self._count(number, "failed")) for number in self._numbers]

    def waited(self) -> list[float | None]:
        """Return seconds of waiting by bucket, None where nothing completed."""
        known = self._known
        return [known[n].waited if n in known else None for n in self._numbers]

    def lags(self) -> list[float | None]:
        """Return the longest lag seen in each bucket, None where nobody looked."""
        return [self._lags.get(number) for number in self._numbers]

    def _count(self, number: int, name: str) -> int:
        return int(getattr(self._known[number], name)) if number in self._known else 0

    def _rate(self, number: int, name: str) -> float:
        width = self.window.width
        elapsed = float(width)
        if self._until is not None:
            gone = self._until.timestamp() - number * width
            # A bucket that has only begun would swing between nothing and too much.
            elapsed = max(min(gone, width), width / 3) if gone < width else width
        return self._count(number, name) / elapsed


def _still_failed(now: Bucket, before: Bucket | None) -> Bucket:
    """Keep failures that were seen: a row forgets that it failed once somebody retries the job."""
    return now if before is None else replace(now, failed=max(now.failed, before.failed))
