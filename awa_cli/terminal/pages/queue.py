"""One queue, one kind."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from awa_cli.terminal.output import age, clean, counted, span
from awa_cli.terminal.pages._layout import INDENT, Paint, fact_lines
from awa_lib.states import COUNTED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from awa_lib.policies import QueuePolicy
    from awa_lib.reads.jobs import JobRow
    from awa_lib.reads.overviews import KindOverview, QueueDetails, QueueOverview

__all__ = ["declared_facts", "kind_page", "named_facts", "policy_facts", "queue_page"]


def queue_page(details: QueueDetails, *, color: bool) -> str:
    """Return what an operator wants to know of a queue."""
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
    """Return what an operator wants to know of a kind, with its latest failed jobs."""
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


def declared_facts(one: QueueOverview | KindOverview) -> list[tuple[str, Any]]:
    """Return what its workers declare; a value that is None is not known."""
    trouble = "live workers declare it differently" if one.descriptor_mismatch else None
    return [
        ("name", one.display_name),
        ("about", one.description),
        ("owner", one.owner),
        ("docs", one.docs_url),
        ("tags", ", ".join(one.tags) or None),
        ("drift", trouble),
    ]


def _job_counts(one: QueueOverview | KindOverview) -> list[tuple[str, Any]]:
    counts = [f"{getattr(one, name):,} {name}" for name in COUNTED if getattr(one, name)]
    return [
        ("jobs", ", ".join(counts) or "none live"),
        ("last hour", f"{one.completed_last_hour:,} completed"),
    ]


def policy_facts(policy: QueuePolicy) -> list[str]:
    """Say each setting of a queue in words."""
    return [words for _, words in named_facts(policy)]


def named_facts(policy: QueuePolicy) -> list[tuple[str, str]]:
    """Return the name of each setting of a queue, as changes are named, and its words."""
    facts: list[tuple[str, str, Any]] = [
        ("max_running", "at most {} running", policy.max_running),
        ("max_running_per_key", "at most {} running of a key", policy.max_running_per_key),
        ("rate_limit", "at most {} at once", _rate(policy)),
        ("deadline_seconds", "deadline {}", _deadline(policy)),
        ("poll_interval_ms", "idle workers look every {}", _short(policy.poll_interval_ms, 1000)),
        ("claim_batch", "at most {} jobs a claim", policy.claim_batch),
        ("completed_retention_hours", "completed jobs kept {}",
         _short(policy.completed_retention_hours, 1 / 3600)),
        ("failed_retention_hours", "failed jobs kept {}",
         _short(policy.failed_retention_hours, 1 / 3600)),
        ("dead_letters", "failed jobs become dead letters", policy.dead_letters or None),
    ]  # fmt: skip
    return [(name, words.format(value)) for name, words, value in facts if value is not None]


def _rate(policy: QueuePolicy) -> str | None:
    if policy.max_rate is None:
        return None
    return f"{policy.max_rate:g} starts a second in each process, {policy.burst}"


def _deadline(policy: QueuePolicy) -> str | None:
    return "none" if policy.deadline_seconds == 0 else _short(policy.deadline_seconds, 1)


def _short(value: float | None, unit: float) -> str | None:
    if value is None:
        return None
    return span(value / unit) if value >= unit else f"{value / unit:g}s"
