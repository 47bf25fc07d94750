"""The list of queues."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from awa_cli.views.alerts import find_alerts
from awa_cli.views.summary import queue_words
from awa_cli.web.pages._queue_lines import hour_of_queues, queue_lines
from awa_cli.web.pages.render import read, render
from awa_lib.reads.incidents import incidents
from awa_lib.reads.queues import queue_stats
from awa_lib.reads.runtime import runtime_instances

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from awa_lib._sql import Op

__all__ = ["listed"]


async def listed(request: Request) -> Response:
    """List the queues, those in trouble first."""
    queues, fleet, found, hour = await read(request, _read_queues())
    return await render(
        request,
        "queues.html",
        part="parts/queues.html",
        lines=queue_lines(queues, fleet, find_alerts(queues, fleet, found), hour),
        words=queue_words(queues),
    )


def _read_queues() -> Op[tuple[Any, ...]]:
    queues = yield from queue_stats()
    fleet = yield from runtime_instances()
    found = yield from incidents()
    hour = yield from hour_of_queues()
    return queues, fleet, found, hour
