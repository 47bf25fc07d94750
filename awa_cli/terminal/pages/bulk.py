"""The page of a dead letter and of a bulk operation."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from awa_cli.terminal.colors import Paint
from awa_cli.terminal.pages._layout import INDENT, fact_lines, json_lines, progress_lines
from awa_cli.views.bulk import share_of
from awa_cli.views.words import clean

if TYPE_CHECKING:
    from awa_lib.models import BulkOperation
    from awa_lib.reads.dead_letters import DeadLetter

__all__ = ["batch_page", "dead_letter_page"]


def dead_letter_page(one: DeadLetter, *, color: bool) -> str:
    """Return the page of a dead letter."""
    paint = Paint(color=color)
    title = paint(f"Dead letter {one.id}", "bold")
    facts: list[tuple[str, Any]] = [
        ("queue", one.queue),
        ("reason", one.reason),
        ("dead", one.dead_at),
        ("attempts", f"{one.attempt} of {one.max_attempts}"),
        ("tags", ", ".join(one.tags) or None),
        ("created", one.created_at),
    ]
    lines = [f"{title}  {clean(one.kind)}", "", *fact_lines(facts, paint)]
    lines += ["", paint("Args", "bold"), *json_lines(one.args)]
    if one.metadata:
        lines += ["", paint("Metadata", "bold"), *json_lines(one.metadata)]
    if one.progress:
        lines += ["", *progress_lines(one.progress, paint)]
    for entry in one.errors:
        lines += ["", paint(f"Attempt {entry.get('attempt', '?')}", "bold")]
        text = str(entry.get("error", ""))
        lines += [INDENT + paint(clean(line), "red") for line in text.splitlines()]
    lines += ["", paint("What can be done", "bold")]
    lines += [f"{INDENT}awa dlq retry {one.id}", f"{INDENT}awa dlq purge {one.id}"]
    return "\n".join(lines) + "\n"


def batch_page(one: BulkOperation, *, color: bool) -> str:
    """Return the page of a bulk operation."""
    paint = Paint(color=color)
    share = share_of(one)
    facts: list[tuple[str, Any]] = [
        ("operation", one.operation),
        ("with", json.dumps(one.spec) if one.spec else None),
        ("filter", json.dumps(one.filter, ensure_ascii=False)),
        ("done", f"{one.processed:,} of {one.total_matched:,}"),
        ("skipped", f"{one.skipped:,}" if one.skipped else None),
        ("errors", f"{one.errored:,}" if one.errored else None),
        ("last error", one.last_error),
        ("by", one.submitted_by),
        ("submitted", one.submitted_at),
        ("began", one.started_at),
        ("ended", one.finished_at),
    ]
    lines = [
        f"{paint(f'Bulk operation {one.id}', 'bold')}  {one.state}",
        "",
        *fact_lines(facts, paint),
    ]
    if share is None:
        lines += ["", f"{INDENT}No job matched."]
    else:
        lines += ["", *progress_lines({"percent": share}, paint)]
    if not one.finished:
        lines += ["", paint("What can be done", "bold")]
        lines += [f"{INDENT}awa batch run {one.id}", f"{INDENT}awa batch cancel {one.id}"]
    return "\n".join(lines) + "\n"
