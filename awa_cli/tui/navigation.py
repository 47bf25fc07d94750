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


# The tabs come first, each with its key in the upper row of a keyboard, in the order of that row,
# and its letter; the row has no place for the last.
_ALL: Final = (
    PageEntry("overview", "Overview", "1,O", "overview:OverviewPage"),
    PageEntry("jobs", "Jobs", "2,J", "jobs:JobsPage"),
    PageEntry("queues", "Queues", "3,Q", "queues:QueuesPage"),
    PageEntry("kinds", "Kinds", "4,K", "kinds:KindsPage"),
    PageEntry("failures", "Failures", "5,F", "failures:FailuresPage"),
    PageEntry("workers", "Workers", "6,W", "workers:WorkersPage"),
    PageEntry("cron", "Cron", "7,C", "cron:CronPage"),
    PageEntry("dlq", "Dead letters", "8,D", "dead_letters:DeadLettersPage"),
    PageEntry("batches", "Bulk operations", "9,B", "bulk_operations:BulkOperationsPage"),
    PageEntry("activity", "Activity", "0,A", "activity:ActivityPage"),
    PageEntry("doctor", "Doctor", "minus,X", "doctor:DoctorPage"),
    PageEntry("workflows", "Workflows", "equals_sign,L", "workflows:WorkflowsPage"),
    PageEntry("storage", "Storage", "S", "storage:StoragePage"),
    PageEntry("job", "Job", "", "job:JobPage"),
    PageEntry("failure", "Failure", "", "failure:FailurePage"),
    PageEntry("queue", "Queue", "", "queue:QueuePage"),
    PageEntry("dead_letter", "Dead letter", "", "dead_letter:DeadLetterPage"),
    PageEntry("workflow", "Workflow", "", "workflow:WorkflowPage"),
    PageEntry("tasks", "Tasks", "", "workflow_tasks:TasksPage"),
)
PAGES: Final = {page.id: page for page in _ALL}
