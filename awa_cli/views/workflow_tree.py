"""The lines of the drawing of a workflow: a task each, in words for the command and the monitor."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

from awa_cli.views.columns import Column
from awa_cli.views.states import WORKFLOW_STYLES, state_sign
from awa_cli.views.widths import cut
from awa_cli.views.words import age, clean
from awa_cli.views.workflows import Item, members_of, outline, some_names, took_of, wait_words

if TYPE_CHECKING:
    from awa_lib.reads.workflow_tasks import WorkflowDetails, WorkflowTask

__all__ = [
    "TREE",
    "commands_of",
    "failed_of",
    "first_line",
    "items_of",
    "job_words",
    "label_of",
    "notes_of",
    "state_of",
]

_LONGEST_NAME: Final = 40
# A deeper branch is drawn from the right end of its lead.
_LONGEST_LEAD: Final = 24
# Of more groups that failed there is a list.
_MOST_GROUPS: Final = 3


def items_of(details: WorkflowDetails) -> list[Item]:
    """Return a line for each task and group as a tree, and one for each signal behind them."""
    signals = [Item(task, "", []) for task in details.tasks if task.type == "signal"]
    return [*outline(details), *signals]


def label_of(item: Item) -> str:
    """Return the branches, the sign of the state, and the name: ``│ └ ▶ merge``."""
    lead = item.lead
    if len(lead) > _LONGEST_LEAD:
        lead = "…" + lead[1 - _LONGEST_LEAD :]
    return f"{lead}{state_sign(item.task.state)} {cut(clean(item.task.name), _LONGEST_NAME)}"


def state_of(task: WorkflowTask) -> str:
    """Return the state in words: a signal is sent or not."""
    if task.type != "signal":
        return task.state
    return "not sent" if task.state == "waiting" else "sent"


def job_words(task: WorkflowTask) -> str | None:
    """Return the job of a task: ``job 7 running, attempt 1``."""
    if task.job_state is None:
        return None
    if task.job_state == "dead":
        return f"job {task.job_id} is a dead letter"
    attempt = f", attempt {task.attempt}" if task.attempt else ""
    return f"job {task.job_id}" + (f" {task.job_state}{attempt}" if task.state == "started" else "")


def notes_of(item: Item) -> list[tuple[str, str]]:
    """Return what else there is to say about a task, each with its style."""
    task = item.task
    notes = []
    if words := wait_words(task):
        notes.append((words, "yellow"))
    if task.state in {"failed", "started"} and (error := first_line(task)):
        notes.append((error, "red"))
    if item.cause is not None:
        notes.append((f"because {item.cause}", "dim"))
    if item.others:
        notes.append((f"also after {some_names(item.others)}", "dim"))
    if task.when != "all_succeeded":
        notes.append((f"when {task.when}", "dim"))
    return notes


def first_line(task: WorkflowTask) -> str:
    """Return the first line of the error of a task; empty without one."""
    return clean((task.error or "").partition("\n")[0])


def failed_of(details: WorkflowDetails) -> list[WorkflowTask]:
    """Return the first failed tasks that have no line of their own: those of groups."""
    shown = {task.number for task in details.tasks}
    return [task for task in details.failed if task.number not in shown]


def commands_of(details: WorkflowDetails) -> list[str]:
    """Return the commands that apply to this workflow now, the likeliest first."""
    one = details.workflow
    commands = []
    if details.failed:
        first = details.failed[0]
        noun = "dlq" if first.job_state == "dead" else "job"
        if first.job_state is not None:
            commands.append(f"awa {noun} show {first.job_id}")
        groups = [task for task in details.tasks if task.members and task.members.failed]
        if len(groups) > _MOST_GROUPS or details.more:
            commands.append(f"awa workflow tasks {one.id} --state failed")
            groups = []
        commands += [
            f"awa workflow tasks {one.id} --group {_quoted(task)} --state failed" for task in groups
        ]
    if one.failed or one.cancelled:
        commands.append(f"awa workflow retry {one.id}")
    if one.state == "open":
        commands += [
            f"awa workflow signal {one.id} {_quoted(task)}"
            for task in details.tasks
            if task.type == "signal" and task.state == "waiting"
        ]
        commands.append(f"awa workflow cancel {one.id}")
    return commands


def _quoted(task: WorkflowTask) -> str:
    return shlex.quote(clean(task.name))


def _note(item: Item) -> str:
    task = item.task
    if task.type == "signal":
        return "" if task.state == "waiting" else f"sent {age(task.ended_at)}"
    counts = [] if task.members is None else [members_of(task.members)]
    return "  ".join([*counts, *(text for text, _ in notes_of(item))])


def _note_style(item: Item) -> str:
    task = item.task
    if task.state == "failed" or (task.members is not None and task.members.failed):
        return "red"
    return next((style for _, style in notes_of(item) if style != "dim"), "")


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
    Column("note", "NOTE", _note, width=1, style=_note_style),
)
