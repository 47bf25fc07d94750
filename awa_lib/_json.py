"""JSON text: reads with orjson where the result is that of the standard library.

The standard library writes: orjson writes NaN as null without an error.
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any, Final

from awa_lib.errors import SerializationError

if TYPE_CHECKING:
    from collections.abc import Callable

try:
    import orjson
except ImportError:
    orjson = None  # type: ignore[assignment] # the extra is not installed

__all__ = ["dumps", "loads", "orjson"]

# One encoder for all calls: json.dumps makes a new encoder, a third of the time of a small text.
dumps: Final = json.JSONEncoder(
    separators=(",", ":"), ensure_ascii=False, allow_nan=False, check_circular=False
).encode
"""Return compact JSON text.

Raises TypeError and ValueError as json.dumps, RecursionError for a cycle.
"""

# An integer of 19 or more digits may not fit 64 bits, and orjson then reads a float.
_LONG: Final = re.compile("[0-9]{19}")
# The search costs 7 ns per character, in longer texts more than orjson saves.
_SHORT: Final = 128
# Python refuses to read longer integers; jsonb holds up to 131,072 digits.
_MAX_DIGITS: Final = 4300


def _loads_json(text: str) -> Any:
    """Parse with the standard library; a number that Python cannot hold stays text."""
    try:
        try:
            return _decode(text)
        except json.JSONDecodeError:
            raise
        except ValueError:
            return json.loads(text, parse_int=_int, parse_float=_float)
    except RecursionError:
        raise SerializationError("the JSON is nested too deep to be read") from None


def _int(digits: str) -> int | str:
    return int(digits) if len(digits) <= _MAX_DIGITS else digits


def _float(digits: str) -> float | str:
    value = float(digits)
    return digits if math.isinf(value) else value


_decode: Final = json.JSONDecoder(parse_float=_float).decode


def _loads_orjson(text: str) -> Any:
    """Parse short texts with orjson where it agrees with the standard library."""
    if len(text) > _SHORT or _LONG.search(text):
        return _loads_json(text)
    try:
        return orjson.loads(text)
    except ValueError:  # numbers beyond a double, which json reads
        return _loads_json(text)


loads: Final[Callable[[str], Any]] = _loads_json if orjson is None else _loads_orjson
"""Return the value of JSON text.

Raises ValueError (json.JSONDecodeError) for other text, SerializationError, which is one too, for
nesting that Python cannot read.
"""
