"""Transactions of a client: insert jobs and run your own statements, all or nothing."""

from __future__ import annotations

import asyncio
import os
import threading
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Self, TypeAlias, TypeVar, cast

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from awa_lib.client.methods import ainserting, inserting
from awa_lib.client.workflows import AsyncWorkflows, Workflows
from awa_lib.db.drive import abegin, arun, begin, run
from awa_lib.db.translate import translate
from awa_lib.db.turns import thread_turn, turn
from awa_lib.errors import AwaError, DatabaseError
from awa_lib.ops import inserts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator
    from contextlib import AbstractAsyncContextManager, AbstractContextManager
    from types import TracebackType

    from awa_lib._sql import Op
    from awa_lib.client.signatures import AsyncInsert, Insert
    from awa_lib.db.pool import AsyncPool, Pool
    from awa_lib.enqueue.kinds import Kinds

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


def _inherited() -> AwaError:
    return AwaError(
        "the transaction belongs to the parent process",
        hint="begin a new transaction after the fork: with client.transaction() as tx",
    )


def _lost(*, cut: bool) -> DatabaseError:
    # PostgreSQL answers COMMIT with a rollback here, without an error.
    how = "was cancelled" if cut else "failed"
    return DatabaseError(
        "the transaction was rolled back, not committed",
        why=f"an earlier statement in it {how} and the error was caught inside the block",
        hint="let the error leave the block, or put the statement in a transaction of its own",
    )


def _triple(
    error: BaseException | None,
) -> tuple[type[BaseException] | None, BaseException | None, TracebackType | None]:
    return (None, None, None) if error is None else (type(error), error, error.__traceback__)


def _adapted(values: tuple[Any, ...]) -> list[Any]:
    return [Jsonb(value) if isinstance(value, dict) else value for value in values]


