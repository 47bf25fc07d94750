"""Job arguments back from JSON: one decoder closure per declared type, built once."""

from __future__ import annotations

import dataclasses
import sys
import types
import typing
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from enum import Enum
from functools import cache
from typing import Any, Final, Literal, Union, get_args, get_origin
from uuid import UUID

from awa_lib.errors import ValidationError

__all__ = ["decoder"]

Decode = Callable[[Any, str], Any]


def decoder(args_type: Any) -> Callable[[Any], Any]:
    """Return a function from JSON data to an instance of ``args_type``.

    A type with ``model_validate`` (pydantic) validates itself.  Dataclasses (nested ones too) and
    TypedDicts are built by their type hints; a field that is missing, extra or of another type
    raises ValidationError naming its path.  Any other type gets the plain data.
    """
    validate = getattr(args_type, "model_validate", None)
    if validate is not None:
        return typing.cast("Callable[[Any], Any]", validate)
    if not dataclasses.is_dataclass(args_type) and not typing.is_typeddict(args_type):
        return lambda value: value
    decode = _decoder(args_type)
    return lambda value: decode(value, "args")


def _wrong(path: str, expected: str, value: Any) -> ValidationError:
    return ValidationError(
        f"{path}: expected {expected}, got {value!r:.80}",
        why="the stored arguments do not fit the handler's type",
    )


def _plain(value: Any, path: str) -> Any:  # noqa: ARG001 - the shape of every decoder
    return value


def _exact(cls: type, name: str) -> Decode:
    def decode(value: Any, path: str) -> Any:
        if type(value) is cls:
            return value
        raise _wrong(path, name, value)

    return decode


def _float(value: Any, path: str) -> float:
    if type(value) is float or type(value) is int:
        return float(value)
    raise _wrong(path, "float", value)


def _parsed(parse: Callable[[Any], Any], name: str) -> Decode:
    def decode(value: Any, path: str) -> Any:
        try:
            return parse(value)
        except (ValueError, TypeError, InvalidOperation, AttributeError, OverflowError):
            raise _wrong(path, name, value) from None

    return decode


_SCALARS: Final[dict[Any, Decode]] = {
    Any: _plain,
    object: _plain,
    str: _exact(str, "str"),
    int: _exact(int, "int"),
    bool: _exact(bool, "bool"),
    float: _float,
    type(None): _exact(type(None), "null"),
    datetime: _parsed(datetime.fromisoformat, "an ISO 8601 date and time"),
    date: _parsed(date.fromisoformat, "an ISO 8601 date"),
    time: _parsed(time.fromisoformat, "an ISO 8601 time"),
    timedelta: _parsed(lambda value: timedelta(seconds=value), "seconds"),
    UUID: _parsed(UUID, "a UUID"),
    Decimal: _parsed(lambda v: Decimal(v if isinstance(v, str) else repr(v)), "a decimal"),
}


def _decoder(hint: Any) -> Decode:
    try:
        return _build(hint)
    except TypeError:  # an unhashable hint cannot be cached
        return _plain


@cache
def _build(hint: Any) -> Decode:  # noqa: PLR0911 - a table of cases
    if hint in _SCALARS:
        return _SCALARS[hint]
    origin = get_origin(hint)
    if origin is typing.Annotated or origin in {typing.Required, typing.NotRequired}:
        return _decoder(get_args(hint)[0])
    if isinstance(hint, typing.NewType):
        return _decoder(hint.__supertype__)
    if origin is Literal:
        return _literal(get_args(hint))
    if origin in {Union, types.UnionType}:
        return _union(get_args(hint))
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _dataclass(hint)
    if typing.is_typeddict(hint):
        return _typed_dict(hint)
    if hasattr(hint, "model_validate"):
        return lambda value, _path: hint.model_validate(value)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _parsed(hint, f"a {hint.__name__}")
    return _container(origin or hint, get_args(hint))


def _literal(allowed: tuple[Any, ...]) -> Decode:
    def decode(value: Any, path: str) -> Any:
        for choice in allowed:
            if choice == value and type(choice) is type(value):
                return choice
        raise _wrong(path, f"one of {allowed}", value)

    return decode


