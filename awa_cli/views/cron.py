"""Common cron expressions in words: ``0 2 * * mon-fri`` is ``Monday to Friday at 02:00``."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["in_words"]

_NAMED: Final = {
    "@hourly": "every hour",
    "@daily": "every day at 00:00",
    "@midnight": "every day at 00:00",
    "@weekly": "every Sunday at 00:00",
    "@monthly": "on the 1st of each month at 00:00",
    "@yearly": "every year on 1 January at 00:00",
    "@annually": "every year on 1 January at 00:00",
}
_DAYS: Final = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_MONTHS: Final = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
_DAY_KEYS: Final = tuple(day[:3].lower() for day in _DAYS)
_MONTH_KEYS: Final = tuple(month[:3].lower() for month in _MONTHS)
_STEP: Final = re.compile(r"\*/(\d+)")
_RANGE: Final = re.compile(r"(\d+)-(\d+)")
_ZEROS: Final = re.compile(r"\b0+(?=\d)")
_LEAP_DAY: Final = (29, 2)
_MINUTES: Final = 60
_HOURS: Final = 24
_TIMES_LIMIT: Final = 4
# No longer one is common, and Python reads no number of more than 4,300 digits.
_LONGEST: Final = 200


def in_words(expression: str) -> str:
    """Return a common expression in words, any other unchanged.

    ``*/15 * * * *`` is ``every 15 minutes``, ``0 2 * * mon-fri`` is
    ``Monday to Friday at 02:00``.
    """
    text = " ".join(expression.split())
    if text.startswith("@") or len(text) > _LONGEST:
        return _NAMED.get(text.lower(), text)
    fields = _ZEROS.sub("", text.lower().replace("?", "*")).split(" ")
    every_second = len(fields) == 6 and fields[0]  # noqa: PLR2004 - seconds come first of six
    if every_second:
        return _with_seconds(fields) or text
    if len(fields) != 5:  # noqa: PLR2004 - minute, hour, day, month, weekday
        return text
    minute, hour, *date = fields
    when, day = _time(minute, hour), _date(*date)
    if when is None or day is None:
        return text
    if when.startswith("at "):
        return f"{day or 'every day'} {when}"
    on = day.replace("every year on", "on").replace("every", "on")
    return f"{when}, {on}" if on else when


def _with_seconds(fields: list[str]) -> str | None:
    second, rest = fields[0], fields[1:]
    if second == "0":
        words = in_words(" ".join(rest))
        return None if words == " ".join(rest) else words
    if rest != ["*"] * 5:
        return None
    if second == "*":
        return "every second"
    step = _step(second, _MINUTES)
    return None if step is None else _every(step, "second")


def _time(minute: str, hour: str) -> str | None:
    """Return the time of day in words; fixed times start with ``at``."""
    if hour == "*":
        return _within_hours(minute)
    if minute.isdecimal() and not _RANGE.fullmatch(hour):
        if (step := _step(hour, _HOURS)) is not None:
            past = "" if minute == "0" else f" at minute {int(minute)}"
            return f"{_every(step, 'hour')}{past}"
        hours = _numbers(hour, _HOURS)
        if hours is not None and len(hours) <= _TIMES_LIMIT and int(minute) < _MINUTES:
            return "at " + _and([f"{one:02}:{int(minute):02}" for one in hours])
        return None
    return _within_day(minute, hour)


def _within_day(minute: str, hour: str) -> str | None:
    """Return an interval within a range of hours in words."""
    pace = _within_hours(minute)
    if pace is None or (found := _RANGE.fullmatch(hour)) is None:
        return None
    low, high = int(found[1]), int(found[2])
    if not low < high < _HOURS:
        return None
    if minute.isdecimal():
        return f"every hour from {low:02}:{int(minute):02} to {high:02}:{int(minute):02}"
    return f"{pace} from {low:02}:00 to {high:02}:59"


def _within_hours(minute: str) -> str | None:
    if minute == "*":
        return "every minute"
    if minute == "0":
        return "every hour"
    if minute.isdecimal():
        return f"every hour at minute {int(minute)}" if int(minute) < _MINUTES else None
    step = _step(minute, _MINUTES)
    return None if step is None else _every(step, "minute")


def _date(day: str, month: str, weekday: str) -> str | None:
    """Return the days in words: empty for every day, None if words are not clearer."""
    if month != "*":
        return _yearly(day, month) if weekday == "*" else None
    if day == "*":
        return "" if weekday == "*" else _weekdays(weekday)
    return _monthly(day) if weekday == "*" else None


def _monthly(day: str) -> str | None:
    if day == "l":
        return "on the last day of each month"
    days = _numbers(day, 32)
    if days is None or len(days) > _TIMES_LIMIT or min(days) < 1:
        return None
    return f"on the {_and([_nth(one) for one in days])} of each month"


def _yearly(day: str, month: str) -> str | None:
    at = str(_MONTH_KEYS.index(month) + 1) if month in _MONTH_KEYS else month
    if not day.isdecimal() or not at.isdecimal():
        return None
    if not 1 <= int(at) <= len(_MONTHS) or (int(day), int(at)) == _LEAP_DAY:
        return None
    return f"every year on {int(day)} {_MONTHS[int(at) - 1]}"


def _weekdays(text: str) -> str | None:
    if found := re.fullmatch(r"(\w+)-(\w+)", text):
        low, high = _weekday(found[1]), _weekday(found[2])
        return None if low is None or high is None else f"{low} to {high}"
    days = [_weekday(one) for one in text.split(",")]
    known = [one for one in days if one is not None]
    if len(known) < len(days):
        return None
    return f"every {_and(known)}"


def _weekday(text: str) -> str | None:
    if text in _DAY_KEYS:
        return _DAYS[_DAY_KEYS.index(text)]
    return _DAYS[int(text) % 7] if text.isdecimal() and int(text) <= 7 else None  # noqa: PLR2004 - 0 and 7 are Sunday


def _numbers(text: str, end: int) -> list[int] | None:
    parts = text.split(",")
    if not all(one.isdecimal() and int(one) < end for one in parts):
        return None
    return sorted({int(one) for one in parts})


def _step(text: str, whole: int) -> int | None:
    """Return the step of ``*/N`` if it divides the whole; another step is irregular at its end."""
    found = _STEP.fullmatch(text)
    step = int(found[1]) if found else 0
    return step if 0 < step < whole and whole % step == 0 else None


def _every(step: int, unit: str) -> str:
    return f"every {unit}" if step == 1 else f"every {step} {unit}s"


def _and(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _nth(number: int) -> str:
    endings = {1: "st", 2: "nd", 3: "rd"}
    ending = "th" if number in {11, 12, 13} else endings.get(number % 10, "th")
    return f"{number}{ending}"
