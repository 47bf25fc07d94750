"""The list of queues."""

from __future__ import annotations

from typing import TYPE_CHECKING

from awa_cli.views.columns import QUEUES
from awa_cli.views.summary import queue_words
from awa_cli.web.pages._links import counted_links
from awa_cli.web.pages.render import at, read, render
from awa_lib.reads.queues import queue_stats

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

__all__ = ["listed"]


async def listed(request: Request) -> Response:
    """List the queues."""
    queues = await read(request, queue_stats())
    return await render(
        request,
        "queues.html",
        part="parts/queues.html",
        queues=queues,
        words=queue_words(queues),
        columns=QUEUES,
        links={"queue": lambda one: at("queues", one.queue), **counted_links("queue")},
    )
