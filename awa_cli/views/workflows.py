"""Workflows in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from awa_cli.views.columns import Column, ago
from awa_cli.views.states import WORKFLOW_STYLES
from awa_cli.views.words import clean, counted, span

if TYPE_CHECKING:
    from awa_lib.reads.workflows import WorkflowOverview

__all__ = [
    "WORKFLOWS",
    "called",
    "can_cancel",
    "counts_of",
    "done_of",
    "facts_of",
    "left_of",
    "share_of",
    "state_words",
    "title_of",
]


def title_of(one: WorkflowOverview) -> str:
    """Return the name and the key: ``import 2026-11-29``."""
    return " ".join(clean(part) for part in (one.name, one.key) if part is not None)


def called(one: WorkflowOverview) -> str:
    """Return a workflow as a question names it: ``7 (import 2026-11-29, 3 open tasks)``."""
    open_tasks = counted(one.waiting + one.started, "open task")
    return f"{one.id} ({title_of(one)}, {open_tasks})"


def state_words(one: WorkflowOverview) -> str:
    """Return the state: an open workflow may be about to be cancelled."""
    return "being cancelled" if one.state == "open" and one.cancelled_at else one.state


def can_cancel(one: WorkflowOverview) -> bool:
    """Return True for an open workflow that is not being cancelled."""
    return one.state == "open" and one.cancelled_at is None


def done_of(one: WorkflowOverview) -> str:
    """Return how many tasks have ended: ``8,217/10,003``."""
    return f"{one.tasks - one.waiting - one.started:,}/{one.tasks:,}"


def share_of(one: WorkflowOverview) -> int:
    """Return the share of tasks that have ended, in percent; 100 only when all have."""
    ended = one.tasks - one.waiting - one.started
    return 100 * ended // one.tasks if one.tasks else 100


def left_of(one: WorkflowOverview) -> str | None:
    """Return the estimated time until the end: ``about 12m``."""
    return None if one.seconds_left is None else f"about {span(one.seconds_left)}"


def counts_of(one: WorkflowOverview) -> list[tuple[str, int]]:
    """Return each state that tasks are in, with their number."""
    states = ("waiting", "started", "succeeded", "failed", "cancelled", "skipped")
    return [(state, count) for state in states if (count := getattr(one, state))]


WORKFLOWS: Final[tuple[Column[WorkflowOverview], ...]] = (
    Column("id", "ID", lambda one: one.id),
    Column("name", "NAME", lambda one: one.name, width=12),
    Column("key", "KEY", lambda one: one.key or "", width=8),
    Column(
        "state",
        "STATE",
        lambda one: one.state,
        style=lambda one: WORKFLOW_STYLES[one.state],
        state=lambda one: one.state,
    ),
    Column("done", "DONE", done_of, right=True, by=lambda one: one.tasks),
    Column("started", "STARTED", lambda one: one.started, right=True, wide=True),
    Column("waiting", "WAITING", lambda one: one.waiting, right=True, wide=True),
    Column("skipped", "SKIPPED", lambda one: one.skipped, right=True, wide=True),
    Column(
        "failed",
        "FAILED",
        lambda one: one.failed + one.cancelled,
        right=True,
        style=lambda one: "bold red" if one.failed + one.cancelled else "",
    ),
    ago("created", "CREATED", lambda one: one.created_at),
    Column("took", "TOOK", lambda one: span(one.seconds), right=True, by=lambda one: one.seconds),
    Column(
        "left",
        "LEFT",
        lambda one: "" if one.seconds_left is None else span(one.seconds_left),
        width=5,
        right=True,
        by=lambda one: one.seconds_left,
    ),
)


def facts_of(one: WorkflowOverview) -> list[tuple[str, Any]]:
    """Return the facts about a workflow."""
    counts = " · ".join(f"{count:,} {state}" for state, count in counts_of(one))
    return [
        ("tasks", f"{done_of(one)}  {counts}"),
        ("created", one.created_at),
        ("cancelled", one.cancelled_at),
        ("ended", one.finished_at),
        ("took" if one.finished_at else "age", span(one.seconds)),
        ("time left", left_of(one)),
    ]
