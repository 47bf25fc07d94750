"""Results of handlers: what a kind declares about them, how they are encoded and decoded."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
import types
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Union, get_args, get_origin

from awa_lib.codec.decode import value_decoder
from awa_lib.codec.encode import DEEPEST, encode_value
from awa_lib.codec.type_hints import local_names, loose_hint
from awa_lib.errors import ResultNotStorable, ResultTooLarge, SerializationError, ValidationError
from awa_lib.results import Cancel, RetryAfter, Snooze, WaitForCallback
from awa_lib.validation import number_of, seconds_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import timedelta
    from typing import Self

__all__ = ["KeptResult", "ResultOptions", "returned_type", "type_of"]

_WEEK: Final = 7 * 86_400.0
_MAX_BYTES: Final = 1 << 20
# A statement with several of them stays far below the largest message and jsonb (256 MiB).
_LARGEST_MAX_BYTES: Final = 64 << 20
_LEAST_TTL_SECONDS: Final = 1.0
_OUTCOMES: Final = (RetryAfter, Snooze, Cancel, WaitForCallback)
# A longer key, or one that is no name, may be data.
_LONGEST_NAME: Final = 64


class KeptResult(NamedTuple):
    """The result of an attempt, encoded, until it is written with the completion."""

    text: str
    size_bytes: int
    ttl_seconds: float


@dataclasses.dataclass(frozen=True, slots=True)
class ResultOptions:
    """How the results of a kind are kept."""

    result_type: Any = None
    """What results are decoded into; None for plain JSON data."""
    ttl_seconds: float = _WEEK
    max_bytes: int = _MAX_BYTES
    decode: Callable[[Any], Any] = dataclasses.field(
        default=lambda data: data, compare=False, repr=False
    )

    def merged(
        self, result: object, ttl: float | str | timedelta | None, max_bytes: int | None
    ) -> Self:
        """Return the options with what is given, checked.  Raises ValidationError."""
        if result is not None and result is not True:
            type_of("result", result)
        options = dataclasses.replace(
            self,
            ttl_seconds=self.ttl_seconds
            if ttl is None
            else seconds_of("result_ttl", ttl, _LEAST_TTL_SECONDS),
            max_bytes=self.max_bytes
            if max_bytes is None
            else number_of("result_max_bytes", max_bytes, 1, _LARGEST_MAX_BYTES),
        )
        return options if result is None or result is True else options.of_type(result)

    def of_type(self, result_type: Any) -> Self:
        """Return the same options with results of a type; None leaves them as they are."""
        if result_type is None:
            return self
        decode = value_decoder(result_type, "result")
        return dataclasses.replace(self, result_type=result_type, decode=decode)

    def encode(self, value: object, *, step: str | None = None) -> KeptResult:
        """Return a result as it is written.  Raises ResultTooLarge, ResultNotStorable.

        The errors say where in the value, but nothing of its content.  ``step`` is the name of the
        step that has returned it.
        """
        try:
            text = encode_value(value, "result")
        except SerializationError:
            place, fault = _find(value, "result")
            raise _refuse(step, place, fault) from None
        except Exception as error:  # noqa: BLE001 - a model may raise anything, with the value in it
            fault = f"{type(error).__qualname__} while it was encoded"
            raise _refuse(step, "result", fault) from None
        size = len(text) if text.isascii() else len(text.encode())
        if size > self.max_bytes:
            raise ResultTooLarge(size, self.max_bytes, step=step)
        return KeptResult(text, size, self.ttl_seconds)


def type_of(field: str, value: object) -> Any:
    """Return a type, or a generic form of types.  Raises ValidationError."""
    named = hasattr(value, "__supertype__") or hasattr(value, "__value__")
    if not isinstance(value, type) and get_origin(value) is None and not named:
        what = "True or a type" if field == "result" else "a type"
        raise ValidationError(f"{field} must be {what}, got {value!r:.80}")
    return value


def _refuse(step: str | None, place: str, fault: str) -> ResultNotStorable:
    what = "the result" if step is None else f"the value of the step {step!r}"
    return ResultNotStorable(
        f"{what} cannot be stored: {place}: {fault}",
        why="it is kept as jsonb, for readers of any language",
        hint="return text, numbers, lists, dicts, dataclasses or models of these",
    )


def _find(value: object, path: str, depth: int = 0) -> tuple[str, str]:
    """Return where in a value that cannot be encoded the fault is, and which."""
    if depth == DEEPEST:
        return f"{path[:60]}...", f"nested deeper than {DEEPEST} levels (a cycle?)"
    try:
        encode_value(value, "")
    except SerializationError as error:
        what = str(error).removeprefix(": ")
    for place, item in _parts(value, path):
        try:
            encode_value(item, "")
        except SerializationError:
            return _find(item, place, depth + 1)
        except Exception as error:  # noqa: BLE001 - as above
            return place, f"{type(error).__qualname__} while it was encoded"
    if isinstance(value, float) and math.isfinite(value):
        return path, "a number too close to infinity"
    if isinstance(value, Mapping):
        return path, "a key that is not text, or not valid Unicode without NUL"
    return path, what


def _parts(value: object, path: str) -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping):
        for at, (key, item) in enumerate(value.items()):
            named = isinstance(key, str) and key.isidentifier() and len(key) <= _LONGEST_NAME
            yield f"{path}.{key}" if named else f"{path}[value {at + 1}]", item
    elif isinstance(value, list | tuple):
        for at, item in enumerate(value):
            yield f"{path}[{at}]", item
    elif isinstance(value, set | frozenset):
        for item in value:
            yield f"{path}{{}}", item
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield f"{path}.{field.name}", getattr(value, field.name)


def returned_type(call: Any) -> Any:
    """Return the type of the results of a handler, from its annotation; None if it has none.

    What asks for another end (Snooze and the like) is left out.
    """
    while isinstance(call, functools.partial):
        call = call.func
    if not inspect.isroutine(call):
        call = getattr(type(call), "__call__", None)  # noqa: B004 - its annotation is read
    call = inspect.unwrap(call) if call is not None else None
    hint = getattr(call, "__annotations__", {}).get("return")
    if hint is None:
        return None
    hint = loose_hint(hint, getattr(call, "__globals__", {}), local_names(call))
    if get_origin(hint) not in {Union, types.UnionType}:
        return None if hint in {Any, *_OUTCOMES, type(None)} else hint
    kept = tuple(one for one in get_args(hint) if one not in _OUTCOMES)
    if kept in {(), (type(None),)} or Any in kept:
        return None
    return Union[kept] if len(kept) > 1 else kept[0]  # noqa: UP007 - of a tuple
