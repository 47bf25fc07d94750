"""Filters of jobs: of lists, of dead letters and of bulk operations."""

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
    from collections.abc import Mapping, Sequence
    from datetime import datetime

__all__ = [
    "DlqFilter",
    "JobFilter",
    "JobQuery",
    "checked_filter",
    "checked_limit",
    "checked_uuid",
    "require_some",
]

_LONGEST_TEXT: Final = 10_000


class DlqFilter(TypedDict, total=False):
    """Select dead letters that match every given key.

    ``failure`` is the id of a failure, as ``list_failures`` returns it: of the latest error.
    """

    kind: str
    queue: str
    tag: str
    failure: str


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


class JobQuery(TypedDict, total=False):
    """Jobs of a list that fit every key that is given.

    ``since`` and ``until`` bound created_at, the first inclusive.  ``args`` and ``metadata`` hold
    what the job's must contain.  ``error`` is a part of the latest error's text, in any case, and
    ``failure`` the id of its failure.
    """

    states: Sequence[str]
    kind: str | None
    queue: str | None
    tag: str | None
    before_id: int | None
    since: datetime | None
    until: datetime | None
    args: Mapping[str, Any] | None
    metadata: Mapping[str, Any] | None
    error: str | None
    failure: str | None


def checked_filter(where: Mapping[str, Any], known: type) -> dict[str, Any]:
    """Return every key of a filter in the form that is stored and sent; None if it is not given.

    Raises ValidationError for an unknown key or a value of the wrong type.
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
    """Raise ValidationError for a change without a filter, unless it is meant for everything."""
    if not isinstance(everything, bool):
        raise ValidationError(f"all must be True or False, got {everything!r}")
    if not everything and all(value is None for value in where.values()):
        raise ValidationError(
            f"{verb} needs at least one of {', '.join(where)}",
            why="without a filter it would take every job",
            hint="to change every job, give all=True or --all",
        )


def checked_limit(limit: object) -> int:
    """Return the number of rows of a page.  Raises ValidationError."""
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
