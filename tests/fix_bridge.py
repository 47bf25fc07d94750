"""Connections of every library that jobs can be inserted on, with one way to use them."""

from __future__ import annotations

import inspect
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from fix_clients import AnyClient, Awaited
from psycopg.conninfo import conninfo_to_dict

import awa_lib as awa

BLOCKING = ("psycopg", "sa-connection", "sa-session", "sa-scoped", "django")
ASYNC = (
    "psycopg-async", "sa-async-connection", "sa-async-session", "sa-asyncpg-connection",
    "sa-asyncpg-session", "asyncpg", "asyncpg-pool",
)  # fmt: skip


@dataclass
class Lent:
    """A connection inside a transaction of its owner."""

    conn: Any
    blocking: bool
    commit: Callable[[], Any]
    rollback: Callable[[], Any]
    savepoint: Callable[[], Any]
    """Return a block; leaving it with an exception rolls back to its start."""
    raw: Callable[[str], Any]
    """Run a statement as the owner does."""

    @property
    def client(self) -> AnyClient:
        made = awa.Client if self.blocking else awa.AsyncClient
        return AnyClient(made("postgresql://unused").using(self.conn))


async def settle(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


@asynccontextmanager
async def block(made: Any) -> AsyncIterator[None]:
    """Enter a block of either kind."""
    if hasattr(made, "__aenter__"):
        async with made:
            yield
    else:
        with made:
            yield


@pytest.fixture(params=BLOCKING + ASYNC)
async def lent(request: pytest.FixtureRequest, database_url: str) -> AsyncIterator[Lent]:
    async with lend(request.param, database_url) as found:
        yield found


@asynccontextmanager
async def lend(name: str, url: str) -> AsyncIterator[Lent]:
    if name.startswith("sa-") and name in BLOCKING:
        with _sqlalchemy(name, url) as found:
            yield found
    elif name.startswith("sa-"):
        async with _async_sqlalchemy(name, url) as found:
            yield found
    elif name.startswith("asyncpg"):
        async with _asyncpg(name, url) as found:
            yield found
    elif name == "django":
        with _django(url) as found:
            yield found
    elif name == "psycopg":
        with psycopg.connect(url) as conn:
            yield Lent(conn, True, conn.commit, conn.rollback, conn.transaction, conn.execute)
    else:
        async with await psycopg.AsyncConnection.connect(url) as conn:
            yield Lent(conn, False, conn.commit, conn.rollback, conn.transaction, conn.execute)


def _sqlalchemy(name: str, url: str):
    from contextlib import contextmanager

    from sqlalchemy import create_engine, text
    from sqlalchemy.orm import Session, scoped_session, sessionmaker
    from sqlalchemy.pool import NullPool

    @contextmanager
    def made():
        engine = create_engine(
            "postgresql+psycopg://", creator=lambda: psycopg.connect(url), poolclass=NullPool
        )
        session = {
            "sa-connection": engine.connect,
            "sa-session": lambda: Session(engine),
            "sa-scoped": scoped_session(sessionmaker(engine)),
        }[name]()
        try:
            yield Lent(
                session, True, session.commit, session.rollback, session.begin_nested,
                lambda statement: session.execute(text(statement)),
            )  # fmt: skip
        finally:
            session.close()

    return made()


@asynccontextmanager
async def _async_sqlalchemy(name: str, url: str) -> AsyncIterator[Lent]:
    import asyncpg
    from sqlalchemy import text
    from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
    from sqlalchemy.pool import NullPool

    if "asyncpg" in name:
        engine = create_async_engine(
            "postgresql+asyncpg://", async_creator=lambda: asyncpg.connect(**asyncpg_target(url)),
            poolclass=NullPool,
        )  # fmt: skip
    else:
        engine = create_async_engine(
            "postgresql+psycopg://", async_creator=lambda: psycopg.AsyncConnection.connect(url),
            poolclass=NullPool,
        )  # fmt: skip
    opened = AsyncSession(engine) if "session" in name else engine.connect()
    async with opened as session:
        yield Lent(
            session, False, session.commit, session.rollback, session.begin_nested,
            lambda statement: session.execute(text(statement)),
        )  # fmt: skip
    await engine.dispose()


def asyncpg_target(url: str) -> dict[str, Any]:
    """Return the arguments of asyncpg.connect."""
    found = conninfo_to_dict(url)
    wanted = {"host": "host", "port": "port", "user": "user", "password": "password"}
    return {
        "database": found["dbname"], "statement_cache_size": 100,
        **{key: found[name] for key, name in wanted.items() if found.get(name)},
    }  # fmt: skip


@asynccontextmanager
async def _asyncpg(name: str, url: str) -> AsyncIterator[Lent]:
    import asyncpg

    if name == "asyncpg":
        conn = await asyncpg.connect(**asyncpg_target(url))
        try:
            async with _begun(conn) as found:
                yield found
        finally:
            await conn.close()
    else:
        async with asyncpg.create_pool(**asyncpg_target(url), min_size=1, max_size=2) as pool:
            async with pool.acquire() as conn, _begun(conn) as found:
                yield found


@asynccontextmanager
async def _begun(conn: Any) -> AsyncIterator[Lent]:
    import asyncpg

    transaction = conn.transaction()
    await transaction.start()
    ended = False

    def end(how: Callable[[], Any]) -> Callable[[], Any]:
        def call() -> Any:
            nonlocal ended
            ended = True
            return how()

        return call

    yield Lent(
        conn, False, end(transaction.commit), end(transaction.rollback), conn.transaction,
        conn.execute,
    )  # fmt: skip
    if not ended:
        with suppress(asyncpg.InterfaceError, asyncpg.PostgresError):
            await transaction.rollback()


def _django(url: str):
    from contextlib import contextmanager

    @contextmanager
    def made():
        connection = django_connection(url)
        from django.db import transaction

        outer = transaction.atomic()
        outer.__enter__()
        try:
            yield Lent(
                connection, True,
                lambda: outer.__exit__(None, None, None), lambda: _undo(outer),
                transaction.atomic, lambda statement: connection.cursor().execute(statement),
            )  # fmt: skip
        finally:
            if connection.in_atomic_block:
                _undo(outer)
            connection.close()

    return made()


def _undo(atomic: Any) -> None:
    error = RuntimeError("roll back")
    atomic.__exit__(RuntimeError, error, None)


def django_connection(url: str) -> Any:
    """Return Django's default connection, to this database, in local time."""
    import django
    from django.conf import settings

    if not settings.configured:
        settings.configure(USE_TZ=False)
        django.setup()
    # Tests of both flavours share an event loop.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    from django.db import connections
    from django.db.utils import ConnectionHandler

    found = conninfo_to_dict(url)
    handler = ConnectionHandler({
        "default": {
            "ENGINE": "django.db.backends.postgresql", "NAME": found["dbname"],
            "USER": found.get("user", ""), "PASSWORD": found.get("password", ""),
            "HOST": found.get("host", ""), "PORT": found.get("port", ""),
        }
    })  # fmt: skip
    connections["default"] = handler["default"]
    return connections["default"]


__all__ = ["ASYNC", "BLOCKING", "Awaited", "Lent", "asyncpg_target", "block", "lend", "settle"]
