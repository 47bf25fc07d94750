"""Job arguments: typed Python values to JSON, and back by the declared type."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, Final
from uuid import UUID

from awa_lib._json import dumps
from awa_lib.errors import SerializationError, ValidationError

__all__ = ["encode", "encode_object", "to_json"]

_DEEPEST: Final = 64
_LEAST_INT: Final = -(2**63)
_MOST_INT: Final = 2**64 - 1
# jsonb spells large numbers out, and readers in Rust refuse more digits than a double can hold:
# 1.7976931348623157e308 comes back as 309 digits and is rejected.
_LARGEST_FLOAT: Final = 1e308
# Anything that could be wrong leaves one of these marks in the text; most arguments have none.
_SUSPICIOUS: Final = re.compile(
    r"\\u0000|\\ud[89a-f]|[eE][+-]?\d{3}|\d{19}|[\ud800-\udfff]", re.IGNORECASE
)


def encode(args: Any) -> str:
    """Return the JSON text of job arguments.

    Takes a dataclass instance, a pydantic model or a mapping with text keys; inside, beside JSON's
    own types, also dates and times (ISO 8601), timedelta (seconds), UUID, Decimal and Enum (their
    value; Decimal as text), sets (sorted where possible) and tuples (arrays), bytes are refused.
    Raises ValidationError for another type, SerializationError with the path to a value that
    Postgres or a Rust worker could not read back.
    """
    if hasattr(args, "model_dump"):
        return _text(args.model_dump(mode="json"), "args")
    if isinstance(args, Mapping) or (dataclasses.is_dataclass(args) and not isinstance(args, type)):
        return _text(args, "args")
    raise ValidationError(
        "Job args must be a dataclass, pydantic BaseModel, or dict",
        why=f"got {type(args).__name__}",
        hint="wrap the value: a dict with one key, or a dataclass with one field",
    )


def encode_object(value: Any, *, name: str) -> str:
    """Return the JSON text of a mapping, such as metadata.  Raises as ``encode``."""
    if not isinstance(value, Mapping):
        raise ValidationError(f"{name} must be a dict, got {type(value).__name__}")
    return _text(value, name)


def _text(value: Any, name: str) -> str:
    try:
        text = json.dumps(
            value, separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=_default
        )
    except (TypeError, ValueError, RecursionError):
        pass
    else:
        plain = not _SUSPICIOUS.search(text) and text.count("{") + text.count("[") <= _DEEPEST
        # json turns other keys into text silently, so keys are looked at in any case.
        if plain and _text_keys(value):
            return text
    return dumps(_walk(value, name, 0))


def _text_keys(value: Any) -> bool:
    """Return True for a flat mapping with text keys; anything deeper is walked."""
    if dataclasses.is_dataclass(value):
        value = value.__dict__ if hasattr(value, "__dict__") else {}
    if not isinstance(value, Mapping):
        return False
    for key, item in value.items():
        if type(key) is not str or not (item is None or isinstance(item, _FLAT)):
            return False
    return True


_FLAT: Final = (str, int, float, datetime, UUID, Decimal)


def to_json(value: Any, path: str = "args") -> Any:
    """Return plain JSON data of a value.  Raises SerializationError with the path."""
    return _walk(value, path, 0)


def _default(value: Any) -> Any:
    convert = _SCALARS.get(type(value))
    if convert is not None:
        return convert(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError


def _walk(value: Any, path: str, depth: int) -> Any:
    if depth > _DEEPEST:
        raise _refuse(path, f"nested deeper than {_DEEPEST} levels (a cycle?)")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Enum):
        return _walk(value.value, path, depth)
    if isinstance(value, str):
        return _check_text(value, path)
    if isinstance(value, int):
        if not _LEAST_INT <= value <= _MOST_INT:
            raise _refuse(path, f"{value} does not fit 64 bits; send it as text")
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value) or abs(value) >= _LARGEST_FLOAT:
            raise _refuse(path, f"{value!r} cannot be stored in JSON")
        return float(value)
    return _walk_container(value, path, depth)


def _walk_container(value: Any, path: str, depth: int) -> Any:
    if isinstance(value, Mapping):
        return {
            _check_key(key, path): _walk(item, f"{path}.{key}", depth + 1)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_walk(item, f"{path}[{i}]", depth + 1) for i, item in enumerate(value)]
    if isinstance(value, set | frozenset):
        items = [_walk(item, f"{path}{{}}", depth + 1) for item in value]
        return sorted(items, key=lambda item: (str(type(item)), str(item)))
    if hasattr(value, "model_dump"):
        return _walk(value.model_dump(mode="json"), path, depth)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            f.name: _walk(getattr(value, f.name), f"{path}.{f.name}", depth + 1)
            for f in dataclasses.fields(value)
        }
    for known, convert in _SCALARS.items():
        if isinstance(value, known):
            return convert(value)
    raise _refuse(path, f"a {type(value).__name__} cannot be written as JSON")


def _check_key(key: Any, path: str) -> str:
    if not isinstance(key, str):
        raise _refuse(path, f"key {key!r} is not text")
    return _check_text(key, f"{path} key {key!r}")


def _check_text(text: str, path: str) -> str:
    if "\x00" in text:
        raise _refuse(path, "text with a NUL character cannot be stored in Postgres")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise _refuse(path, "text with a lone surrogate is not valid Unicode") from None
    return str(text)


def _refuse(path: str, why: str) -> SerializationError:
    return SerializationError(f"{path}: {why}", why="the value would be lost or unreadable")


def _decimal(value: Decimal) -> str:
    if not value.is_finite():
        raise SerializationError(f"{value} cannot be stored in JSON")
    return str(value)


_SCALARS: Final[dict[type, Callable[[Any], Any]]] = {
    datetime: lambda value: value.isoformat(),
    date: lambda value: value.isoformat(),
    time: lambda value: value.isoformat(),
    timedelta: lambda value: value.total_seconds(),
    UUID: str,
    Decimal: _decimal,
}
