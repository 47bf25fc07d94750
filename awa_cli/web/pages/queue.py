"""The page of a queue: jobs, throughput, workers and settings, updated live."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any, Final

from awa_cli.views.columns import QUEUE_WORKERS
from awa_cli.views.facts import declared_facts, named_facts
from awa_cli.web import api
from awa_cli.web.pages import settings
from awa_cli.web.pages._charts import charts, marks, window_of
from awa_cli.web.pages._failures import failure_rows, failure_time
from awa_cli.web.pages._links import tiles
from awa_cli.web.pages._list_query import address
from awa_cli.web.pages.render import act, at, read, render
from awa_cli.web.scope import identity_of
from awa_lib.reads.overviews import queue_details

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from awa_cli.views.series import Window
    from awa_cli.web.pages._failures import FailureRow
    from awa_lib._sql import Op
    from awa_lib.reads.overviews import QueueDetails

__all__ = ["cancel_waiting", "pause", "resume", "retry", "show"]

_FAILURES: Final = 20


async def show(request: Request) -> Response:
    """Show a queue; with ``?settings``, only the dialog of its settings."""
    name = request.path_params["queue"]
    if "settings" in request.query_params:
        return await settings.ask(request)
    window = window_of(request)
    details, failures = await read(request, _read_queue(name, window))
    queue = details.overview
    workers = _workers(details)
    return await render(
        request,
        "queue.html",
        part="parts/queue.html",
        queue=queue,
        url=at("queues", name),
        command=f"awa queue show {shlex.quote(name)}",
        facts=declared_facts(queue),
        tiles=tiles("queue", queue),
        jobs=address({"queue": [name]}),
        dead_letters=details.dead_letters,
        settings=named_facts(details.policy),
        workers=workers,
        worker_columns=QUEUE_WORKERS,
        worker_links={"worker": lambda one: at("workers", one[3])},
        in_flight=sum(one[2].get("in_flight", 0) for one in workers),
        capacity=sum(one[2].get("config", {}).get("max_workers") or 0 for one in workers),
        failures=failures,
        failure_time=failure_time(window).words,
        charts=await charts(request, queue=name),
        marks=marks(window, details.workers, failures),
        window=window,
    )


def _read_queue(name: str, window: Window) -> Op[tuple[QueueDetails, list[FailureRow]]]:
    details = yield from queue_details(name)
    time = failure_time(window)
    failures = yield from failure_rows(time.begin, time.length, queue=name, limit=_FAILURES)
    return details, failures


def _workers(details: QueueDetails) -> list[tuple[str, str, dict[str, Any], str]]:
    """Return (worker, version, queue entry, instance id) for each worker of the queue."""
    return [
        (f"{one.hostname or ''}:{one.pid}", one.version, work, one.instance_id)
        for one in details.workers
        for work in one.queues
        if work.get("queue") == details.overview.queue
    ]


async def pause(request: Request) -> Response:
    """Pause the queue."""
    queue = request.path_params["queue"]
    op = api.queues.pause(identity_of(request.scope), queue)
    return await act(request, op, "queue.pause", queue)


async def resume(request: Request) -> Response:
    """Resume the queue."""
    queue = request.path_params["queue"]
    op = api.queues.resume(identity_of(request.scope), queue)
    return await act(request, op, "queue.resume", queue)


async def cancel_waiting(request: Request) -> Response:
    """Cancel the jobs of the queue that wait."""
    queue = request.path_params["queue"]
    op = api.queues.cancel_waiting(identity_of(request.scope), queue)
    return await act(request, op, "queue.cancel-waiting", f"the waiting jobs of queue '{queue}'")


async def retry(request: Request) -> Response:
    """Retry the failed jobs of the queue."""
    queue = request.path_params["queue"]
    op = api.jobs.retry_failed(identity_of(request.scope), queue=queue)
    return await act(request, op, "job.retry-failed", f"queue {queue}")
