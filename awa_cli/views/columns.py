"""The columns of all tables, shared by the commands, the monitor and the web pages."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from awa_cli.views.cron import in_words
from awa_cli.views.states import BATCH_STYLES, SEVERITY_STYLES, STATE_STYLES, WORKER_STYLES
from awa_cli.views.words import age, span
from awa_cli.views.workers import worker_state, worker_trouble

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
    "ACCESS",
    "AUDIT",
    "BATCHES",
    "CONTEXTS",
    "DEAD_LETTERS",
    "FAILURES",
    "FINDINGS",
    "FIRES",
    "JOBS",
    "KINDS",
    "QUEUES",
    "QUEUE_OVERVIEWS",
    "QUEUE_WORKERS",
    "SCHEDULES",
    "STATUSES",
    "WORKERS",
    "Column",
]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Column(Generic[T]):
    """A column of a table.

    ``key`` names the column in links, addresses and saved layouts; ``title`` is its heading.
    ``width`` is its smallest width on a narrow terminal; a column without one is never cut, as
    ids must not be.  If the table still does not fit, columns with a ``width`` are left out first.
    """

    key: str
    title: str
    get: Callable[[T], Any]
    style: Callable[[T], str] | None = None
    width: int | None = None
    right: bool = False
    wide: bool = False
    """Shown only by ``-o wide``."""
    link: Callable[[T], str | None] | None = None
    """A URL that the text links to."""
    by: Callable[[T], Any] | None = None
    """The sort key, if rows are not sorted by the text."""
    state: Callable[[T], str] | None = None
    """The state whose sign precedes the text on screens."""


def _ago(key: str, title: str, get: Callable[[T], datetime | None]) -> Column[T]:
    """Return the column of a moment, shown as its age."""
    return Column(key, title, lambda one: age(get(one)), style=lambda _: "bright_black", by=get)


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
    _ago("when", "WHEN", _moment),
    Column("args", "ARGS", lambda job: json.dumps(job.args, ensure_ascii=False), wide=True),
    Column("note", "NOTE", _note, width=1, style=lambda job: "red" if job.errors else ""),
)

_FAILED: Final[Column[Any]] = Column(
    "failed",
    "FAILED",
    lambda one: one.failed,
    style=lambda one: "bold red" if one.failed else "",
    right=True,
)
_DEAD: Final[Column[Any]] = Column(
    "dead", "DEAD LETTERS", lambda one: one.dead_letters, right=True, wide=True
)
_PAUSED: Final[Column[Any]] = Column(
    "paused",
    "PAUSED",
    lambda one: "yes" if one.paused else "no",
    style=lambda one: "bold yellow" if one.paused else "",
)

QUEUES: Final[tuple[Column[QueueStat], ...]] = (
    Column("queue", "QUEUE", lambda queue: queue.queue, width=8),
    Column("available", "AVAIL", lambda queue: queue.available, right=True),
    Column("running", "RUNNING", lambda queue: queue.running, right=True),
    _FAILED,
    _DEAD,
    Column("later", "LATER", lambda queue: queue.scheduled + queue.retryable, right=True),
    Column("waiting", "WAITING", lambda queue: queue.waiting_external, right=True),
    Column("completed", "COMPLETED/1H", lambda queue: queue.completed_last_hour, right=True),
    Column(
        "lag",
        "LAG",
        lambda queue: None if queue.lag_seconds is None else span(queue.lag_seconds),
        right=True,
        by=lambda queue: queue.lag_seconds or 0.0,
    ),
    _PAUSED,
)

FAILURES: Final[tuple[Column[Failure], ...]] = (
    Column("id", "ID", lambda one: one.id),
    Column("kind", "KIND", lambda one: one.kind, width=8),
    _ago("when", "WHEN", lambda one: one.finalized_at),
    Column("error", "ERROR", lambda one: one.error or "", width=1, style=lambda _: "red"),
)

# A process, its version, and its report about a queue.
QUEUE_WORKERS: Final[tuple[Column[tuple[str, str, dict[str, Any]]], ...]] = (
    Column("worker", "WORKER", lambda one: one[0], width=10),
    Column("version", "VERSION", lambda one: one[1], width=5),
    Column("in_flight", "IN FLIGHT", lambda one: one[2].get("in_flight", 0), right=True),
    Column("limit", "LIMIT", lambda one: one[2].get("config", {}).get("max_workers"), right=True),
)

CONTEXTS: Final[tuple[Column[ContextRow], ...]] = (
    Column("name", "NAME", lambda one: one.name, style=lambda one: one.color or ""),
    Column("current", "CURRENT", lambda one: "yes" if one.current else ""),
    Column("database", "DATABASE", lambda one: one.database, width=20),
    Column("protected", "PROTECTED", lambda one: "yes" if one.protected else ""),
)


def _declared(row: QueueOverview | KindOverview) -> str:
    """Return whether the workers declare it, and agree."""
    if row.descriptor_mismatch:
        return "drift"
    if row.descriptor_stale:
        return "stale"
    return "yes" if row.descriptor_last_seen_at else "no"


def _drift_style(row: QueueOverview | KindOverview) -> str:
    return "bold yellow" if row.descriptor_mismatch else "bright_black"


QUEUE_OVERVIEWS: Final[tuple[Column[QueueOverview], ...]] = (
    Column("queue", "QUEUE", lambda one: one.queue, width=8, link=lambda one: one.docs_url),
    Column("name", "NAME", lambda one: one.display_name, width=8),
    Column("owner", "OWNER", lambda one: one.owner, width=6),
    Column("queued", "QUEUED", lambda one: one.total_queued, right=True),
    Column("running", "RUNNING", lambda one: one.running, right=True),
    _FAILED,
    _DEAD,
    Column("workers", "WORKERS", lambda one: one.live_instances, right=True),
    Column("declared", "DECLARED", _declared, style=_drift_style),
    _PAUSED,
    Column("tags", "TAGS", lambda one: ",".join(one.tags) or None, wide=True),
    Column("docs", "DOCS", lambda one: one.docs_url, wide=True),
    Column("about", "ABOUT", lambda one: one.description, width=1),
)

KINDS: Final[tuple[Column[KindOverview], ...]] = (
    Column("kind", "KIND", lambda one: one.kind, width=12, link=lambda one: one.docs_url),
    Column("owner", "OWNER", lambda one: one.owner, width=6, wide=True),
    Column("jobs", "JOBS", lambda one: one.job_count, right=True),
    Column("queues", "QUEUES", lambda one: one.queue_count, right=True, wide=True),
    Column("available", "AVAIL", lambda one: one.available, right=True),
    Column("running", "RUNNING", lambda one: one.running, right=True),
    _FAILED,
    _DEAD,
    Column("later", "LATER", lambda one: one.scheduled + one.retryable, right=True),
    Column("waiting", "WAITING", lambda one: one.waiting_external, right=True, wide=True),
    Column("completed", "COMPLETED/1H", lambda one: one.completed_last_hour, right=True),
    Column("workers", "WORKERS", lambda one: one.live_instances, right=True),
    Column("declared", "DECLARED", _declared, style=_drift_style),
    Column("about", "ABOUT", lambda one: one.description, width=1, wide=True),
)


def _schedule_note(one: CronJob) -> str:
    if one.problem is not None:
        return one.problem
    if one.paused_at is not None:
        return "paused"
    return "" if one.declared else "no process declares it"


SCHEDULES: Final[tuple[Column[CronJob], ...]] = (
    Column("name", "NAME", lambda one: one.name, width=12),
    Column("cron", "CRON", lambda one: one.cron_expr),
    Column("in_words", "IN WORDS", lambda one: in_words(one.cron_expr), width=12, wide=True),
    Column("timezone", "TIMEZONE", lambda one: one.timezone, width=3),
    Column("kind", "KIND", lambda one: one.kind, width=8),
    Column("queue", "QUEUE", lambda one: one.queue, width=6),
    Column("next", "NEXT", lambda one: age(one.next_fire_at), by=lambda one: one.next_fire_at),
    _ago("last", "LAST", lambda one: one.last_enqueued_at),
    Column("args", "ARGS", lambda one: json.dumps(one.args, ensure_ascii=False), wide=True),
    Column("missed", "MISSED", lambda one: one.missed_fire_policy, wide=True),
    Column("note", "NOTE", _schedule_note, width=1, style=lambda _: "yellow"),
)

FIRES: Final[tuple[Column[Fire], ...]] = (
    Column("local", "LOCAL", lambda one: one.local),
    Column("utc", "UTC", lambda one: f"{one.utc:%Y-%m-%dT%H:%M:%SZ}"),
    _ago("when", "WHEN", lambda one: one.utc),
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
    _ago("dead", "DEAD", lambda one: one.dead_at),
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
    _ago("when", "WHEN", lambda one: one.submitted_at),
    Column("by", "BY", lambda one: one.submitted_by, width=3, wide=True),
    Column("filter", "FILTER", lambda one: json.dumps(one.filter, ensure_ascii=False), width=1),
)


ACCESS: Final[tuple[Column[Entry], ...]] = (
    Column("name", "NAME", lambda one: one.name),
    Column("kind", "KIND", lambda one: one.kind),
    Column("scope", "SCOPE", lambda one: one.scope),
)

AUDIT: Final[tuple[Column[AuditEntry], ...]] = (
    Column("id", "ID", lambda one: one.id),
    _ago("when", "WHEN", lambda one: one.at),
    Column("who", "WHO", lambda one: one.actor, width=8),
    Column("via", "VIA", lambda one: one.via),
    Column("action", "ACTION", lambda one: one.action),
    Column("target", "TARGET", lambda one: one.target, width=8),
    Column("user", "USER", lambda one: one.database_user, wide=True),
    Column("from", "FROM", lambda one: one.address, wide=True),
    Column("detail", "DETAIL", lambda one: json.dumps(one.detail, ensure_ascii=False), width=1),
)

WORKERS: Final[tuple[Column[RuntimeInstance], ...]] = (
    Column("id", "ID", lambda one: one.instance_id, wide=True),
    Column("host", "HOST", lambda one: one.hostname, width=15),
    Column("pid", "PID", lambda one: one.pid, right=True),
    Column("version", "VERSION", lambda one: one.version, width=5),
    Column("app", "APP", lambda one: one.app_version or "", width=5),
    Column("state", "STATE", worker_state, style=lambda one: WORKER_STYLES[worker_state(one)]),
    Column("leader", "LEADER", lambda one: "yes" if one.leader and not one.stale else ""),
    Column(
        "in_flight",
        "IN FLIGHT",
        lambda one: sum(queue.get("in_flight", 0) for queue in one.queues),
        right=True,
    ),
    Column(
        "trouble",
        "TROUBLE",
        worker_trouble,
        style=lambda one: "" if worker_trouble(one) is None else "bold red",
        wide=True,
    ),
    _ago("up", "UP", lambda one: one.started_at),
    _ago("seen", "SEEN", lambda one: one.last_seen_at),
    Column(
        "queues", "QUEUES", lambda one: ",".join(queue["queue"] for queue in one.queues), width=1
    ),
)

FINDINGS: Final[tuple[Column[Finding], ...]] = (
    Column(
        "severity",
        "SEVERITY",
        lambda one: one.severity,
        style=lambda one: SEVERITY_STYLES[one.severity],
    ),
    Column("check", "CHECK", lambda one: one.check),
    Column("subject", "SUBJECT", lambda one: one.subject, width=8),
    Column("what", "WHAT", lambda one: one.what, width=20),
    Column("why", "WHY", lambda one: one.why, width=20, wide=True),
    Column("do", "DO", lambda one: one.do, width=1),
)
