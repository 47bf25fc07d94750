"""The two clients: the same verbs, blocking and async."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar
from weakref import WeakSet

import psycopg

from awa_lib.client.batcher import Batcher
from awa_lib.client.borrow import AsyncBorrowed, Borrowed, borrow, borrow_async
from awa_lib.client.transaction import AsyncTransaction, Transaction
from awa_lib.client.verbs import AsyncVerbs, Verbs
from awa_lib.db.again import Renew, Tries, again
from awa_lib.db.drive import arun, run
from awa_lib.db.pool import AsyncPool, Pool, PoolLimits
from awa_lib.db.urls import read_address
from awa_lib.enqueue.new_jobs import check
from awa_lib.enqueue.options import takes_options
from awa_lib.errors import AwaError, DatabaseError, Unavailable, ValidationError
from awa_lib.reads.health import ping
from awa_lib.runtime.status import idle_health
from awa_lib.runtime.worker import Worker

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Unpack

    from awa_lib._sql import Op
    from awa_lib.embedded import Server
    from awa_lib.enqueue.options import InsertOptions
    from awa_lib.models import Job
    from awa_lib.runtime.health import HealthCheck

__all__ = ["AsyncClient", "Client"]

C = TypeVar("C")
R = TypeVar("R")

_BOUND: Final = "bound:"


def _own(bound: Borrowed | AsyncBorrowed, kind: type[C]) -> C:
    """Return the caller's connection where it is psycopg's own."""
    if not isinstance(bound.conn, kind):
        raise AwaError(
            f"this does not work on {type(bound.conn).__qualname__}",
            hint="begin and end transactions there, and use the verbs of client.using(conn) inside",
        )
    return bound.conn


class _Target:
    """A database URL, or the caller's connection; starts an embedded server when asked for."""

    def __init__(self, database_url: str, max_connections: int) -> None:
        if not isinstance(database_url, str) or not database_url:
            raise ValidationError(
                "a database URL is needed",
                hint="postgresql://user@host/database, or embedded: for a local server",
            )
        if not isinstance(max_connections, int) or max_connections < 1:
            raise ValidationError(f"max_connections must be 1 or more, got {max_connections!r}")
        self._database_url = database_url
        self._max_connections = max_connections
        self._server: Server | None = None
        self._closed = False
        self._starting = threading.Lock()
        _targets.add(self)

    def _forked(self) -> None:
        """Forget in a child what is its parent's; nothing is closed, and no lock is held."""
        self._starting = threading.Lock()

    def _resolve(self) -> str:
        """Return a connection string psycopg takes.  Blocks while an embedded server starts."""
        with self._starting:
            if self._closed:
                raise DatabaseError("the client is closed", hint="make a new one")
            if self._database_url == _BOUND:
                raise AwaError(
                    "a client bound to a connection cannot open others",
                    hint="call this on the client itself, not on client.using(conn)",
                )
            if self._database_url.startswith("embedded:"):
                if self._server is None:
                    from awa_lib.embedded import acquire

                    self._server = acquire(self._database_url)
                return self._server.url
        read_address(self._database_url)
        return self._database_url

    def _release(self) -> None:
        server, self._server = self._server, None
        self._closed = True
        if server is not None:
            server.release()


_targets: Final[WeakSet[_Target]] = WeakSet()


def _in_child() -> None:
    for target in list(_targets):
        target._forked()  # noqa: SLF001 - of this module


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