def _union(choices: tuple[Any, ...]) -> Decode:
    decoders = [_decoder(choice) for choice in choices]

    def decode(value: Any, path: str) -> Any:
        if value is None and type(None) in choices:
            return None
        # A value that already has one of the types is taken as it is; text would otherwise be
        # parsed by whichever alternative comes first.
        if type(value) in choices:
            return value
        for each in decoders:
            try:
                return each(value, path)
            except ValidationError:
                continue
        names = " or ".join(getattr(c, "__name__", str(c)) for c in choices)
        raise _wrong(path, names, value)

    return decode


def _container(base: Any, inner: tuple[Any, ...]) -> Decode:
    if base is tuple and inner and inner[-1] is not Ellipsis:
        return _fixed_tuple([_decoder(part) for part in inner])
    if base in {list, set, frozenset, tuple} or getattr(base, "__name__", "") in _ABSTRACT:
        make = base if base in {list, set, frozenset, tuple} else _ABSTRACT[base.__name__]
        each = _decoder(inner[0]) if inner else _plain

        def decode(value: Any, path: str) -> Any:
            if not isinstance(value, list):
                raise _wrong(path, "an array", value)
            return make([each(item, f"{path}[{i}]") for i, item in enumerate(value)])

        return decode
    if base is dict or base is Mapping:
        each_value = _decoder(inner[1]) if inner else _plain
        each_key = _decoder(inner[0]) if inner else _plain

        def decode_map(value: Any, path: str) -> Any:
            if not isinstance(value, dict):
                raise _wrong(path, "an object", value)
            return {
                each_key(key, f"{path} key"): each_value(item, f"{path}.{key}")
                for key, item in value.items()
            }

        return decode_map
    return _plain


_ABSTRACT: Final[dict[str, Any]] = {"Sequence": list, "Collection": list, "Iterable": list}


def _fixed_tuple(parts: list[Decode]) -> Decode:
    def decode(value: Any, path: str) -> Any:
        if not isinstance(value, list) or len(value) != len(parts):
            raise _wrong(path, f"an array of {len(parts)}", value)
        return tuple(
            part(item, f"{path}[{i}]")
            for i, (part, item) in enumerate(zip(parts, value, strict=True))
        )

    return decode


def _hints(cls: Any) -> dict[str, Any]:
    try:
        return typing.get_type_hints(cls, include_extras=True)
    except NameError:
        # A type defined inside a function: decoders are built where the handler is registered,
        # most often in that very function, so the callers' names are tried too.
        names: dict[str, Any] = {}
        frame: types.FrameType | None = sys._getframe(1)  # noqa: SLF001 - see above
        while frame is not None:
            names = {**frame.f_locals, **names}
            frame = frame.f_back
        try:
            return typing.get_type_hints(cls, localns=names, include_extras=True)
        except NameError:
            return {}


def _dataclass(cls: Any) -> Decode:
    hints = _hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cls) if f.init}
    decoders = [(name, _decoder(hints.get(name, Any))) for name in fields]
    required = {
        name
        for name, f in fields.items()
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    }
    label = cls.__name__

    def decode(value: Any, path: str) -> Any:
        if not isinstance(value, dict):
            raise _wrong(path, label, value)
        given = {}
        for name, each in decoders:
            if name in value:
                given[name] = each(value[name], f"{path}.{name}")
            elif name in required:
                raise ValidationError(f"{path}.{name}: missing, {label} needs it")
        if len(given) != len(value):
            extra = next(key for key in value if key not in fields)
            raise ValidationError(f"{path}.{extra}: {label} has no such field")
        return cls(**given)

    return decode


def _typed_dict(cls: Any) -> Decode:
    hints = _hints(cls)
    decoders = {name: _decoder(hint) for name, hint in hints.items()}
    required = cls.__required_keys__

    def decode(value: Any, path: str) -> Any:
        if not isinstance(value, dict):
            raise _wrong(path, cls.__name__, value)
        for name in required:
            if name not in value:
                raise ValidationError(f"{path}.{name}: missing, {cls.__name__} needs it")
        return {
            key: decoders[key](item, f"{path}.{key}") if key in decoders else item
            for key, item in value.items()
        }

    return decode
