"""How each field looks, said once: tables of the command and grids of the dashboard use these."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from awa_cli.views.cron import in_words
from awa_cli.views.states import STATE_SIGNS, STATE_STYLES, state_sign
from awa_cli.views.words import age, span

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from awa_cli.documents.reports import ContextRow, Entry, Fire
    from awa_lib.doctor import Finding
    from awa_lib.models import BulkOperation
    from awa_lib.ops.waits import JobStatus
    from awa_lib.reads.audit import AuditEntry
    from awa_lib.reads.cron import CronJob
    from awa_lib.reads.dead_letters import DeadLetter
    from awa_lib.reads.jobs import JobRow
    from awa_lib.reads.overviews import KindOverview, QueueOverview
    from awa_lib.reads.queues import QueueStat
    from awa_lib.reads.runtime import RuntimeInstance
    from awa_lib.reads.statistics import Failure

__all__ = [
    "ACCESS", "AUDIT", "BATCHES", "CONTEXTS", "DEAD_LETTERS", "FAILURES", "FINDINGS", "FIRES",
    "GLANCE_QUEUES", "JOBS", "KINDS", "QUEUES", "QUEUE_OVERVIEWS", "QUEUE_WORKERS", "SCHEDULES",
    "SEVERITY_STYLES", "STATE_SIGNS", "STATE_STYLES", "STATUSES", "WORKERS", "Column", "state_sign",
]  # fmt: skip

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Column(Generic[T]):
    """One column.

    ``width`` is the least a narrow terminal leaves of it; without one it is never cut, which is
    what ids need.  Where even that is too much, columns with a ``width`` are left out first.
    """

    title: str
    get: Callable[[T], Any]
    style: Callable[[T], str] | None = None
    width: int | None = None
    right: bool = False
    wide: bool = False
    """Only shown by ``-o wide``."""
    link: Callable[[T], str | None] | None = None
    """An address the text leads to, in terminals that open links."""
    by: Callable[[T], Any] | None = None
    """What rows are sorted by where the text would mislead."""
    state: Callable[[T], str] | None = None
    """The state whose sign stands before the text on screens."""


def _ago(title: str, get: Callable[[T], datetime | None]) -> Column[T]:
    """Return the column of a moment, said as its age."""
    return Column(title, lambda one: age(get(one)), style=lambda _: "bright_black", by=get)


def _moment(job: JobRow) -> datetime | None:
    """Return the time that matters in this state."""
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
    Column("ID", lambda job: job.id),
    Column("KIND", lambda job: job.kind, width=12),
    Column("QUEUE", lambda job: job.queue, width=8),
    Column(
        "STATE",
        lambda job: job.state,
        style=lambda job: STATE_STYLES.get(job.state, ""),
        state=lambda job: job.state,
    ),
    Column("ATT", lambda job: job.attempt, right=True),
    Column("MAX", lambda job: job.max_attempts, right=True),
    Column("PRIO", lambda job: job.priority, right=True, wide=True),
    Column("CREATED", lambda job: age(job.created_at), wide=True, by=lambda job: job.created_at),
    Column("TAGS", lambda job: ",".join(job.tags) or None, wide=True),
    _ago("WHEN", _moment),
    Column("ARGS", lambda job: json.dumps(job.args, ensure_ascii=False), wide=True),
    Column("NOTE", _note, width=1, style=lambda job: "red" if job.errors else ""),
)

QUEUES: Final[tuple[Column[QueueStat], ...]] = (
    Column("QUEUE", lambda queue: queue.queue, width=8),
    Column("AVAIL", lambda queue: queue.available, right=True),
    Column("RUNNING", lambda queue: queue.running, right=True),
    Column(
        "FAILED",
        lambda queue: queue.failed,
        style=lambda queue: "bold red" if queue.failed else "",
        right=True,
    ),
    Column("LATER", lambda queue: queue.scheduled + queue.retryable, right=True),
    Column("WAITING", lambda queue: queue.waiting_external, right=True),
    Column("COMPLETED/1H", lambda queue: queue.completed_last_hour, right=True),
    Column(
        "LAG",
        lambda queue: None if queue.lag_seconds is None else span(queue.lag_seconds),
        right=True,
        by=lambda queue: queue.lag_seconds or 0.0,
    ),
    Column(
        "PAUSED",
        lambda queue: "yes" if queue.paused else "no",
        style=lambda queue: "bold yellow" if queue.paused else "",
    ),
)

GLANCE_QUEUES: Final = tuple(one for one in QUEUES if one.title not in {"LATER", "WAITING"})

FAILURES: Final[tuple[Column[Failure], ...]] = (
    Column("ID", lambda one: one.id),
    Column("KIND", lambda one: one.kind, width=8),
    _ago("WHEN", lambda one: one.finalized_at),
    Column("ERROR", lambda one: one.error or "", width=1, style=lambda _: "red"),
)

# A process, its version, and what it says of one of its queues.
QUEUE_WORKERS: Final[tuple[Column[tuple[str, str, dict[str, Any]]], ...]] = (
    Column("WORKER", lambda one: one[0], width=10),
    Column("VERSION", lambda one: one[1], width=5),
    Column("IN FLIGHT", lambda one: one[2].get("in_flight", 0), right=True),
    Column("MOST", lambda one: one[2].get("config", {}).get("max_workers"), right=True),
)

CONTEXTS: Final[tuple[Column[ContextRow], ...]] = (
    Column("NAME", lambda one: one.name, style=lambda one: one.color or ""),
    Column("CURRENT", lambda one: "yes" if one.current else ""),
    Column("DATABASE", lambda one: one.database, width=20),
    Column("PROTECTED", lambda one: "yes" if one.protected else ""),
)


def _declared(row: QueueOverview | KindOverview) -> str:
    """Say whether its workers agree about it."""
    if row.descriptor_mismatch:
        return "drift"
    if row.descriptor_stale:
        return "stale"
    return "yes" if row.descriptor_last_seen_at else "no"


def _drift_style(row: QueueOverview | KindOverview) -> str:
    return "bold yellow" if row.descriptor_mismatch else "bright_black"


QUEUE_OVERVIEWS: Final[tuple[Column[QueueOverview], ...]] = (
    Column("QUEUE", lambda one: one.queue, width=8, link=lambda one: one.docs_url),
    Column("NAME", lambda one: one.display_name, width=8),
    Column("OWNER", lambda one: one.owner, width=6),
    Column("QUEUED", lambda one: one.total_queued, right=True),
    Column("RUNNING", lambda one: one.running, right=True),
    Column(
        "FAILED",
        lambda one: one.failed,
        style=lambda one: "bold red" if one.failed else "",
        right=True,
    ),
    Column("WORKERS", lambda one: one.live_instances, right=True),
    Column("DECLARED", _declared, style=_drift_style),
    Column(
        "PAUSED",
        lambda one: "yes" if one.paused else "no",
        style=lambda one: "bold yellow" if one.paused else "",
    ),
    Column("TAGS", lambda one: ",".join(one.tags) or None, wide=True),
    Column("DOCS", lambda one: one.docs_url, wide=True),
    Column("ABOUT", lambda one: one.description, width=1),
)

KINDS: Final[tuple[Column[KindOverview], ...]] = (
    Column("KIND", lambda one: one.kind, width=12, link=lambda one: one.docs_url),
    Column("OWNER", lambda one: one.owner, width=6, wide=True),
    Column("JOBS", lambda one: one.job_count, right=True),
    Column("QUEUES", lambda one: one.queue_count, right=True, wide=True),
    Column("AVAIL", lambda one: one.available, right=True),
    Column("RUNNING", lambda one: one.running, right=True),
    Column(
        "FAILED",
        lambda one: one.failed,
        style=lambda one: "bold red" if one.failed else "",
        right=True,
    ),
    Column("LATER", lambda one: one.scheduled + one.retryable, right=True),
    Column("WAITING", lambda one: one.waiting_external, right=True, wide=True),
    Column("COMPLETED/1H", lambda one: one.completed_last_hour, right=True),
    Column("WORKERS", lambda one: one.live_instances, right=True),
    Column("DECLARED", _declared, style=_drift_style),
    Column("ABOUT", lambda one: one.description, width=1, wide=True),
)


def _schedule_note(one: CronJob) -> str:
    if one.problem is not None:
        return one.problem
    if one.paused_at is not None:
        return "paused"
    return "" if one.declared else "no process declares it"


SCHEDULES: Final[tuple[Column[CronJob], ...]] = (
    Column("NAME", lambda one: one.name, width=12),
    Column("CRON", lambda one: one.cron_expr),
    Column("IN WORDS", lambda one: in_words(one.cron_expr), width=12, wide=True),
    Column("TIMEZONE", lambda one: one.timezone, width=3),
    Column("KIND", lambda one: one.kind, width=8),
    Column("QUEUE", lambda one: one.queue, width=6),
    Column("NEXT", lambda one: age(one.next_fire_at), by=lambda one: one.next_fire_at),
    _ago("LAST", lambda one: one.last_enqueued_at),
    Column("ARGS", lambda one: json.dumps(one.args, ensure_ascii=False), wide=True),
    Column("MISSED", lambda one: one.missed_fire_policy, wide=True),
    Column("NOTE", _schedule_note, width=1, style=lambda _: "yellow"),
)

FIRES: Final[tuple[Column[Fire], ...]] = (
    Column("LOCAL", lambda one: one.local),
    Column("UTC", lambda one: f"{one.utc:%Y-%m-%dT%H:%M:%SZ}"),
    _ago("WHEN", lambda one: one.utc),
)

STATUSES: Final[tuple[Column[JobStatus], ...]] = (
    Column("ID", lambda one: one.id),
    Column("STATE", lambda one: one.state, style=lambda one: STATE_STYLES.get(one.state, "")),
    Column("ATT", lambda one: one.attempt, right=True),
    Column(
        "ERROR", lambda one: (one.error or "").partition("\n")[0], width=1, style=lambda _: "red"
    ),
)


def _other_error(one: DeadLetter) -> str | None:
    """Return the first line of the last error, unless the reason says the same."""
    line = _first_line(one.errors)
    return None if line == one.reason else line


DEAD_LETTERS: Final[tuple[Column[DeadLetter], ...]] = (
    Column("ID", lambda one: one.id),
    Column("KIND", lambda one: one.kind, width=12),
    Column("QUEUE", lambda one: one.queue, width=8),
    Column("ATT", lambda one: one.attempt, right=True),
    _ago("DEAD", lambda one: one.dead_at),
    Column("REASON", lambda one: one.reason, width=10),
    Column("ARGS", lambda one: json.dumps(one.args, ensure_ascii=False), wide=True),
    Column("ERROR", _other_error, width=1, style=lambda _: "red"),
)


def _first_line(errors: list[dict[str, Any]]) -> str:
    return str(errors[-1].get("error", "")).partition("\n")[0] if errors else ""


BATCH_STYLES: Final = {
    "pending": "cyan", "running": "bold yellow", "completed": "green", "failed": "bold red",
    "cancelled": "bright_black",
}  # fmt: skip

BATCHES: Final[tuple[Column[BulkOperation], ...]] = (
    Column("ID", lambda one: one.id),
    Column("OPERATION", lambda one: one.operation),
    Column(
        "STATE",
        lambda one: one.state,
        style=lambda one: BATCH_STYLES.get(one.state, ""),
    ),
    Column("DONE", lambda one: f"{one.processed}/{one.total_matched}", right=True),
    Column("SKIPPED", lambda one: one.skipped, right=True, wide=True),
    Column("ERRORS", lambda one: one.errored, right=True, wide=True),
    _ago("WHEN", lambda one: one.submitted_at),
    Column("BY", lambda one: one.submitted_by, width=3, wide=True),
    Column("FILTER", lambda one: json.dumps(one.filter, ensure_ascii=False), width=1),
)


ACCESS: Final[tuple[Column[Entry], ...]] = (
    Column("NAME", lambda one: one.name),
    Column("KIND", lambda one: one.kind),
    Column("SCOPE", lambda one: one.scope),
)

AUDIT: Final[tuple[Column[AuditEntry], ...]] = (
    Column("ID", lambda one: one.id),
    _ago("WHEN", lambda one: one.at),
    Column("WHO", lambda one: one.actor, width=8),
    Column("VIA", lambda one: one.via),
    Column("ACTION", lambda one: one.action),
    Column("TARGET", lambda one: one.target, width=8),
    Column("USER", lambda one: one.database_user, wide=True),
    Column("FROM", lambda one: one.address, wide=True),
    Column("DETAIL", lambda one: json.dumps(one.detail, ensure_ascii=False), width=1),
)


def _worker_state(one: RuntimeInstance) -> str:
    if one.stale:
        return "stale"
    if one.shutting_down:
        return "stopping"
    return "healthy" if one.healthy else "degraded"


_WORKER_STYLES: Final = {
    "healthy": "green", "degraded": "bold red", "stale": "bright_black", "stopping": "yellow",
}  # fmt: skip


def _loops(one: RuntimeInstance) -> str:
    """Name the loops that have stopped."""
    alive = {
        "postgres": one.postgres_connected, "poll": one.poll_loop_alive,
        "heartbeat": one.heartbeat_alive, "maintenance": one.maintenance_alive,
    }  # fmt: skip
    return ",".join(name for name, up in alive.items() if not up) or "-"


WORKERS: Final[tuple[Column[RuntimeInstance], ...]] = (
    Column("ID", lambda one: one.instance_id, wide=True),
    Column("HOST", lambda one: one.hostname, width=8),
    Column("PID", lambda one: one.pid, right=True),
    Column("VERSION", lambda one: one.version, width=5),
    Column("STATE", _worker_state, style=lambda one: _WORKER_STYLES[_worker_state(one)]),
    Column("LEADER", lambda one: "yes" if one.leader and not one.stale else ""),
    Column(
        "IN FLIGHT",
        lambda one: sum(queue.get("in_flight", 0) for queue in one.queues),
        right=True,
    ),
    Column("DOWN", _loops, style=lambda one: "" if _loops(one) == "-" else "bold red", wide=True),
    _ago("UP", lambda one: one.started_at),
    _ago("SEEN", lambda one: one.last_seen_at),
    Column("QUEUES", lambda one: ",".join(queue["queue"] for queue in one.queues), width=1),
)

SEVERITY_STYLES: Final = {
    "error": "bold red", "warning": "bold yellow", "note": "cyan", "ok": "green",
}  # fmt: skip

FINDINGS: Final[tuple[Column[Finding], ...]] = (
    Column("SEVERITY", lambda one: one.severity, style=lambda one: SEVERITY_STYLES[one.severity]),
    Column("CHECK", lambda one: one.check),
    Column("SUBJECT", lambda one: one.subject, width=8),
    Column("WHAT", lambda one: one.what, width=20),
    Column("WHY", lambda one: one.why, width=20, wide=True),
    Column("DO", lambda one: one.do, width=1),
)
