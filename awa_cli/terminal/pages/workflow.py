"""The page of a workflow: its graph as a tree, and what its tasks wait for."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

from awa_cli.terminal.colors import Paint
from awa_cli.terminal.pages._layout import INDENT, bar, fact_lines
from awa_cli.views.states import WORKFLOW_STYLES, state_sign
from awa_cli.views.widths import cells, cut
from awa_cli.views.words import age, clean
from awa_cli.views.workflows import facts_of, members_of, outline, some_names, title_of, wait_words

if TYPE_CHECKING:
    from awa_cli.views.workflows import Item
    from awa_lib.reads.workflow_tasks import WorkflowDetails, WorkflowTask

__all__ = ["workflow_page"]

_BAR_CELLS: Final = 16
_LONGEST_NAME: Final = 40
# A deeper branch is drawn from the right end of its lead.
_LONGEST_LEAD: Final = 24


def workflow_page(details: WorkflowDetails, *, color: bool) -> str:
    """Return the page of a workflow."""
    one, paint = details.workflow, Paint(color=color)
    state = paint(one.state, WORKFLOW_STYLES[one.state])
    lines = [f"{paint(f'Workflow {one.id}', 'bold')}  {title_of(one)}  {state}", ""]
    lines += fact_lines(facts_of(one), paint)
    items = [(_label(item), item) for item in outline(details)]
    if items:
        lines += ["", paint("Tasks", "bold")]
    width = max((cells(label) for label, _ in items), default=0)
    lines += [_line(label, item, width, paint) for label, item in items]
    if details.more:
        lines.append(f"{INDENT}… and more: awa workflow tasks {one.id}")
    if signals := [task for task in details.tasks if task.type == "signal"]:
        lines += ["", paint("Signals", "bold"), *[_signal(task, paint) for task in signals]]
    if actions := _commands(details):
        lines += ["", paint("What can be done", "bold"), *[INDENT + line for line in actions]]
    return "\n".join(lines) + "\n"


def _label(item: Item) -> str:
    lead = item.lead
    if len(lead) > _LONGEST_LEAD:
        lead = "…" + lead[1 - _LONGEST_LEAD :]
    return f"{lead}{state_sign(item.task.state)} {cut(clean(item.task.name), _LONGEST_NAME)}"


def _line(label: str, item: Item, width: int, paint: Paint) -> str:
    task = item.task
    style = WORKFLOW_STYLES[task.state]
    parts = [paint(f"{task.state:<9}", style)]
    if task.members is not None:
        done = task.members.total - task.members.open
        share = 100 * done // task.members.total if task.members.total else 100
        parts.append(f"{bar(share, _BAR_CELLS, paint)} {members_of(task.members)}")
    elif task.job_state is not None:
        attempt = f", attempt {task.attempt}" if task.state == "started" and task.attempt else ""
        state = f" {task.job_state}{attempt}" if task.state == "started" else ""
        parts.append(f"job {task.job_id}{state}")
    if words := wait_words(task):
        parts.append(paint(words, "yellow"))
    if task.error and task.state in {"failed", "started"}:
        parts.append(paint(clean(task.error.partition("\n")[0]), "red"))
    if item.others:
        parts.append(paint(f"also after {some_names(item.others)}", "dim"))
    if task.when != "all_succeeded":
        parts.append(paint(f"when {task.when}", "dim"))
    return f"{INDENT}{label}{' ' * (width - cells(label))}  {'  '.join(parts)}".rstrip()


def _signal(task: WorkflowTask, paint: Paint) -> str:
    state = "not sent" if task.state == "waiting" else f"sent {age(task.ended_at)}"
    sign = paint(state_sign(task.state), WORKFLOW_STYLES[task.state])
    return f"{INDENT}{sign} {clean(task.name)}  {state}"


def _commands(details: WorkflowDetails) -> list[str]:
    one = details.workflow
    commands = []
    for task in details.tasks:
        if task.members is not None and task.members.failed:
            name = shlex.quote(clean(task.name))
            commands.append(f"awa workflow tasks {one.id} --group {name} --state failed")
    if one.failed or one.cancelled:
        commands.append(f"awa workflow retry {one.id}")
    if one.state == "open":
        commands += [
            f"awa workflow signal {one.id} {shlex.quote(clean(task.name))}"
            for task in details.tasks
            if task.type == "signal" and task.state == "waiting"
        ]
        commands.append(f"awa workflow cancel {one.id}")
    return commands
