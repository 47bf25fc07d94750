"""The screens: one line each.  To add one, write its module and a line here."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from awa_cli.tui.history import Stop
    from awa_cli.tui.screens.page import Page

__all__ = ["PLACES", "Place"]


@dataclass(frozen=True, slots=True)
class Place:
    """A screen: ``keys`` lead to it from anywhere, unless it needs a subject (a job, a queue)."""

    id: str
    title: str
    keys: str
    page: str
    """``module:Class`` below ``awa_cli.tui.screens``."""

    @property
    def needs_subject(self) -> bool:
        """Return True for a screen about one thing, which only Enter leads to."""
        return not self.keys

    def open(self, stop: Stop) -> Page[Any]:
        """Make the screen; its module is loaded when it is first gone to."""
        module, _, name = self.page.partition(":")
        page: type[Page[Any]] = getattr(import_module(f"awa_cli.tui.screens.{module}"), name)
        return page(self, stop)


_ALL: Final = (
    Place("overview", "Overview", "1,O", "overview:OverviewPage"),
    Place("jobs", "Jobs", "2,J", "jobs:JobsPage"),
    Place("job", "Job", "", "job:JobPage"),
    Place("queues", "Queues", "3,Q", "queues:QueuesPage"),
    Place("queue", "Queue", "", "queue:QueuePage"),
    Place("kinds", "Kinds", "4,K", "kinds:KindsPage"),
    Place("workers", "Workers", "5,W", "workers:WorkersPage"),
    Place("cron", "Cron", "6,C", "cron:CronPage"),
    Place("dlq", "Dead letters", "7,D", "dead_letters:LettersPage"),
    Place("letter", "Dead letter", "", "dead_letter:LetterPage"),
    Place("batches", "Batch operations", "8,B", "bulk_operations:BatchesPage"),
    Place("activity", "Activity", "9,A", "activity:ActivityPage"),
    Place("doctor", "Doctor", "0,X", "doctor:DoctorPage"),
    Place("storage", "Storage", "minus,S", "storage:StoragePage"),
)
PLACES: Final = {place.id: place for place in _ALL}
