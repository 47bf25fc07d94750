"""Pages about one thing, for people."""

from __future__ import annotations

import json
import shlex
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from awa_cli.columns import STATE_STYLES
from awa_cli.output import age, clean, span
from awa_cli.shapes import encode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from awa_lib.policies import QueuePolicy
    from awa_lib.reads.jobs import JobDump, JobEvent, JobRow
    from awa_lib.reads.overviews import KindOverview, QueueDetails, QueueOverview

__all__ = ["job_page", "kind_page", "policy_facts", "queue_page"]

_CODES: Final = {
    "bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34",
    "magenta": "35", "cyan": "36", "bright_black": "90",
}  # fmt: skip
_BAR: Final = 24
_INDENT: Final = "  "


class _Paint:
    def __init__(self, *, color: bool) -> None:
        self.color = color

    def __call__(self, text: str, style: str) -> str:
        codes = ";".join(_CODES[word] for word in style.split())
        return f"\x1b[{codes}m{text}\x1b[0m" if self.color and codes else text


def job_page(dump: JobDump, *, color: bool) -> str:
    """Return what an operator wants to know of a job, as lines of text."""
    job, paint = dump.job, _Paint(color=color)
    state = paint(job.state, STATE_STYLES.get(job.state, ""))
    title = paint(f"Job {job.id}", "bold")
    lines = [
        f"{title}  {clean(job.kind)}  {state}  attempt {job.attempt} of {job.max_attempts}",
        "",
        *_facts(dump, paint),
    ]
    if job.progress:
        lines += ["", *_progress(job.progress, paint)]
    lines += ["", paint("Args", "bold"), *_json(job.args)]
    if job.metadata:
        lines += ["", paint("Metadata", "bold"), *_json(job.metadata)]
    lines += ["", paint("Timeline", "bold"), *[_event(event, paint) for event in dump.timeline]]
    if dump.summary.latest_error is not None and job.state != "completed":
        text = str(dump.summary.latest_error.get("error", ""))
        lines += ["", paint("Latest error", "bold")]
        lines += [_INDENT + paint(clean(line), "red") for line in text.splitlines()]
    if actions := _actions(dump):
        lines += ["", paint("What can be done", "bold"), *[_INDENT + line for line in actions]]
    return "\n".join(lines) + "\n"


def _facts(dump: JobDump, paint: _Paint) -> list[str]:
    return _lines(_job_facts(dump), paint)


def _job_facts(dump: JobDump) -> list[tuple[str, Any]]:
    job = dump.job
    aged = dump.summary.original_priority
    priority = f"{job.priority}" if aged == job.priority else f"{job.priority} (aged from {aged})"
    return [
        ("queue", clean(job.queue)),
        ("priority", priority),
        ("tags", ", ".join(map(clean, job.tags)) or None),
        ("created", job.created_at),
        ("runs at" if job.state in {"scheduled", "retryable"} else "run at", job.run_at),
        ("began", job.attempted_at),
        ("ended", job.finalized_at if dump.summary.can_cancel is False else None),
        ("heartbeat", job.heartbeat_at if job.state == "running" else None),
        ("deadline", job.deadline_at if job.state == "running" else None),
        ("callback", job.callback_id),
        ("filter", job.callback_filter),
        ("transform", job.callback_transform),
        ("completes", job.callback_on_complete),
        ("fails", job.callback_on_fail),
        ("times out", job.callback_timeout_at),
        ("unique", None if job.unique_key is None else bytes(job.unique_key).hex()),
    ]


def _lines(facts: list[tuple[str, Any]], paint: _Paint) -> list[str]:
    """Lay out names and values; a value that is None is left out."""
    return [
        f"{_INDENT}{paint(f'{name:<11}', 'dim')}{_moment(value, paint)}"
        for name, value in facts
        if value is not None
    ]


def _moment(value: Any, paint: _Paint) -> str:
    if not isinstance(value, datetime):
        return clean(value)
    return f"{age(value)}  {paint(encode(value), 'dim')}"


def _progress(progress: dict[str, Any], paint: _Paint) -> list[str]:
    percent = progress.get("percent")
    lines = []
    if isinstance(percent, int):
        done = round(_BAR * min(max(percent, 0), 100) / 100)
        bar = paint("█" * done, "green") + paint("░" * (_BAR - done), "dim")
        lines.append(f"{_INDENT}{bar} {percent}%  {clean(progress.get('message') or '')}".rstrip())
    if progress.get("metadata"):
        lines += [paint("Checkpoint", "bold"), *_json(progress["metadata"])]
    return lines


def _json(value: Any) -> list[str]:
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return [_INDENT + clean(line) for line in text.splitlines()]


def _event(event: JobEvent, paint: _Paint) -> str:
    style = "red" if event.is_error else ""
    first = (event.detail or "").partition("\n")[0]
    detail = f": {clean(first)}" if first else ""
    moment = paint(event.timestamp[:19] + "Z", "dim")
    return f"{_INDENT}{moment}  {paint(event.label + detail, style)}"


