"""One job."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from awa_cli.terminal.output import clean
from awa_cli.terminal.pages._layout import INDENT, Paint, fact_lines, json_lines, progress_lines
from awa_cli.views.columns import STATE_STYLES
from awa_lib.states import CAN_RETRY

if TYPE_CHECKING:
    from awa_lib.reads.jobs import JobDump, JobEvent

__all__ = ["job_commands", "job_facts", "job_page"]


def job_page(dump: JobDump, *, color: bool) -> str:
    """Return what an operator wants to know of a job, as lines of text."""
    job, paint = dump.job, Paint(color=color)
    state = paint(job.state, STATE_STYLES.get(job.state, ""))
    title = paint(f"Job {job.id}", "bold")
    lines = [
        f"{title}  {clean(job.kind)}  {state}  attempt {job.attempt} of {job.max_attempts}",
        "",
        *_facts(dump, paint),
    ]
    if job.progress:
        lines += ["", *progress_lines(job.progress, paint)]
    lines += ["", paint("Args", "bold"), *json_lines(job.args)]
    if job.metadata:
        lines += ["", paint("Metadata", "bold"), *json_lines(job.metadata)]
    lines += ["", paint("Timeline", "bold"), *[_event(event, paint) for event in dump.timeline]]
    if dump.summary.latest_error is not None and job.state != "completed":
        text = str(dump.summary.latest_error.get("error", ""))
        lines += ["", paint("Latest error", "bold")]
        lines += [INDENT + paint(clean(line), "red") for line in text.splitlines()]
    if actions := job_commands(dump):
        lines += ["", paint("What can be done", "bold"), *[INDENT + line for line in actions]]
    return "\n".join(lines) + "\n"


def _facts(dump: JobDump, paint: Paint) -> list[str]:
    return fact_lines(job_facts(dump), paint)


def job_facts(dump: JobDump) -> list[tuple[str, Any]]:
    """Return what there is to say of a job, by name; None where there is nothing."""
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


def _event(event: JobEvent, paint: Paint) -> str:
    style = "red" if event.is_error else ""
    first = (event.detail or "").partition("\n")[0]
    detail = f": {clean(first)}" if first else ""
    moment = paint(event.timestamp[:19] + "Z", "dim")
    return f"{INDENT}{moment}  {paint(event.label + detail, style)}"


def job_commands(dump: JobDump) -> list[str]:
    """Return the commands that can be given to this job now."""
    job, actions = dump.job, []
    if job.state in CAN_RETRY:
        actions.append(f"awa job retry {job.id}")
    if job.state == "failed":
        actions.append(f"awa job retry --state failed --kind {_word(job.kind)}")
        actions.append(f"awa queue pause {_word(job.queue)}")
    if job.state == "waiting_external" and job.callback_id is not None:
        actions.append(f"awa callback complete {job.callback_id} --payload '{{}}'")
    if dump.summary.can_cancel:
        actions.append(f"awa job cancel {job.id}")
    return actions


def _word(name: str) -> str:
    return shlex.quote(clean(name))
