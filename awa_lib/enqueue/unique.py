"""Unique keys, computed as awa 0.5 computes them, byte for byte."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

from awa_lib.errors import ValidationError
from awa_lib.validation import int64_of, unknown_word

__all__ = ["UniqueOptions", "canonical_json", "states_bits", "unique_key"]

_KEY_BYTES: Final = 16
_ALL_STATES: Final = 255
# From this magnitude on, and below 1e-5, awa 0.5 writes an exponent.
_EXPONENT_FROM: Final = 1e16
_FIXED_FROM: Final = 1e-5


@dataclass(frozen=True, slots=True)
class UniqueOptions:
    """What a unique key consists of, and the states in which a job holds it."""

    by_queue: bool = False
    by_args: bool = True
    by_period: int | None = None
    """The number of a period (epoch seconds // length), not its length."""
    states: int = 0b00011111
    """Bit i is state i of JobState; by default scheduled to retryable."""

    @classmethod
    def parse(cls, given: object) -> UniqueOptions:
        """Check a ``unique_opts`` dict.  Raises ValidationError."""
        if not isinstance(given, Mapping):
            raise ValidationError(f"unique_opts must be a dict, got {type(given).__name__}")
        known = [f.name for f in fields(cls)]
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