def _actions(dump: JobDump) -> list[str]:
    job, actions = dump.job, []
    if dump.summary.can_retry or job.state == "retryable":
        actions.append(f"awa job retry {job.id}")
    if job.state == "failed":
        actions.append(f"awa job retry --state failed --kind {_word(job)}")
    if job.state == "waiting_external" and job.callback_id is not None:
        actions.append(f"awa callback complete {job.callback_id} --payload '{{}}'")
    if dump.summary.can_cancel:
        actions.append(f"awa job cancel {job.id}")
    return actions


def _word(job: JobRow) -> str:
    return shlex.quote(clean(job.kind))


def queue_page(details: QueueDetails, *, color: bool) -> str:
    """Return what an operator wants to know of a queue."""
    queue, paint = details.overview, _Paint(color=color)
    state = paint("paused", "bold yellow") if queue.paused else paint("open", "green")
    settings = policy_facts(details.policy)
    lines = [f"{paint('Queue ' + clean(queue.queue), 'bold')}  {state}", ""]
    lines += _lines([*_declared_facts(queue), *_job_counts(queue)], paint)
    lines += _lines(
        [
            ("lag", None if queue.lag_seconds is None else span(queue.lag_seconds)),
            ("dead", f"{details.dead_letters} letters" if details.dead_letters else None),
        ],
        paint,
    )
    lines += ["", paint("Settings", "bold")]
    lines += [_INDENT + line for line in settings] or [_INDENT + "as each worker was started"]
    lines += ["", paint("Workers", "bold")]
    for one in details.workers:
        worked = next(given for given in one.queues if given.get("queue") == queue.queue)
        lines.append(
            f"{_INDENT}{clean(one.hostname)}:{one.pid}  {clean(one.version)}  "
            f"{worked.get('in_flight', 0)} in flight"
        )
    if not details.workers:
        lines.append(_INDENT + (paint("none", "bold red") if queue.total_queued else "none"))
    name = shlex.quote(clean(queue.queue))
    actions = [f"awa queue {'resume' if queue.paused else 'pause'} {name}"]
    if queue.failed:
        actions.append(f"awa job list --state failed --queue {name}")
    lines += ["", paint("What can be done", "bold"), *[_INDENT + line for line in actions]]
    return "\n".join(lines) + "\n"


def kind_page(kind: KindOverview, failed: Sequence[JobRow], *, color: bool) -> str:
    """Return what an operator wants to know of a kind, with its latest failed jobs."""
    paint = _Paint(color=color)
    lines = [paint(f"Kind {clean(kind.kind)}", "bold"), ""]
    lines += _lines([*_declared_facts(kind), *_job_counts(kind)], paint)
    workers = str(kind.live_instances) if kind.live_instances else paint("none", "bold red")
    lines.append(_INDENT + paint("workers    ", "dim") + workers)
    if failed:
        lines += ["", paint("Latest failures", "bold")]
    for job in failed:
        text = str(job.errors[-1].get("error", "")) if job.errors else ""
        first = clean(text.partition("\n")[0])
        lines.append(f"{_INDENT}{job.id}  {age(job.finalized_at)}  {paint(first, 'red')}")
    if failed:
        name = shlex.quote(clean(kind.kind))
        actions = [f"awa job show {failed[0].id}", f"awa job retry --state failed --kind {name}"]
        lines += ["", paint("What can be done", "bold"), *[_INDENT + line for line in actions]]
    return "\n".join(lines) + "\n"


def _declared_facts(one: QueueOverview | KindOverview) -> list[tuple[str, Any]]:
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
    names = (
        "available", "running", "scheduled", "retryable", "waiting_external", "failed",
    )  # fmt: skip
    counts = [f"{getattr(one, name):,} {name}" for name in names if getattr(one, name)]
    return [
        ("jobs", ", ".join(counts) or "none live"),
        ("last hour", f"{one.completed_last_hour:,} completed"),
    ]


def policy_facts(policy: QueuePolicy) -> list[str]:
    """Say each setting of a queue in words."""
    facts: list[tuple[str, Any]] = [
        ("at most {} running", policy.max_running),
        ("at most {} running of a key", policy.max_running_per_key),
        ("deadline {}", _deadline(policy)),
        ("idle workers look every {}", _short(policy.poll_interval_ms, 1000)),
        ("at most {} jobs a claim", policy.claim_batch),
        ("completed jobs kept {}", _short(policy.completed_retention_hours, 1 / 3600)),
        ("failed jobs kept {}", _short(policy.failed_retention_hours, 1 / 3600)),
        ("failed jobs become dead letters", policy.dead_letters or None),
    ]
    if policy.max_rate is not None:
        rate = (
            f"at most {policy.max_rate:g} starts a second in each process, {policy.burst} at once"
        )
        facts.insert(2, (rate, ""))
    return [words.format(value) for words, value in facts if value is not None]


def _deadline(policy: QueuePolicy) -> str | None:
    return "none" if policy.deadline_seconds == 0 else _short(policy.deadline_seconds, 1)


def _short(value: float | None, unit: float) -> str | None:
    if value is None:
        return None
    return span(value / unit) if value >= unit else f"{value / unit:g}s"
