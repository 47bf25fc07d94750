"""The graph of a workflow as a tree: a line for each task, for the command and the monitor."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from awa_cli.views.columns import Column
from awa_cli.views.states import WORKFLOW_STYLES, state_sign
from awa_cli.views.widths import cut
from awa_cli.views.words import clean
from awa_cli.views.workflow_tasks import (
    note_of,
    note_style,
    notes_of,
    state_of,
    took_of,
)
from awa_cli.views.workflows import can_cancel

if TYPE_CHECKING:
    from awa_lib.reads.workflow_tasks import WorkflowDetails, WorkflowTask

__all__ = [
    "TREE",
    "Item",
    "commands_of",
    "failed_of",
    "items_of",
    "label_of",
    "layers_of",
    "notes_of_item",
    "outline",
]

_LONGEST_NAME: Final = 40
# A deeper branch is drawn from the right end of its lead.
_LONGEST_LEAD: Final = 24
# Cells of the branches before a task; those further left are cut off.
_DEEPEST: Final = 64
# Of more groups that failed, or signals that were not sent, there is a list.
_MOST_COMMANDS: Final = 3


@dataclass(frozen=True, slots=True)
class Item:
    """A line of the tree: a task or group below one that it waits for, or a signal."""

    task: WorkflowTask
    lead: str
    """The branches before it."""
    others: list[str]
    """The names of what it also waits for."""


def items_of(details: WorkflowDetails) -> list[Item]:
    """Return a line for each task and group as a tree, and one for each signal behind them."""
    signals = [Item(task, "", []) for task in details.tasks if task.type == "signal"]
    return [*outline(details), *signals]


def outline(details: WorkflowDetails) -> list[Item]:
    """Return the tasks and groups as a tree.

    Each is below the deepest of its parents, in the order of their numbers.  Signals are left out.
    """
    tasks = {one.number: one for one in details.tasks if one.type != "signal"}
    parents = _parents_of(details)
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
        items.append(Item(tasks[number], lead, others))
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


def _parents_of(details: WorkflowDetails) -> dict[int, list[int]]:
    """Return the numbers of the tasks and groups that each task and group waits for."""
    parents: dict[int, list[int]] = {
        one.number: [] for one in details.tasks if one.type != "signal"
    }
    for edge in details.edges:
        if edge.parent in parents and edge.child in parents:
            parents[edge.child].append(edge.parent)
    return parents


def layers_of(parents: dict[int, list[int]]) -> dict[int, int]:
    """Return the length of the longest path to each node."""
    from graphlib import TopologicalSorter

    layers: dict[int, int] = {}
    for number in TopologicalSorter(parents).static_order():
        layers[number] = max((layers[one] + 1 for one in parents[number]), default=0)
    return layers


def label_of(item: Item) -> str:
    """Return the branches, the sign of the state, and the name: ``│ └ ▶ merge``."""
    lead = item.lead
    if len(lead) > _LONGEST_LEAD:
        lead = "…" + lead[1 - _LONGEST_LEAD :]
    return f"{lead}{state_sign(item.task.state)} {cut(clean(item.task.name), _LONGEST_NAME)}"


def notes_of_item(item: Item) -> list[tuple[str, str]]:
    """Return what else there is to say about a line, each with its style."""
    return notes_of(item.task, others=item.others)


def failed_of(details: WorkflowDetails) -> list[WorkflowTask]:
    """Return the first failed tasks that have no line of their own: those of groups."""
    shown = {task.number for task in details.tasks}
    return [task for task in details.failed if task.number not in shown]


def commands_of(details: WorkflowDetails) -> list[str]:
    """Return the commands that apply to this workflow now, the likeliest first."""
    one = details.workflow
    commands = _failure_commands(details)
    if one.failed or one.cancelled:
        commands.append(f"awa workflow retry {one.id}")
    if one.state == "open":
        waiting = [t for t in details.tasks if t.type == "signal" and t.state == "waiting"]
        words = [_argument(task) for task in waiting]
        commands += [
            f"awa workflow signal {one.id} {word}"
            for word in (words if len(words) <= _MOST_COMMANDS else ["NAME"])
        ]
    if can_cancel(one):
        commands.append(f"awa workflow cancel {one.id}")
    return commands


def _failure_commands(details: WorkflowDetails) -> list[str]:
    """Return the commands that show what failed: the first job, and groups."""
    if not details.failed:
        return []
    commands, first = [], details.failed[0]
    if first.job_state is not None:
        commands.append(f"awa {'dlq' if first.job_state == 'dead' else 'job'} show {first.job_id}")
    listing = f"awa workflow tasks {details.workflow.id}"
    groups = [task for task in details.tasks if task.members and task.members.failed]
    if len(groups) > _MOST_COMMANDS or details.more:
        return [*commands, f"{listing} --state failed"]
    return [*commands, *(f"{listing} --group{_value(task)} --state failed" for task in groups)]


def _value(task: WorkflowTask) -> str:
    """Return a name as the value of an option, which a dash at its begin must not end."""
    return f"{'=' if task.name.startswith('-') else ' '}{_quoted(task)}"


def _argument(task: WorkflowTask) -> str:
    """Return a name as an argument, which is no option even if it begins with a dash."""
    return f"{'-- ' if task.name.startswith('-') else ''}{_quoted(task)}"


def _quoted(task: WorkflowTask) -> str:
    return shlex.quote(clean(task.name))


TREE: Final[tuple[Column[Item], ...]] = (
    Column("task", "TASK", label_of, width=16),
    Column(
        "state",
        "STATE",
        lambda item: state_of(item.task),
        style=lambda item: WORKFLOW_STYLES[item.task.state],
    ),
    Column("took", "TOOK", lambda item: took_of(item.task), right=True),
    Column("job", "JOB", lambda item: item.task.job_id or "", right=True),
    Column("job_state", "JOB STATE", lambda item: item.task.job_state or "", wide=True),
    Column("att", "ATT", lambda item: item.task.attempt or "", right=True, wide=True),
    Column("kind", "KIND", lambda item: item.task.kind or "", width=8, wide=True),
    Column("queue", "QUEUE", lambda item: item.task.queue or "", width=6, wide=True),
    Column(
        "note",
        "NOTE",
        lambda item: note_of(item.task, notes_of_item(item)),
        width=1,
        style=lambda item: note_style(item.task, notes_of_item(item)),
    ),
)
