"""The columns of queues and kinds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from awa_cli.views.columns import Column
from awa_cli.views.words import span

if TYPE_CHECKING:
    from awa_lib.reads.overviews import KindOverview, QueueOverview
    from awa_lib.reads.queues import QueueStat

__all__ = ["KINDS", "QUEUES", "QUEUE_OVERVIEWS"]


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
