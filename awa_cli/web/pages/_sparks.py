"""Small bar charts in rows of tables."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from awa_cli.views.words import now, span

if TYPE_CHECKING:
    from collections.abc import Mapping
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
    """A small chart; ``words`` is its text alternative, ``path`` its bars in a box 20 high."""

    width: int
    path: str
    words: str


def spark(bars: Bars, counts: Mapping[int, int], what: str) -> Spark | None:
    """Draw the counts by bucket; None if all are zero."""
    values = [counts.get(bars.first + place, 0) for place in range(bars.count)]
    most = max(values)
    if not most:
        return None
    path = "".join(
        # A value above zero always shows.
        f"M{3 * place} {_HEIGHT}h2v-{max(_HEIGHT * value / most, 1.5):.4g}h-2z"
        for place, value in enumerate(values)
        if value
    )
    whole, each = span(bars.count * bars.seconds), span(bars.seconds)
    words = f"{what}: {sum(values):,} in {whole}, at most {most:,} in {each}"
    return Spark(3 * bars.count - 1, path, words)
