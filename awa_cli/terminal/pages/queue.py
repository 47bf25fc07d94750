"""The page of a queue and of a kind."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from awa_cli.terminal.colors import Paint
from awa_cli.terminal.pages._layout import INDENT, fact_lines
from awa_cli.views.facts import declared_facts, policy_facts
from awa_cli.views.words import age, clean, counted, span
from awa_lib.states import COUNTED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from awa_lib.reads.jobs import JobRow
    from awa_lib.reads.overviews import KindOverview, QueueDetails, QueueOverview

__all__ = ["kind_page", "queue_page"]


def queue_page(details: QueueDetails, *, color: bool) -> str:
    """Return the page of a queue."""
    queue, paint = details.overview, Paint(color=color)
    state = paint("paused", "bold yellow") if queue.paused else paint("open", "green")
    settings = policy_facts(details.policy)
    lines = [f"{paint('Queue ' + clean(queue.queue), 'bold')}  {state}", ""]
    lines += fact_lines([*declared_facts(queue), *_job_counts(queue)], paint)
    lines += fact_lines(
        [
            ("lag", None if queue.lag_seconds is None else span(queue.lag_seconds)),
            ("dead", counted(details.dead_letters, "letter") if details.dead_letters else None),
        ],
        paint,
    )
    lines += ["", paint("Settings", "bold")]
    lines += [INDENT + line for line in settings] or [INDENT + "as each worker was started"]
    lines += ["", paint("Workers", "bold")]
    for one in details.workers:
        worked = next(given for given in one.queues if given.get("queue") == queue.queue)
        lines.append(
            f"{INDENT}{clean(one.hostname)}:{one.pid}  {clean(one.version)}  "
            f"{worked.get('in_flight', 0)} in flight"
        )
    if not details.workers:
        lines.append(INDENT + (paint("none", "bold red") if queue.total_queued else "none"))
    name = shlex.quote(clean(queue.queue))
    actions = [f"awa queue {'resume' if queue.paused else 'pause'} {name}"]
    if queue.failed:
        actions.append(f"awa job list --state failed --queue {name}")
        actions.append(f"awa job retry --state failed --queue {name}")
    lines += ["", paint("What can be done", "bold"), *[INDENT + line for line in actions]]
    return "\n".join(lines) + "\n"


def kind_page(kind: KindOverview, failed: Sequence[JobRow], *, color: bool) -> str:
    """Return the page of a kind, with its latest failed jobs."""
    paint = Paint(color=color)
    lines = [paint(f"Kind {clean(kind.kind)}", "bold"), ""]
    lines += fact_lines([*declared_facts(kind), *_job_counts(kind)], paint)
    workers = str(kind.live_instances) if kind.live_instances else paint("none", "bold red")
    lines.append(INDENT + paint("workers    ", "dim") + workers)
    if failed:
        lines += ["", paint("Latest failures", "bold")]
    for job in failed:
        text = str(job.errors[-1].get("error", "")) if job.errors else ""
        first = clean(text.partition("\n")[0])
        lines.append(f"{INDENT}{job.id}  {age(job.finalized_at)}  {paint(first, 'red')}")
    if failed:
        name = shlex.quote(clean(kind.kind))
        actions = [f"awa job show {failed[0].id}", f"awa job retry --state failed --kind {name}"]
        lines += ["", paint("What can be done", "bold"), *[INDENT + line for line in actions]]
    return "\n".join(lines) + "\n"


def _job_counts(one: QueueOverview | KindOverview) -> list[tuple[str, Any]]:
    counts = [f"{getattr(one, name):,} {name}" for name in COUNTED if getattr(one, name)]
    return [
        ("jobs", ", ".join(counts) or "none live"),
        ("last hour", f"{one.completed_last_hour:,} completed"),
    ]
