"""The pages of the schedules."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from awa_cli.filters.query import pairs_of
from awa_cli.views.columns import SCHEDULES, Column
from awa_cli.views.cron import in_words
from awa_cli.views.facts import schedule_facts
from awa_cli.views.job_columns import JOBS
from awa_cli.views.words import age, counted, now
from awa_cli.web import api
from awa_cli.web.pages._list_query import address
from awa_cli.web.pages.render import act, at, read, render
from awa_cli.web.pages.values import Source, answer
from awa_cli.web.scope import identity_of
from awa_lib.cron import CronExpression
from awa_lib.reads.cron import get_cron_job, list_cron_jobs
from awa_lib.reads.jobs import job_rows

if TYPE_CHECKING:
    from datetime import datetime

    from starlette.requests import Request
    from starlette.responses import Response

    from awa_lib.reads.cron import CronJob

__all__ = ["listed", "pause", "remove", "resume", "show", "trigger"]

# The list shows the schedule in words; the page of a schedule shows its expression.
_COLUMNS: Final = tuple(
    replace(one, wide=False if one.key == "in_words" else one.wide)
    for one in SCHEDULES
    if one.key not in {"cron", "timezone"}
)


def _next_local(one: CronJob) -> str | None:
    """Return the next fire by the clock of the schedule's zone: ``Tue 01 Dec, 03:00 CET``."""
    if one.next_fire_at is None or one.problem is not None:
        return None
    zone = CronExpression.cached(one.cron_expr, one.timezone).zone
    local = one.next_fire_at.astimezone(zone)
    return f"{local:%a %d %b, %H:%M %Z}"


_AT: Final[Column[CronJob]] = Column("at", "AT", _next_local)
_PLACE: Final = 1 + next(number for number, one in enumerate(_COLUMNS) if one.key == "next")
_LISTED: Final = (*_COLUMNS[:_PLACE], _AT, *_COLUMNS[_PLACE:])
_JOBS: Final = tuple(one for one in JOBS if one.key in {"id", "state", "att", "when", "note"})
_NEXT_FIRES: Final = 10
_LATEST_JOBS: Final = 10


@dataclass(frozen=True, slots=True)
class _Fire:
    """A future fire, and its local time in the time zone of the schedule."""

    at: datetime
    local: str
    far: bool
    """Whether it is in another year, which is then shown."""


async def listed(request: Request) -> Response:
    """List the schedules."""
    schedules = await read(request, list_cron_jobs())
    return await render(
        request,
        "cron.html",
        part="parts/cron.html",
        schedules=schedules,
        words=_words(schedules),
        columns=_LISTED,
        links={
            "name": lambda one: at("cron", one.name),
            "kind": lambda one: at("kinds", one.kind),
            "queue": lambda one: at("queues", one.queue),
        },
    )


def _words(schedules: list[CronJob]) -> list[str]:
    due = [(one.next_fire_at, one.name) for one in schedules if one.next_fire_at is not None]
    paused = sum(one.paused_at is not None for one in schedules)
    words = [counted(len(schedules), "schedule")]
    words += [f"{paused:,} paused"] if paused else []
    return words + ([f"next {min(due)[1]} {age(min(due)[0])}"] if due else [])


async def show(request: Request) -> Response:
    """Show a schedule; with ``?jobs``, only its latest jobs.

    The page loads the latest jobs last and only once: their query reads backwards through the jobs
    of the kind, which is slow for a schedule that rarely fires.
    """
    name = request.path_params["name"]
    schedule: CronJob = await read(request, get_cron_job(name))
    if "jobs" in request.query_params:
        return await _jobs(request, schedule)
    source = Source(f"Schedule {name}", at("cron", name))
    if "value" in request.query_params:
        return await answer(request, source, {"args": schedule.args})
    fires, problem = _fires(schedule)
    words = in_words(schedule.cron_expr)
    return await render(
        request,
        "schedule.html",
        part="parts/schedule.html",
        schedule=schedule,
        source=source,
        values={"args": schedule.args},
        url=source.address,
        command=f"awa cron show {shlex.quote(name)}",
        next_command=f"awa cron next {shlex.quote(name)} -n {_NEXT_FIRES}",
        words=words[:1].upper() + words[1:] if words != schedule.cron_expr else None,
        facts=[one for one in schedule_facts(schedule) if one[0] not in {"in words", "paused"}],
        fires=fires,
        next_local=_next_local(schedule),
        problem=problem,
        jobs=_address(schedule),
        failed=_address(schedule, state=["failed"]),
    )


def _fires(schedule: CronJob) -> tuple[list[_Fire], str | None]:
    """Return the next fires, even of a paused schedule, or the reason why there are none."""
    if schedule.problem is not None:
        return [], schedule.problem
    expression = CronExpression.cached(schedule.cron_expr, schedule.timezone)
    today = now().astimezone(expression.zone)
    fires = []
    for one in expression.upcoming(now(), _NEXT_FIRES):
        local = one.astimezone(expression.zone)
        far = local.year != today.year
        day = f"{local:%d %b %Y}" if far else f"{local:%a %d %b}"
        fires.append(_Fire(one, f"{day}, {local:%H:%M:%S %Z}", far))
    return fires, None


def _address(schedule: CronJob, **more: Any) -> str:
    where = pairs_of({"metadata": {"cron_name": schedule.name}})
    return address({**more, "where": [text for _, text in where]})


async def _jobs(request: Request, schedule: CronJob) -> Response:
    op = job_rows(
        kind=schedule.kind,
        queue=schedule.queue,
        metadata={"cron_name": schedule.name},
        limit=_LATEST_JOBS,
    )
    return await render(
        request,
        "parts/schedule_jobs.html",
        rows=await read(request, op),
        columns=_JOBS,
        links={"id": lambda job: at("jobs", job.id)},
    )


async def trigger(request: Request) -> Response:
    """Enqueue the job of the schedule now."""
    name = request.path_params["name"]
    op = api.cron.trigger(identity_of(request.scope), name)
    return await act(request, op, "cron.trigger", name)


async def pause(request: Request) -> Response:
    """Pause the schedule."""
    name = request.path_params["name"]
    return await act(request, api.cron.pause(identity_of(request.scope), name), "cron.pause", name)


async def resume(request: Request) -> Response:
    """Resume the schedule."""
    name = request.path_params["name"]
    op = api.cron.resume(identity_of(request.scope), name)
    return await act(request, op, "cron.resume", name)


async def remove(request: Request) -> Response:
    """Remove the schedule, and go to the list of schedules."""
    name = request.path_params["name"]
    op = api.cron.remove(identity_of(request.scope), name)
    return await act(request, op, "cron.remove", name, go=at("cron"))
