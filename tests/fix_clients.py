"""One test body for both clients: ``client`` is awaited in both flavours."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

import awa_lib as awa


class Awaited:
    """Makes every method of a blocking object awaitable; an async object is left as it is."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self.inner, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            result = method(*args, **kwargs)
            return await result if inspect.isawaitable(result) else result

        return call


class AnyClient(Awaited):
    """A client of one of the two flavours."""

    @property
    def blocking(self) -> bool:
        return isinstance(self.inner, awa.Client)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Awaited]:
        if self.blocking:
            with self.inner.transaction() as tx:
                yield Awaited(tx)
        else:
            async with self.inner.transaction() as tx:
                yield Awaited(tx)

    def begin(self) -> Awaited:
        """Return a transaction outside a block."""
        return Awaited(self.inner.transaction())

    @asynccontextmanager
    async def using(self, url: str, *, autocommit: bool = True) -> AsyncIterator[tuple[Any, Any]]:
        """Give a connection of the flavour and the client bound to it, both awaited."""
        if self.blocking:
            with psycopg.connect(url, autocommit=autocommit) as conn:
                yield Awaited(conn), AnyClient(self.inner.using(conn))
        else:
            async with await psycopg.AsyncConnection.connect(url, autocommit=autocommit) as conn:
                yield Awaited(conn), AnyClient(self.inner.using(conn))


@asynccontextmanager
async def make_client(flavour: str, url: str, size: int = 10) -> AsyncIterator[AnyClient]:
    if flavour == "sync":
        with awa.Client(url, size) as client:
            yield AnyClient(client)
    else:
        async with awa.AsyncClient(url, size) as client:
            yield AnyClient(client)


@pytest.fixture(params=["sync", "async"])
def flavour(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
async def client(flavour: str, database_url: str) -> AsyncIterator[AnyClient]:
    """Each of the two clients in turn, on a migrated database."""
    async with make_client(flavour, database_url) as client:
        yield client


@pytest.fixture
def look(database_url: str):
    """Run a query on a connection of its own and return the rows as dicts."""
    with psycopg.connect(database_url, autocommit=True, row_factory=dict_row) as conn:

        def look(query: str, *values: Any) -> list[dict[str, Any]]:
            cursor = conn.execute(query, values)
            return cursor.fetchall() if cursor.description else []

        look.conn = conn
        yield look


@pytest.fixture
def put(look):
    """Insert a job in any state through the view and return its row."""

    def put(**columns: Any) -> dict[str, Any]:
        columns = {"kind": "k", **columns}
        names, marks = ", ".join(columns), ", ".join(["%s"] * len(columns))
        (row,) = look(
            f"INSERT INTO awa.jobs ({names}) VALUES ({marks}) RETURNING *", *columns.values()
        )
        return row

    return put


@pytest.fixture
def heard(database_url: str):
    """Listen on channels; the call returns what arrived as (channel, payload) pairs."""
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute('LISTEN "awa:cancel"')
        conn.execute('LISTEN "awa:default"')
        conn.execute('LISTEN "awa:q"')

        def heard() -> list[tuple[str, str]]:
            # Notifications committed before this round trip arrive with its answer.
            conn.execute("SELECT 1")
            return [(n.channel, n.payload) for n in conn.notifies(timeout=0)]

        yield heard
