"""The ASGI application: routes, guard and lifespan."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from awa_cli.access import Identity
from awa_cli.web.answers import answer
from awa_cli.web.events import Hub
from awa_cli.web.guard import Guard
from awa_cli.web.health import readiness
from awa_cli.web.problems import Refused
from awa_cli.web.query_string import is_raw
from awa_cli.web.scope import PATH
from awa_cli.web.settings import Settings
from awa_cli.web.state import State

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["callback_app", "create_app"]


def create_app(
    database_url: str,
    settings: Settings | None = None,
    *,
    user: Callable[[Scope], Identity | None] | None = None,
) -> Starlette:
    """Return the server as an ASGI application, to run or to mount in another application.

    No connection is opened before the first request.  Without ``settings.access`` only requests
    from this machine are accepted.  An application with users of its own passes ``user``, which
    takes the scope of a request and returns the identity of its user, or None.
    """
    settings = settings or Settings()

    def load(state: State, hub: Hub) -> ASGIApp:
        from awa_cli.web.routes import all_routes

        return all_routes(state, hub)

    return _build(database_url, settings, load, "/api/callbacks", user)


def callback_app(
    database_url: str, settings: Settings, *, prefix: str = "/api/callbacks"
) -> Starlette:
    """Return an application that serves callbacks below ``prefix``, and nothing else."""

    def load(state: State, _: Hub) -> ASGIApp:
        from awa_cli.web.routes import callback_routes

        return callback_routes(state, prefix)

    def anybody(_: Scope) -> Identity:
        """Accept a request that has no signature to check."""
        if settings.verify is not None:
            raise Refused(
                401,
                "only raw callbacks are accepted",
                "this server has no secret of callback signatures",
                "send it with ?raw=1, or start the server with AWA_CALLBACK_HMAC_SECRET",
            )
        # Anyone who knows the id of a callback may answer it; the command warns.
        return Identity("anybody", "operate", "signature")

    return _build(database_url, settings, load, prefix, anybody, pages=False)


def _build(
    database_url: str,
    settings: Settings,
    load: Callable[[State, Hub], ASGIApp],
    callbacks: str,
    user: Callable[[Scope], Identity | None] | None,
    *,
    pages: bool = True,
) -> Starlette:
    state = State(database_url, settings)
    hub = Hub(state)
    deferred = _Deferred(lambda: load(state, hub))

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        loading = asyncio.create_task(deferred.load())
        yield
        await asyncio.wait({loading})
        hub.close()
        await state.close()

    def signed(scope: Scope) -> bool:
        if not scope[PATH].startswith(f"{callbacks}/"):
            return False
        return settings.checks_callbacks(raw=is_raw(scope))

    app = Starlette(
        routes=[Route("/healthz", _alive), Route("/readyz", _ready)],
        middleware=[Middleware(Guard, settings, signed=signed, user=user, pages=pages)],
        exception_handlers={HTTPException: _refuse},
        lifespan=lifespan,
    )
    # A redirect would go to the host of the Host header.
    app.router.redirect_slashes = False
    # The default, not a route: Starlette's patterns do not match a path with a line end.
    app.router.default = deferred
    app.state.awa, app.state.hub = state, hub
    return app


class _Deferred:
    """An application that is built in a thread: after the start, or at its first request."""

    def __init__(self, make: Callable[[], ASGIApp]) -> None:
        self._make = make
        self._app: ASGIApp | None = None
        self._lock = asyncio.Lock()

    async def load(self) -> ASGIApp:
        """Build the application, once."""
        async with self._lock:
            if self._app is None:
                self._app = await asyncio.to_thread(self._make)
            return self._app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._app or await self.load()
        await app(scope, receive, send)


async def _alive(_: Request) -> Response:
    return PlainTextResponse("ok\n")


async def _ready(request: Request) -> Response:
    status = await readiness(request.app.state.awa)
    content: dict[str, Any] = status.document()
    return JSONResponse(content, 200 if status.ready else 503, {"Cache-Control": "no-store"})


async def _refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    texts = {
        404: "there is nothing at this path",
        405: f"this path does not accept {request.method}",
    }
    what = texts.get(error.status_code, error.detail)
    return answer(request.scope, Refused(error.status_code, what, headers=error.headers or {}))
