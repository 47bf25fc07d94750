"""JSON text: reads with orjson where the result is that of the standard library.

The standard library writes: orjson writes NaN as null without an error.
"""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from awa_lib.errors import SerializationError

if TYPE_CHECKING:
    from collections.abc import Callable

try:
    import orjson
except ImportError:
    orjson = None  # type: ignore[assignment] # the extra is not installed

__all__ = ["as_data", "as_entries", "as_members", "as_queues", "dumps", "loads", "orjson"]

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


# What follows reads JSON of rows as the models declare it, whatever another program has written.
# Nothing raises: such a row must not keep others from being listed.  What does not fit is shown as
# near to itself as the type allows.

# Writers and templates recurse; serde_json, which awa 0.5 reads with, goes as deep.
_DEEPEST: Final = 128


def as_data(text: str) -> Any:
    """Return any value; one that is nested too deep is its text."""
    try:
        value = loads(text)
    except SerializationError:
        return text
    brackets = text.count("[") + text.count("{")
    return text if brackets > _DEEPEST and _is_deep(value) else value


def _is_deep(value: Any) -> bool:
    level: list[Any] = [[value]]
    for _ in range(_DEEPEST + 1):
        items = [item for one in level for item in (one.values() if type(one) is dict else one)]
        level = [item for item in items if type(item) in (dict, list)]
        if not level:
            return False
    return True


def as_members(text: str) -> dict[str, Any]:
    """Return an object; any other value is its member ``value``."""
    value = as_data(text)
    return value if isinstance(value, dict) else {"value": value}


def as_entries(text: str) -> list[dict[str, Any]]:
    """Return the errors of a job: text, and if given the number and the time of the attempt."""
    found = as_data(text)
    return [_entry(one) for one in (found if isinstance(found, list) else [found])]


def _entry(given: Any) -> dict[str, Any]:
    entry = dict(given) if isinstance(given, dict) else {"error": given}
    error = entry.setdefault("error", "")
    if not isinstance(error, str):
        entry["error"] = dumps(error)
    if type(entry.get("attempt", 0)) is not int:
        del entry["attempt"]
    if "at" in entry and not _is_moment(entry["at"]):
        del entry["at"]
    return entry


def _is_moment(text: Any) -> bool:
    try:
        return datetime.fromisoformat(text).astimezone(UTC) is not None
    except (TypeError, ValueError, OverflowError):
        return False


def as_queues(text: str) -> list[dict[str, Any]]:
    """Return the queues of a worker: each has a name; counts are numbers, if given."""
    found = as_data(text)
    return [
        _queue(one)
        for one in (found if isinstance(found, list) else [])
        if isinstance(one, dict) and isinstance(one.get("queue"), str)
    ]


def _queue(given: dict[str, Any]) -> dict[str, Any]:
    queue = _fitting(given, in_flight=(int,), overflow_held=(int, type(None)), config=(dict,))
    if "config" in queue:
        queue["config"] = _fitting(queue["config"], max_workers=(int, type(None)))
    return queue


def _fitting(given: dict[str, Any], **types: tuple[type, ...]) -> dict[str, Any]:
    """Return the members that have one of these types, and those of other names."""
    return {
        key: value for key, value in given.items() if type(value) in types.get(key, (type(value),))
    }
