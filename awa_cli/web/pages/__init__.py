"""The pages: server-rendered, live by htmx and the event stream, readable without JavaScript."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from awa_cli.web.pages import dashboard, queues

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

__all__ = ["routes"]

_STATIC = Path(__file__).parents[1] / "static"


def routes() -> list[BaseRoute]:
    """Return the routes of every page."""
    return [
        Route("/", dashboard.show),
        Route("/queues", queues.listed),
        Route("/queues/{queue:path}/pause", queues.pause, methods=["POST"]),
        Route("/queues/{queue:path}/resume", queues.resume, methods=["POST"]),
        Mount("/static", StaticFiles(directory=_STATIC)),
    ]
