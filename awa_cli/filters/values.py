"""Read values of options and forms: JSON, durations, moments, states, queue settings."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar

from awa_cli.input import read_bytes, read_text
from awa_lib.errors import InvalidInput
from awa_lib.states import STATES

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "parse_moment",
    "read_body",
    "read_duration",
    "read_interval",
    "read_json",
    "read_moment",
    "read_object",
    "read_queue",
    "read_rate",
    "read_source",
    "read_state",
]

R = TypeVar("R")

_SECONDS: Final = {"s": 1, "m": 60, "h": 3600}
_RATE: Final = re.compile(r"(\d+(?:\.\d+)?)(?:/([smh]))?(?::(\d{1,9}))?")
_HIGHEST_CONCURRENCY: Final = 100_000
# Nobody sees more frames than this, and each costs the database a query.
_SHORTEST_INTERVAL: Final = 0.1


def read_json(text: str, option: str) -> Any:
    """Read JSON given as text, as ``@file``, or as ``-`` for stdin."""
    import json

    source = read_source(text, option)
    try:
        return json.loads(source)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(
            f"{option} is not JSON",
            why=str(error).lower(),
            hint=f'quote it for the shell, like {option} \'{{"to": "x"}}\'; or give @FILE or -',
        ) from None


def read_object(text: str, option: str) -> dict[str, Any]:
    """Read JSON that must be an object."""
    value = read_json(text, option)
    if not isinstance(value, dict):
        raise InvalidInput(
            f"{option} is not a JSON object", hint=f'write it like {option} \'{{"to": "x"}}\''
        )
    return value


def read_source(text: str, option: str) -> str:
    """Return a text given as itself, as ``@file``, or as ``-`` for stdin."""
    return _given(text, option, read_text, lambda given: given)


def read_body(text: str, option: str) -> bytes:
    """Return bytes given as text, as ``@file``, or as ``-`` for stdin."""
    return _given(text, option, read_bytes, str.encode)


def _given(text: str, option: str, read: Callable[[str], R], itself: Callable[[str], R]) -> R:
    if text != "-" and not text.startswith("@"):
        return itself(text)
    try:
        return read(text.removeprefix("@"))
    except InvalidInput as error:
        raise InvalidInput(
            f"{error} for {option}",
            why=error.why,
            hint=error.hint or f"{option} takes the text itself, @FILE, or - for stdin",
        ) from None


def read_state(text: str, option: str) -> str:
    """Check the name of a job state."""
    if text in STATES:
        return text
    from awa_lib.validation import did_you_mean

    raise InvalidInput(
        f"{option} {text!r} is not a state of jobs",
        why="states are " + ", ".join(STATES),
        hint=did_you_mean(text.lower(), STATES, f"{option} ", cutoff=0.5),
    )


def read_duration(text: str, option: str) -> timedelta:
    """Read a duration as ``parse_duration`` does.  Raises InvalidInput."""
    from awa_lib.validation import parse_duration

    try:
        return parse_duration(text)
    except ValueError:
        raise InvalidInput(
            f"{option} {text!r} is not a duration", hint="write it like 90s, 10m, 2h30m or 7d"
        ) from None
    except OverflowError:
        raise InvalidInput(f"{option} {text!r} is too long") from None


def read_interval(text: str) -> float:
    """Read the interval between two reads, in seconds.  Raises InvalidInput below 0.1."""
    seconds = read_duration(text, "--interval").total_seconds()
    if seconds < _SHORTEST_INTERVAL:
        raise InvalidInput(
            f"--interval {text!r} is too short",
            why="the database would be read without a pause",
            hint="write 100ms or longer, like --interval 2s",
        )
    return seconds


def parse_moment(text: str) -> datetime:
    """Parse an RFC 3339 moment; without an offset it is local time.

    Raises ValueError or OverflowError.
    """
    return datetime.fromisoformat(text).astimezone(UTC)


def read_moment(text: str, option: str) -> datetime:
    """Read a moment as ``parse_moment`` does.  Raises InvalidInput."""
    try:
        return parse_moment(text)
    except (ValueError, OverflowError):
        raise InvalidInput(
            f"{option} {text!r} is not a moment",
            why="moments are written as in RFC 3339",
            hint="write it like 2030-01-31T08:00:00+01:00",
        ) from None


def read_queue(text: str) -> tuple[str, int | None]:
    """Read ``NAME`` or ``NAME=N``: a queue, and how many of its jobs run at once."""
    name, equals, number = text.rpartition("=")
    if not equals:
        return text, None
    # Python reads no number of more than 4,300 digits.
    short = number.isdecimal() and len(number) <= len(str(_HIGHEST_CONCURRENCY))
    if not (name and short and 0 < int(number) <= _HIGHEST_CONCURRENCY):
        raise InvalidInput(
            f"--queue {text!r} cannot be read",
            why=f"N must be a number from 1 to {_HIGHEST_CONCURRENCY}",
            hint="write it like --queue email or --queue email=20",
        )
    return name, int(number)


def read_rate(text: str, option: str) -> tuple[float, int]:
    """Read ``50/s``, ``600/m`` or ``50/s:100`` as (jobs per second, burst); no burst is 0."""
    found = _RATE.fullmatch(text)
    if found is None:
        raise InvalidInput(
            f"{option} {text!r} cannot be read",
            hint="write it like 50/s, 600/m or 50/s:100, where 100 is the burst",
        )
    return float(found[1]) / _SECONDS[found[2] or "s"], int(found[3] or 0)
