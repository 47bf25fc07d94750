"""Encode job arguments as JSON; raise for values that a reader could not restore."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, cast
from uuid import UUID

from awa_lib._json import dumps, orjson
from awa_lib.errors import SerializationError, ValidationError
from awa_lib.validation import INT64_MIN, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["DEEPEST", "encode", "encode_object", "encode_value", "to_json"]

# The nesting limit of awa 0.5.
DEEPEST: Final = 64
_UINT64_MAX: Final = 2**64 - 1
# jsonb writes large numbers out, and awa 0.5 refuses the largest double as 309 digits; all of 3,831
# others that were tried were read.  A refused number fails the whole batch of its claim, so the
# limit keeps a distance.
_LARGEST_FLOAT: Final = 1.79e308


def encode(args: Any) -> str:
    """Return the JSON text of job arguments.

    Takes a dataclass instance, a pydantic model or a mapping with text keys; inside, beside JSON's
    own types: date, datetime and time (ISO 8601), timedelta (seconds), UUID and Decimal (text),
    Enum (its value), sets (sorted arrays), tuples (arrays), dataclasses and models (objects).
    Raises ValidationError for another type, SerializationError with the path to a value that
    Postgres or a Rust worker could not read back.
    """
    names = _ARGS[type(args)]
    if names is not None:
        # A dict of the fields is encoded twice as fast as a dataclass that the encoder asks about.
        text = _quick({name: getattr(args, name) for name in names})
        return dumps(_walk(args, "args", 0)) if text is None else text
    if not isinstance(args, type):
        if isinstance(args, dict):
            return _text(args, "args")
        if hasattr(args, "model_dump"):
            return _text(args.model_dump(mode="json"), "args")
        if isinstance(args, Mapping) or dataclasses.is_dataclass(args):
            return _text(args, "args")
    raise ValidationError(
        "Job args must be a dataclass, pydantic BaseModel, or dict",
        why=f"got {args!r:.80}" if isinstance(args, type) else f"got {type(args).__name__}",
        hint="wrap the value: a dict with one key, or a dataclass with one field",
    )


def encode_object(value: Any, *, name: str) -> str:
    """Return the JSON text of a mapping, such as metadata.  Raises as ``encode``."""
    if not isinstance(value, Mapping):
        raise ValidationError(f"{name} must be a dict, got {type(value).__name__}")
    return _text(value, name)


def encode_value(value: Any, name: str) -> str:
    """Return the JSON text of any value that args may hold.  Raises SerializationError."""
    return _text(value, name)


def to_json(value: Any, path: str = "args") -> Any:
    """Return plain JSON data of a value.  Raises SerializationError with the path."""
    return _walk(value, path, 0)


def _text(value: Any, name: str) -> str:
    # The C encoders with cheap checks first; a value they cannot judge is walked item by item
    # (4 to 8 times slower), which finds the path of a bad value.
    text = _quick(value)
    return dumps(_walk(value, name, 0)) if text is None else text


def _quick_json(value: Any) -> str | None:
    """Return the text, or None if the value needs a walk."""
    try:
        if not _is_sound(value, 0):
            return None
        text = _ENCODE(value)
    except (TypeError, ValueError, RecursionError):
        return None
    if "\\u0000" in text or "e+308" in text:
        return None
    return text if text.isascii() or _is_unicode(text) else None


def _quick_orjson(value: Any) -> str | None:
    """Return the text, or None if the value needs a walk; orjson checks keys and integers."""
    try:
        text = orjson.dumps(value, _default, _ORJSON_OPTIONS).decode()
    except (TypeError, ValueError, RecursionError):
        return None
    # orjson writes NaN as null, so a null needs a walk.
    if "null" in text or "\\u0000" in text or "e308" in text or "e+308" in text:
        return _quick_json(value)
    if text.count("{") + text.count("[") > DEEPEST:
        return text if _is_sound(value, 0) else None
    return text


_quick: Callable[[Any], str | None] = _quick_json if orjson is None else _quick_orjson


def _is_sound(value: Any, depth: int) -> bool:
    """Return True if keys are text, integers fit and nesting is in bounds; else False."""
    items = _items(value)
    if items is None or depth == DEEPEST:
        return False
    for item in items:
        kind = type(item)
        if kind is int:
            if not INT64_MIN <= item <= _UINT64_MAX:
                return False
        elif kind not in _SAFE and not _is_sound(item, depth + 1):
            return False
    return True


def _items(value: Any) -> Iterable[Any] | None:
    """Return the items of a known container, or None."""
    cls = type(value)
    if cls is dict:
        for key in value:  # json writes other keys as text without a word
            if type(key) is not str:
                return None
        items: Iterable[Any] = value.values()
        return items
    if cls is list or cls is tuple:
        return cast("Iterable[Any]", value)
    if issubclass(cls, Enum):
        return (value.value,)
    names = _FIELDS[cls]
    return None if names is None else [getattr(value, name) for name in names]


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class _FieldNames(dict[type, "tuple[str, ...] | None"]):
    """Field names by dataclass, None for any other type; computed once per type."""

    def __missing__(self, cls: type) -> tuple[str, ...] | None:
        # A dataclass that is also a list or a dict is written as that.
        fits = dataclasses.is_dataclass(cls) and not issubclass(cls, dict | list | tuple)
        names = tuple(f.name for f in dataclasses.fields(cls)) if fits else None
        self[cls] = names
        return names


_FIELDS: Final = _FieldNames()


class _ArgsNames(dict[type, "tuple[str, ...] | None"]):
    """Field names of dataclasses that are nothing else that an encoder knows."""

    def __missing__(self, cls: type) -> tuple[str, ...] | None:
        other = issubclass(cls, str | int | float | Enum | type) or hasattr(cls, "model_dump")
        self[cls] = names = None if other else _FIELDS[cls]
        return names


_ARGS: Final = _ArgsNames()


def _default(value: Any) -> Any:
    """Return JSON data of a value that a C encoder does not know, one level deep."""
    convert = _SCALARS.get(type(value))
    if convert is not None:
        return convert(value)
    if isinstance(value, Enum):
        return value.value
    names = _FIELDS[type(value)]
    if names is not None:
        return {name: getattr(value, name) for name in names}
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError


def _walk(value: Any, path: str, depth: int) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Enum):
        return _walk(value.value, path, depth)
    if isinstance(value, str):
        return _check_text(value, path)
    if isinstance(value, int | float):
        return _check_number(value, path)
    for known, convert in _SCALARS.items():
        if isinstance(value, known):
            try:
                return convert(value)
            except ValueError as error:
                raise _refuse(path, str(error)) from None
    return _walk_container(value, path, depth)


def _walk_container(value: Any, path: str, depth: int) -> Any:
    if depth == DEEPEST:
        raise _refuse(f"{path[:60]}...", f"nested deeper than {DEEPEST} levels (a cycle?)")
    names = _FIELDS[type(value)]
    if names is not None:
        return {name: _walk(getattr(value, name), f"{path}.{name}", depth + 1) for name in names}
    if hasattr(value, "model_dump") and not isinstance(value, type):
        return _walk(value.model_dump(mode="json"), path, depth)
    if isinstance(value, Mapping):
        return {
            _check_key(key, path): _walk(item, f"{path}.{key}", depth + 1)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_walk(item, f"{path}[{i}]", depth + 1) for i, item in enumerate(value)]
    if isinstance(value, set | frozenset):
        # Sorted by text, so that equal sets make equal unique keys in every process.
        return sorted((_walk(item, f"{path}{{}}", depth + 1) for item in value), key=dumps)
    raise _refuse(
        path,
        f"{type(value).__name__} is not a JSON type",
        "convert it to text, a number, a list or a dict",
    )


def _check_key(key: Any, path: str) -> str:
    if not isinstance(key, str):
        raise _refuse(path, f"key {key!r} is not text", "use str(key)")
    return _check_text(key, f"{path} key {key!r}")


def _check_number(value: float, path: str) -> int | float:
    if isinstance(value, int):
        if not INT64_MIN <= value <= _UINT64_MAX:
            raise _refuse(path, f"an int of {value.bit_length()} bits does not fit 64", _AS_TEXT)
        return int(value)
    if not math.isfinite(value):
        raise _refuse(path, f"{_NAMES[str(float(value))]} cannot be stored in JSON")
    if abs(value) > _LARGEST_FLOAT:
        raise _refuse(path, f"{float(value)!r} is too close to infinity", _AS_TEXT)
    return float(value)


def _check_text(text: str, path: str) -> str:
    if "\x00" in text:
        raise _refuse(path, "text with a NUL character: Postgres cannot store null bytes")
    if not _is_unicode(text):
        raise _refuse(path, "text with a lone surrogate is not valid Unicode")
    # Not str(text), which returns the name of an enum that is also a str.
    return str.__str__(text)


def _refuse(path: str, what: str, hint: str | None = None) -> SerializationError:
    return SerializationError(
        f"{one_line(path)}: {what}", why="a worker could not read the value back", hint=hint
    )


def _decimal(value: Decimal) -> str:
    if not value.is_finite():
        raise ValueError(f"Decimal {value} cannot be stored in JSON")
    return str(value)


def _seconds(value: timedelta) -> float | str:
    """Return seconds; as text where a float would lose microseconds (from 285 years on)."""
    seconds = value.total_seconds()
    try:
        if timedelta(seconds=seconds) == value:
            return seconds
    except OverflowError:
        pass
    whole, rest = divmod(abs(value // timedelta(microseconds=1)), 1_000_000)
    return f"{'-' if seconds < 0 else ''}{whole}.{rest:06d}"


_SCALARS: Final[dict[type, Callable[[Any], Any]]] = {
    datetime: lambda value: value.isoformat(),
    date: lambda value: value.isoformat(),
    time: lambda value: value.isoformat(),
    timedelta: _seconds,
    UUID: str,
    Decimal: _decimal,
}
# Integers are checked one by one; floats out of range appear in the text.
_SAFE: Final = frozenset({str, float, bool, type(None), *_SCALARS})
_NAMES: Final = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
_AS_TEXT: Final = "send it as text"

_ENCODE: Final = json.JSONEncoder(
    separators=(",", ":"),
    ensure_ascii=False,
    allow_nan=False,
    check_circular=False,
    default=_default,
).encode
# Without these options orjson omits private fields of dataclasses and formats dates itself.
_ORJSON_OPTIONS: Final = (
    0 if orjson is None else orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME
)
