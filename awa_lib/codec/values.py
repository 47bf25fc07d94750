"""Decoders of single values, and what they raise for a value that does not fit.

``Mismatch`` gathers its path on the way out, so a value that fits pays nothing for it.
"""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from awa_lib.codec.encode import to_json
from awa_lib.errors import SerializationError
from awa_lib.validation import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from enum import Enum

    Decode = Callable[[Any], Any]

__all__ = [
    "SCALARS",
    "Mismatch",
    "at",
    "decode_array",
    "decode_enum",
    "decode_literal",
    "decode_tuple",
    "or_none",
    "plain",
    "validated",
    "wrong",
]


class Mismatch(Exception):
    """A value does not fit.  ``path`` holds the steps to it, innermost first."""

    def __init__(self, what: str, *path: str | int) -> None:
        super().__init__(what)
        self.what = what
        self.path = list(path)

    def __str__(self) -> str:
        steps = [f"[{step}]" if isinstance(step, int) else f".{step}" for step in self.path[::-1]]
        return f"args{one_line(''.join(steps))}: {self.what}"


def wrong(expected: str, value: Any) -> Mismatch:
    """Return the mismatch of a value of another type than expected.

    It does not show the value: it becomes the error of a job, in lists and logs.
    """
    got = "null" if value is None else type(value).__name__
    return Mismatch(f"expected {expected}, got {got}")


def plain(value: Any) -> Any:
    """Return the value as it is."""
    return value


def at(step: str | int, convert: Decode, value: Any) -> Any:
    """Decode the value of a key or index, which a mismatch names."""
    try:
        return convert(value)
    except Mismatch as error:
        error.path.append(step)
        raise


def or_none(convert: Decode) -> Decode:
    """Decode null as None."""
    return lambda value: None if value is None else convert(value)


def _exact(cls: type, name: str) -> Decode:
    def decode(value: Any) -> Any:
        if type(value) is cls:
            return value
        raise wrong(name, value)

    return decode


def _int(value: Any) -> int:
    # True is an int in Python, and writers in other languages may add ".0".
    if isinstance(value, int):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    raise wrong("int", value)


def _float(value: Any) -> float:
    if isinstance(value, int | float):  # jsonb gives 1e16 back as an integer
        try:
            return float(value)
        except OverflowError:
            pass
    raise wrong("float", value)


def _date(value: Any) -> date:
    # A datetime is a date for type checkers, and may have been written in its place.
    try:
        return date.fromisoformat(value)
    except ValueError:
        return datetime.fromisoformat(value)


def _timedelta(value: Any) -> timedelta:
    if isinstance(value, str):
        return timedelta(microseconds=int(Decimal(value) * 1_000_000))
    return timedelta(seconds=value)


def _decimal(value: Any) -> Decimal:
    return Decimal(value if isinstance(value, str) else repr(value))


def _parsed(parse: Callable[[Any], Any], name: str) -> Decode:
    def decode(value: Any) -> Any:
        try:
            return parse(value)
        except (ValueError, TypeError, InvalidOperation, AttributeError, OverflowError):
            raise wrong(name, value) from None

    return decode


def validated(validate: Decode) -> Decode:
    """Decode with the validation of a model."""

    def decode(value: Any) -> Any:
        try:
            return validate(value)
        except ValueError as error:
            raise Mismatch(" ".join(str(error).split())) from None

    return decode


def _written(choices: Iterable[Any]) -> list[tuple[Any, Any]]:
    """Return choices with their JSON data; leaves out choices without any."""
    table = []
    for choice in choices:
        try:
            table.append((to_json(choice), choice))
        except SerializationError:
            continue
    return table


def decode_literal(allowed: tuple[Any, ...]) -> Decode:
    """Return the decoder of a Literal; 1 equals neither 1.0 nor True."""
    table = _written(allowed)

    def decode(value: Any) -> Any:
        for written, choice in table:
            if written == value and type(written) is type(value):
                return choice
        raise wrong(f"one of {[written for written, _ in table]}", value)

    return decode


def decode_enum(cls: type[Enum]) -> Decode:
    """Return the decoder of an Enum, by the values of its members."""

    def decode(value: Any) -> Any:
        try:
            return cls(value)
        except (ValueError, TypeError, KeyError):
            pass
        for written, member in _written(cls):  # a date or a tuple may be a member's value
            if isinstance(value, str | list) and written == value:
                return member
        raise wrong(f"a {cls.__name__}", value)

    return decode


def decode_array(each: Decode, make: Callable[[list[Any]], Any]) -> Decode:
    """Return the decoder of an array with items of one type."""

    def decode(value: Any) -> Any:
        if type(value) is not list:
            raise wrong("an array", value)
        items = []
        try:
            for item in value:
                items.append(each(item))  # noqa: PERF401 - its length is the step of a mismatch
        except Mismatch as error:
            error.path.append(len(items))
            raise
        try:
            return make(items)
        except TypeError:
            raise wrong("values that a set can hold", value) from None

    return decode


def decode_tuple(parts: list[Decode], make: Callable[[Iterable[Any]], Any]) -> Decode:
    """Return the decoder of an array with one decoder for each item."""

    def decode(value: Any) -> Any:
        if type(value) is not list or len(value) != len(parts):
            raise wrong(f"an array of {len(parts)}", value)
        return make([at(i, parts[i], item) for i, item in enumerate(value)])

    return decode


SCALARS: Final[dict[Any, Decode]] = {
    Any: plain,
    object: plain,
    str: _exact(str, "str"),
    int: _int,
    bool: _exact(bool, "bool"),
    float: _float,
    type(None): _exact(type(None), "null"),
    datetime: _parsed(datetime.fromisoformat, "an ISO 8601 date and time"),
    date: _parsed(_date, "an ISO 8601 date"),
    time: _parsed(time.fromisoformat, "an ISO 8601 time"),
    timedelta: _parsed(_timedelta, "seconds"),
    UUID: _parsed(UUID, "a UUID"),
    Decimal: _parsed(_decimal, "a decimal"),
}