class Transaction(Workflows):
    """A transaction on its own connection; begins with the block or the first statement.

    Jobs become visible, and workers are notified, at commit.  Statements use the placeholders
    ``$1``, ``$2``, …; psycopg converts values between Python and PostgreSQL types, and a dict is
    sent as jsonb.
    """

    def __init__(self, pool: Callable[[], Pool], bound: Conn | None, kinds: Kinds) -> None:
        self.kinds = kinds
        self._open_pool = pool
        self._pool: Pool | None = None
        self._conn = bound
        self._block: AbstractContextManager[Any] | None = None
        self._over = False
        self._cut = False
        self._pid = os.getpid()
        self._turn = threading.RLock()

    def __enter__(self) -> Self:
        """Begin; makes a savepoint if the client is bound to a connection in a transaction."""
        self._begin()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Commit, or roll back on an exception; do nothing after commit() or rollback()."""
        # In a forked child the transaction is the parent's.
        if not self._over and self._pid == os.getpid():
            self._end(exc)

    def _begin(self) -> Conn:
        if self._pid != os.getpid():
            raise _inherited()
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
        if self._pid != os.getpid():
            raise _inherited()
        with self._turn:
            if self._over:
                raise _ended()
            self._over = True
            block, self._block = self._block, None
            if block is None:
                return
            aborted = exc is None and (self._cut or _aborted(self._conn))
            try:
                block.__exit__(*_triple(psycopg.Rollback() if aborted else exc))
            except psycopg.Error as failure:
                if not aborted:
                    raise translate(failure) from failure
            finally:
                self._give_back()
            if aborted:
                raise _lost(cut=self._cut)

    def _give_back(self) -> None:
        self._over = True
        if self._pool is not None and self._conn is not None:
            self._pool.give(self._conn)
            self._conn = None

    def commit(self) -> None:
        """Commit.  Raises DatabaseError if an earlier statement failed; nothing is kept then."""
        self._end(None)

    def rollback(self) -> None:
        """Roll back."""
        self._end(psycopg.Rollback())

    @contextmanager
    def _statement(self) -> Iterator[Conn]:
        """Wait for other threads that use the transaction, then begin it."""
        with self._turn:
            conn = self._begin()
            try:
                yield conn
            except psycopg.Error as error:
                raise translate(error) from error
            except BaseException as error:
                # Ctrl-C: it is unknown whether the statement has run.
                self._cut = self._cut or not isinstance(error, Exception)
                raise

    def _run(self, op: Op[R], /) -> R:
        with self._statement() as conn:
            return run(conn, op)

    def _fetch(self, query: str, values: tuple[Any, ...]) -> tuple[int, list[dict[str, Any]]]:
        with (
            self._statement() as conn,
            thread_turn(conn),
            psycopg.RawCursor(conn, row_factory=dict_row) as cursor,
        ):
            cursor.execute(query.encode(), _adapted(values))
            rows = cursor.fetchall() if cursor.description else []
            return cursor.rowcount, rows

    def execute(self, query: str, *values: Any) -> int:
        """Run a statement and return the number of rows it affected.  Raises DatabaseError."""
        return self._fetch(query, values)[0]

    def fetch_all(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """Run a statement and return every row.  Raises DatabaseError."""
        return self._fetch(query, values)[1]

    def fetch_optional(self, query: str, *values: Any) -> dict[str, Any] | None:
        """Run a statement and return the first row, or None.  Raises DatabaseError."""
        rows = self.fetch_all(query, *values)
        return rows[0] if rows else None

    def fetch_one(self, query: str, *values: Any) -> dict[str, Any]:
        """Run a statement and return the first row.  Raises DatabaseError if there is none."""
        row = self.fetch_optional(query, *values)
        if row is None:
            raise _none()
        return row

    insert = cast("Insert", inserting(inserts.insert))
    insert_many = inserting(inserts.insert_many)


class AsyncTransaction(AsyncWorkflows):
    """A transaction of the async client.  See ``Transaction``."""

    def __init__(
        self,
        pool: Callable[[], Coroutine[Any, Any, AsyncPool]],
        bound: AsyncConn | None,
        kinds: Kinds,
    ) -> None:
        self.kinds = kinds
        self._open_pool = pool
        self._pool: AsyncPool | None = None
        self._conn = bound
        self._block: AbstractAsyncContextManager[Any] | None = None
        self._over = False
        self._cut = False
        self._pid = os.getpid()
        self._turn = asyncio.Lock()

    def __await__(self) -> Generator[Any, Any, Self]:
        """Begin; for ``async with await client.transaction()`` and for use without a block."""
        return self.__aenter__().__await__()

    async def __aenter__(self) -> Self:
        """Begin; makes a savepoint if the client is bound to a connection in a transaction."""
        await self._begin()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Commit, or roll back on an exception; do nothing after commit() or rollback()."""
        # In a forked child the transaction is the parent's.
        if not self._over and self._pid == os.getpid():
            await self._end(exc)

    async def _begin(self) -> AsyncConn:
        if self._pid != os.getpid():
            raise _inherited()
        if self._over:
            raise _ended()
        if self._block is None:
            if self._conn is None:
                self._pool = await self._open_pool()
                self._conn = await self._pool.take()
            try:
                async with turn(self._conn):
                    self._block = await abegin(self._conn)
            except BaseException:
                await self._give_back()
                raise
        assert self._conn is not None
        return self._conn

    async def _end(self, exc: BaseException | None) -> None:
        if self._pid != os.getpid():
            raise _inherited()
        if self._turn.locked():
            # The end goes on even if this task is cancelled while another task's statement runs.
            ending = asyncio.create_task(self._end_in_turn(exc))
            ending.add_done_callback(lambda task: task.cancelled() or task.exception())
            await asyncio.shield(ending)
        else:
            await self._end_in_turn(exc)

    async def _end_in_turn(self, exc: BaseException | None) -> None:
        async with self._turn:
            if self._over:
                raise _ended()
            self._over = True
            block, self._block = self._block, None
            if block is None or self._conn is None:
                return
            aborted = exc is None and (self._cut or _aborted(self._conn))
            try:
                async with turn(self._conn):
                    await block.__aexit__(*_triple(psycopg.Rollback() if aborted else exc))
            except psycopg.Error as failure:
                if not aborted:
                    raise translate(failure) from failure
            finally:
                await self._give_back()
            if aborted:
                raise _lost(cut=self._cut)

    async def _give_back(self) -> None:
        self._over = True
        if self._pool is not None and self._conn is not None:
            await self._pool.give(self._conn)
            self._conn = None

    async def commit(self) -> None:
        """Commit.  Raises DatabaseError if an earlier statement failed; nothing is kept then."""
        await self._end(None)

    async def rollback(self) -> None:
        """Roll back."""
        await self._end(psycopg.Rollback())

    @asynccontextmanager
    async def _statement(self) -> AsyncIterator[AsyncConn]:
        """Wait for other tasks that use the transaction, then begin it."""
        async with self._turn:
            conn = await self._begin()
            try:
                yield conn
            except psycopg.Error as error:
                raise translate(error) from error
            except BaseException as error:
                # Cancelled: it is unknown whether the statement has run.
                self._cut = self._cut or not isinstance(error, Exception)
                raise

    async def _run(self, op: Op[R], /) -> R:
        async with self._statement() as conn:
            return await arun(conn, op)

    async def _fetch(self, query: str, values: tuple[Any, ...]) -> tuple[int, list[dict[str, Any]]]:
        async with (
            self._statement() as conn,
            turn(conn),
            psycopg.AsyncRawCursor(conn, row_factory=dict_row) as cursor,
        ):
            await cursor.execute(query.encode(), _adapted(values))
            rows = await cursor.fetchall() if cursor.description else []
            return cursor.rowcount, rows

    async def execute(self, query: str, *values: Any) -> int:
        """Run a statement and return the number of rows it affected.  Raises DatabaseError."""
        return (await self._fetch(query, values))[0]

    async def fetch_all(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """Run a statement and return every row.  Raises DatabaseError."""
        return (await self._fetch(query, values))[1]

    async def fetch_optional(self, query: str, *values: Any) -> dict[str, Any] | None:
        """Run a statement and return the first row, or None.  Raises DatabaseError."""
        rows = await self.fetch_all(query, *values)
        return rows[0] if rows else None

    async def fetch_one(self, query: str, *values: Any) -> dict[str, Any]:
        """Run a statement and return the first row.  Raises DatabaseError if there is none."""
        row = await self.fetch_optional(query, *values)
        if row is None:
            raise _none()
        return row

    insert = cast("AsyncInsert", ainserting(inserts.insert))
    insert_many = ainserting(inserts.insert_many)
