"""The entries of the navigation, each with the key that opens it after ``g``.

Titles, order and keys are those of the monitor.  To add a page, write its module and a line here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["NAVIGATION", "Entry"]


@dataclass(frozen=True, slots=True)
class Entry:
    """A page in the navigation; ``id`` is also the name of its icon."""

    id: str
    path: str
    title: str
    key: str


NAVIGATION: Final = (
    Entry("overview", "/", "Overview", "o"),
    Entry("jobs", "/jobs", "Jobs", "j"),
    Entry("queues", "/queues", "Queues", "q"),
    Entry("kinds", "/kinds", "Kinds", "k"),
    Entry("failures", "/failures", "Failures", "f"),
    Entry("workers", "/workers", "Workers", "w"),
    Entry("cron", "/cron", "Cron", "c"),
    Entry("dlq", "/dlq", "Dead letters", "d"),
    Entry("batches", "/batches", "Bulk operations", "b"),
    Entry("activity", "/activity", "Activity", "a"),
    Entry("doctor", "/doctor", "Doctor", "x"),
    Entry("workflows", "/workflows", "Workflows", "l"),
    Entry("storage", "/storage", "Storage", "s"),
    Entry("audit", "/audit", "Audit log", "u"),
)
