"""Read schedules, with their next fire and what keeps them from firing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from awa_lib._sql import sql
from awa_lib.cron import CronExpression, ahead, begin, fault
from awa_lib.errors import ScheduleNotFound
from awa_lib.validation import name_of

if TYPE_CHECKING:
    from datetime import datetime

    from awa_lib._sql import Op

__all__ = ["CronJob", "get_cron_job", "list_cron_jobs"]


@dataclass(frozen=True, slots=True)
class CronJob:
    """One schedule."""

    name: str
    cron_expr: str
    timezone: str
    kind: str
    queue: str
    args: Any
    priority: int
    max_attempts: int
    tags: list[str]
    metadata: dict[str, Any]
    last_enqueued_at: datetime | None
    """The last fire that was enqueued."""
    created_at: datetime
    updated_at: datetime
    missed_fire_policy: str
    """``coalesce``: missed fires become one; ``catch_up``: each is made up for."""
    catch_up_limit: int
    """Most fires that are made up for."""
    jitter_seconds: float
    """Each job runs up to so much later."""
    paused_at: datetime | None
    paused_by: str | None
    declared_at: datetime | None
    """When a process last said that it has this schedule."""
    declared: bool
    """True while a live process of ours has it."""
    next_fire_at: datetime | None
    """None while paused, or when it cannot fire."""
    problem: str | None
    """Why it cannot fire, or not before a time that lies ahead; None when all is well."""


def list_cron_jobs(name: str | None = None) -> Op[list[CronJob]]:
    """Return every schedule, or the one with this name, by name.  Raises ValidationError."""
    if name is not None:
        name_of("name", name)
    rows = yield sql.read_cron("list_cron_jobs", name=name)
    return rows.into(_cron_job)


def get_cron_job(name: str) -> Op[CronJob]:
    """Return one schedule.  Raises ScheduleNotFound."""
    found = yield from list_cron_jobs(name)
    if not found:
        rows = yield sql.cron("removed_at", name=name)
        raise ScheduleNotFound(name, rows.scalar() if rows else None)
    return found[0]


def _cron_job(
    *, now: datetime, times_readable: bool, metadata_type: str, **columns: Any
) -> CronJob:
    found = CronJob(next_fire_at=None, problem=None, **columns)
    tags = len(found.tags or ())
    wrong = fault(found, tags=tags, metadata=metadata_type, times_readable=times_readable)
    if wrong is not None:
        return replace(found, problem=wrong)
    if found.paused_at is not None:
        return found
    future = ahead(found, now)
    expression = CronExpression.cached(found.cron_expr, found.timezone)
    after = now if future is None else begin(found)
    return replace(found, problem=future, next_fire_at=expression.next_after(after))
