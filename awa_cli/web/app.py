"""The application: its parts put together."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from awa_cli.web.access import Identity
from awa_cli.web.answers import answer
from awa_cli.web.events import Hub
from awa_cli.web.guard import Guard
from awa_cli.web.health import readiness
from awa_cli.web.problems import Refused
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
    """Return the server as an ASGI application, to run or to mount in another one.

    Nothing connects before the first request.  Without ``settings.access`` only requests from
    this machine are taken; an application with users of its own passes ``user``, which is given
    the scope of each request and returns who that is, or None for nobody.
    """
    settings = settings or Settings()

    def load(state: State, hub: Hub) -> ASGIApp:
        from awa_cli.web.routes import everything

        return everything(state, hub)

    return _build(database_url, settings, load, "/api/callbacks", user)


def callback_app(
    database_url: str, settings: Settings, *, prefix: str = "/api/callbacks"
) -> Starlette:
    """Return what takes callbacks below ``prefix``, and nothing else."""

    def load(state: State, _: Hub) -> ASGIApp:
        from awa_cli.web.routes import callbacks

        return callbacks(state, prefix)

    # Without a secret whoever knows an id may answer, as the command line has said.
    anybody = Identity("anybody", "operate", "signature")
    return _build(database_url, settings, load, prefix, lambda _: anybody)


def _build(
    database_url: str,
    settings: Settings,
    load: Callable[[State, Hub], ASGIApp],
    callbacks: str,
    user: Callable[[Scope], Identity | None] | None,
) -> Starlette:
    state = State(database_url, settings)
    hub = Hub(state)
    later = _Later(lambda: load(state, hub))

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        loading = asyncio.create_task(later.load())
        yield
        await asyncio.wait({loading})
        hub.close()
        await state.close()

    def signed(path: str) -> bool:
        return settings.secret is not None and path.startswith(f"{callbacks}/")

    app = Starlette(
        routes=[Route("/healthz", _alive), Route("/readyz", _ready)],
        middleware=[Middleware(Guard, settings, signed=signed, whose=user)],
        exception_handlers={HTTPException: _refuse},
        lifespan=lifespan,
    )
    # A redirect would go to whatever the Host header says.
    app.router.redirect_slashes = False
    # No route of its own: a path with a line end matches none that Starlette has.
    app.router.default = later
    app.state.awa, app.state.hub = state, hub
    return app


class _Later:
    """Answers with what is loaded in a thread: as soon as the server has begun, or when asked."""

    def __init__(self, make: Callable[[], ASGIApp]) -> None:
        self._make = make
        self._app: ASGIApp | None = None
        self._turn = asyncio.Lock()

    async def load(self) -> ASGIApp:
        """Load it, once."""
        async with self._turn:
            if self._app is None:
                self._app = await asyncio.to_thread(self._make)
            return self._app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._app or await self.load()
        await app(scope, receive, send)


async def _alive(_: Request) -> Response:
    return PlainTextResponse("ok\n")


async def _ready(request: Request) -> Response:
    found = await readiness(request.app.state.awa)
    content: dict[str, Any] = asdict(found)
    return JSONResponse(content, 200 if found.ready else 503, {"Cache-Control": "no-store"})


async def _refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    what = {404: "there is nothing at this path", 405: "this path does not take that method"}
    said = what.get(error.status_code, error.detail)
    return answer(request.scope, Refused(error.status_code, said, headers=error.headers or {}))
