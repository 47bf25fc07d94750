"""Decode job arguments from JSON: one decoder per declared type, built once."""

from __future__ import annotations

import collections.abc
import dataclasses
import types
import typing
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, Literal, Union, get_args, get_origin

from awa_lib.codec.type_hints import filled, hints_of, local_names, loose_hints_of
from awa_lib.codec.values import (
    SCALARS,
    Mismatch,
    at,
    decode_array,
    decode_enum,
    decode_literal,
    decode_tuple,
    or_none,
    plain,
    validated,
    wrong,
)
from awa_lib.errors import ValidationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Decode = Callable[[Any], Any]

__all__ = ["decoder", "value_decoder"]


def decoder(args_type: Any) -> Callable[[Any], Any]:
    """Return a function from JSON data to an instance of ``args_type``.

    A type with ``model_validate`` (pydantic) validates itself.  Dataclasses (nested ones too) and
    TypedDicts are built by their type hints; a field that is missing, extra (dataclasses only) or
    of another type raises ValidationError naming its path.  Any other type gets the plain data.
    Call it where the type is known by name, so that hints naming local types can be resolved.
    """
    validate = getattr(args_type, "model_validate", None)
    if validate is not None:
        return typing.cast("Callable[[Any], Any]", validate)
    if not dataclasses.is_dataclass(args_type) and not typing.is_typeddict(args_type):
        return plain
    build = _Builder().decoder(args_type)
    return _raising(build, "args", "the stored arguments do not fit the handler's type")


def value_decoder(hint: Any, noun: str) -> Callable[[Any], Any]:
    """Return a function from JSON data to a value of any type hint, as of a field of args.

    It raises ValidationError with the path of a value that does not fit.
    """
    build = _Builder().decoder(hint)
    return _raising(build, noun, f"the stored {noun} does not fit the declared type")


def _raising(build: Decode, noun: str, why: str) -> Decode:
    def decode(value: Any) -> Any:
        try:
            return build(value)
        except Mismatch as error:
            raise ValidationError(noun + str(error).removeprefix("args"), why=why) from None

    return decode


_MISSING: Final = object()
_JSON_TYPES: Final = frozenset({str, int, float, bool, type(None)})
_WRAPPERS: Final = frozenset({typing.Annotated, typing.Required, typing.NotRequired, typing.Final})
# The type that a declared container is built as.
_MAKERS: Final[dict[Any, Callable[[Any], Any]]] = {
    list: list,
    tuple: tuple,
    set: set,
    frozenset: frozenset,
    collections.abc.Sequence: list,
    collections.abc.MutableSequence: list,
    collections.abc.Collection: list,
    collections.abc.Iterable: list,
    collections.abc.Set: frozenset,
    collections.abc.MutableSet: set,
}
_MAPPINGS: Final = frozenset({dict, collections.abc.Mapping, collections.abc.MutableMapping})


