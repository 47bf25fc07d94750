"""Queues."""

from __future__ import annotations

from typing import TYPE_CHECKING

from awa_cli.columns import QUEUES
from awa_cli.web import api
from awa_cli.web.guard import identity_of
from awa_cli.web.pages._render import change, read, render
from awa_lib.reads.overviews import queue_details
from awa_lib.reads.queues import queue_stats

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

__all__ = ["listed", "pause", "resume"]


async def listed(request: Request) -> Response:
    """Answer with every queue; only the rows where htmx asks for them."""
    rows = await read(request, queue_stats())
    part = "HX-Request" in request.headers
    template = "parts/queue_rows.html" if part else "queues.html"
    return await render(request, template, queues=rows, columns=QUEUES)


async def pause(request: Request) -> Response:
    """Pause a queue, and answer with its row."""
    return await _set(request, api.queues.pause)


async def resume(request: Request) -> Response:
    """Let a queue go on, and answer with its row."""
    return await _set(request, api.queues.resume)


async def _set(request: Request, call: object) -> Response:
    queue = request.path_params["queue"]
    await change(request, call(identity_of(request.scope), queue))  # type: ignore[operator]
    found = await read(request, queue_details(queue))
    return await render(request, "parts/queue_rows.html", queues=[found.overview], columns=QUEUES)
