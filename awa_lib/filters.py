"""The filters of a bulk change, checked before anything is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypedDict
from uuid import UUID

from awa_lib.codec.encode import encode_object
from awa_lib.errors import ValidationError
from awa_lib.validation import (
    INT32_MAX,
    LONGEST_NAME,
    moment_of,
    number_of,
    state_of,
    text_of,
    unknown_word,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

__all__ = [
    "DlqFilter",
    "JobFilter",
    "checked_filter",
    "checked_limit",
    "checked_uuid",
    "require_some",
]

_LONGEST_TEXT: Final = 10_000


class DlqFilter(TypedDict, total=False):
    """Select dead letters that match every given key."""

    kind: str
    queue: str
    tag: str


class JobFilter(DlqFilter, total=False):
    """Select jobs that match every given key.

    ``args`` is what the arguments must contain, nested objects included.  ``error`` is a part of
    the text of the latest error.  ``created_after`` is inclusive, ``created_before`` is exclusive.
    """

    state: str
    created_after: datetime | str
    created_before: datetime | str
    args: Mapping[str, Any]
    error: str


def checked_filter(where: Mapping[str, Any], known: type) -> dict[str, Any]:
    """Return every key of a filter as it is stored and sent; None for a key that is not given.

    Raises ValidationError for an unknown key or a value that cannot be compared.
    """
    names = list(known.__annotations__)
    for key in where:
        if key not in names:
            raise unknown_word(f"unknown filter {key!r}", key, sorted(names))
    return {key: None if where.get(key) is None else _value(key, where[key]) for key in names}


def _value(key: str, value: Any) -> str:
    if key == "args":
        return encode_object(value, name="args")
    if key.startswith("created_"):
        return moment_of(value, key).isoformat()
    if key == "state":
        return state_of(value)
    text = text_of(key, value, _LONGEST_TEXT if key == "error" else LONGEST_NAME)
    if key == "error" and not text:
        raise ValidationError("error must be a part of an error's text, got ''")
    return text


def require_some(verb: str, where: Mapping[str, Any], *, everything: bool) -> None:
    """Raise ValidationError for a change without a filter that does not say ``all``."""
    if not isinstance(everything, bool):
        raise ValidationError(f"all must be True or False, got {everything!r}")
    if not everything and all(value is None for value in where.values()):
        raise ValidationError(
            f"{verb} needs at least one of {', '.join(where)}",
            why="without a filter it would take every job",
            hint="to change every job, give all=True or --all",
        )


def checked_limit(limit: object) -> int:
    """Return the maximum number of rows.  Raises ValidationError."""
    return number_of("limit", limit, 0, INT32_MAX)


def checked_uuid(value: object) -> str:
    """Return the id of a bulk operation.  Raises ValidationError."""
    try:
        return str(UUID(str(value)))
    except ValueError:
        raise ValidationError(
            f"a bulk operation's id must be a UUID, got {value!r}",
            hint="list bulk operations: awa batch list",
        ) from None
