"""The facts about a job, a queue, a kind or a schedule, for the pages of all three surfaces.

A fact is a name and a value; a page leaves out None values.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from awa_cli.views.attempts import why_no_retry
from awa_cli.views.cron import in_words
from awa_cli.views.words import age, clean, now, span

if TYPE_CHECKING:
    from awa_lib.policies import QueuePolicy
    from awa_lib.reads.cron import CronJob
    from awa_lib.reads.job_dumps import JobDump, JobStep
    from awa_lib.reads.jobs import JobRow
    from awa_lib.reads.overviews import KindOverview, QueueOverview

__all__ = [
    "declared_facts",
    "failure_of",
    "job_commands",
    "job_facts",
    "named_facts",
    "policy_facts",
    "schedule_facts",
    "sleep_words",
]


def job_facts(dump: JobDump) -> list[tuple[str, Any]]:
    """Return the facts about a job."""
    job = dump.job
    aged = dump.summary.original_priority
    priority = f"{job.priority}" if aged == job.priority else f"{job.priority} (aged from {aged})"
    return [
        ("queue", clean(job.queue)),
        ("workflow", _workflow(dump)),
        ("priority", priority),
        ("tags", ", ".join(map(clean, job.tags)) or None),
        ("created", job.created_at),
        ("runs at" if job.state in {"scheduled", "retryable"} else "run at", job.run_at),
        ("began", job.attempted_at),
        ("ended", job.finalized_at if dump.summary.can_cancel is False else None),
        ("retry", _retry(job)),
        ("worker", _worker(dump)),
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


def _workflow(dump: JobDump) -> str | None:
    """Return the workflow of a job, and its task: ``7 import, task parts[3]``."""
    if (one := dump.workflow) is None:
        return None
    return clean(f"{one.id} {one.name}, task {one.task}")


def _retry(job: JobRow) -> str | None:
    return why_no_retry(job, job.errors[-1]) if job.state == "failed" and job.errors else None


def _worker(dump: JobDump) -> str | None:
    """Return the process of the last attempt, with the versions of awa and of the application."""
    if (worker := dump.worker) is None:
        return None
    versions = [f"awa {worker.version}"]
    if worker.app_version is not None:
        versions.append(f"application {worker.app_version}")
    return clean(f"{worker.name}  {', '.join(versions)}")


def sleep_words(step: JobStep) -> str:
    """Return when a sleep is over: ``over in 2h``; empty for a step that has ended."""
    return "" if step.ended_at <= now() else f"over {age(step.ended_at)}"


def job_commands(dump: JobDump) -> list[str]:
    """Return the commands that apply to this job now."""
    from awa_lib.telemetry.failures import OTHERS

    job, actions = dump.job, []
    if dump.summary.can_retry or job.state == "retryable":
        actions.append(f"awa job retry {job.id}")
    if job.state == "failed":
        failure = failure_of(job)
        if failure is None or failure == OTHERS:
            actions.append(f"awa job retry --state failed --kind {_quoted(job.kind)}")
        else:
            actions += [f"awa failure {verb} {_quoted(failure)}" for verb in ("show", "retry")]
        actions.append(f"awa queue pause {_quoted(job.queue)}")
    if job.state == "waiting_external" and job.callback_id is not None:
        actions.append(f"awa callback complete {job.callback_id} --payload '{{}}'")
    if dump.summary.can_cancel:
        actions.append(f"awa job cancel {job.id}")
    if dump.workflow is not None:
        actions.append(f"awa workflow show {dump.workflow.id}")
    return actions


def failure_of(job: JobRow) -> str | None:
    """Return the id of the failure that the latest error belongs to, None without one."""
    failure = job.errors[-1].get("failure") if job.errors else None
    return failure if isinstance(failure, str) else None


def _quoted(name: str) -> str:
    return shlex.quote(clean(name))


def declared_facts(one: QueueOverview | KindOverview) -> list[tuple[str, Any]]:
    """Return the facts that the workers declare about a queue or a kind."""
    trouble = "live workers declare it differently" if one.descriptor_mismatch else None
    return [
        ("name", one.display_name),
        ("about", one.description),
        ("owner", one.owner),
        ("docs", one.docs_url),
        ("tags", ", ".join(one.tags) or None),
        ("drift", trouble),
    ]


def policy_facts(policy: QueuePolicy) -> list[str]:
    """Return the settings of a queue in words."""
    return [words for _, words in named_facts(policy)]


def named_facts(policy: QueuePolicy) -> list[tuple[str, str]]:
    """Return each setting of a queue: its name in a change, and its value in words."""
    facts: list[tuple[str, str, Any]] = [
        ("max_running", "at most {} running", policy.max_running),
        ("max_running_per_key", "at most {} running per key", policy.max_running_per_key),
        ("rate_limit", "at most {}", _rate(policy)),
        ("deadline_seconds", "deadline {}", _deadline(policy)),
        ("poll_interval_ms", "idle workers poll every {}", _short(policy.poll_interval_ms, 1000)),
        ("claim_batch", "at most {} jobs per claim", policy.claim_batch),
        (
            "completed_retention_hours",
            "completed jobs kept {}",
            _short(policy.completed_retention_hours, 1 / 3600),
        ),
        (
            "failed_retention_hours",
            "failed jobs kept {}",
            _short(policy.failed_retention_hours, 1 / 3600),
        ),
        ("dead_letters", "failed jobs become dead letters", policy.dead_letters or None),
    ]
    return [(name, words.format(value)) for name, words, value in facts if value is not None]


def _rate(policy: QueuePolicy) -> str | None:
    if policy.max_rate is None:
        return None
    return f"{policy.max_rate:g} starts per second in each process, bursts of {policy.burst}"


def _deadline(policy: QueuePolicy) -> str | None:
    return "none" if policy.deadline_seconds == 0 else _short(policy.deadline_seconds, 1)


def _short(value: float | None, unit: float) -> str | None:
    if value is None:
        return None
    return span(value / unit) if value >= unit else f"{value / unit:g}s"


def schedule_facts(one: CronJob) -> list[tuple[str, Any]]:
    """Return the facts about a schedule."""
    missed = one.missed_fire_policy
    if missed == "catch_up":
        missed = f"caught up, at most {one.catch_up_limit}"
    words = in_words(one.cron_expr)
    return [
        ("cron", f"{one.cron_expr}  {one.timezone}"),
        ("in words", None if words == one.cron_expr else words),
        ("kind", one.kind),
        ("queue", one.queue),
        ("priority", one.priority),
        ("attempts", one.max_attempts),
        ("tags", ", ".join(one.tags) or None),
        ("missed", missed),
        ("jitter", f"up to {span(one.jitter_seconds)}" if one.jitter_seconds else None),
        ("last fire", one.last_enqueued_at or "none yet"),
        ("paused", one.paused_at),
        ("paused by", one.paused_by),
        ("declared", one.declared_at if one.declared else "by no live process"),
    ]
