"""The application: its parts put together."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route

from awa_cli.web import api, pages
from awa_cli.web.access import Identity
from awa_cli.web.contract import unknown
from awa_cli.web.dispatch import Api, dumps
from awa_cli.web.events import Hub
from awa_cli.web.guard import Guard
from awa_cli.web.health import readiness
from awa_cli.web.problems import Refused, answer
from awa_cli.web.settings import Settings
from awa_cli.web.state import State

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from starlette.routing import BaseRoute
    from starlette.types import Receive, Scope, Send

    from awa_cli.web.route import Table

__all__ = ["callback_app", "create_app"]


def create_app(
    database_url: str,
    settings: Settings | None = None,
    *,
    user: Callable[[Scope], Identity | None] | None = None,
) -> Starlette:
    """Return the server as an ASGI application, to run or to mount in another one.

    Nothing connects before the first request.  Without ``settings.access`` only requests from
    this machine are taken; an application with users of its own passes ``user``, which is given
    the scope of each request and returns who that is, or None for nobody.
    """
    settings = settings or Settings()
    table = api.table()

    def routes(state: State, hub: Hub) -> list[BaseRoute]:
        return [
            Route("/api/openapi.json", _Document(table)),
            Route("/api/events", _Events(hub)),
            Mount("/api", Api(state, table)),
            Route("/metrics", _metrics),
            *pages.routes(),
        ]

    return _build(database_url, settings, routes, "/api/callbacks", user)


def callback_app(
    database_url: str, settings: Settings, *, prefix: str = "/api/callbacks"
) -> Starlette:
    """Return what takes callbacks below ``prefix``, and nothing else."""
    table = api.callback_table()

    def routes(state: State, _: Hub) -> list[BaseRoute]:
        return [Mount(prefix, Api(state, table, below=("callbacks",)))]

    # Without a secret whoever knows an id may answer, as the command line has said.
    anybody = Identity("anybody", "operate", "signature")
    return _build(database_url, settings, routes, prefix, lambda _: anybody)


def _build(
    database_url: str,
    settings: Settings,
    routes: Callable[[State, Hub], list[BaseRoute]],
    callbacks: str,
    user: Callable[[Scope], Identity | None] | None,
) -> Starlette:
    state = State(database_url, settings)
    hub = Hub(state)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        hub.close()
        await state.close()

    def signed(path: str) -> bool:
        return settings.secret is not None and path.startswith(f"{callbacks}/")

    app = Starlette(
        routes=[*routes(state, hub), Route("/healthz", _alive), Route("/readyz", _ready)],
        middleware=[Middleware(Guard, settings, signed=signed, whose=user)],
        exception_handlers={HTTPException: _refuse},
        lifespan=lifespan,
    )
    # A redirect would go to whatever the Host header says.
    app.router.redirect_slashes = False
    app.state.awa, app.state.hub = state, hub
    return app


class _Document:
    """The OpenAPI document, encoded when first asked for."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._text = b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        _only_get(scope)
        if not self._text:
            from awa_cli.web.openapi import document

            self._text = dumps(document(self._table)).encode()
        headers = {"Cache-Control": "no-cache"}
        await Response(self._text, 200, headers, "application/json")(scope, receive, send)


class _Events:
    """The live events."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        _only_get(scope)
        pairs = Request(scope).query_params.multi_items()
        for name, _ in pairs:
            if name != "topic":
                raise unknown(f"there is no parameter {name!r}", name, ["topic"])
        topics = self._hub.check([topic for _, topic in pairs])
        # Proxies must not collect the stream before they pass it on.
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        events = self._hub.watch(topics)
        stream = StreamingResponse(events, 200, headers, "text/event-stream")
        await stream(scope, receive, send)


def _only_get(scope: Scope) -> None:
    if scope["method"] not in {"GET", "HEAD"}:
        what = f"{scope['method']} is not for this path"
        raise Refused(405, what, "it takes GET", headers={"Allow": "GET, HEAD"})


async def _alive(_: Request) -> Response:
    return PlainTextResponse("ok\n")


async def _ready(request: Request) -> Response:
    found = await readiness(request.app.state.awa)
    content: dict[str, Any] = asdict(found)
    return JSONResponse(content, 200 if found.ready else 503, {"Cache-Control": "no-store"})


async def _metrics(request: Request) -> Response:
    from awa_cli.web.metrics import CONTENT_TYPE, exposition

    state: State = request.app.state.awa
    text: str = await state.scrapes.get("metrics", lambda: exposition(state))
    return Response(text, 200, {"Cache-Control": "no-store"}, CONTENT_TYPE)


async def _refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    what = {404: "there is nothing at this path", 405: "this path does not take that method"}
    said = what.get(error.status_code, error.detail)
    return answer(request.scope, Refused(error.status_code, said, headers=error.headers or {}))
