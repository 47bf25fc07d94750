"""Transactions of a client: insert jobs and run the app's own statements, all or nothing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self, TypeAlias, TypeVar

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from awa_lib._drive import abegin, arun, averb, begin, run, translate, verb
from awa_lib.errors import AwaError, DatabaseError
from awa_lib.ops import inserts

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator
    from contextlib import AbstractAsyncContextManager, AbstractContextManager
    from types import TracebackType

    from awa_lib._pool import AsyncPool, Pool
    from awa_lib._sql import Op

__all__ = ["AsyncTransaction", "Transaction"]

R = TypeVar("R")
AsyncConn: TypeAlias = psycopg.AsyncConnection[Any]
Conn: TypeAlias = psycopg.Connection[Any]


def _ended() -> AwaError:
    return AwaError("Transaction already committed or rolled back")


def _none() -> DatabaseError:
    return DatabaseError("no rows returned by a query that expected to return at least one row")


def _aborted(conn: AsyncConn | Conn | None) -> bool:
    return conn is not None and conn.pgconn.transaction_status == TransactionStatus.INERROR


def _lost() -> DatabaseError:
    # Postgres answers COMMIT with a rollback here, and would lose the work without a word.
    return DatabaseError(
        "the transaction was rolled back, not committed",
        why="an earlier statement in it failed and the error was caught inside the block",
        hint="let the error leave the block, or put the statement in a transaction of its own",
    )


def _triple(
    error: BaseException | None,
) -> tuple[type[BaseException] | None, BaseException | None, TracebackType | None]:
    return (None, None, None) if error is None else (type(error), error, error.__traceback__)


def _adapted(values: tuple[Any, ...]) -> list[Any]:
    return [Jsonb(value) if isinstance(value, dict) else value for value in values]


class Transaction:
    """A transaction on a connection of its own; begins with the block or the first statement.

    Jobs become visible, and workers are notified, at commit.  Statements take ``$1`` placeholders;
    values go in and come out as psycopg's Python types, so that an array is a list and a dict is
    jsonb, times are datetime, and numeric, uuid and date are what they are named after.
    """

    def __init__(self, pool: Callable[[], Pool], bound: Conn | None) -> None:
        self._open_pool = pool
        self._pool: Pool | None = None
        self._conn = bound
        self._block: AbstractContextManager[Any] | None = None
        self._over = False

    def __enter__(self) -> Self:
        """Begin; a savepoint when the client is bound to a connection in a transaction."""
        self._begin()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Commit, or roll back on an exception; nothing after commit() or rollback()."""
        if not self._over:
            self._end(exc)

    def _begin(self) -> Conn:
        if self._over:
            raise _ended()
        if self._block is None:
            if self._conn is None:
                self._pool = self._open_pool()
                self._conn = self._pool.take()
            try:
                self._block = begin(self._conn)
            except BaseException:
                self._give_back()
                raise
        assert self._conn is not None
        return self._conn

    def _end(self, exc: BaseException | None) -> None:
        if self._over:
            raise _ended()
        self._over = True
        block, self._block = self._block, None
        if block is None:
            return
        try:
            aborted = exc is None and _aborted(self._conn)
            error = psycopg.Rollback() if aborted else exc
            block.__exit__(*_triple(error))
        except psycopg.Error as failure:
            raise translate(failure) from failure
        finally:
            self._give_back()
        if aborted:
            raise _lost()

    def _give_back(self) -> None:
        self._over = True
        if self._pool is not None and self._conn is not None:
            self._pool.give(self._conn)
            self._conn = None

    def commit(self) -> None:
        """Commit now.  Raises DatabaseError when an earlier statement failed: nothing is kept."""
        self._end(None)

    def rollback(self) -> None:
        """Roll back now."""
        self._end(psycopg.Rollback())

    def _run(self, op: Op[R], /) -> R:
        return run(self._begin(), op)

    def _fetch(self, query: str, values: tuple[Any, ...]) -> tuple[int, list[dict[str, Any]]]:
        conn = self._begin()
        try:
            with psycopg.RawCursor(conn, row_factory=dict_row) as cursor:
                cursor.execute(query.encode(), _adapted(values))
                rows = cursor.fetchall() if cursor.description else []
                return cursor.rowcount, rows
        except psycopg.Error as error:
            raise translate(error) from error

    def execute(self, query: str, *values: Any) -> int:
        """Run a statement and return how many rows it touched.  Raises DatabaseError."""
        return self._fetch(query, values)[0]

    def fetch_all(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """Return every row.  Raises DatabaseError."""
        return self._fetch(query, values)[1]

    def fetch_optional(self, query: str, *values: Any) -> dict[str, Any] | None:
        """Return the first row, or None.  Raises DatabaseError."""
        rows = self.fetch_all(query, *values)
        return rows[0] if rows else None

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
        self, pool: Callable[[], Coroutine[Any, Any, AsyncPool]], bound: AsyncConn | None
    ) -> None:
        self._open_pool = pool
        self._pool: AsyncPool | None = None
        self._conn = bound
        self._block: AbstractAsyncContextManager[Any] | None = None
        self._over = False
        self._beginning = asyncio.Lock()

    def __await__(self) -> Generator[Any, Any, Self]:
        """Begin, for ``async with await client.transaction()`` and for use without a block."""
        return self.__aenter__().__await__()

    async def __aenter__(self) -> Self:
        """Begin; a savepoint when the client is bound to a connection in a transaction."""
        await self._begin()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Commit, or roll back on an exception; nothing after commit() or rollback()."""
        if not self._over:
            await self._end(exc)

    async def _begin(self) -> AsyncConn:
        if self._over:
            raise _ended()
        async with self._beginning:
            if self._block is None:
                if self._conn is None:
                    self._pool = await self._open_pool()
                    self._conn = await self._pool.take()
                try:
                    self._block = await abegin(self._conn)
                except BaseException:
                    await self._give_back()
                    raise
        assert self._conn is not None
        return self._conn

    async def _end(self, exc: BaseException | None) -> None:
        if self._over:
            raise _ended()
        self._over = True
        block, self._block = self._block, None
        if block is None:
            return
        try:
            aborted = exc is None and _aborted(self._conn)
            error = psycopg.Rollback() if aborted else exc
            await block.__aexit__(*_triple(error))
        except psycopg.Error as failure:
            raise translate(failure) from failure
        finally:
            await self._give_back()
        if aborted:
            raise _lost()

    async def _give_back(self) -> None:
        self._over = True
        if self._pool is not None and self._conn is not None:
            await self._pool.give(self._conn)
            self._conn = None

    async def commit(self) -> None:
        """Commit now.  Raises DatabaseError when an earlier statement failed: nothing is kept."""
        await self._end(None)

    async def rollback(self) -> None:
        """Roll back now."""
        await self._end(psycopg.Rollback())

    async def _run(self, op: Op[R], /) -> R:
        return await arun(await self._begin(), op)

    async def _fetch(self, query: str, values: tuple[Any, ...]) -> tuple[int, list[dict[str, Any]]]:
        conn = await self._begin()
        try:
            async with psycopg.AsyncRawCursor(conn, row_factory=dict_row) as cursor:
                await cursor.execute(query.encode(), _adapted(values))
                rows = await cursor.fetchall() if cursor.description else []
                return cursor.rowcount, rows
        except psycopg.Error as error:
            raise translate(error) from error

    async def execute(self, query: str, *values: Any) -> int:
        """Run a statement and return how many rows it touched.  Raises DatabaseError."""
        return (await self._fetch(query, values))[0]

    async def fetch_all(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """Return every row.  Raises DatabaseError."""
        return (await self._fetch(query, values))[1]

    async def fetch_optional(self, query: str, *values: Any) -> dict[str, Any] | None:
        """Return the first row, or None.  Raises DatabaseError."""
        rows = await self.fetch_all(query, *values)
        return rows[0] if rows else None

    async def fetch_one(self, query: str, *values: Any) -> dict[str, Any]:
        """Return the first row.  Raises DatabaseError when there is none."""
        row = await self.fetch_optional(query, *values)
        if row is None:
            raise _none()
        return row

    insert = averb(inserts.insert)
    insert_many = averb(inserts.insert_many)
