"""The pages of the monitor, one line each.  To add a page, write its module and a line here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["PAGES", "PageEntry"]


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


_ALL: Final = (
    PageEntry("overview", "Overview", "1,O", "overview:OverviewPage"),
    PageEntry("jobs", "Jobs", "2,J", "jobs:JobsPage"),
    PageEntry("job", "Job", "", "job:JobPage"),
    PageEntry("failures", "Failures", "F", "failures:FailuresPage"),
    PageEntry("failure", "Failure", "", "failure:FailurePage"),
    PageEntry("queues", "Queues", "3,Q", "queues:QueuesPage"),
    PageEntry("queue", "Queue", "", "queue:QueuePage"),
    PageEntry("kinds", "Kinds", "4,K", "kinds:KindsPage"),
    PageEntry("workers", "Workers", "5,W", "workers:WorkersPage"),
    PageEntry("cron", "Cron", "6,C", "cron:CronPage"),
    PageEntry("dlq", "Dead letters", "7,D", "dead_letters:DeadLettersPage"),
    PageEntry("dead_letter", "Dead letter", "", "dead_letter:DeadLetterPage"),
    PageEntry("batches", "Bulk operations", "8,B", "bulk_operations:BulkOperationsPage"),
    PageEntry("activity", "Activity", "9,A", "activity:ActivityPage"),
    PageEntry("doctor", "Doctor", "0,X", "doctor:DoctorPage"),
    PageEntry("storage", "Storage", "minus,S", "storage:StoragePage"),
)
PAGES: Final = {page.id: page for page in _ALL}
