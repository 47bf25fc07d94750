"""The tasks, groups and signals of a workflow in words: the same on every surface."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from awa_cli.views.columns import Column, ago
from awa_cli.views.states import WORKFLOW_STYLES
from awa_cli.views.words import age, clean, clock, say_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

    from awa_lib.reads.workflow_reasons import WorkflowWait
    from awa_lib.reads.workflow_tasks import GroupMembers, WorkflowTask

__all__ = [
    "WORKFLOW_TASKS",
    "can_retry",
    "cause_of",
    "first_line",
    "job_words",
    "members_of",
    "no_job_words",
    "note_of",
    "note_style",
    "notes_of",
    "some_names",
    "state_of",
    "took_of",
    "wait_words",
]

_MOST_NAMES: Final = 3
_ENDED: Final = ("succeeded", "failed", "cancelled")
_ENDED_ITSELF: Final = ("succeeded", "failed")
# Why a task of a rule was skipped, whichever its parents are.
_SKIPPED: Final = {"any_failed": "nothing failed", "any_succeeded": "nothing succeeded"}


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


def no_job_words(task: WorkflowTask) -> str:
    """Say why a task, which is no group, has no job to open."""
    name = clean(task.name)
    if task.type == "signal":
        if task.state == "waiting":
            return f"{name} is a signal that was not sent."
        return f"{name} is a signal; it was sent {age(task.ended_at)}."
    if task.state == "waiting":
        return f"{name} has not started: it {wait_words(task) or 'is about to'}."
    if task.state == "skipped":
        because = f" because {cause}" if (cause := cause_of(task)) else ""
        return f"{name} was skipped{because}, and has no job."
    if task.state == "cancelled":
        return f"{name} was cancelled: it had not started, or its job was deleted."
    return f"The job of {name} was deleted."


def can_retry(task: WorkflowTask) -> bool:
    """Return True for a task that has ended, and for a group with members that failed."""
    if task.members is not None:
        return task.members.failed > 0
    return task.type == "task" and task.state in _ENDED


def members_of(counts: GroupMembers) -> str:
    """Return how many members of a group have ended: ``8,214/10,000 · 3 failed``."""
    ends = (("failed", counts.failed), ("skipped", counts.skipped))
    parts = [f"{count:,} {word}" for word, count in ends if count]
    return " · ".join([f"{counts.total - counts.open:,}/{counts.total:,}", *parts])


def took_of(task: WorkflowTask) -> str:
    """Return how long a task took, or has taken so far; empty before it runs."""
    return "" if task.seconds is None else say_seconds(task.seconds)


def first_line(task: WorkflowTask) -> str:
    """Return the first line of the error of a task; empty without one."""
    return clean((task.error or "").partition("\n")[0])


def _by_clock(moment: datetime) -> str:
    """Return a moment by the clock of this terminal, and its age: ``11:02, in 2h``."""
    return f"{clock(moment)}, {age(moment)}"


def wait_words(
    task: WorkflowTask, moment_words: Callable[[datetime], str] = _by_clock
) -> str | None:
    """Return what a task waits for: ``waits for parts, for signal go and 3 more``."""
    if not task.waits:
        return None
    words = [_wait(one, moment_words) for one in task.waits]
    return f"waits {_joined(words, task.more_waits)}"


def _wait(one: WorkflowWait, moment_words: Callable[[datetime], str]) -> str:
    name = clean(one.name)
    if one.until is not None:
        return f"until {moment_words(one.until)}"
    if one.reason == "retry":
        verb = "was " if one.state in {"skipped", "cancelled"} else ""
        return f"for a retry of {name}, which {verb}{one.state}"
    return f"for signal {name}" if one.reason == "signal" else f"for {name}"


def _joined(words: Sequence[str], more: int) -> str:
    words = [*words, f"{more:,} more"] if more else list(words)
    if len(words) == 1:
        return words[0]
    return f"{', '.join(words[:-1])} and {words[-1]}"


def some_names(names: Iterable[str]) -> str:
    """Return the first names, and how many more there are."""
    found = list(names)
    return _joined(list(map(clean, found[:_MOST_NAMES])), max(len(found) - _MOST_NAMES, 0))


def cause_of(task: WorkflowTask) -> str | None:
    """Return why a task was skipped: ``merge failed``."""
    if task.state != "skipped":
        return None
    if (one := task.skipped_by) is None:
        return _SKIPPED.get(task.when)
    who = f"a task of {clean(one.name)}" if one.type == "group" else clean(one.name)
    return f"{who} {one.state}" if one.state in _ENDED_ITSELF else f"{who} was {one.state}"


def notes_of(
    task: WorkflowTask,
    *,
    others: Sequence[str] = (),
    moment_words: Callable[[datetime], str] = _by_clock,
) -> list[tuple[str, str]]:
    """Return what there is to say about a task beside its state and its job, each with its style.

    ``others`` are the names of what it also waits for.
    """
    notes = []
    if words := wait_words(task, moment_words):
        notes.append((words, "yellow"))
    if task.state in {"failed", "started"} and (error := first_line(task)):
        notes.append((error, "red"))
    if (cause := cause_of(task)) is not None:
        notes.append((f"because {cause}", "dim"))
    if others:
        notes.append((f"also after {some_names(others)}", "dim"))
    if task.when != "all_succeeded":
        notes.append((f"when {task.when}", "dim"))
    return notes


def note_of(task: WorkflowTask, notes: Iterable[tuple[str, str]], *, between: str = "  ") -> str:
    """Return notes as one line, with the counts of a group before them."""
    if task.type == "signal":
        return "" if task.state == "waiting" else f"sent {age(task.ended_at)}"
    counts = [] if task.members is None else [members_of(task.members)]
    return between.join([*counts, *(text for text, _ in notes)])


def note_style(task: WorkflowTask, notes: Iterable[tuple[str, str]]) -> str:
    """Return the style of such a line: that of the worst in it."""
    if task.state == "failed" or (task.members is not None and task.members.failed):
        return "red"
    return next((style for _, style in notes if style != "dim"), "")


WORKFLOW_TASKS: Final[tuple[Column[WorkflowTask], ...]] = (
    Column("number", "NUMBER", lambda one: one.number, right=True, wide=True),
    Column("name", "NAME", lambda one: one.name, width=12),
    Column("type", "TYPE", lambda one: one.type, wide=True),
    Column("state", "STATE", state_of, style=lambda one: WORKFLOW_STYLES[one.state]),
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
        lambda one: note_of(one, notes_of(one)),
        width=1,
        style=lambda one: note_style(one, notes_of(one)),
    ),
)