class Client(_Target, Verbs):
    """Blocking client; safe to share between threads.

    Connects on first use, never in the constructor.  Connections are in autocommit mode, at most
    ``max_connections`` of them, closed by ``close()`` or at the end of a ``with`` block.

    Beside what each verb names it raises Unavailable when the database cannot be reached,
    SchemaNotMigrated when tables are missing, and DatabaseError for what else the server refuses.
    A verb that changes jobs locks their rows, in the order of their ids and 500 at most in one
    statement, until that statement (or the caller's transaction) ends; reads lock nothing.
    """

    def __init__(self, database_url: str, max_connections: int = 10) -> None:
        super().__init__(database_url, max_connections)
        self._pool: Pool | None = None
        self._bound: Borrowed | None = None

    @classmethod
    def on(cls, conn: Any) -> Self:
        """Return a client bound to an open connection, which stays the caller's.

        A psycopg Connection, a SQLAlchemy Connection or Session, or Django's connection.  The
        verbs run inside its open transaction, if there is one; nothing is committed or closed
        here.  Raises TypeError for anything else.
        """
        bound = borrow(conn)
        client = cls.__new__(cls)
        _Target.__init__(client, _BOUND, 1)
        client._pool = None  # noqa: SLF001 - an instance of this very class
        client._bound = bound  # noqa: SLF001 - an instance of this very class
        return client

    def using(self, conn: Any) -> Self:
        """Return the same verbs on the caller's connection, in its transaction.  See ``on``."""
        return type(self).on(conn)

    def _run(self, op: Op[R], /) -> R:
        if self._bound is not None:
            return self._bound.run(op)
        tries = Tries()
        op = again(op, tries)
        while True:
            try:
                pool, conn = self._take(tries)
                with pool.given_back(conn):
                    return run(conn, op)
            except Renew as more:
                time.sleep(more.seconds)

    def _take(self, tries: Tries) -> tuple[Pool, psycopg.Connection[Any]]:
        while True:
            try:
                pool = self._open()
                return pool, pool.take()
            except Unavailable:
                if (pause := tries.pause()) is None:
                    raise
            time.sleep(pause)

    def _open(self) -> Pool:
        pool = self._pool
        if pool is not None:
            return pool
        url = self._resolve()
        with self._starting:
            if self._pool is None:
                self._pool = Pool(url, self._max_connections)
            return self._pool

    def _forked(self) -> None:
        super()._forked()
        self._pool = None

    def transaction(self) -> Transaction:
        """Begin a transaction: ``with client.transaction() as tx``.

        Commits at the end of the block, rolls back on an exception.  A connection is taken with
        the block, or the first statement.  Raises AwaError where the connection is not psycopg's.
        """
        bound = None if self._bound is None else _own(self._bound, psycopg.Connection)
        return Transaction(self._open, bound)

    def close(self) -> None:
        """Close every connection, and let go of an embedded server.  Idempotent."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()
        self._release()

    def __enter__(self) -> Self:
        """Return the client."""
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the client."""
        self.close()

    def migrate(self) -> None:
        """Apply every pending migration.  Safe when several do it at once.

        Takes an advisory lock, and the locks of the DDL it runs.  Raises SchemaUnsupported,
        Unavailable, DatabaseError.
        """
        from awa_lib.schema import migrate

        if self._bound is not None:
            migrate.apply(_own(self._bound, psycopg.Connection))
            return
        with self._open().lease() as conn:
            migrate.apply(conn)

    def health_check(self) -> HealthCheck:
        """Return whether the database answers; a blocking client runs no worker.

        An unreachable database is an answer, not an error.
        """
        try:
            self._run(ping())
        except AwaError:
            return idle_health(connected=False)
        return idle_health(connected=True)


