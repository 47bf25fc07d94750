"""The longest time anything is kept or waited for."""

from __future__ import annotations

from typing import Final

__all__ = ["MOST_HOURS", "MOST_SECONDS", "bounded"]

# A hundred years: beyond any real length of time, and well inside what timestamptz can hold.
MOST_SECONDS: Final = 100 * 366 * 86_400.0
MOST_HOURS: Final = MOST_SECONDS / 3600


def bounded(value: float, most: float = MOST_SECONDS) -> float:
    """Return a length of time within 0 and ``most``; what is no number is the longest."""
    return min(max(float(value), 0.0), most) if value == value else most  # noqa: PLR0124 - NaN
