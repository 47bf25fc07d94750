"""JSON text: orjson where it gives the same, else the standard library."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

try:
    import orjson
except ImportError:
    orjson = None  # type: ignore[assignment]

__all__ = ["dumps", "loads"]


def dumps(value: Any) -> str:
    """Return compact JSON text.  Raises ValueError for NaN and infinities, TypeError as json."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


# orjson reads integers beyond 64 bits as floats, which Postgres cannot give back for anything this
# library wrote; text of other writers that holds such numbers goes the slow way through json.
loads: Callable[[str], Any] = json.loads if orjson is None else orjson.loads
