"""Run the application: sockets, signals, and clients that are too slow."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from typing import TYPE_CHECKING, Any, Final

import h11
from uvicorn import Config, Server
from uvicorn.protocols.http.h11_impl import H11Protocol

from awa_lib.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.applications import Starlette

    from awa_cli.web.health import Readiness

__all__ = ["bind", "serve"]

logger = logging.getLogger(__name__)

# The head of a request must be there so soon after the connection, or the last answer, was made.
_HEAD_SECONDS: Final = 10.0
_IDLE_SECONDS: Final = 30
_DRAIN_SECONDS: Final = 10
_HEAD_BYTES: Final = 32 * 1024
_MOST_CONNECTIONS: Final = 2_000
_BACKLOG: Final = 512


class _Protocol(H11Protocol):
    """Closes connections whose request does not come: uvicorn waits for its head for ever."""

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
    """Ends the live streams first, which would keep it from ending."""

    def __init__(self, config: Config, before_end: Callable[[], None]) -> None:
        super().__init__(config)
        self._before_end = before_end

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._before_end()
        await super().shutdown(sockets)


def bind(host: str, port: int, *, shared: bool = False, listening: bool = True) -> socket.socket:
    """Return a socket; ``shared`` lets several processes have one port.

    One that only holds the port must not listen: it would get connections that nobody accepts.
    Raises InvalidInput.
    """
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
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
            f"cannot listen on {host}:{port}",
            why=str(error.strerror or error).lower(),
            hint="choose another with --port, or stop what listens there",
        ) from None
    return sock


def make_server(app: Starlette, *, before_end: Callable[[], None]) -> Server:
    """Return a server of the application, not started."""
    config = Config(
        app,
        http=_Protocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        h11_max_incomplete_event_size=_HEAD_BYTES,
        limit_concurrency=_MOST_CONNECTIONS,
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

    What is in the way of the first requests is logged; they are taken all the same.
    """
    from awa_lib.runtime.run import loop_factory

    server = make_server(app, before_end=before_end)
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn raises the signal again when it has ended; that is no failure.
        signal.signal(number, lambda *_: None)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_serve(server, sock, ready))


async def _serve(
    server: Server, sock: socket.socket, ready: Callable[[], Awaitable[Readiness]]
) -> None:
    async def look() -> None:
        for reason in (await ready()).reasons:
            logger.warning("not ready: %s", reason)

    looking = asyncio.create_task(look())
    await server.serve(sockets=[sock])
    looking.cancel()
    await asyncio.wait({looking})
