"""The overview: alerts, jobs by state, charts, failures, queues, workers.

It has the same words as the overview of the monitor.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from awa_cli.views.alerts import find_alerts
from awa_cli.views.summary import fleet_words
from awa_cli.views.words import now
from awa_cli.web.api.overview import stats
from awa_cli.web.pages._charts import charts, last_hour, marks, window_of
from awa_cli.web.pages._failures import failure_rows, failure_time
from awa_cli.web.pages._queue_lines import hour_of_queues, queue_lines
from awa_cli.web.pages.render import at, read, render
from awa_lib.reads.dead_letters import dlq_depth
from awa_lib.reads.failures import ended_since
from awa_lib.reads.incidents import incidents
from awa_lib.reads.queues import queue_stats
from awa_lib.reads.runtime import runtime_instances

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from awa_cli.views.alerts import Alert
    from awa_cli.views.series import Window
    from awa_lib._sql import Op

__all__ = ["show"]

_FAILURES: Final = 8
_QUEUES: Final = 10
_HOUR: Final = timedelta(hours=1)


async def show(request: Request) -> Response:
    """Show the overview."""
    window = window_of(request)
    op = _read_overview(window)
    found = await read(request, op, cached=("overview", window.name))
    counts, queues, fleet, failures, dead, again, known, ends = found
    alerts = find_alerts(queues, fleet, known)
    return await render(
        request,
        "dashboard.html",
        part="parts/dashboard.html",
        counts=counts,
        dead=dead,
        hour=await last_hour(request),
        again=again,
        alerts=[(one, _page(one)) for one in alerts],
        lines=queue_lines(queues, fleet, alerts, ends)[:_QUEUES],
        failures=failures,
        failure_time=failure_time(window).words,
        fleet=fleet_words(fleet),
        charts=await charts(request),
        marks=marks(window, fleet, failures),
        window=window,
    )


def _page(alert: Alert) -> str:
    """Return the path of the page that shows an alert's cause."""
    nouns = {"queue": "queues", "failure": "failures"}
    if alert.page in nouns and alert.subject is not None:
        return at(nouns[alert.page], alert.subject)
    return at(alert.page)


def _read_overview(window: Window) -> Op[tuple[Any, ...]]:
    """Read everything in a single operation, which is cached."""
    counts = yield from stats()
    queues = yield from queue_stats()
    fleet = yield from runtime_instances()
    time = failure_time(window)
    failures = yield from failure_rows(time.begin, time.length, limit=_FAILURES)
    dead = yield from dlq_depth()
    again = (yield from ended_since(now() - _HOUR)).requeued
    known = yield from incidents()
    ends = yield from hour_of_queues()
    return counts, queues, fleet, failures, dead, again, known, ends
