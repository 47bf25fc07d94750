"""What schemathesis leaves out, with the reason; read by its command and by its tests."""

from __future__ import annotations

from typing import Any
from zoneinfo import available_timezones

import schemathesis


@schemathesis.hook
def filter_body(context: Any, body: Any) -> bool:
    """Leave numbers out that no worker could read: JSON Schema cannot say that of any JSON."""
    return readable(body)


@schemathesis.hook
def filter_query(context: Any, query: Any) -> bool:
    """Leave zones out that do not exist: JSON Schema has no format for them."""
    zone = (query or {}).get("zone")
    return not isinstance(zone, str) or zone in available_timezones()


def readable(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(readable, value.values()))
    if isinstance(value, list):
        return all(map(readable, value))
    return not isinstance(value, int) or -(2**63) <= value < 2**63
