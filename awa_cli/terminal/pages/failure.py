"""The page of a failure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from awa_cli.terminal.colors import Paint
from awa_cli.terminal.pages._layout import INDENT, fact_lines
from awa_cli.views.failures import title_of
from awa_cli.views.words import age, clean

if TYPE_CHECKING:
    from awa_lib.reads.failures import FailureDetails

__all__ = ["failure_page"]


def failure_page(details: FailureDetails, *, color: bool) -> str:
    """Return the page of a failure, with its latest jobs."""
    one, paint = details.failure, Paint(color=color)
    facts: list[tuple[str, Any]] = [
        ("type", one.error_type or None),
        ("failed", f"{one.failed:,}"),
        ("retried", f"{one.retried:,}"),
        ("cancelled", f"{one.cancelled:,}" if one.cancelled else None),
        ("requeued", f"{one.requeued:,}"),
        ("kinds", ", ".join(one.kinds)),
        ("queues", ", ".join(one.queues) or None),
        ("first", one.first_seen_at),
        ("last", one.last_seen_at),
        ("version", one.first_version),
        ("example", None if details.example is None else clean(details.example)),
        ("muted", one.muted_until),
    ]
    title = f"{paint(f'Failure {one.id}', 'bold')}  {paint(clean(title_of(one)), 'red')}"
    lines = [title, "", *fact_lines(facts, paint)]
    if one.frames:
        lines += ["", paint("Where", "bold"), *[INDENT + clean(frame) for frame in one.frames]]
    if details.jobs:
        lines += ["", paint("Latest jobs", "bold")]
    for job in details.jobs:
        place = f"{clean(job.kind)}  {clean(job.queue)}"
        lines.append(f"{INDENT}{job.id}  {job.state}  {place}  {clean(age(job.at))}")
    alive = [job for job in details.jobs if job.state != "dead"]
    actions = [f"awa job show {alive[0].id}"] if alive else []
    if any(job.state in {"failed", "dead"} for job in details.jobs):
        actions.append(f"awa failure retry {one.id}")
    actions.append(f"awa failure {'unmute' if one.muted_until else 'mute'} {one.id}")
    lines += ["", paint("What can be done", "bold"), *[INDENT + line for line in actions]]
    return "\n".join(lines) + "\n"
