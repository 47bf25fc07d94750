"""Health and metrics endpoints of a worker process, served by a thread of their own.

The thread also answers, and reports it, while a handler blocks the worker's event loop.
"""

from __future__ import annotations

import asyncio
import re
import threading
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Final

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from awa_cli.access import Identity
from awa_cli.web.guard import Guard
from awa_cli.web.health import Readiness
from awa_cli.web.metrics import CONTENT_TYPE, exposition
from awa_cli.web.server import bind, make_server
from awa_cli.web.settings import Settings
from awa_cli.web.state import State
from awa_lib.db.pool import PoolLimits
from awa_lib.errors import AwaError, InvalidInput
from awa_lib.runtime import forks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from starlette.requests import Request

    from awa_lib.client.clients import AsyncClient
    from awa_lib.runtime.health import HealthCheck

__all__ = ["observed", "read_address"]

# An event loop that does not answer within this time is blocked; health_check() may take 2 s.
_ANSWER_SECONDS: Final = 3.0
_STOP_SECONDS: Final = 5.0


def read_address(text: str) -> tuple[str, int]:
    """Parse ``PORT`` or ``ADDRESS:PORT``.  Raises InvalidInput."""
    host, _, port = text.rpartition(":")
    if not re.fullmatch(r"[0-9]{1,5}", port) or not int(port) < 2**16:
        raise InvalidInput(
            f"--health-port is not a port or an address: {text!r}",
            hint="use --health-port 8080, or --health-port 0.0.0.0:8080",
        )
    return host.strip("[]") or "127.0.0.1", int(port)


@contextmanager
def observed(client: AsyncClient, database_url: str, host: str, port: int) -> Iterator[int]:
    """Serve probes while the block runs; yield the port."""
    sock = bind(host, port)
    forks.own(sock)
    app = _app(client, database_url)
    server = make_server(app, before_end=lambda: None)
    thread = threading.Thread(
        target=lambda: asyncio.run(server.serve(sockets=[sock])), name="awa probes", daemon=True
    )
    thread.start()
    try:
        yield sock.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(_STOP_SECONDS)
        sock.close()


def _app(client: AsyncClient, database_url: str) -> Starlette:
    settings = Settings(pool=PoolLimits(1), read_only=True, hosts=frozenset({"*"}))
    state = State(database_url, settings)

    async def alive(_: Request) -> Response:
        # A restart does not mend an outage of the database, so only duties of the worker count.
        broken = client._broken()  # noqa: SLF001 - the public API does not report it
        if broken:
            return PlainTextResponse(f"fail or hang: {', '.join(broken)}\n", 503)
        return PlainTextResponse("ok\n")

    async def ready(_: Request) -> Response:
        status = await _readiness(client)
        content: dict[str, Any] = status.document()
        return JSONResponse(content, 200 if status.ready else 503, {"Cache-Control": "no-store"})

    async def metrics(_: Request) -> Response:
        text: str = await state.scrapes.get("metrics", lambda: exposition(state))
        return Response(text, 200, {"Cache-Control": "no-store"}, CONTENT_TYPE)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await state.close()

    anybody = Identity("anybody", "read", "none")
    return Starlette(
        routes=[
            Route("/healthz", alive),
            Route("/readyz", ready),
            Route("/metrics", metrics),
        ],
        middleware=[Middleware(Guard, settings, user=lambda _: anybody, pages=False)],
        lifespan=lifespan,
    )


async def _readiness(client: AsyncClient) -> Readiness:
    loop = client._loop  # noqa: SLF001 - as in awa 0.5, the loop is not public
    if loop is None or loop.is_closed():
        return Readiness(False, ["the worker has not started yet"])
    check = asyncio.run_coroutine_threadsafe(client.health_check(), loop)
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            health = await asyncio.wrap_future(check)
    except TimeoutError:
        return Readiness(False, ["the event loop of the worker is blocked by a handler"])
    except AwaError as error:
        return Readiness(False, [str(error)])
    reasons = _reasons(health)
    return Readiness(not reasons, reasons)


def _reasons(health: HealthCheck) -> list[str]:
    conditions = {
        "the worker is shutting down": health.shutting_down,
        "the database is not connected": not health.postgres_connected,
        "no jobs are claimed": not health.poll_loop_alive,
        "heartbeats have stopped": not health.heartbeat_alive,
    }
    reasons = [why for why, holds in conditions.items() if holds]
    return reasons + [f"a duty fails or hangs: {name}" for name in health.troubled]
