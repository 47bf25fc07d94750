"""Checks of single values that every caller may pass: text, whole numbers, times."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

from awa_lib.errors import ValidationError

__all__ = ["LONGEST_NAME", "moment_of", "name_of", "number_of", "storable", "text_of"]

# The CHECK of the published columns queue and kind.
LONGEST_NAME: Final = 200
_MOMENT: Final = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?", re.IGNORECASE
)


def name_of(field: str, value: object) -> str:
    """Return a name of 1 to 200 characters.  Raises ValidationError."""
    if not text_of(field, value, LONGEST_NAME):
        raise ValidationError(f"{field} must not be empty")
    return str(value)


def text_of(field: str, value: object, longest: int) -> str:
    """Return a text that Postgres can store.  Raises ValidationError."""
    if not isinstance(value, str) or len(value) > longest:
        raise ValidationError(f"{field} must be text of at most {longest} characters: {value!r}")
    if not storable(value):
        raise ValidationError(
            f"{field} holds a character that Postgres cannot store: {value!r}",
            why="NUL characters and lone surrogates are not text there",
        )
    return value


def storable(text: str) -> bool:
    """Return whether Postgres can keep the text."""
    try:
        return b"\x00" not in text.encode()
    except UnicodeEncodeError:
        return False


def number_of(field: str, value: object, least: int, most: int) -> int:
    """Return a whole number within bounds, both inclusive.  Raises ValidationError."""
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ValidationError(f"{field} must be a whole number from {least} to {most}: {value!r}")
    return int(value)


def moment_of(value: object, field: str = "run_at") -> datetime:
    """Return a time in UTC, of a datetime or RFC 3339 text.  Raises ValidationError."""
    moment = value
    if isinstance(value, str) and _MOMENT.fullmatch(value):
        try:
            moment = datetime.fromisoformat(value.upper())
        except ValueError:  # the shape is right, the date does not exist
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
