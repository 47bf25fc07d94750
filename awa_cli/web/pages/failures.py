"""The pages of failures: the list, one of them, and the dialog that retries it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from awa_cli.filters.query import Read
from awa_cli.filters.spelling import QUERY_STRING
from awa_cli.views.actions import ACTIONS
from awa_cli.views.failures import title_of
from awa_cli.views.words import counted, now
from awa_cli.web import api
from awa_cli.web.api.fields import Name, When
from awa_cli.web.pages._charts import failure_chart, window_of
from awa_cli.web.pages._failures import FailureRow, failure_rows
from awa_cli.web.pages._list_query import FormField, address, list_query, parameters
from awa_cli.web.pages.render import act, at, read, render, report
from awa_cli.web.scope import identity_of
from awa_lib.errors import InvalidInput
from awa_lib.reads.failures import failure_details

if TYPE_CHECKING:
    from datetime import datetime

    from starlette.requests import Request
    from starlette.responses import Response

    from awa_cli.web.pages._list_query import ListQuery
    from awa_cli.web.state import State

__all__ = ["ask", "listed", "mute", "retry", "show", "unmute"]

_PARAMETERS: Final = parameters({"since": When, "kind": Name, "queue": Name, "muted": bool})
_SPANS: Final = ("1h", "24h", "7d", "30d")
_DEFAULT: Final = "24h"
_LIMIT: Final = 100
_SHORTEST: Final = timedelta(minutes=1)


async def listed(request: Request) -> Response:
    """List the failures since a time."""
    listing = list_query(request, "/failures", _PARAMETERS)
    rows: list[FailureRow] = []
    if listing.problem is None:
        try:
            begin = _begin(listing.given("since") or _DEFAULT)
        except InvalidInput as error:
            listing = replace(listing, problem=error)
        else:
            values = {key: listing.values.get(key) for key in ("queue", "kind")}
            muted = bool(listing.values.get("muted"))
            length = max(now() - begin, _SHORTEST)
            op = failure_rows(begin, length, muted=muted, limit=_LIMIT, **values)
            rows = await read(request, op)
    return await render(
        request,
        "failures.html",
        422 if listing.problem else 200,
        part="parts/failures.html",
        listing=listing,
        fields=await _fields(request),
        spans=[(name, listing.link(since=name)) for name in _SPANS],
        since=listing.given("since") or _DEFAULT,
        muted_link=listing.link(muted=None if listing.values.get("muted") else "true"),
        muted=bool(listing.values.get("muted")),
        command=_command(listing),
        rows=rows,
        limit=_LIMIT,
    )


def _begin(since: str) -> datetime:
    found: Any = QUERY_STRING.read([("since", since)], Read.AUDIT)
    begin: datetime = found["since"]
    return begin


def _command(listing: ListQuery) -> str:
    command = listing.command("awa failure list")
    return command.replace(" --muted true", " --muted").replace(" --muted false", "")


async def _fields(request: Request) -> list[FormField]:
    kinds = await read(request, api.overview.kinds(), cached="names of kind")
    queues = await read(request, api.overview.queues(), cached="names of queue")
    return [FormField("kind", "send_email", kinds), FormField("queue", "email", queues)]


async def show(request: Request) -> Response:
    """Show a failure: its counts, where it happens, and its latest jobs."""
    failure_id = request.path_params["failure_id"]
    details = await read(request, failure_details(failure_id))
    one = details.failure
    window = window_of(request, "24h")
    return await render(
        request,
        "failure.html",
        part="parts/failure.html",
        failure=one,
        example=details.example,
        title=title_of(one),
        jobs=details.jobs,
        url=at("failures", one.id),
        all_jobs=address({"failure": one.id}),
        all_dead=address({"failure": one.id}, "/dlq"),
        charts=[await failure_chart(request, one.id, window)],
        window=window,
        marks=[],
        commands=_commands(details),
    )


def _commands(details: Any) -> list[str]:
    one = details.failure
    mute = "unmute" if one.muted_until else "mute"
    return [
        f"awa failure show {one.id}",
        f"awa failure retry {one.id}",
        f"awa failure {mute} {one.id}",
    ]


async def ask(request: Request) -> Response:
    """Show the dialog that retries a failure: how many jobs and dead letters, and which."""
    failure_id = request.path_params["failure_id"]
    found = await read(request, api.failures.preview(failure_id))
    return await render(
        request,
        "parts/failure_retry.html",
        action=ACTIONS["failure.retry"],
        found=found,
        things=_things(found.jobs, found.dead_letters),
        url=at("failures", failure_id, "retry"),
    )


def _things(jobs: int, dead: int) -> str:
    """Write ``2,000 jobs and 3 dead letters``."""
    parts = [counted(jobs, "failed job")] if jobs or not dead else []
    return " and ".join([*parts, *([counted(dead, "dead letter")] if dead else [])])


async def retry(request: Request) -> Response:
    """Retry the jobs and dead letters of a failure."""
    state: State = request.app.state.awa
    who = identity_of(request.scope)
    await state.require_operate(who)
    try:
        done = await state.run(api.failures.retry(who, request.path_params["failure_id"]))
    finally:
        state.cache.clear()
    if done.operation is None:
        return report(f"Retried {counted(done.dead_letters, 'dead letter')}")
    things = _things(done.operation.total_matched, done.dead_letters)
    return report(f"Retrying {things}", to=at("batches", done.operation.id))


async def mute(request: Request) -> Response:
    """Leave the failure out of lists for 7 days."""
    failure_id = request.path_params["failure_id"]
    op = api.failures.mute(identity_of(request.scope), failure_id)
    return await act(request, op, "failure.mute", failure_id)


async def unmute(request: Request) -> Response:
    """Show the failure in lists again."""
    failure_id = request.path_params["failure_id"]
    op = api.failures.unmute(identity_of(request.scope), failure_id)
    return await act(request, op, "failure.unmute", failure_id)
