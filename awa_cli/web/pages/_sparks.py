"""Small bar charts in rows of tables."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from awa_cli.views.words import now, span

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import timedelta

__all__ = ["Bars", "Spark", "spark"]

_BARS: Final = 30
_MINUTE: Final = 60
_HOUR: Final = 3_600
# Counts of minutes reach back two days.
_LONG: Final = 47 * _HOUR
_HEIGHT: Final = 20


@dataclass(frozen=True, slots=True)
class Bars:
    """The time that a small chart covers, in buckets of ``seconds``."""

    first: int
    """The number of the first bucket: its start in epoch seconds, divided by ``seconds``."""
    seconds: int
    count: int

    @classmethod
    def over(cls, length: timedelta) -> Bars:
        """Return the buckets of the last ``length``: about 30, of whole minutes or hours."""
        total = max(length.total_seconds(), _MINUTE)
        unit = _MINUTE if total < _LONG else _HOUR
        seconds = max(-(-int(total / _BARS) // unit) * unit, unit)
        count = max(round(total / seconds), 1)
        last = int(now().timestamp()) // seconds
        return cls(last - count + 1, seconds, count)

    @property
    def since(self) -> datetime:
        """The start of the first bucket."""
        return datetime.fromtimestamp(self.first * self.seconds, UTC)


@dataclass(frozen=True, slots=True)
class Spark:
    """A small chart in a box 20 high; ``words`` is its text alternative.

    ``bad`` draws what failed, ``good`` what was completed, on top of it.
    """

    width: int
    words: str
    bad: str
    good: str = ""


def spark(
    bars: Bars, failed: Mapping[int, int], completed: Mapping[int, int] | None = None
) -> Spark | None:
    """Draw the failed attempts by bucket, and the completed jobs on them; None if all are zero."""
    lost = [failed.get(bars.first + place, 0) for place in range(bars.count)]
    done = [(completed or {}).get(bars.first + place, 0) for place in range(bars.count)]
    most = max(map(int.__add__, lost, done))
    if not most:
        return None
    heights = [_height(value, most) for value in lost]
    whole = span(bars.count * bars.seconds)
    words = f"{sum(lost):,} failed attempts in {whole}"
    if completed is not None:
        words = f"{sum(done):,} completed jobs and {words}"
    return Spark(
        3 * bars.count - 1,
        words,
        _path(heights, [0.0] * bars.count),
        _path([_height(value, most) for value in done], heights),
    )


def _height(value: int, most: int) -> float:
    # A value above zero always shows.
    return max((_HEIGHT - 2) * value / most, 1.5) if value else 0.0


def _path(heights: Sequence[float], below: Sequence[float]) -> str:
    return "".join(
        f"M{3 * place} {_HEIGHT - base:.4g}h2v-{height:.3g}h-2z"
        for place, (height, base) in enumerate(zip(heights, below, strict=True))
        if height
    )
