"""The page of a workflow: its graph as a tree, what failed, and what its tasks wait for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from awa_cli.terminal.colors import Paint
from awa_cli.terminal.pages._layout import INDENT, bar, fact_lines
from awa_cli.views.states import WORKFLOW_STYLES, state_sign
from awa_cli.views.widths import cells
from awa_cli.views.words import clean
from awa_cli.views.workflow_tasks import (
    first_line,
    job_words,
    members_of,
    note_of,
    state_of,
    took_of,
)
from awa_cli.views.workflow_tree import (
    commands_of,
    failed_of,
    label_of,
    notes_of_item,
    outline,
)
from awa_cli.views.workflows import facts_of, state_words, title_of

if TYPE_CHECKING:
    from awa_cli.views.workflow_tree import Item
    from awa_lib.reads.workflow_tasks import WorkflowDetails, WorkflowTask

__all__ = ["workflow_page"]

_BAR_CELLS: Final = 16


def workflow_page(details: WorkflowDetails, *, color: bool) -> str:
    """Return the page of a workflow."""
    one, paint = details.workflow, Paint(color=color)
    state = paint(state_words(one), WORKFLOW_STYLES[one.state])
    lines = [f"{paint(f'Workflow {one.id}', 'bold')}  {title_of(one)}  {state}", ""]
    lines += fact_lines(facts_of(one), paint)
    if failed := failed_of(details):
        lines += ["", paint("Failed", "bold"), *_failed(details, failed, paint)]
    if items := outline(details):
        lines += ["", paint("Tasks", "bold"), *_tree(items, paint)]
    if details.more:
        lines.append(f"{INDENT}… and more: awa workflow tasks {one.id}")
    if signals := [task for task in details.tasks if task.type == "signal"]:
        lines += ["", paint("Signals", "bold"), *_signals(signals, paint)]
    if actions := commands_of(details):
        lines += ["", paint("What can be done", "bold"), *[INDENT + line for line in actions]]
    return "\n".join(lines) + "\n"


def _failed(details: WorkflowDetails, failed: list[WorkflowTask], paint: Paint) -> list[str]:
    width = max(cells(clean(task.name)) for task in failed)
    lines = []
    for task in failed:
        name = clean(task.name)
        parts = [
            paint(name, "bold red") + " " * (width - cells(name)),
            job_words(task) or "",
            paint(first_line(task), "red"),
        ]
        lines.append(INDENT + "  ".join(part for part in parts if part))
    if (more := details.workflow.failed - len(details.failed)) > 0:
        lines.append(
            f"{INDENT}… and {more:,} more: awa workflow tasks {details.workflow.id} --state failed"
        )
    return lines


def _tree(items: list[Item], paint: Paint) -> list[str]:
    labels = [label_of(item) for item in items]
    width = max(map(cells, labels))
    longest = max(len(took_of(item.task)) for item in items)
    lines = []
    for label, item in zip(labels, items, strict=True):
        task = item.task
        parts = [paint(f"{state_of(task):<9}", WORKFLOW_STYLES[task.state])]
        if longest:
            parts.append(f"{took_of(task):>{longest}}")
        if task.members is not None:
            done = task.members.total - task.members.open
            share = 100 * done // task.members.total if task.members.total else 100
            parts.append(f"{bar(share, _BAR_CELLS, paint)} {members_of(task.members)}")
        elif words := job_words(task):
            parts.append(words)
        parts += [paint(text, style) for text, style in notes_of_item(item)]
        gap = " " * (width - cells(label))
        lines.append(f"{INDENT}{label}{gap}  {'  '.join(parts)}".rstrip())
    return lines


def _signals(signals: list[WorkflowTask], paint: Paint) -> list[str]:
    width = max(cells(clean(task.name)) for task in signals)
    lines = []
    for task in signals:
        name, state = clean(task.name), note_of(task, []) or state_of(task)
        sign = paint(state_sign(task.state), WORKFLOW_STYLES[task.state])
        lines.append(f"{INDENT}{sign} {name}{' ' * (width - cells(name))}  {state}")
    return lines
