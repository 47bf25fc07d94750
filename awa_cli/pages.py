"""Pages about one thing, for people."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from awa_cli.columns import STATE_STYLES
from awa_cli.output import age, clean
from awa_cli.shapes import encode

if TYPE_CHECKING:
    from awa_lib.reads.jobs import JobDump, JobEvent, JobRow

__all__ = ["job_page"]

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
    job = dump.job
    aged = dump.summary.original_priority
    priority = f"{job.priority}" if aged == job.priority else f"{job.priority} (aged from {aged})"
    facts: list[tuple[str, Any]] = [
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
    import shlex

    return shlex.quote(clean(job.kind))
