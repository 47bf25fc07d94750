"""Transactions of a client: insert jobs and run the app's own statements, all or nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self, TypeVar

import psycopg
from psycopg.rows import dict_row

from awa_lib._drive import arun, averb, run, translate, verb
from awa_lib.errors import AwaError, DatabaseError
from awa_lib.ops import inserts

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator
    from contextlib import AbstractAsyncContextManager, AbstractContextManager
    from types import TracebackType

    from psycopg_pool import AsyncConnectionPool, ConnectionPool

    from awa_lib._sql import Op

__all__ = ["AsyncTransaction", "Transaction"]

R = TypeVar("R")


def _over() -> AwaError:
    return AwaError("Transaction already committed or rolled back")


def _none() -> DatabaseError:
    return DatabaseError("no rows returned by a query that expected to return at least one row")


class Transaction:
    """An open transaction on a connection of the pool.

    Statements take ``$1`` placeholders and give native Python values.  Jobs become visible, and
    workers are notified, at commit.
    """

    def __init__(
        self,
        pool: ConnectionPool[psycopg.Connection[Any]] | None,
        bound: psycopg.Connection[Any] | None,
    ) -> None:
        self._pool = pool
        self._conn = bound
        self._block: AbstractContextManager[Any] | None = None

    def __enter__(self) -> Self:
        """Begin; a savepoint when the client is bound to a connection in a transaction."""
        if self._pool is not None:
            self._conn = self._pool.getconn()
        assert self._conn is not None
        self._block = self._conn.transaction()
        self._block.__enter__()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Commit, or roll back on an exception; nothing after commit() or rollback()."""
        if self._block is not None:
            self._end(exc_type, exc, traceback)

    def _end(self, *error: Any) -> None:
        block, self._block = self._block, None
        if block is None:
            raise _over()
        try:
            block.__exit__(*error)
        except psycopg.Error as failure:
            raise translate(failure) from failure
        finally:
            if self._pool is not None and self._conn is not None:
                self._pool.putconn(self._conn)

    def commit(self) -> None:
        """Commit now."""
        self._end(None, None, None)

    def rollback(self) -> None:
        """Roll back now."""
        self._end(psycopg.Rollback, psycopg.Rollback(), None)

    def _open(self) -> psycopg.Connection[Any]:
        if self._block is None or self._conn is None:
            raise _over()
        return self._conn

    def _run(self, op: Op[R], /) -> R:
        return run(self._open(), op)

    def _cursor(self, query: str, values: tuple[Any, ...]) -> psycopg.RawCursor[dict[str, Any]]:
        cursor = psycopg.RawCursor(self._open(), row_factory=dict_row)
        try:
            cursor.execute(query, values)
        except psycopg.Error as error:
            raise translate(error) from error
        return cursor

    def execute(self, query: str, *values: Any) -> int:
        """Run a statement and return how many rows it touched."""
        return self._cursor(query, values).rowcount

    def fetch_all(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """Return every row."""
        return self._cursor(query, values).fetchall()

    def fetch_optional(self, query: str, *values: Any) -> dict[str, Any] | None:
        """Return the first row, or None."""
        return self._cursor(query, values).fetchone()

    def fetch_one(self, query: str, *values: Any) -> dict[str, Any]:
        """Return the first row.  Raises DatabaseError when there is none."""
        row = self.fetch_optional(query, *values)
        if row is None:
            raise _none()
        return row

    insert = verb(inserts.insert)
    insert_many = verb(inserts.insert_many)


class AsyncTransaction:
    """The async form of ``Transaction``."""

    def __init__(
        self,
        pool: Callable[[], Coroutine[Any, Any, AsyncConnectionPool[psycopg.AsyncConnection[Any]]]],
        bound: psycopg.AsyncConnection[Any] | None,
    ) -> None:
        self._open_pool = pool
        self._conn = bound
        self._pool: AsyncConnectionPool[psycopg.AsyncConnection[Any]] | None = None
        self._bound = bound is not None
        self._block: AbstractAsyncContextManager[Any] | None = None

    def __await__(self) -> Generator[Any, Any, Self]:
        """Begin, for ``async with await client.transaction()`` and for use without a block."""
        return self.__aenter__().__await__()

    async def __aenter__(self) -> Self:
        """Begin; a savepoint when the client is bound to a connection in a transaction."""
        if self._block is not None:
            return self
        if not self._bound:
            self._pool = await self._open_pool()
            self._conn = await self._pool.getconn()
        assert self._conn is not None
        self._block = self._conn.transaction()
        await self._block.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Commit, or roll back on an exception; nothing after commit() or rollback()."""
        if self._block is not None:
            await self._end(exc_type, exc, traceback)

    async def _end(self, *error: Any) -> None:
        block, self._block = self._block, None
        if block is None:
            raise _over()
        try:
            await block.__aexit__(*error)
        except psycopg.Error as failure:
            raise translate(failure) from failure
        finally:
            if self._pool is not None and self._conn is not None:
                await self._pool.putconn(self._conn)

    async def commit(self) -> None:
        """Commit now."""
        await self._end(None, None, None)

    async def rollback(self) -> None:
        """Roll back now."""
        await self._end(psycopg.Rollback, psycopg.Rollback(), None)

    def _open(self) -> psycopg.AsyncConnection[Any]:
        if self._block is None or self._conn is None:
            raise _over()
        return self._conn

    async def _run(self, op: Op[R], /) -> R:
        return await arun(self._open(), op)

    async def _cursor(
        self, query: str, values: tuple[Any, ...]
    ) -> psycopg.AsyncRawCursor[dict[str, Any]]:
        cursor = psycopg.AsyncRawCursor(self._open(), row_factory=dict_row)
        try:
            await cursor.execute(query, values)
        except psycopg.Error as error:
            raise translate(error) from error
        return cursor

    async def execute(self, query: str, *values: Any) -> int:
        """Run a statement and return how many rows it touched."""
        return (await self._cursor(query, values)).rowcount

    async def fetch_all(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """Return every row."""
        return await (await self._cursor(query, values)).fetchall()

    async def fetch_optional(self, query: str, *values: Any) -> dict[str, Any] | None:
        """Return the first row, or None."""
        return await (await self._cursor(query, values)).fetchone()

    async def fetch_one(self, query: str, *values: Any) -> dict[str, Any]:
        """Return the first row.  Raises DatabaseError when there is none."""
        row = await self.fetch_optional(query, *values)
        if row is None:
            raise _none()
        return row

    insert = averb(inserts.insert)
    insert_many = averb(inserts.insert_many)
