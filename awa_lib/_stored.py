"""JSON of rows as the models declare it, whatever another program has written.

Nothing here raises: such a row must not keep others from being listed.  What does not fit is shown
as near to itself as the type allows.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from awa_lib._json import dumps, loads
from awa_lib.errors import SerializationError

__all__ = ["as_data", "as_entries", "as_members", "as_queues"]

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
    queue = _fitting(given, {"in_flight": int, "overflow_held": int, "config": dict})
    if "config" in queue:
        queue["config"] = _fitting(queue["config"], {"max_workers": int})
    return queue


def _fitting(given: dict[str, Any], types: dict[str, type]) -> dict[str, Any]:
    """Return the members that have one of these types, and those of other names."""
    return {
        key: value for key, value in given.items() if type(value) is types.get(key, type(value))
    }
