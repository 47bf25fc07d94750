"""Numbers, times and names as text: the same words in tables, screens and web pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from awa_cli.clock import now
from awa_cli.errors import printable

if TYPE_CHECKING:
    from datetime import datetime

__all__ = [
    "age",
    "clean",
    "clock",
    "counted",
    "local",
    "now",
    "say_count",
    "say_rate",
    "say_seconds",
    "span",
]

_UNITS: Final = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def clean(value: Any) -> str:
    """Write a cell: None as ``-``, control characters escaped."""
    return "-" if value is None else printable(str(value))


def counted(number: int, thing: str = "job") -> str:
    """Write a number of things: ``1 job``, ``1,204 jobs``."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def waiting_of(count: int, queue: str) -> str:
    """Write how many jobs of a queue wait: ``12 waiting jobs of queue 'email'``."""
    return f"{counted(count, 'waiting job')} of queue '{clean(queue)}'"


def age(moment: datetime | None) -> str | None:
    """Write a moment relative to now: ``3m ago``, ``in 2h``."""
    if moment is None:
        return None
    seconds = (now() - moment).total_seconds()
    text = span(abs(seconds))
    if text == "0s":
        return "now"
    return f"{text} ago" if seconds > 0 else f"in {text}"


def local(moment: datetime) -> datetime:
    """Return the moment in the time zone of this terminal."""
    return moment.astimezone()


def clock(moment: datetime | None) -> str | None:
    """Write a moment by the clock: ``11:02``, or ``29 Nov`` when it was not today."""
    if moment is None:
        return None
    here = local(moment)
    if here.date() == local(now()).date():
        return f"{here:%H:%M}"
    return f"{here.day} {here:%b}"


def span(seconds: float) -> str:
    """Write a duration in its largest unit, followed by the next unit while the first is short."""
    whole = int(seconds)
    for index, (size, unit) in enumerate(_UNITS):
        if whole >= size:
            count, rest = divmod(whole, size)
            if count < 10 and index + 1 < len(_UNITS):  # noqa: PLR2004 - one digit leaves room
                small, small_unit = _UNITS[index + 1]
                if rest // small:
                    return f"{count}{unit}{rest // small}{small_unit}"
            return f"{count}{unit}"
    return "0s"


def say_rate(value: float) -> str:
    """Write jobs per second, or per minute below one per second."""
    if 0 < value < 1:
        return f"{60 * value:.0f}/min" if 60 * value >= 1 else "less than 1/min"
    return f"{value:,.0f}/s" if value >= 10 or value == 0 else f"{value:.1f}/s"  # noqa: PLR2004 - two digits are enough


def say_count(value: float) -> str:
    """Write a number of jobs."""
    return f"{value:,.0f}"


def say_seconds(value: float) -> str:
    """Write a duration, below one second in milliseconds."""
    return f"{1000 * value:.0f}ms" if value < 1 else span(value)
