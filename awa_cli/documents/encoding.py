"""Read models as plain JSON data."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import PurePath
from typing import Any, Final

__all__ = ["encode", "encode_shallow"]

# Most fields are one of these: looking them up halves the time of a long list.
_PLAIN: Final = frozenset({str, int, float, bool, type(None)})


def encode(value: Any) -> Any:
    """Turn a read model into plain JSON data: fields in order, times as RFC 3339 in UTC."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if isinstance(value, datetime):
        return _rfc3339(value)
    if names := _names(kind):  # type: ignore[arg-type] # classes are hashable
        return {
            name: field if type(field := getattr(value, name)) in _PLAIN else encode(field)
            for name in names
        }
    if isinstance(value, dict):
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [encode(item) for item in value]
    # Of text only subclasses get here, such as enums, which YAML does not know.
    return str(value) if isinstance(value, PurePath | str) else value


def encode_shallow(value: Any) -> Any:
    """Encode a value that JSON does not know, one level deep: the ``default`` of an encoder."""
    if isinstance(value, datetime):
        return _rfc3339(value)
    names = _names(type(value))  # type: ignore[arg-type] # classes are hashable
    return {name: getattr(value, name) for name in names} or encode(value)


@cache
def _names(kind: type) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind)) if is_dataclass(kind) else ()


def _rfc3339(moment: datetime) -> str:
    text = moment.astimezone(UTC).isoformat().removesuffix("+00:00")
    return (text[:-3] if moment.microsecond and text.endswith("000") else text) + "Z"
