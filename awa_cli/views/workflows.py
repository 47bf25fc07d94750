"""Workflows in words, and their graph as an outline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from awa_cli.views.columns import Column, ago
from awa_cli.views.states import WORKFLOW_STYLES
from awa_cli.views.words import age, clean, clock, counted, say_seconds, span

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from awa_lib.reads.workflow_tasks import (
        GroupMembers,
        WorkflowDetails,
        WorkflowTask,
        WorkflowWait,
    )
    from awa_lib.reads.workflows import WorkflowOverview

__all__ = [
    "WORKFLOWS",
    "WORKFLOW_TASKS",
    "Item",
    "called",
    "counts_of",
    "done_of",
    "facts_of",
    "layers_of",
    "left_of",
    "members_of",
    "outline",
    "share_of",
    "some_names",
    "title_of",
    "took_of",
    "wait_words",
]

_MOST_NAMES: Final = 3
# Cells of the branches before a task; those further left are cut off.
_DEEPEST: Final = 64
# Why a task of a rule was skipped, whichever its parents are.
_SKIPPED: Final = {
    "any_failed": "nothing failed",
    "any_succeeded": "nothing succeeded",
    "all_failed": "not all failed",
}


def title_of(one: WorkflowOverview) -> str:
    """Return the name and the key: ``import 2026-11-29``."""
    return " ".join(clean(part) for part in (one.name, one.key) if part is not None)


def called(one: WorkflowOverview) -> str:
    """Return a workflow as a question names it: ``7 (import 2026-11-29, 3 open tasks)``."""
    open_tasks = counted(one.waiting + one.started, "open task")
    return f"{one.id} ({title_of(one)}, {open_tasks})"


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


def members_of(counts: GroupMembers) -> str:
    """Return how many members of a group have ended: ``8,214/10,000 · 3 failed``."""
    ends = (("failed", counts.failed), ("skipped", counts.skipped))
    parts = [f"{count:,} {word}" for word, count in ends if count]
    return " · ".join([f"{counts.total - counts.open:,}/{counts.total:,}", *parts])


def took_of(task: WorkflowTask) -> str:
    """Return how long a task took, or has taken so far; empty before it runs."""
    return "" if task.seconds is None else say_seconds(task.seconds)


def wait_words(task: WorkflowTask) -> str | None:
    """Return what a task waits for: ``waits for parts, signal go and 3 more``."""
    if not task.waits:
        return None
    words = [_wait(one) for one in task.waits]
    return f"waits {_joined(words, task.more_waits)}"


def _wait(one: WorkflowWait) -> str:
    name = clean(one.name)
    if one.reason == "time":
        return f"until {clock(one.until)}, {age(one.until)}"
    if one.reason == "retry":
        verb = "was " if one.state in {"skipped", "cancelled"} else ""
        return f"for a retry of {name}, which {verb}{one.state}"
    return f"for signal {name}" if one.reason == "signal" else f"for {name}"


def _joined(words: Sequence[str], more: int) -> str:
    words = [*words, f"{more:,} more"] if more else list(words)
    if len(words) == 1:
        return words[0]
    return f"{', '.join(words[:-1])} and {words[-1]}"


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
    Column("left", "LEFT", lambda one: left_of(one) or "", width=8),
)


def _task_note(task: WorkflowTask) -> str:
    if task.members is not None and task.state != "waiting":
        return members_of(task.members)
    error = (task.error or "").partition("\n")[0] if task.state != "succeeded" else ""
    return wait_words(task) or error


WORKFLOW_TASKS: Final[tuple[Column[WorkflowTask], ...]] = (
    Column("number", "NUMBER", lambda one: one.number, right=True, wide=True),
    Column("name", "NAME", lambda one: one.name, width=12),
    Column("type", "TYPE", lambda one: one.type, wide=True),
    Column("state", "STATE", lambda one: one.state, style=lambda one: WORKFLOW_STYLES[one.state]),
    Column("job", "JOB", lambda one: one.job_id),
    Column("job_state", "JOB STATE", lambda one: one.job_state),
    Column("att", "ATT", lambda one: one.attempt, right=True, wide=True),
    Column("kind", "KIND", lambda one: one.kind, width=8),
    Column("queue", "QUEUE", lambda one: one.queue, width=6, wide=True),
    Column("when", "WHEN", lambda one: one.when, wide=True),
    ago("ended", "ENDED", lambda one: one.ended_at),
    Column("took", "TOOK", took_of, right=True, by=lambda one: one.seconds),
    Column(
        "note",
        "NOTE",
        _task_note,
        width=1,
        style=lambda one: "red" if one.state == "failed" else "",
    ),
)


@dataclass(frozen=True, slots=True)
class Item:
    """A line of the outline of a graph: a task or group below one that it waits for."""

    task: WorkflowTask
    lead: str
    """The branches before it."""
    others: list[str]
    """The names of what it also waits for."""
    cause: str | None = None
    """Why it was skipped: ``parts failed``."""


def outline(details: WorkflowDetails) -> list[Item]:
    """Return the tasks and groups as a tree.

    Each is below the deepest of its parents, in the order of their numbers.  Signals are left out.
    """
    tasks = {one.number: one for one in details.tasks if one.type != "signal"}
    parents: dict[int, list[int]] = {number: [] for number in tasks}
    for edge in details.edges:
        if edge.parent in tasks and edge.child in tasks:
            parents[edge.child].append(edge.parent)
    layers = layers_of(parents)
    above = {n: max(of, key=lambda p: (layers[p], p)) for n, of in parents.items() if of}
    below: dict[int | None, list[int]] = {}
    for number in sorted(tasks):
        below.setdefault(above.get(number), []).append(number)
    items = []
    # A stack: a chain may be deeper than Python recurses.
    left = [(number, "", "") for number in reversed(below.get(None, []))]
    while left:
        number, lead, under = left.pop()
        others = [tasks[one].name for one in parents[number] if one != above.get(number)]
        cause = _cause(tasks[number], [tasks[one] for one in parents[number]])
        items.append(Item(tasks[number], lead, others, cause))
        children = below.get(number, [])
        left += [
            (
                child,
                under + ("└ " if last else "├ "),
                (under + ("  " if last else "│ "))[-_DEEPEST:],
            )
            for child in reversed(children)
            for last in (child == children[-1],)
        ]
    return items


def _cause(task: WorkflowTask, parents: Sequence[WorkflowTask]) -> str | None:
    if task.state != "skipped":
        return None
    if task.when in _SKIPPED:
        return _SKIPPED[task.when]
    for one in parents:
        name = clean(one.name)
        if one.members is not None and one.members.failed:
            return f"a task of {name} failed"
        if one.state in {"failed", "cancelled", "skipped"}:
            return f"{name} failed" if one.state == "failed" else f"{name} was {one.state}"
    return None


def layers_of(parents: dict[int, list[int]]) -> dict[int, int]:
    """Return the length of the longest path to each node."""
    from graphlib import TopologicalSorter

    layers: dict[int, int] = {}
    for number in TopologicalSorter(parents).static_order():
        layers[number] = max((layers[one] + 1 for one in parents[number]), default=0)
    return layers


def some_names(names: Iterable[str]) -> str:
    """Return the first names, and how many more there are."""
    found = [clean(name) for name in names]
    return _joined(found[:_MOST_NAMES], max(len(found) - _MOST_NAMES, 0))


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
