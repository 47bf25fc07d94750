"""The web pages: rendered on the server, updated by htmx, readable without JavaScript."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import Mount, Route

from awa_cli.web.pages import (
    activity,
    audit,
    bulk,
    bulk_operations,
    cron,
    dashboard,
    dead_letters,
    dead_letters_bulk,
    doctor,
    failures,
    job,
    jobs,
    kinds,
    queue,
    queues,
    settings,
    storage,
    workers,
    workflow,
    workflow_changes,
    workflows,
)
from awa_cli.web.pages._static import Files

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.routing import BaseRoute

__all__ = ["routes"]

# A page contains its CSRF token, which compression could reveal to an attacker who controls a part
# of the page (BREACH).  But requests caused by another site carry no cookie (SameSite), so their
# pages contain a fresh token that is of no use.
_COMPRESSED: Final = [Middleware(GZipMiddleware, minimum_size=500, compresslevel=6)]


def routes() -> list[BaseRoute]:
    """Return the routes of every page."""
    static = Mount("/static", Files(), middleware=_COMPRESSED)
    return [*_nouns(), *_workflows(), *_operations(), static]


def _nouns() -> list[BaseRoute]:
    return [
        _get("/", dashboard.show),
        _get("/jobs", jobs.listed),
        _get("/jobs/complete", jobs.complete),
        _get("/jobs/bulk", bulk.ask),
        _post("/jobs/bulk", bulk.carry_out),
        _get("/jobs/{job_id:int}", job.show),
        _post("/jobs/{job_id:int}/retry", job.retry),
        _post("/jobs/{job_id:int}/cancel", job.cancel),
        _post("/jobs/{job_id:int}/delete", job.delete),
        _get("/queues", queues.listed),
        _get("/queues/{queue:name}", queue.show),
        _post("/queues/{queue:name}/pause", queue.pause),
        _post("/queues/{queue:name}/resume", queue.resume),
        _post("/queues/{queue:name}/cancel-waiting", queue.cancel_waiting),
        _post("/queues/{queue:name}/settings", settings.change),
        _post("/queues/{queue:name}/retry", queue.retry),
        _get("/kinds", kinds.listed),
        _get("/kinds/{kind:name}", kinds.show),
        _post("/kinds/{kind:name}/retry", kinds.retry),
    ]


def _workflows() -> list[BaseRoute]:
    one = "/workflows/{workflow_id:int}"
    return [
        _get("/workflows", workflows.listed),
        _get(one, workflow.show),
        _get(f"{one}/graph", workflow.graph),
        _post(f"{one}/cancel", workflow_changes.cancel),
        _get(f"{one}/retry", workflow_changes.ask_retry),
        _post(f"{one}/retry", workflow_changes.retry),
        _get(f"{one}/signal", workflow_changes.ask_signal),
        _post(f"{one}/signal", workflow_changes.signal),
    ]


def _operations() -> list[BaseRoute]:
    return [
        _get("/workers", workers.listed),
        _get("/workers/{instance_id}", workers.show),
        _get("/cron", cron.listed),
        _get("/cron/{name:name}", cron.show),
        _post("/cron/{name:name}/trigger", cron.trigger),
        _post("/cron/{name:name}/pause", cron.pause),
        _post("/cron/{name:name}/resume", cron.resume),
        _post("/cron/{name:name}/remove", cron.remove),
        _get("/activity", activity.show),
        _get("/dlq", dead_letters.listed),
        _get("/dlq/bulk", dead_letters_bulk.ask),
        _post("/dlq/bulk", dead_letters_bulk.carry_out),
        _get("/dlq/{job_id}", dead_letters.show),
        _post("/dlq/{job_id}/retry", dead_letters.retry),
        _post("/dlq/{job_id}/purge", dead_letters.purge),
        _get("/batches", bulk_operations.listed),
        _get("/batches/{operation_id}", bulk_operations.show),
        _post("/batches/{operation_id}/cancel", bulk_operations.cancel),
        _get("/failures", failures.listed),
        _get("/failures/{failure_id}", failures.show),
        _get("/failures/{failure_id}/retry", failures.ask),
        _post("/failures/{failure_id}/retry", failures.retry),
        _post("/failures/{failure_id}/mute", failures.mute),
        _post("/failures/{failure_id}/unmute", failures.unmute),
        _get("/doctor", doctor.show),
        _get("/storage", storage.show),
        _get("/storage/prepare", storage.ask),
        _post("/storage/prepare", storage.prepare),
        _post("/storage/abort", storage.abort),
        _get("/audit", audit.listed),
    ]


def _get(path: str, show: Callable[..., Any]) -> Route:
    return Route(path, show, middleware=_COMPRESSED)


def _post(path: str, act: Callable[..., Any]) -> Route:
    return Route(path, act, methods=["POST"])
