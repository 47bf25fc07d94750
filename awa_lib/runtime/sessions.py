"""Open a connection of the worker, and run an op under its settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import psycopg

from awa_lib._sql import BEGIN, COMMIT, ROLLBACK, sql
from awa_lib.db.connect import Purpose, connect, connect_async, settings_for
from awa_lib.db.drive import translate

if TYPE_CHECKING:
    from awa_lib._sql import Op

__all__ = ["open_async", "open_sync", "with_settings"]

R = TypeVar("R")


async def open_async(dsn: str, purpose: Purpose) -> psycopg.AsyncConnection[tuple[Any, ...]]:
    """Open an async connection.  Raises Unavailable or DatabaseError."""
    try:
        return await connect_async(dsn, purpose)
    except psycopg.Error as error:
        raise translate(error) from error


def open_sync(dsn: str, purpose: Purpose) -> psycopg.Connection[tuple[Any, ...]]:
    """Open a blocking connection.  Raises Unavailable or DatabaseError."""
    try:
        return connect(dsn, purpose)
    except psycopg.Error as error:
        raise translate(error) from error


def with_settings(conn: psycopg.Connection[Any] | psycopg.AsyncConnection[Any], op: Op[R]) -> Op[R]:
    """Return an op that makes the connection's settings its own where the session cannot."""
    settings = settings_for(conn)
    return _in_transaction(op, settings) if settings else op


def _in_transaction(op: Op[R], settings: tuple[tuple[str, str], ...]) -> Op[R]:
    yield BEGIN
    try:
        yield sql.connections(
            "set_local", names=[n for n, _ in settings], values=[v for _, v in settings]
        )
        result = yield from op
    except Exception:
        yield ROLLBACK
        raise
    yield COMMIT
    return result
