"""Unique keys, computed as awa 0.5 computes them, byte for byte."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final

from awa_lib.errors import ValidationError
from awa_lib.states import STATES
from awa_lib.validation import int64_of, items_of, name_of, seconds_of, state_of, unknown_word

if TYPE_CHECKING:
    from datetime import timedelta

__all__ = ["NOT_STARTED", "Unique", "UniqueOptions", "canonical_json", "states_bits", "unique_key"]

_KEY_BYTES: Final = 16
_ALL_STATES: Final = 255
# From this magnitude on, and below 1e-5, awa 0.5 writes an exponent.
_EXPONENT_FROM: Final = 1e16
_FIXED_FROM: Final = 1e-5


_PARTS: Final = ("kind", "args", "queue")


def _mask(*states: str) -> int:
    return sum(1 << STATES.index(state) for state in states)


NOT_STARTED: Final = _mask("scheduled", "available", "retryable")
"""The states of a job that waits for its next run."""
_WORDS: Final = {
    "not_started": NOT_STARTED,
    "not_finished": NOT_STARTED | _mask("running", "waiting_external"),
    "any": _ALL_STATES,
}


@dataclass(frozen=True, slots=True)
class Unique:
    """Which jobs exclude each other, in words; ``unique_opts`` says the same in numbers.

    The key always holds the kind.  A job without a free key is refused; see ``insert`` for
    ``on_conflict``.
    """

    by: str | Collection[str] = "args"
    """What else it holds: ``args``, ``queue``, both in a tuple, or ``kind`` for nothing else."""
    states: str | Collection[str] = "not_finished"
    """In which states a job holds its key: ``not_started`` (scheduled, available, retryable),
    ``not_finished`` (also running and waiting_external), ``any`` (until the job is deleted), or
    names of states."""
    period: float | str | timedelta | None = None
    """A job excludes others of the same period only: seconds or text like ``1h``.  Periods are
    counted from 1970 in UTC, by the clock of this host."""
    fields: Collection[str] | None = None
    """Of the args only these fields count."""

    def options(self, now: float | None = None) -> UniqueOptions:
        """Return what is sent, for the period of now, in epoch seconds.  Raises ValidationError.

        By default it is now by the clock of this host.
        """
        parts = (self.by,) if isinstance(self.by, str) else tuple(items_of("by", self.by))
        for part in parts:
            if part not in _PARTS:
                raise unknown_word(f"a job is unique by {_PARTS}, not by {part!r}", part, _PARTS)
        return UniqueOptions(
            by_queue="queue" in parts,
            by_args="args" in parts or self.fields is not None,
            by_period=self._period(time.time() if now is None else now),
            states=self._mask(),
            fields=self._fields(),
        )

    def _period(self, now: float) -> int | None:
        if self.period is None:
            return None
        return int(now // seconds_of("period", self.period, least=1.0))

    def _mask(self) -> int:
        if isinstance(self.states, str):
            if self.states not in _WORDS:
                raise unknown_word(
                    f"states must be one of these words or a list of states: {self.states!r}",
                    self.states,
                    _WORDS,
                )
            return _WORDS[self.states]
        return _mask(*{state_of(state) for state in items_of("states", self.states)})

    def _fields(self) -> tuple[str, ...] | None:
        if self.fields is None:
            return None
        if isinstance(self.fields, str) or not self.fields:
            raise ValidationError(f"fields must be a list of names, got {self.fields!r}")
        return tuple(sorted({name_of("fields", name) for name in items_of("fields", self.fields)}))


@dataclass(frozen=True, slots=True)
class UniqueOptions:
    """What a unique key consists of, and the states in which a job holds it."""

    by_queue: bool = False
    by_args: bool = True
    by_period: int | None = None
    """The number of a period (epoch seconds // length), not its length."""
    states: int = 0b00011111
    """Bit i is state i of JobState; by default scheduled to retryable."""
    fields: tuple[str, ...] | None = None
    """The fields of the args that count, in order; None for all of them."""

    def args(self, args: Any) -> Any:
        """Return the part of the args that counts.  Raises ValidationError."""
        if self.fields is None:
            return args
        try:
            return {name: args[name] for name in self.fields}
        except (KeyError, TypeError):
            raise ValidationError(
                f"a field of Unique(fields={list(self.fields)}) is not in the args"
            ) from None

    def while_waiting(self) -> UniqueOptions:
        """Return the same for jobs that hold their key until they start."""
        return replace(self, states=NOT_STARTED)

    @classmethod
    def parse(cls, given: object) -> UniqueOptions:
        """Check a ``unique_opts`` dict.  Raises ValidationError."""
        if not isinstance(given, Mapping):
            raise ValidationError(f"unique_opts must be a dict, got {type(given).__name__}")
        known = [f.name for f in fields(cls) if f.name != "fields"]
        for key in given:
            if key not in known:
                raise unknown_word(f"unknown unique_opts key {key!r}", key, known)
        options = cls(**given)
        for name in ("by_queue", "by_args"):
            if not isinstance(getattr(options, name), bool):
                raise ValidationError(
                    f"{name} must be True or False, got {getattr(options, name)!r}"
                )
        if options.by_period is not None:
            int64_of("by_period", options.by_period)
        if not _is_int(options.states, 8) or not 0 <= options.states <= _ALL_STATES:
            raise ValidationError(f"states must be a mask of 0 to 255, got {options.states!r}")
        return options


def _is_int(value: object, bits: int) -> bool:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return whole and -(2**bits) <= value < 2**bits


def unique_key(
    kind: str, *, queue: str | None = None, args: Any = ..., period: int | None = None
) -> bytes:
    """Return the 16-byte key of the given components.

    It is the first 16 bytes of BLAKE3 over the kind, NUL + queue, NUL + canonical args, and NUL +
    the period as a little-endian int64; a component that is not given is left out.
    """
    from blake3 import blake3  # 1 ms, and only unique jobs need it

    hasher = blake3(kind.encode())
    if queue is not None:
        hasher.update(b"\x00" + queue.encode())
    if args is not ...:
        hasher.update(b"\x00" + canonical_json(args).encode())
    if period is not None:
        hasher.update(b"\x00" + period.to_bytes(8, "little", signed=True))
    return hasher.digest()[:_KEY_BYTES]


def states_bits(mask: int) -> str:
    """Return the bit(8) text of a mask, with scheduled as the first bit.

    >>> states_bits(31)
    '11111000'
    """
    return f"{mask:08b}"[::-1]


def canonical_json(value: Any) -> str:
    """Return compact JSON with sorted keys, and floats written as awa 0.5 does.

    >>> canonical_json({"b": [1e16, 1e-7, 0.00005], "a": None})
    '{"a":null,"b":[1e+16,1e-7,0.00005]}'
    """
    if isinstance(value, dict):
        items = (f"{_string(key)}:{canonical_json(value[key])}" for key in sorted(value))
        return "{" + ",".join(items) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(canonical_json, value)) + "]"
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, int) and not isinstance(value, bool) and not _is_int(value, 63):
        return _float(float(value))
    return json.dumps(value, ensure_ascii=False)


def _string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _float(value: float) -> str:
    text = repr(value)
    size = abs(value)
    if size and _FIXED_FROM <= size < _EXPONENT_FROM:
        if "e" in text:  # Python writes 1e-05, awa 0.5 writes 0.00001
            mantissa, exponent = text.split("e")
            sign = "-" if mantissa.startswith("-") else ""
            digits = mantissa.lstrip("-").replace(".", "")
            return f"{sign}0.{'0' * (-int(exponent) - 1)}{digits}"
        return text
    if "e" in text:
        mantissa, exponent = text.split("e")
        number = int(exponent)
        return f"{mantissa.removesuffix('.0')}e{'+' if number >= 0 else '-'}{abs(number)}"
    return text