class AsyncClient(_Target, AsyncVerbs, Worker):
    """Async client, and the worker; belongs to the event loop that first uses it.

    Connects on first use, never in the constructor, so it can be made, and handlers registered,
    with no running loop.  Errors and locks are those of ``Client``.
    """

    def __init__(self, database_url: str, max_connections: int = 10) -> None:
        _Target.__init__(self, database_url, max_connections)
        Worker.__init__(self)
        self._pool: AsyncPool | None = None
        self._bound: AsyncBorrowed | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opening: asyncio.Lock | None = None
        self._batcher: Batcher | None = None

    @classmethod
    def on(cls, conn: Any) -> Self:
        """Return a client bound to an open connection.  See ``Client.on``.

        A psycopg AsyncConnection, an asyncpg Connection, what an asyncpg pool lends, or a
        SQLAlchemy AsyncConnection or AsyncSession.
        """
        bound = borrow_async(conn)
        client = cls(_BOUND, 1)
        client._bound = bound
        return client

    def using(self, conn: Any) -> Self:
        """Return the same verbs on the caller's connection, in its transaction.  See ``on``."""
        return type(self).on(conn)

    async def _run(self, op: Op[R], /) -> R:
        if self._bound is not None:
            return await self._bound.run(op)
        tries = Tries()
        op = again(op, tries)
        while True:
            try:
                pool, conn = await self._take(tries)
                async with pool.given_back(conn):
                    return await arun(conn, op)
            except Renew as more:
                await asyncio.sleep(more.seconds)

    async def _take(self, tries: Tries) -> tuple[AsyncPool, psycopg.AsyncConnection[Any]]:
        while True:
            try:
                pool = await self._open()
                return pool, await pool.take()
            except Unavailable:
                if (pause := tries.pause()) is None:
                    raise
            await asyncio.sleep(pause)

    def _forked(self) -> None:
        super()._forked()
        self._loop = self._pool = self._opening = self._batcher = None

    def _belong(self) -> None:
        """Start anew on a new event loop.  Raises AwaError while the old one lives."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            if self._pool is not None and self._loop is not None and not self._loop.is_closed():
                raise AwaError(
                    "the client belongs to another event loop",
                    why="its connections are tied to the loop that first used it",
                    hint="make one AsyncClient for each event loop",
                )
            self._loop, self._pool, self._opening = loop, None, asyncio.Lock()
            self._batcher = None

    async def _open(self) -> AsyncPool:
        self._belong()
        if self._pool is not None:
            return self._pool
        assert self._opening is not None
        async with self._opening:
            if self._pool is None:
                pool = AsyncPool(await self._dsn(), PoolLimits(self._max_connections))
                await pool.open()
                self._pool = pool
            return self._pool

    async def _dsn(self) -> str:
        if self._database_url.startswith("embedded:"):
            return await asyncio.to_thread(self._resolve)
        return self._resolve()

    def transaction(self) -> AsyncTransaction:
        """Begin a transaction: ``async with client.transaction() as tx``.

        ``async with await client.transaction() as tx`` works too.  Commits at the end of the
        block, rolls back on an exception.
        """
        bound = None if self._bound is None else _own(self._bound, psycopg.AsyncConnection)
        return AsyncTransaction(self._open, bound)

    async def close(self) -> None:
        """Close every connection, and let go of an embedded server.  Idempotent.

        A running worker is shut down first, with its default time to drain.
        """
        await self.shutdown()
        if self._batcher is not None:
            await self._batcher.close()
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.close()
        self._release()

    async def __aenter__(self) -> Self:
        """Return the client."""
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the client."""
        await self.close()

    @takes_options
    async def enqueue(
        self,
        args: Any,
        **options: Unpack[InsertOptions],
    ) -> Job:
        """Insert one job and return it, sharing a statement and a commit with other callers.

        For servers whose requests insert one job each: while one statement is under way, the jobs
        of other tasks gather for the next.  Each caller gets its own job or its own error, after
        the commit.  Raises as ``insert``.  On a client bound to a connection nothing is shared
        with other connections.
        """
        new = check([args], **options)
        if self._bound is None:
            self._belong()
        if self._batcher is None:
            self._batcher = Batcher(self._run)
        return await self._batcher.insert(new)

    async def migrate(self) -> None:
        """Apply every pending migration.  Safe when several do it at once.

        Takes an advisory lock, and the locks of the DDL it runs.  Raises SchemaUnsupported,
        Unavailable, DatabaseError.
        """
        with Client(await self._dsn(), 1) as client:
            await asyncio.to_thread(client.migrate)
