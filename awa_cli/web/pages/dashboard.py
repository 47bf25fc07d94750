"""The overview: alerts, jobs by state, charts, busiest queues, latest failures, workers.

It has the same reads and words as the overview of the monitor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from awa_cli.views.alerts import find_alerts
from awa_cli.views.columns import FAILURES, SUMMARY_QUEUES
from awa_cli.views.summary import busiest, fleet_words
from awa_cli.web.api.overview import stats
from awa_cli.web.pages._charts import charts, window_of
from awa_cli.web.pages.render import at, read, render
from awa_lib.reads.queues import queue_stats
from awa_lib.reads.runtime import runtime_instances
from awa_lib.reads.statistics import latest_failures

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from awa_lib._sql import Op

__all__ = ["show"]

_FAILURES = 12
_QUEUES = 10


async def show(request: Request) -> Response:
    """Show the overview."""
    counts, queues, fleet, failures = await read(request, _read_overview(), cached="overview")
    return await render(
        request,
        "dashboard.html",
        part="parts/dashboard.html",
        counts=counts,
        alerts=find_alerts(queues, fleet),
        queues=busiest(queues)[:_QUEUES],
        queue_columns=SUMMARY_QUEUES,
        queue_links={"queue": lambda one: at("queues", one.queue)},
        failures=failures,
        failure_columns=FAILURES,
        failure_links={"id": lambda one: at("jobs", one.id)},
        fleet=fleet_words(fleet),
        charts=await charts(request),
        window=window_of(request),
    )


def _read_overview() -> Op[tuple[Any, ...]]:
    """Read everything in a single operation, which is cached."""
    counts = yield from stats()
    queues = yield from queue_stats()
    fleet = yield from runtime_instances()
    failures = yield from latest_failures(_FAILURES)
    return counts, queues, fleet, failures
