"""The page of a storage transition: its state, and what blocks the next step."""

from __future__ import annotations

import json
import textwrap
from typing import TYPE_CHECKING, Final

from awa_cli.terminal.colors import Paint
from awa_cli.terminal.pages._layout import INDENT, fact_lines
from awa_cli.views.storage import REST, moving, steps_ahead
from awa_cli.views.words import clean, counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from awa_lib.reads.storage import StorageReport

__all__ = ["storage_page"]

_STEPS: Final = ("canonical", "prepared", "mixed_transition", "active")


def storage_page(report: StorageReport, *, width: int, color: bool) -> str:
    """Lay out the report: the steps, the current state, the blockers, what to do."""
    paint = Paint(color=color)
    steps = _STEPS if report.state in _STEPS else (*_STEPS, report.state)
    path = " > ".join(
        paint(f"[{_plain(step)}]", "bold green")
        if step == report.state
        else paint(_plain(step), "dim")
        for step in steps
    )
    schema = report.prepared_queue_storage_schema
    ready = "ready" if report.prepared_schema_ready else "not ready"
    counts = report.live_runtime_capability_counts
    fleet = ", ".join(f"{count} {_plain(name)}" for name, count in counts.items())
    under_way = moving(report)
    lines = [path, "", *([] if under_way else [REST, ""])]
    lines += fact_lines(
        [
            ("engine", report.current_engine),
            ("prepared", report.prepared_engine or "none"),
            ("schema", f"{schema}, {ready}" if schema else None),
            ("details", json.dumps(report.details) if report.details else None),
            ("fleet", fleet or "no live worker"),
            ("backlog", f"{counted(report.canonical_live_backlog)} in the canonical tables"),
            ("epoch", report.transition_epoch),
            ("entered", report.entered_at),
            ("finalized", report.finalized_at),
        ],
        paint,
    )
    for title, blockers in steps_ahead(report):
        lines += ["", paint(title, "bold")]
        lines += _blockers(blockers, width, paint, "red" if under_way else "dim")
    if report.state == "canonical":
        todo = ["awa storage prepare --engine NAME   # undo with awa storage abort"]
    elif report.state == "prepared":
        todo = ["awa storage abort   # clears the engine; jobs are not affected"]
    else:
        todo = []
    if todo:
        lines += ["", paint("What can be done", "bold"), *[INDENT + line for line in todo]]
    return "\n".join(lines) + "\n"


def _blockers(blockers: Sequence[str], width: int, paint: Paint, style: str) -> list[str]:
    if not blockers:
        return [INDENT + paint("nothing is in the way", "green")]
    lines = []
    for one in blockers:
        wrapped = textwrap.wrap(clean(one), max(20, width - 4)) or [""]
        lines.append(f"{INDENT}{paint('-', style)} {wrapped[0]}")
        lines += [f"{INDENT}  {rest}" for rest in wrapped[1:]]
    return lines


def _plain(name: str) -> str:
    return clean(name.replace("_", " "))
