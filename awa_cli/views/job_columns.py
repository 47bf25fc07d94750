"""The columns of jobs, dead letters, failed jobs and bulk operations."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from awa_cli.views.columns import Column, ago
from awa_cli.views.states import BATCH_STYLES, STATE_STYLES
from awa_cli.views.words import age

if TYPE_CHECKING:
    from datetime import datetime

    from awa_lib.models import BulkOperation
    from awa_lib.ops.waits import JobStatus
    from awa_lib.reads.dead_letters import DeadLetter
    from awa_lib.reads.jobs import JobRow
    from awa_lib.reads.statistics import Failure

__all__ = ["BATCHES", "DEAD_LETTERS", "FAILURES", "JOBS", "STATUSES"]


def _moment(job: JobRow) -> datetime | None:
    """Return the time that is relevant in the state of the job."""
    moments = {
        "running": job.attempted_at,
        "completed": job.finalized_at,
        "failed": job.finalized_at,
        "cancelled": job.finalized_at,
        "waiting_external": job.callback_timeout_at,
    }
    return moments.get(job.state, job.run_at)


def _note(job: JobRow) -> str:
    if job.errors and job.state not in {"completed", "cancelled"}:
        return str(job.errors[-1].get("error", "")).partition("\n")[0]
    if job.progress and job.progress.get("percent") is not None:
        message = job.progress.get("message") or ""
        return f"{job.progress['percent']}% {message}".rstrip()
    return ""


JOBS: Final[tuple[Column[JobRow], ...]] = (
    Column("id", "ID", lambda job: job.id),
    Column("kind", "KIND", lambda job: job.kind, width=12),
    Column("queue", "QUEUE", lambda job: job.queue, width=8),
    Column(
        "state",
        "STATE",
        lambda job: job.state,
        style=lambda job: STATE_STYLES.get(job.state, ""),
        state=lambda job: job.state,
    ),
    Column("att", "ATT", lambda job: job.attempt, right=True),
    Column("max", "MAX", lambda job: job.max_attempts, right=True),
    Column("prio", "PRIO", lambda job: job.priority, right=True, wide=True),
    Column(
        "created",
        "CREATED",
        lambda job: age(job.created_at),
        wide=True,
        by=lambda job: job.created_at,
    ),
    Column("tags", "TAGS", lambda job: ",".join(job.tags) or None, wide=True),
    ago("when", "WHEN", _moment),
    Column("args", "ARGS", lambda job: json.dumps(job.args, ensure_ascii=False), wide=True),
    Column("note", "NOTE", _note, width=1, style=lambda job: "red" if job.errors else ""),
)


FAILURES: Final[tuple[Column[Failure], ...]] = (
    Column("id", "ID", lambda one: one.id),
    Column("kind", "KIND", lambda one: one.kind, width=8),
    ago("when", "WHEN", lambda one: one.finalized_at),
    Column("error", "ERROR", lambda one: one.error or "", width=1, style=lambda _: "red"),
)


STATUSES: Final[tuple[Column[JobStatus], ...]] = (
    Column("id", "ID", lambda one: one.id),
    Column(
        "state", "STATE", lambda one: one.state, style=lambda one: STATE_STYLES.get(one.state, "")
    ),
    Column("att", "ATT", lambda one: one.attempt, right=True),
    Column(
        "error",
        "ERROR",
        lambda one: (one.error or "").partition("\n")[0],
        width=1,
        style=lambda _: "red",
    ),
)


def _other_error(one: DeadLetter) -> str | None:
    """Return the first line of the last error, unless the reason is the same."""
    line = _first_line(one.errors)
    return None if line == one.reason else line


DEAD_LETTERS: Final[tuple[Column[DeadLetter], ...]] = (
    Column("id", "ID", lambda one: one.id),
    Column("kind", "KIND", lambda one: one.kind, width=12),
    Column("queue", "QUEUE", lambda one: one.queue, width=8),
    Column("att", "ATT", lambda one: one.attempt, right=True),
    ago("dead", "DEAD", lambda one: one.dead_at),
    Column("reason", "REASON", lambda one: one.reason, width=10),
    Column("args", "ARGS", lambda one: json.dumps(one.args, ensure_ascii=False), wide=True),
    Column("error", "ERROR", _other_error, width=1, style=lambda _: "red"),
)


def _first_line(errors: list[dict[str, Any]]) -> str:
    return str(errors[-1].get("error", "")).partition("\n")[0] if errors else ""


BATCHES: Final[tuple[Column[BulkOperation], ...]] = (
    Column("id", "ID", lambda one: one.id),
    Column("operation", "OPERATION", lambda one: one.operation),
    Column(
        "state",
        "STATE",
        lambda one: one.state,
        style=lambda one: BATCH_STYLES.get(one.state, ""),
    ),
    Column("done", "DONE", lambda one: f"{one.processed}/{one.total_matched}", right=True),
    Column("skipped", "SKIPPED", lambda one: one.skipped, right=True, wide=True),
    Column("errors", "ERRORS", lambda one: one.errored, right=True, wide=True),
    ago("when", "WHEN", lambda one: one.submitted_at),
    Column("by", "BY", lambda one: one.submitted_by, width=3, wide=True),
    Column("filter", "FILTER", lambda one: json.dumps(one.filter, ensure_ascii=False), width=1),
)
