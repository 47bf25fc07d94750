"""The routes of the API, pages, live events and metrics: all but those of probes.

Loaded after the server listens, so that no probe waits for 100 ms of imports.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route, Router

from awa_cli.web import api, pages
from awa_cli.web.dispatch import Api, dumps
from awa_cli.web.json_schema import unknown
from awa_cli.web.path_names import Below
from awa_cli.web.problems import Refused
from awa_cli.web.scope import root_of

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from awa_cli.web.endpoints import Table
    from awa_cli.web.events import Hub
    from awa_cli.web.state import State

__all__ = ["all_routes", "callback_routes"]


def all_routes(state: State, hub: Hub) -> Router:
    """Return the routes of the API and the pages."""
    table = api.table()
    return Router(
        [
            Route("/api/openapi.json", _Document(table)),
            Route("/api/events", _Events(hub)),
            Below("/api", Api(state, table)),
            Route("/metrics", _metrics),
            *pages.routes(),
        ],
        # A redirect would go to the host of the Host header.
        redirect_slashes=False,
    )


def callback_routes(state: State, prefix: str) -> Router:
    """Return the endpoints of callbacks only."""
    callbacks = Api(state, api.callback_table(), below=("callbacks",))
    return Router([Below(prefix, callbacks)], redirect_slashes=False)


class _Document:
    """The OpenAPI document, encoded at the first request for each place of the server."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._root, self._text = "", b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        _only_get(scope)
        root = root_of(scope)
        if not self._text or root != self._root:
            from awa_cli.web.openapi import document

            # The last one is kept: a server is nearly always called at one place.
            self._root, self._text = root, dumps(document(self._table, root)).encode()
        headers = {"Cache-Control": "no-cache"}
        await Response(self._text, 200, headers, "application/json")(scope, receive, send)


class _Events:
    """The stream of live events."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        _only_get(scope)
        pairs = Request(scope).query_params.multi_items()
        for name, _ in pairs:
            if name != "topic":
                raise unknown(f"there is no parameter {name!r}", name, ["topic"])
        topics = self._hub.check([topic for _, topic in pairs])
        # X-Accel-Buffering: a proxy must not buffer the stream.
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        events = self._hub.watch(topics)
        stream = StreamingResponse(events, 200, headers, "text/event-stream")
        await stream(scope, receive, send)


def _only_get(scope: Scope) -> None:
    if scope["method"] not in {"GET", "HEAD"}:
        what = f"this path does not accept {scope['method']}"
        raise Refused(405, what, "it accepts GET", headers={"Allow": "GET, HEAD"})


async def _metrics(request: Request) -> Response:
    from awa_cli.web.metrics import CONTENT_TYPE, exposition

    state: State = request.app.state.awa
    text: str = await state.scrapes.get("metrics", lambda: exposition(state))
    return Response(text, 200, {"Cache-Control": "no-store"}, CONTENT_TYPE)
