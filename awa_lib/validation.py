"""Checks of values: text, whole numbers, times, words that must be known.

Light to import: the standard library, the errors and the states only.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

from awa_lib.errors import ValidationError
from awa_lib.states import STATES, JobState

__all__ = [
    "INT32_MAX",
    "INT64_MAX",
    "INT64_MIN",
    "LONGEST_HOURS",
    "LONGEST_NAME",
    "LONGEST_SECONDS",
    "bounded",
    "did_you_mean",
    "int64_of",
    "items_of",
    "member_of",
    "moment_of",
    "name_of",
    "names_of",
    "nearest",
    "no_member",
    "number_of",
    "one_line",
    "parse_duration",
    "seconds_of",
    "state_of",
    "storable",
    "takes",
    "text_of",
    "unknown_word",
]

T = TypeVar("T")

# The CHECK of the columns queue and kind.
LONGEST_NAME: Final = 200
INT32_MAX: Final = 2**31 - 1
"""The largest value of a PostgreSQL integer."""
INT64_MIN: Final = -(2**63)
INT64_MAX: Final = 2**63 - 1
"""The largest value of a PostgreSQL bigint, and so of an id."""
LONGEST_SECONDS: Final = 100 * 366 * 86_400.0
"""A hundred years: longer than any useful time, and well inside the range of timestamptz."""
LONGEST_HOURS: Final = LONGEST_SECONDS / 3600
_UNITS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_LONGEST_DURATION: Final = 100
# In a message; a name that is allowed is quoted whole.
_LONGEST_QUOTED: Final = LONGEST_NAME
_MEMBER: Final = re.compile(r"(.+)\[(\d{1,6})\]", re.DOTALL | re.ASCII)
_MOST_NAMED: Final = 50
# Words among which the nearest is looked for: 100,000 took seconds.
_MOST_COMPARED: Final = 5_000
_PIECE: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhdw])")
_MOMENT: Final = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?", re.IGNORECASE
)


def name_of(field: str, value: object) -> str:
    """Return a name of 1 to 200 characters.  Raises ValidationError."""
    if not text_of(field, value, LONGEST_NAME):
        raise ValidationError(f"{field} must not be empty")
    return str(value)


def names_of(field: str, value: Iterable[object]) -> list[str]:
    """Return a list of names.  Raises ValidationError."""
    return [name_of(f"a name in {field}", name) for name in items_of(field, value)]


def items_of(field: str, value: Iterable[T]) -> Iterable[T]:
    """Return an iterable that is neither text nor a dict.  Raises ValidationError."""
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise ValidationError(f"{field} must be a list, or another iterable: {value!r}")
    return value


def text_of(field: str, value: object, longest: int) -> str:
    """Return a text that PostgreSQL can store.  Raises ValidationError."""
    if not isinstance(value, str) or len(value) > longest:
        raise ValidationError(
            f"{field} must be text of at most {longest} characters: {_cut(value)}"
        )
    if not storable(value):
        raise ValidationError(
            f"{field} holds a character that Postgres cannot store: {_cut(value)}",
            why="PostgreSQL stores neither NUL characters nor lone surrogates",
        )
    return value


def _cut(value: object) -> str:
    """Return a value for a message: of a megabyte only the beginning."""
    text = repr(value[:_LONGEST_QUOTED]) if isinstance(value, str | bytes) else repr(value)
    if isinstance(value, str) and len(value) > _LONGEST_QUOTED:
        return f"{text}… ({len(value):,} characters)"
    return text if len(text) <= 2 * _LONGEST_QUOTED else f"{text[:_LONGEST_QUOTED]}…"


def one_line(text: str) -> str:
    """Return a text that fits a line of a message: what is not printable is escaped."""
    return text if text.isprintable() else repr(text)[1:-1]


def storable(text: str) -> bool:
    """Return whether PostgreSQL can store a text."""
    try:
        return b"\x00" not in text.encode()
    except UnicodeEncodeError:
        return False


def number_of(field: str, value: object, least: int, most: int) -> int:
    """Return a whole number from ``least`` to ``most``.  Raises ValidationError."""
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ValidationError(f"{field} must be a whole number from {least} to {most}: {value!r}")
    return int(value)


def int64_of(field: str, value: object) -> int:
    """Return a whole number that a bigint can hold, such as an id.  Raises ValidationError."""
    if not isinstance(value, int) or isinstance(value, bool) or not INT64_MIN <= value <= INT64_MAX:
        raise ValidationError(f"{field} must be a whole number of at most 64 bits: {value!r}")
    return int(value)


def state_of(value: object) -> str:
    """Return the snake_case name of a job state.  Raises ValidationError."""
    if isinstance(value, JobState):
        return str(value)
    if not isinstance(value, str) or value not in STATES:
        raise unknown_word(f"unknown job state: {value}", value, STATES)
    return value


def takes(call: Callable[..., Any], count: int) -> bool:
    """Return whether a function may be called with ``count`` positional arguments."""
    try:
        inspect.signature(call).bind(*[None] * count)
    except TypeError:
        return False
    except ValueError:  # a builtin may have no signature
        return True
    return True


def nearest(word: object, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """Return the known word that is most similar to ``word``, or None.

    ``cutoff`` is the least similarity, from 0 (any word) to 1 (equal).
    """
    from difflib import get_close_matches  # 3 ms, and only a mistake needs it

    close = get_close_matches(str(word), list(known), n=1, cutoff=cutoff)
    return close[0] if close else None


def did_you_mean(
    word: object, known: Iterable[str], prefix: str = "", *, cutoff: float = 0.6
) -> str | None:
    """Return the hint ``did you mean: …`` with the known word nearest to ``word``, or None.

    ``prefix`` stands before the word, so that the hint can be typed as it is.  For another hint
    when no word is near, write ``did_you_mean(…) or "see awa job list --help"``.  ``nearest``
    returns the word alone.

    >>> did_you_mean("faild", ["failed", "running"], "--state ")
    'did you mean: --state failed'
    """
    near = nearest(word, known, cutoff=cutoff)
    return None if near is None else f"did you mean: {prefix}{near}"


def unknown_word(message: str, word: object, known: Iterable[str]) -> ValidationError:
    """Return the error for an unknown word, with the known words and the nearest of them."""
    names = list(known)
    more = f" and {len(names) - _MOST_NAMED:,} more" if len(names) > _MOST_NAMED else ""
    return ValidationError(
        message,
        why=f"valid: {', '.join(names[:_MOST_NAMED])}{more}",
        hint=did_you_mean(word, names[:_MOST_COMPARED]),
    )


def member_of(task: str) -> tuple[str, int] | None:
    """Return the group and the place that a name such as ``parts[17]`` stands for, or None."""
    found = _MEMBER.fullmatch(task)
    return None if found is None else (found[1], int(found[2]))


def no_member(workflow_id: int, group: str, place: int, members: int) -> ValidationError:
    """Return the error for a task that a group of a workflow does not have."""
    return ValidationError(
        f"workflow {workflow_id} has no task '{group}[{place}]'",
        why=f"the group {group!r} has {members:,} tasks, counted from 0",
    )


def bounded(value: float, longest: float = LONGEST_SECONDS) -> float:
    """Return a length of time within 0 and ``longest``; NaN gives the longest."""
    seconds = float(value)
    return longest if math.isnan(seconds) else min(max(seconds, 0.0), longest)


def parse_duration(text: str) -> timedelta:
    """Parse ``90``, ``1.5s``, ``10m``, ``2h30m`` or ``7d``; a bare number is seconds.

    Raises ValueError or OverflowError.
    """
    if len(text) > _LONGEST_DURATION:
        raise ValueError("too long for a duration")
    if re.fullmatch(r"\d+(\.\d+)?", text):
        text += "s"
    pieces = _PIECE.findall(text)
    if not pieces or "".join(number + unit for number, unit in pieces) != text:
        raise ValueError(f"{text!r} is not a duration")
    return timedelta(seconds=sum(float(number) * _UNITS[unit] for number, unit in pieces))


def seconds_of(field: str, value: object, least: float = 0.0) -> float:
    """Return seconds, a timedelta, or text like ``10m``, as seconds.  Raises ValidationError."""
    try:
        if isinstance(value, str):
            value = parse_duration(value)
        if isinstance(value, timedelta):
            value = value.total_seconds()
        if isinstance(value, int | float) and not isinstance(value, bool):
            seconds = float(value)
            if least <= seconds <= LONGEST_SECONDS:
                return seconds
    except (ValueError, OverflowError):
        pass
    raise ValidationError(
        f"{field} must be a time of {least:g} s to 100 years: {value!r}",
        hint="write seconds, a timedelta, or text like '90s', '10m', '2h30m' or '7d'",
    )


def moment_of(value: object, field: str = "run_at") -> datetime:
    """Return a datetime, or RFC 3339 text, as a time in UTC.  Raises ValidationError."""
    moment = value
    if isinstance(value, str) and _MOMENT.fullmatch(value):
        try:
            moment = datetime.fromisoformat(value.upper())
        except ValueError:  # well-formed, but the date does not exist
            moment = value
    if isinstance(moment, datetime):
        try:
            return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
        except OverflowError:
            pass
    raise ValidationError(
        f"{field} must be a datetime or RFC 3339 text: {value!r}",
        hint="for example 2030-01-31T08:00:00Z; without an offset it is UTC",
    )
