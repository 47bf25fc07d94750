"""Schedules."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from awa_cli.access import Identity
from awa_cli.clock import now
from awa_cli.web.api.fields import Name, Ok, change
from awa_cli.web.endpoints import Routes
from awa_cli.web.json_schema import Rule
from awa_lib._sql import Op
from awa_lib.cron import CronExpression
from awa_lib.ops import cron
from awa_lib.reads.cron import CronJob, get_cron_job, list_cron_jobs
from awa_lib.reads.jobs import JobRow, job_row

__all__ = ["routes"]

routes = Routes("cron")

Zone = Annotated[str, Rule(maxLength=100, description="Default: that of the schedule.")]


@dataclass(frozen=True, slots=True)
class NextFire:
    """The time of a fire, in the time zone and in UTC."""

    local: str
    utc: datetime


@routes.get("/cron")
def listed() -> Op[list[CronJob]]:
    """List the schedules by name, each with its next fire."""
    return list_cron_jobs()


@routes.get("/cron/{name}")
def show(name: Name) -> Op[CronJob]:
    """Show a schedule."""
    return get_cron_job(name)


@routes.get("/cron/{name}/fires")
def fires(
    name: Name,
    *,
    count: Annotated[int, Rule(minimum=1, maximum=100)] = 5,
    zone: Zone | None = None,
) -> Op[list[NextFire]]:
    """List the next fires of a schedule, even if it is paused."""
    schedule = yield from get_cron_job(name)
    expression = CronExpression(schedule.cron_expr, schedule.timezone)
    shown = expression.zone if zone is None else CronExpression("* * * * *", zone).zone
    return [
        NextFire(moment.astimezone(shown).isoformat(), moment)
        for moment in expression.upcoming(now(), count)
    ]


@routes.post("/cron/{name}/trigger")
def trigger(who: Identity, name: Name) -> Op[JobRow]:
    """Enqueue the job of a schedule now, in addition to its fires, and return the job."""
    op = cron.trigger_cron_job(name)
    job = yield from change(who, "cron.trigger", name, op, outcome=lambda job: {"job_id": job.id})
    return (yield from job_row(job.id))


@routes.post("/cron/{name}/pause")
def pause(who: Identity, name: Name) -> Op[CronJob]:
    """Pause a schedule."""
    yield from change(who, "cron.pause", name, cron.pause_cron_job(name, who.name))
    return (yield from get_cron_job(name))


@routes.post("/cron/{name}/resume")
def resume(who: Identity, name: Name) -> Op[CronJob]:
    """Resume a schedule; it does not make up for missed fires."""
    yield from change(who, "cron.resume", name, cron.resume_cron_job(name))
    return (yield from get_cron_job(name))


@routes.post("/cron/{name}/remove")
def remove(who: Identity, name: Name) -> Op[Ok]:
    """Remove a schedule, until a worker that declares it starts."""
    yield from get_cron_job(name)
    yield from change(who, "cron.remove", name, cron.delete_cron_job(name))
    return Ok()
