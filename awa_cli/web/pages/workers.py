"""The pages of the worker processes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from awa_cli.views.columns import WORKERS
from awa_cli.views.summary import fleet_words
from awa_cli.views.words import counted
from awa_cli.views.workers import LOOPS, is_recent, silence, worker_name
from awa_cli.web import api
from awa_cli.web.pages.render import at, read, render
from awa_lib.reads.runtime import runtime_instances

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from awa_lib.reads.runtime import RuntimeInstance

__all__ = ["listed", "show"]


def _pid(one: RuntimeInstance) -> str:
    return str(one.pid)


# Shows what is wrong, but no id, which is in the link.  A pid takes no thousands separator.
_COLUMNS: Final = tuple(
    replace(one, wide=one.key == "id", get=_pid if one.key == "pid" else one.get) for one in WORKERS
)
_STATE: Final = next(one for one in WORKERS if one.key == "state")
# What needs a look comes first.
_ORDER: Final = ("silent", "degraded", "stopping", "healthy", "stopped")


async def listed(request: Request) -> Response:
    """List the worker processes, those in trouble first.

    ``all=yes`` adds those of the last day that have stopped, and those whose silence is no news.
    """
    everything = request.query_params.get("all") == "yes"
    found: list[RuntimeInstance] = await read(request, runtime_instances())
    shown = [one for one in found if everything or (is_recent(one) and not one.stopped)]
    fleet = sorted(shown, key=lambda one: _ORDER.index(_STATE.get(one)))
    return await render(
        request,
        "workers.html",
        part="parts/workers.html",
        fleet=fleet,
        everything=everything,
        left_out=len(found) - len(shown),
        words=fleet_words(found) if found else [],
        columns=_COLUMNS,
        links={"host": _address, "pid": _address},
    )


def _address(one: RuntimeInstance) -> str:
    return at("workers", one.instance_id)


async def show(request: Request) -> Response:
    """Show a worker process."""
    worker: RuntimeInstance = await read(
        request, api.workers.show(request.path_params["instance_id"])
    )
    return await render(
        request,
        "worker.html",
        part="parts/worker.html",
        worker=worker,
        name=worker_name(worker),
        silence=silence(worker) if worker.silent else None,
        state=_STATE,
        loops=[(name, getattr(worker, field)) for name, field in LOOPS.items()],
        queues=[
            (str(one.get("queue")), one.get("in_flight", 0), one.get("config", {}))
            for one in worker.queues
        ],
        facts=[
            ("id", worker.instance_id),
            ("awa", worker.version),
            ("application", worker.app_version),
            ("seen", worker.last_seen_at),
            ("started", worker.started_at),
            ("storage", worker.storage_capability.replace("_", " ")),
            ("at most", counted(limit) if (limit := worker.global_max_workers) else None),
        ],
    )
