"""The pages of the monitor, one line each.  To add a page, write its module and a line here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["PAGES", "PageEntry"]


# The upper row of a keyboard, from the left: the place of a tab is its key.
_ROW: Final = (*"1234567890", "minus", "equals_sign")


@dataclass(frozen=True, slots=True)
class PageEntry:
    """A page: ``keys`` open it from anywhere, unless it needs a subject (a job, a queue)."""

    id: str
    title: str
    keys: str
    path: str
    """``module:Class`` below ``awa_cli.tui.screens``."""

    @property
    def needs_subject(self) -> bool:
        """Return True for a page about one thing, which is entered from a list."""
        return not self.keys


# Each with its letter.
_TABS: Final = (
    ("overview", "Overview", "O", "overview:OverviewPage"),
    ("jobs", "Jobs", "J", "jobs:JobsPage"),
    ("queues", "Queues", "Q", "queues:QueuesPage"),
    ("kinds", "Kinds", "K", "kinds:KindsPage"),
    ("failures", "Failures", "F", "failures:FailuresPage"),
    ("workers", "Workers", "W", "workers:WorkersPage"),
    ("cron", "Cron", "C", "cron:CronPage"),
    ("dlq", "Dead letters", "D", "dead_letters:DeadLettersPage"),
    ("batches", "Bulk operations", "B", "bulk_operations:BulkOperationsPage"),
    ("activity", "Activity", "A", "activity:ActivityPage"),
    ("doctor", "Doctor", "X", "doctor:DoctorPage"),
    ("storage", "Storage", "S", "storage:StoragePage"),
)
_ALL: Final = (
    *(
        PageEntry(page_id, title, f"{key},{letter}", path)
        for key, (page_id, title, letter, path) in zip(_ROW, _TABS, strict=True)
    ),
    PageEntry("job", "Job", "", "job:JobPage"),
    PageEntry("failure", "Failure", "", "failure:FailurePage"),
    PageEntry("queue", "Queue", "", "queue:QueuePage"),
    PageEntry("dead_letter", "Dead letter", "", "dead_letter:DeadLetterPage"),
)
PAGES: Final = {page.id: page for page in _ALL}
