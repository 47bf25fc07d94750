"""Run ops in the transaction of the caller's connection, of any supported library.

Libraries are recognised by the module names of a class, so that none is imported here.  SQLAlchemy
and Django wrap a connection of psycopg or asyncpg, which is looked up for each op: a session may
change its connection between transactions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import psycopg
from psycopg.pq import TransactionStatus

from awa_lib.db import asyncpg
from awa_lib.db.drive import arun, run
from awa_lib.errors import AwaError, DatabaseError
from awa_lib.reads.health import ping

if TYPE_CHECKING:
    from awa_lib._sql import Op

__all__ = ["AsyncBorrowed", "Borrowed", "borrow", "borrow_async"]

R = TypeVar("R")


class Borrowed(Protocol):
    """A blocking connection of the caller."""

    conn: Any

    def run(self, op: Op[R], /) -> R:
        """Run an op in the caller's transaction."""
        ...


class AsyncBorrowed(Protocol):
    """An async connection of the caller."""

    conn: Any

    async def run(self, op: Op[R], /) -> R:
        """Run an op in the caller's transaction."""
        ...


def borrow(conn: Any) -> Borrowed:
    """Return the runner of ops for a blocking connection.

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
    """Return the runner of ops for an async connection.

    Takes a psycopg AsyncConnection, an asyncpg Connection or pool connection, or a
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


def _readable(raw: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> None:
    """Raise AwaError for a connection on which psycopg reads text as bytes."""
    if raw.pgconn.parameter_status(b"client_encoding") == b"SQL_ASCII":
        raise AwaError(
            "the client_encoding of this connection is SQL_ASCII",
            why="text that is read over it has no known encoding",
            hint="run SET client_encoding TO 'UTF8' on it, or connect with client_encoding=UTF8",
        )


class _Psycopg:
    def __init__(self, conn: psycopg.Connection[Any]) -> None:
        self.conn = conn

    def run(self, op: Op[R], /) -> R:
        _readable(self.conn)
        return run(self.conn, op)


class _AsyncPsycopg:
    def __init__(self, conn: psycopg.AsyncConnection[Any]) -> None:
        self.conn = conn

    async def run(self, op: Op[R], /) -> R:
        _readable(self.conn)
        return await arun(self.conn, op)


class _Asyncpg:
    def __init__(self, conn: Any) -> None:
        self.conn = conn

    async def run(self, op: Op[R], /) -> R:
        return await asyncpg.run(self.conn, op)


def _doomed() -> AwaError:
    return AwaError(
        "the transaction of Django's connection can only be rolled back",
        why="an error inside its block of atomic, or set_rollback(True), has marked it; what is"
        " written now would be lost without an error",
        hint="do it after the block",
    )


def _is_session(conn: object) -> bool:
    # A session's connection is a method, a connection's own a property.
    return callable(type(conn).connection)  # type: ignore[attr-defined] # SQLAlchemy is not imported


def _is_inactive(conn: Any) -> bool:
    """Return True inside a block of SQLAlchemy whose transaction has ended."""
    if (inner := getattr(conn, "sync_connection", None)) is not None:
        conn = inner
    # The block that SQLAlchemy itself asks before each statement; no public name leads to it.
    blocks = (conn.get_nested_transaction(), getattr(conn, "_trans_context_manager", None))
    return any(block is not None and not block.is_active for block in blocks)


class _SqlAlchemy:
    """A Connection, a Session, or a proxy of either."""

    def __init__(self, conn: Any) -> None:
        self.conn = conn

    def run(self, op: Op[R], /) -> R:
        conn = self.conn.connection() if _is_session(self.conn) else self.conn
        if _is_inactive(conn):
            # Our statement would run outside the block; SQLAlchemy raises for this one of its own.
            conn.exec_driver_sql(next(ping()).query.text)
        elif not conn.in_transaction():
            # As the first statement would; without it commit() would find nothing to commit.
            conn.begin()
        raw = conn.connection.driver_connection
        if not isinstance(raw, psycopg.Connection):
            raise _wrong_driver(raw, "postgresql+psycopg://")
        _readable(raw)
        try:
            return run(raw, op)
        except BaseException as error:
            if raw.closed or not isinstance(error, Exception):
                # Otherwise its pool would reuse the connection, and a commit would seem to work.
                conn.invalidate()
            raise


class _AsyncSqlAlchemy:
    """An AsyncConnection, an AsyncSession, or a proxy of either."""

    def __init__(self, conn: Any) -> None:
        self.conn = conn

    async def run(self, op: Op[R], /) -> R:
        conn = await self.conn.connection() if _is_session(self.conn) else self.conn
        if _is_inactive(conn):
            await conn.exec_driver_sql(next(ping()).query.text)
        elif not conn.in_transaction():
            await conn.begin()
        raw = (await conn.get_raw_connection()).driver_connection
        if isinstance(raw, psycopg.AsyncConnection):
            _readable(raw)
        elif _library(raw) != "asyncpg":
            raise _wrong_driver(raw, "postgresql+psycopg://, or asyncpg, postgresql+asyncpg://")
        try:
            if isinstance(raw, psycopg.AsyncConnection):
                return await arun(raw, op)
            if not raw.is_in_transaction():
                # SQLAlchemy begins asyncpg's transaction with the first statement of its own.
                await conn.exec_driver_sql(next(ping()).query.text)
            return await asyncpg.run(raw, op)
        except BaseException as error:
            closed = raw.closed if isinstance(raw, psycopg.AsyncConnection) else raw.is_closed()
            if closed or not isinstance(error, Exception):
                await conn.invalidate()
            raise


class _Django:
    """``django.db.connection``, or an item of ``connections``."""

    def __init__(self, conn: Any) -> None:
        self.conn = conn

    def run(self, op: Op[R], /) -> R:
        self.conn.validate_thread_sharing()
        if self.conn.in_atomic_block and self.conn.needs_rollback:
            raise _doomed()
        self.conn.ensure_connection()
        raw = self.conn.connection
        if not isinstance(raw, psycopg.Connection):
            raise _wrong_driver(raw, 'pip install "psycopg[binary]"')
        _readable(raw)
        try:
            return run(raw, op)
        except BaseException as error:
            self._mark(raw, error)
            raise

    def _mark(self, raw: psycopg.Connection[Any], error: BaseException) -> None:
        """Mark Django's connection after an error that did not pass through Django.

        Without it Django would commit a transaction that PostgreSQL has aborted, and keep a lost
        connection.  needs_rollback is set and never cleared: the application may have set it.
        """
        usable = raw.pgconn.transaction_status in {
            TransactionStatus.IDLE,
            TransactionStatus.INTRANS,
        }
        if isinstance(error, DatabaseError) or not usable:
            # Django checks the connection before the next request uses it.
            self.conn.errors_occurred = True
        if self.conn.in_atomic_block and not usable:
            self.conn.needs_rollback = True
