"""Run the application with uvicorn: sockets, signals, and limits for slow clients."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from typing import TYPE_CHECKING, Any, Final

import h11
from uvicorn import Config, Server
from uvicorn.protocols.http.h11_impl import H11Protocol

from awa_cli.addresses import bracketed
from awa_lib.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.applications import Starlette

    from awa_cli.web.health import Readiness

__all__ = ["bind", "serve"]

logger = logging.getLogger(__name__)

# Time limit for the head of a request, from the connection or from the previous answer.
_HEAD_SECONDS: Final = 10.0
_IDLE_SECONDS: Final = 30
_DRAIN_SECONDS: Final = 10
_MAX_HEAD_BYTES: Final = 32 * 1024
_MAX_CONNECTIONS: Final = 2_000
_BACKLOG: Final = 512


class _Protocol(H11Protocol):
    """Closes a connection whose request head is late: uvicorn alone would wait for ever."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._timer: asyncio.TimerHandle | None = None
        self._await_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]:
            self._await_head()
        elif self.conn.their_state is not h11.IDLE:
            self._stop_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def _await_head(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(_HEAD_SECONDS, self._give_up)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        self._timer = None
        if self.transport is not None and not self.transport.is_closing():
            self.transport.close()


class _Server(Server):
    """Ends the live streams before it stops, since they would keep it running."""

    def __init__(self, config: Config, before_end: Callable[[], None]) -> None:
        super().__init__(config)
        self._before_end = before_end

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._before_end()
        await super().shutdown(sockets)


def bind(host: str, port: int, *, shared: bool = False, listening: bool = True) -> socket.socket:
    """Return a bound socket; ``shared`` lets several processes listen on the same port.

    A socket that only reserves the port must not listen: it would get connections that no process
    accepts.  Raises InvalidInput.
    """
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        sock = socket.socket(family, kind, proto)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(address)
        if listening:
            sock.listen(_BACKLOG)
    except OSError as error:
        raise InvalidInput(
            f"cannot listen on {bracketed(host)}:{port}",
            why=str(error.strerror or error).lower(),
            hint="choose another port with --port, or stop the program that uses it",
        ) from None
    return sock


def make_server(app: Starlette, *, before_end: Callable[[], None]) -> Server:
    """Return a server for the application, not started."""
    config = Config(
        app,
        http=_Protocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        h11_max_incomplete_event_size=_MAX_HEAD_BYTES,
        limit_concurrency=_MAX_CONNECTIONS,
        timeout_keep_alive=_IDLE_SECONDS,
        timeout_graceful_shutdown=_DRAIN_SECONDS,
        backlog=_BACKLOG,
    )
    return _Server(config, before_end)


def serve(
    app: Starlette,
    sock: socket.socket,
    *,
    before_end: Callable[[], None],
    ready: Callable[[], Awaitable[Readiness]],
) -> None:
    """Serve until SIGTERM or SIGINT; requests under way may take ten more seconds.

    If the server is not ready, the reasons are logged; requests are accepted all the same.
    """
    from awa_lib.runtime.run import loop_factory

    server = make_server(app, before_end=before_end)
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn takes signals only once it runs, and raises them again after it has stopped.
        signal.signal(number, lambda *_: setattr(server, "should_exit", True))
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_serve(server, sock, ready))


async def _serve(
    server: Server, sock: socket.socket, ready: Callable[[], Awaitable[Readiness]]
) -> None:
    async def log_reasons() -> None:
        state = await ready()
        for reason in state.reasons:
            logger.warning("not ready: %s", state.explained or reason)

    check = asyncio.create_task(log_reasons())
    await server.serve(sockets=[sock])
    check.cancel()
    await asyncio.wait({check})
