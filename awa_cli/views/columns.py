"""The columns of tables, shared by the commands, the monitor and the web pages."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from awa_cli.views.cron import in_words
from awa_cli.views.states import SEVERITY_STYLES, WORKER_STYLES
from awa_cli.views.words import age
from awa_cli.views.workers import worker_state, worker_trouble

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from awa_cli.documents.reports import ContextRow, Entry, Fire
    from awa_lib.doctor import Finding
    from awa_lib.reads.audit import AuditEntry
    from awa_lib.reads.cron import CronJob
    from awa_lib.reads.runtime import RuntimeInstance

__all__ = [
    "ACCESS",
    "AUDIT",
    "CONTEXTS",
    "FINDINGS",
    "FIRES",
    "QUEUE_WORKERS",
    "SCHEDULES",
    "WORKERS",
    "Column",
    "ago",
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


def ago(key: str, title: str, get: Callable[[T], datetime | None]) -> Column[T]:
    """Return the column of a moment, shown as its age."""
    return Column(key, title, lambda one: age(get(one)), style=lambda _: "bright_black", by=get)


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
    ago("last", "LAST", lambda one: one.last_enqueued_at),
    Column("args", "ARGS", lambda one: json.dumps(one.args, ensure_ascii=False), wide=True),
    Column("missed", "MISSED", lambda one: one.missed_fire_policy, wide=True),
    Column("note", "NOTE", _schedule_note, width=1, style=lambda _: "yellow"),
)

FIRES: Final[tuple[Column[Fire], ...]] = (
    Column("local", "LOCAL", lambda one: one.local),
    Column("utc", "UTC", lambda one: f"{one.utc:%Y-%m-%dT%H:%M:%SZ}"),
    ago("when", "WHEN", lambda one: one.utc),
)


ACCESS: Final[tuple[Column[Entry], ...]] = (
    Column("name", "NAME", lambda one: one.name),
    Column("kind", "KIND", lambda one: one.kind),
    Column("scope", "SCOPE", lambda one: one.scope),
)

AUDIT: Final[tuple[Column[AuditEntry], ...]] = (
    Column("id", "ID", lambda one: one.id),
    ago("when", "WHEN", lambda one: one.at),
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
    ago("up", "UP", lambda one: one.started_at),
    ago("seen", "SEEN", lambda one: one.last_seen_at),
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
