"""Schedules."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

from awa_cli.web.access import Identity
from awa_cli.web.api._fields import Name, Ok, change
from awa_cli.web.endpoints import Routes
from awa_cli.web.json_schema import Rule
from awa_lib._sql import Op
from awa_lib.cron import CronExpression
from awa_lib.ops import cron
from awa_lib.reads.cron import CronJob, get_cron_job, list_cron_jobs
from awa_lib.reads.jobs import JobRow, job_row

__all__ = ["routes"]

routes = Routes("cron")

Zone = Annotated[str, Rule(maxLength=100, description="A time zone; the schedule's by default.")]


@dataclass(frozen=True, slots=True)
class NextFire:
    """A fire to come: as clocks of the zone show it, and in UTC."""

    local: str
    utc: datetime


@routes.get("/cron")
def listed() -> Op[list[CronJob]]:
    """Every schedule, by name, with its next fire."""
    return list_cron_jobs()


@routes.get("/cron/{name}")
def show(name: Name) -> Op[CronJob]:
    """One schedule."""
    return get_cron_job(name)


@routes.get("/cron/{name}/fires")
def fires(
    name: Name,
    *,
    count: Annotated[int, Rule(minimum=1, maximum=100)] = 5,
    zone: Zone | None = None,
) -> Op[list[NextFire]]:
    """The next fires of a schedule, also of a paused one."""
    found = yield from get_cron_job(name)
    expression = CronExpression(found.cron_expr, found.timezone)
    shown = expression.zone if zone is None else CronExpression("* * * * *", zone).zone
    return [
        NextFire(moment.astimezone(shown).isoformat(), moment)
        for moment in expression.upcoming(datetime.now(UTC), count)
    ]


@routes.post("/cron/{name}/trigger")
def trigger(who: Identity, name: Name) -> Op[JobRow]:
    """Enqueue the job of a schedule now, beside its fires, and return it."""
    op = cron.trigger_cron_job(name)
    job = yield from change(who, "cron.trigger", name, op, outcome=lambda job: {"job_id": job.id})
    return (yield from job_row(job.id))


@routes.post("/cron/{name}/pause")
def pause(who: Identity, name: Name) -> Op[CronJob]:
    """Keep a schedule from firing."""
    yield from change(who, "cron.pause", name, cron.pause_cron_job(name, who.name))
    return (yield from get_cron_job(name))


@routes.post("/cron/{name}/resume")
def resume(who: Identity, name: Name) -> Op[CronJob]:
    """Let a schedule fire again from now on."""
    yield from change(who, "cron.resume", name, cron.resume_cron_job(name))
    return (yield from get_cron_job(name))


@routes.post("/cron/{name}/remove")
def remove(who: Identity, name: Name) -> Op[Ok]:
    """Remove a schedule; it comes back when a process that declares it starts."""
    yield from get_cron_job(name)
    yield from change(who, "cron.remove", name, cron.delete_cron_job(name))
    return Ok()
