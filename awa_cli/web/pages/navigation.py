"""The places: where each is, and the letter that leads there after ``g``.

Words, order and letters are the monitor's.  To add a page, write its module and a line here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["PLACES", "Place"]


@dataclass(frozen=True, slots=True)
class Place:
    """A page that the navigation leads to; ``id`` also names its icon."""

    id: str
    path: str
    title: str
    key: str


PLACES: Final = (
    Place("overview", "/", "Overview", "o"),
    Place("jobs", "/jobs", "Jobs", "j"),
    Place("queues", "/queues", "Queues", "q"),
    Place("kinds", "/kinds", "Kinds", "k"),
    Place("workers", "/workers", "Workers", "w"),
    Place("cron", "/cron", "Cron", "c"),
    Place("dlq", "/dlq", "Dead letters", "d"),
    Place("batches", "/batches", "Batch operations", "b"),
    Place("activity", "/activity", "Activity", "a"),
    Place("doctor", "/doctor", "Doctor", "x"),
    Place("storage", "/storage", "Storage", "s"),
    Place("audit", "/audit", "Audit log", "u"),
)
