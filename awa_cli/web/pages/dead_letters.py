"""The pages of the dead letters."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from awa_cli.filters.query import Read
from awa_cli.views.job_columns import DEAD_LETTERS
from awa_cli.web import api
from awa_cli.web.api.fields import BeforeId, JobId
from awa_cli.web.json_schema import Schemas, from_text
from awa_cli.web.pages._list_query import LIMIT, FormField, list_query, parameters, split_older
from awa_cli.web.pages.render import act, at, read, render
from awa_cli.web.pages.values import Source, answer
from awa_cli.web.scope import identity_of
from awa_lib.reads.dead_letters import (
    DeadLetter,
    dead_letter,
    dead_letters,
    dlq_depth_by_queue,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from awa_cli.web.pages._list_query import ListQuery
    from awa_lib._sql import Op

__all__ = ["listed", "purge", "retry", "show"]

_PARAMETERS: Final = parameters({"before_id": BeforeId})
_MAX_QUEUE_CHIPS: Final = 12


async def listed(request: Request) -> Response:
    """List the dead letters that match the filter."""
    listing = list_query(request, "/dlq", _PARAMETERS, Read.DEAD_LETTERS)
    found, depth = await read(request, _read_list(listing))
    rows, older = split_older(listing, found)
    queues = sorted(depth, key=lambda queue: (-depth[queue], queue))
    return await render(
        request,
        "dead_letters.html",
        422 if listing.problem else 200,
        part="parts/dead_letters.html",
        listing=listing,
        fields=[
            FormField("kind", "send_email", await _kinds(request)),
            FormField("queue", "email", queues),
            FormField("tag", "customer-42"),
        ],
        dead_letters=rows,
        older=older,
        total=sum(depth.values()),
        chips=[(queue, depth[queue]) for queue in queues[:_MAX_QUEUE_CHIPS]],
        columns=DEAD_LETTERS,
        links={
            "id": lambda one: at("dlq", one.id),
            "kind": lambda one: listing.link(kind=one.kind),
            "queue": lambda one: listing.link(queue=one.queue),
        },
        key=lambda one: one.id,
    )


def _read_list(listing: ListQuery) -> Op[tuple[list[DeadLetter], dict[str, int]]]:
    depth = yield from dlq_depth_by_queue()
    if listing.problem is not None:
        return [], depth
    where: Any = listing.query
    found = yield from dead_letters(before_id=listing.before_id, limit=LIMIT + 1, **where)
    return found, depth


async def _kinds(request: Request) -> Any:
    return await read(request, api.overview.kinds(), cached="names of kind")


async def show(request: Request) -> Response:
    """Show a dead letter and its failed attempts."""
    found: DeadLetter = await read(request, dead_letter(_id(request)))
    progress = found.progress or {}
    source = Source(f"Dead letter {found.id}", at("dlq", found.id))
    values = {
        "args": found.args,
        "metadata": found.metadata,
        "checkpoint": progress.get("metadata"),
    }
    if "value" in request.query_params:
        return await answer(request, source, values)
    return await render(
        request,
        "dead_letter.html",
        dead_letter=found,
        failures=[_failure(entry) for entry in reversed(found.errors)],
        percent=progress.get("percent"),
        message=progress.get("message"),
        checkpoint=progress.get("metadata"),
        source=source,
        values=values,
        commands=[
            f"awa dlq show {found.id}",
            f"awa dlq retry {found.id}",
            f"awa dlq purge {found.id}",
        ],
    )


def _failure(entry: Mapping[str, Any]) -> tuple[object, datetime | None, str]:
    """Return (attempt, time, text) of an error entry, whose contents are not validated."""
    moment = None
    with suppress(ValueError):
        moment = datetime.fromisoformat(str(entry.get("at")))
    return entry.get("attempt", "?"), moment, str(entry.get("error", ""))


def _id(request: Request) -> int:
    schema = Schemas().of(JobId)
    return int(from_text(schema, [request.path_params["job_id"]], "the id"))


async def retry(request: Request) -> Response:
    """Retry the dead letter, and go to its job."""
    job_id = _id(request)
    op = api.dead_letters.retry(identity_of(request.scope), job_id)
    return await act(request, op, "dlq.retry", job_id, go=at("jobs", job_id))


async def purge(request: Request) -> Response:
    """Delete the dead letter, and go to the list of dead letters."""
    job_id = _id(request)
    op = api.dead_letters.purge(identity_of(request.scope), job_id)
    return await act(request, op, "dlq.purge", job_id, go=at("dlq"))
