"""Run ops inside the transaction of somebody else's connection, whichever library it is of.

Libraries are recognised by the names of a class's modules, so none is imported here.  SQLAlchemy
and Django wrap a connection of psycopg or asyncpg; it is looked up for each op, because sessions
change theirs between transactions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import psycopg
from psycopg.pq import TransactionStatus

from awa_lib import _asyncpg
from awa_lib._drive import arun, run
from awa_lib.errors import AwaError, Unavailable
from awa_lib.reads.health import ping

if TYPE_CHECKING:
    from awa_lib._sql import Op

__all__ = ["AsyncBorrowed", "Borrowed", "borrow", "borrow_async"]

R = TypeVar("R")


class Borrowed(Protocol):
    """A blocking connection of the caller's."""

    conn: Any

    def run(self, op: Op[R], /) -> R:
        """Run an op in the caller's transaction."""
        ...


class AsyncBorrowed(Protocol):
    """An async connection of the caller's."""

    conn: Any

    async def run(self, op: Op[R], /) -> R:
        """Run an op in the caller's transaction."""
        ...


def borrow(conn: Any) -> Borrowed:
    """Return how ops run on a blocking connection.

    Takes a psycopg Connection, a SQLAlchemy Connection or Session, or Django's connection.
    Raises TypeError for anything else.
    """
    library = _library(conn)
    if _is_async(conn, library):
        raise TypeError(
            f"{_name(conn)} is async: use awa_lib.AsyncClient, or awa_lib.bridge.insert_job"
        )
    if isinstance(conn, psycopg.Connection):
        return _Psycopg(conn)
    if library == "sqlalchemy" and hasattr(type(conn), "connection"):
        return _SqlAlchemy(conn)
    if library == "django" or (hasattr(conn, "cursor") and hasattr(conn, "vendor")):
        if getattr(conn, "vendor", None) != "postgresql":
            raise TypeError(
                f"Django's connection is to {getattr(conn, 'vendor', 'no database')}, not to"
                " PostgreSQL"
            )
        return _Django(conn)
    raise _unsupported(conn, "psycopg, SQLAlchemy or Django connection")


def borrow_async(conn: Any) -> AsyncBorrowed:
    """Return how ops run on an async connection.

    Takes a psycopg AsyncConnection, an asyncpg Connection, what an asyncpg pool lends, or a
    SQLAlchemy AsyncConnection or AsyncSession.  Raises TypeError for anything else.
    """
    library = _library(conn)
    if isinstance(conn, psycopg.AsyncConnection):
        return _AsyncPsycopg(conn)
    if _is_async(conn, library):
        if library == "asyncpg" and hasattr(conn, "fetch") and hasattr(conn, "transaction"):
            return _Asyncpg(conn)
        if library == "sqlalchemy" and hasattr(type(conn), "connection"):
            return _AsyncSqlAlchemy(conn)
    elif library in {"psycopg", "sqlalchemy", "django"}:
        raise TypeError(
            f"{_name(conn)} is blocking: use awa_lib.Client, or awa_lib.bridge.insert_job_sync"
        )
    raise _unsupported(
        conn,
        "psycopg.AsyncConnection, asyncpg Connection, SQLAlchemy AsyncConnection or AsyncSession",
    )


def _library(conn: object) -> str:
    roots = [cls.__module__.partition(".")[0] for cls in type(conn).__mro__]
    return next((r for r in roots if r in {"psycopg", "asyncpg", "sqlalchemy", "django"}), "")


def _is_async(conn: object, library: str) -> bool:
    if library == "sqlalchemy":
        return any(c.__module__.startswith("sqlalchemy.ext.asyncio") for c in type(conn).__mro__)
    return library == "asyncpg" or isinstance(conn, psycopg.AsyncConnection)


def _name(conn: object) -> str:
    return f"{type(conn).__module__.partition('.')[0]}.{type(conn).__qualname__}"


def _unsupported(conn: object, known: str) -> TypeError:
    return TypeError(f"Unsupported connection type: {_name(conn)}; this takes a {known}")


def _wrong_driver(raw: object, wanted: str) -> TypeError:
    return TypeError(
        f"Unsupported connection type: the driver is {_name(raw)}; use psycopg 3, {wanted}"
    )


class _Psycopg:
    def __init__(self, conn: psycopg.Connection[Any]) -> None:
        self.conn = conn

    def run(self, op: Op[R], /) -> R:
        return run(self.conn, op)


class _AsyncPsycopg:
    def __init__(self, conn: psycopg.AsyncConnection[Any]) -> None:
        self.conn = conn

    async def run(self, op: Op[R], /) -> R:
        return await arun(self.conn, op)


class _Asyncpg:
    def __init__(self, conn: Any) -> None:
        self.conn = conn

    async def run(self, op: Op[R], /) -> R:
        return await _asyncpg.run(self.conn, op)


def _is_session(conn: object) -> bool:
    # A session's connection is a method, a connection's own a property.
    return callable(type(conn).connection)  # type: ignore[attr-defined]


class _SqlAlchemy:
    """A Connection, a Session, or what proxies one."""

    def __init__(self, conn: Any) -> None:
        self.conn = conn

    def run(self, op: Op[R], /) -> R:
        conn = self.conn.connection() if _is_session(self.conn) else self.conn
        if not conn.in_transaction():
            # As the first statement would; without it commit() would find nothing to commit.
            conn.begin()
        raw = conn.connection.driver_connection
        if not isinstance(raw, psycopg.Connection):
            raise _wrong_driver(raw, "postgresql+psycopg://")
        try:
            return run(raw, op)
        except Unavailable:
            if raw.closed:
                # Else its pool would go on lending it.
                conn.invalidate()
            raise


class _AsyncSqlAlchemy:
    """An AsyncConnection, an AsyncSession, or what proxies one."""

    def __init__(self, conn: Any) -> None:
        self.conn = conn

    async def run(self, op: Op[R], /) -> R:
        conn = await self.conn.connection() if _is_session(self.conn) else self.conn
        if not conn.in_transaction():
            await conn.begin()
        raw = (await conn.get_raw_connection()).driver_connection
        try:
            if isinstance(raw, psycopg.AsyncConnection):
                return await arun(raw, op)
            if _library(raw) != "asyncpg":
                raise _wrong_driver(raw, "postgresql+psycopg://, or asyncpg, postgresql+asyncpg://")
            if not raw.is_in_transaction():
                # SQLAlchemy begins asyncpg's transaction with the first statement of its own.
                await conn.exec_driver_sql(next(ping()).query.text)
            return await _asyncpg.run(raw, op)
        except Unavailable:
            if raw.closed if isinstance(raw, psycopg.AsyncConnection) else raw.is_closed():
                await conn.invalidate()
            raise


class _Django:
    """``django.db.connection``, or one of ``connections``."""

    def __init__(self, conn: Any) -> None:
        self.conn = conn

    def run(self, op: Op[R], /) -> R:
        self.conn.ensure_connection()
        raw = self.conn.connection
        if not isinstance(raw, psycopg.Connection):
            raise _wrong_driver(raw, 'pip install "psycopg[binary]"')
        try:
            return run(raw, op)
        except AwaError:
            # Django must know of errors it has not seen: it would commit a transaction that
            # Postgres has given up, and keep a connection that is lost.
            self.conn.errors_occurred = True
            if self.conn.in_atomic_block:
                status = raw.pgconn.transaction_status
                self.conn.needs_rollback = status != TransactionStatus.INTRANS
            raise