class _Builder:
    """Builds the decoders of a type and of the types it refers to; types may be recursive."""

    def __init__(self) -> None:
        self._objects: dict[Any, Decode] = {}

    def decoder(self, hint: Any) -> Decode:
        """Return the decoder of a type hint; Any accepts every value."""
        origin, inner = get_origin(hint), get_args(hint)
        if origin in _WRAPPERS:
            return self.decoder(inner[0])
        if isinstance(hint, typing.NewType):
            return self.decoder(hint.__supertype__)
        if origin is Literal:
            return decode_literal(inner)
        if origin in {Union, types.UnionType}:
            return self._union(inner)
        base = origin or hint
        if not isinstance(base, type):
            # The value of an alias made by a ``type`` statement; None for anything else.
            alias = getattr(hint, "__value__", None)
            return plain if alias is None else self.decoder(alias)
        return SCALARS.get(base) or self._class(hint, base, inner)

    def _class(self, hint: Any, base: type, inner: tuple[Any, ...]) -> Decode:
        if dataclasses.is_dataclass(base) or typing.is_typeddict(base):
            return self._object(hint, base, inner)
        if hasattr(base, "model_validate"):
            return validated(base.model_validate)
        if issubclass(base, Enum):
            return decode_enum(base)
        return self._container(base, inner)

    def _container(self, base: Any, inner: tuple[Any, ...]) -> Decode:
        if base in _MAPPINGS:
            return self._mapping(*(inner or (str, Any)))
        if hasattr(base, "_make") and issubclass(base, tuple):
            hints = loose_hints_of(base, local_names(base))
            return decode_tuple([self.decoder(h) for h in hints.values()], base._make)
        if base is tuple and inner and inner[-1] is not Ellipsis:
            return decode_tuple([self.decoder(part) for part in inner], tuple)
        make = _MAKERS.get(base)
        if make is None:
            return plain
        return decode_array(self.decoder(inner[0]) if inner else plain, make)

    def _object(self, hint: Any, base: type, inner: tuple[Any, ...]) -> Decode:
        """Return the decoder of a dataclass or TypedDict.

        It is in the table before it is built, so that its own fields find it.  While a hint names
        a type that its module has yet to define, building waits for the first value.
        """
        if hint in self._objects:
            return self._objects[hint]
        local = local_names(base)
        built: list[Decode] = []

        def build(hints: Mapping[str, Any]) -> None:
            generic = dict(zip(getattr(base, "__parameters__", ()), inner, strict=False))
            make = self._dataclass if dataclasses.is_dataclass(base) else self._typed_dict
            built.append(make(base, {name: filled(h, generic) for name, h in hints.items()}))

        def decode(value: Any) -> Any:
            if not built:
                build(loose_hints_of(base, local))
            return built[0](value)

        self._objects[hint] = decode
        hints = hints_of(base, local)
        if hints is not None:
            build(hints)
            self._objects[hint] = built[0]
        return self._objects[hint]

    def _dataclass(self, cls: Any, hints: Mapping[str, Any]) -> Decode:
        fields = dataclasses.fields(cls)
        rows = [self._row(f, hints.get(f.name, Any)) for f in fields if f.init]
        computed = [f.name for f in fields if not f.init]
        label = cls.__name__

        def decode(value: Any) -> Any:
            if type(value) is not dict:
                raise wrong(f"an object ({label})", value)
            given, absent = value, 0
            for name, json_type, convert, required in rows:
                item = value.get(name, _MISSING)
                # Most fields have JSON's own types: one comparison instead of a call.
                if type(item) is json_type:
                    continue
                if item is not _MISSING:
                    given = value.copy() if given is value else given
                    given[name] = at(name, convert, item)
                elif required:
                    raise Mismatch(f"missing, {label} needs it", name)
                else:
                    absent += 1
            if len(value) + absent != len(rows):
                given = _without(given, computed)
                extra = given.keys() - {row[0] for row in rows}
                if extra:
                    raise Mismatch(f"{label} has no such field", min(extra))
            return cls(**given)

        return decode

    def _row(self, f: dataclasses.Field[Any], hint: Any) -> tuple[str, type | None, Decode, bool]:
        required = f.default is f.default_factory is dataclasses.MISSING
        json_type = hint if isinstance(hint, type) and hint in _JSON_TYPES else None
        convert = self.decoder(hint)
        if f.default is None:  # ``x: int = None`` is written often enough
            convert = or_none(convert)
        return f.name, json_type, convert, required

    def _typed_dict(self, cls: Any, hints: Mapping[str, Any]) -> Decode:
        decoders = {name: self.decoder(hint) for name, hint in hints.items()}
        # Postponed annotations hide NotRequired from Python's own __required_keys__.
        required = [
            name
            for name, hint in hints.items()
            if get_origin(hint) is not typing.NotRequired
            and (name in cls.__required_keys__ or get_origin(hint) is typing.Required)
        ]

        def decode(value: Any) -> Any:
            if type(value) is not dict:
                raise wrong(f"an object ({cls.__name__})", value)
            for name in required:
                if name not in value:
                    raise Mismatch(f"missing, {cls.__name__} needs it", name)
            return {
                key: at(key, decoders[key], item) if key in decoders else item
                for key, item in value.items()
            }

        return decode

    def _mapping(self, key_hint: Any, value_hint: Any) -> Decode:
        each_key, each_value = self.decoder(key_hint), self.decoder(value_hint)

        def decode(value: Any) -> Any:
            if type(value) is not dict:
                raise wrong("an object", value)
            return {
                at(key, each_key, key): at(key, each_value, item) for key, item in value.items()
            }

        return decode

    def _union(self, choices: tuple[Any, ...]) -> Decode:
        decoders = [self.decoder(choice) for choice in choices if choice is not type(None)]
        exact = frozenset(c for c in choices if isinstance(c, type) and c in _JSON_TYPES)
        if len(decoders) == 1 and type(None) in exact:
            return or_none(decoders[0])
        names = " or ".join(getattr(choice, "__name__", str(choice)) for choice in choices)

        def decode(value: Any) -> Any:
            # Otherwise text would be parsed by the first alternative that accepts it.
            if type(value) in exact:
                return value
            for each in decoders:
                try:
                    return each(value)
                except Mismatch:
                    continue
            raise wrong(names, value)

        return decode


def _without(value: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """Return a copy without the named keys: fields that are computed, not given."""
    return {key: item for key, item in value.items() if key not in names}
