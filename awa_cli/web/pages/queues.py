"""Queues."""

from __future__ import annotations

from typing import TYPE_CHECKING

from awa_cli.columns import QUEUES
from awa_cli.web import api
from awa_cli.web.guard import identity_of
from awa_cli.web.pages._render import act, at, read, render
from awa_lib.reads.queues import queue_stats

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

__all__ = ["listed", "pause", "resume"]


async def listed(request: Request) -> Response:
    """Answer with every queue; only the rows where htmx asks for them."""
    return await render(
        request,
        "queues.html",
        part="parts/queues.html",
        queues=await read(request, queue_stats()),
        columns=QUEUES,
        links={"QUEUE": lambda one: at("queues", one.queue)},
    )


async def pause(request: Request) -> Response:
    """Pause a queue."""
    queue = request.path_params["queue"]
    op = api.queues.pause(identity_of(request.scope), queue)
    return await act(request, op, "queue.pause", queue)


async def resume(request: Request) -> Response:
    """Let a queue go on."""
    queue = request.path_params["queue"]
    op = api.queues.resume(identity_of(request.scope), queue)
    return await act(request, op, "queue.resume", queue)
