"""The web server: the application itself, and a real one on a port of this machine."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import psycopg
import pytest

from awa_cli.web import create_app
from awa_cli.web.settings import Settings

# Nothing is as old as the last test.
FRESH = {"cache_seconds": 0.0, "scrape_seconds": 0.0, "event_seconds": 0.05}


@asynccontextmanager
async def web_client(
    url: str,
    *,
    peer: str = "127.0.0.1",
    host: str = "127.0.0.1:3000",
    app: Any = None,
    **settings: Any,
) -> AsyncIterator[httpx.AsyncClient]:
    """Give a client of the application, that seems to come from ``peer``."""
    app = app or create_app(url, Settings(**{**FRESH, **settings}))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=(peer, 50000))
    async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}") as client:
        try:
            yield client
        finally:
            app.state.hub.close()
            await app.state.awa.close()


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the API on a migrated database."""
    async with web_client(database_url) as client:
        yield client


@dataclass(frozen=True)
class Running:
    """A server in a thread."""

    port: int
    app: Any

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def running(app: Any) -> Iterator[Running]:
    """Run an application on a free port in a thread of its own."""
    from awa_cli.web.server import bind, make_server

    sock = bind("127.0.0.1", 0)
    server = make_server(app, before_end=app.state.hub.close)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[sock])))
    thread.start()
    try:
        yield Running(sock.getsockname()[1], app)
    finally:
        server.should_exit = True
        thread.join(timeout=20)
        sock.close()


@pytest.fixture
def server(database_url: str) -> Iterator[Callable[..., Running]]:
    """Start a server with these settings; it stops at the end of the test."""
    from contextlib import ExitStack

    with ExitStack() as stack:

        def start(**settings: Any) -> Running:
            app = create_app(database_url, Settings(**{**FRESH, **settings}))
            return stack.enter_context(running(app))

        yield start


def big(size: int = 1_000) -> dict[str, Any]:
    """Return a value with three times as many objects and lists."""
    return {
        "items": [{"sku": f"s-{n}", "tags": {"a": n, "b/c": [n]}} for n in range(size)],
        "note": "x" * 5_000,
        "last": {"~odd/key": {"deep": [1, {"end": "here"}]}},
    }


def put_big(url: str, args: object, **columns: object) -> int:
    names = "".join(f", {name}" for name in columns)
    with psycopg.connect(url, autocommit=True) as conn:
        row = conn.execute(
            f"INSERT INTO awa.jobs_hot (kind, queue, state, args{names}) "
            f"VALUES ('big', 'big', 'failed', %s{', %s' * len(columns)}) RETURNING id",
            [json.dumps(args), *columns.values()],
        ).fetchone()
    return row[0]
