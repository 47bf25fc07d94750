"""The graph of a workflow in the languages of Mermaid and Graphviz."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from awa_cli.views.words import clean
from awa_cli.views.workflow_tasks import members_of, state_of
from awa_cli.views.workflows import title_of

if TYPE_CHECKING:
    from awa_lib.reads.workflow_tasks import WorkflowDetails, WorkflowTask

__all__ = ["dot", "mermaid"]

# Fill and outline.
_COLORS: Final = {
    "waiting": ("#f1f5f9", "#64748b"),
    "started": ("#fef3c7", "#d97706"),
    "succeeded": ("#dcfce7", "#16a34a"),
    "failed": ("#fee2e2", "#dc2626"),
    "cancelled": ("#e5e7eb", "#6b7280"),
    "skipped": ("#f3f4f6", "#9ca3af"),
}
# A task is a box, a group a box with a double outline, a signal a pill.
_MERMAID: Final = {"task": '["{}"]', "group": '[["{}"]]', "signal": '(["{}"])'}
_DOT: Final = {"task": "", "group": ", peripheries=2", "signal": ', shape="ellipse"'}
_MARKS: Final = re.compile(r"[^\w .,:/()\[\]+=*·@%-]")


def mermaid(details: WorkflowDetails) -> str:
    """Return the graph as a Mermaid flowchart."""
    lines = ["flowchart TD"]
    for task in details.tasks:
        label = "<br/>".join(_marks_as_codes(line) for line in _label(task))
        lines.append(f"  n{task.number}{_MERMAID[task.type].format(label)}:::{task.state}")
    lines += [f"  n{edge.parent} --> n{edge.child}" for edge in details.edges]
    for state in sorted({task.state for task in details.tasks}):
        fill, outline = _COLORS[state]
        lines.append(f"  classDef {state} fill:{fill},stroke:{outline},color:#111827")
    return "\n".join(lines) + "\n"


def dot(details: WorkflowDetails) -> str:
    """Return the graph in the language of Graphviz."""
    lines = [
        f"digraph {_quoted(title_of(details.workflow))} {{",
        '  node [shape=box, style="filled,rounded", fontname="sans-serif"];',
    ]
    for task in details.tasks:
        fill, outline = _COLORS[task.state]
        label = _quoted("\n".join(_label(task)))
        colors = f'fillcolor="{fill}", color="{outline}"'
        lines.append(f"  n{task.number} [label={label}, {colors}{_DOT[task.type]}];")
    lines += [f"  n{edge.parent} -> n{edge.child};" for edge in details.edges]
    return "\n".join([*lines, "}"]) + "\n"


def _label(task: WorkflowTask) -> list[str]:
    counts = [] if task.members is None else [members_of(task.members)]
    return [clean(task.name), state_of(task), *counts]


def _marks_as_codes(text: str) -> str:
    return _MARKS.sub(lambda found: f"#{ord(found[0])};", text)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
