"""Worker processes."""

from __future__ import annotations

from awa_cli.web.api.fields import Text
from awa_cli.web.endpoints import Routes
from awa_lib._sql import Op
from awa_lib.errors import NotFound
from awa_lib.reads.runtime import (
    RuntimeInstance,
    RuntimeOverview,
    runtime_instances,
    runtime_overview,
)

__all__ = ["routes"]

routes = Routes("workers")


@routes.get("/runtime", cached=True)
def overview() -> Op[RuntimeOverview]:
    """List the worker processes of the last day, with their counts by role."""
    return runtime_overview()


@routes.get("/runtime/{instance_id}")
def show(instance_id: Text) -> Op[RuntimeInstance]:
    """Show a worker process."""
    for one in (yield from runtime_instances()):
        if one.instance_id == instance_id:
            return one
    raise NotFound(
        f"worker not found: {instance_id}",
        why="no worker process of the last day has this id",
        hint="list workers: awa workers --all -o wide",
    )
