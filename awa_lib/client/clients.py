"""The blocking and the async client, which have the same verbs."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING, Any, Self, TypeVar

import psycopg

from awa_lib.client.batcher import Batcher
from awa_lib.client.borrow import AsyncBorrowed, Borrowed, borrow, borrow_async
from awa_lib.client.results import AsyncResults, Results, bound
from awa_lib.client.target import BOUND, Target, in_child, no_migration, own
from awa_lib.client.transaction import AsyncTransaction, Transaction
from awa_lib.client.verbs import AsyncVerbs, Verbs
from awa_lib.client.waits import ThreadWaits, Waits
from awa_lib.db.again import Renew, Tries, again
from awa_lib.db.drive import arun, run
from awa_lib.db.pool import AsyncPool, Pool, PoolLimits
from awa_lib.enqueue.middleware import through_middleware
from awa_lib.enqueue.new_jobs import check_one, hold
from awa_lib.enqueue.options import takes_options
from awa_lib.errors import AwaError, Unavailable
from awa_lib.reads.health import ping
from awa_lib.runtime.status import idle_health
from awa_lib.runtime.worker import Worker

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Unpack

    from awa_lib._sql import Op
    from awa_lib.enqueue.kinds import Kinds
    from awa_lib.enqueue.options import InsertOptions
    from awa_lib.models import Job
    from awa_lib.runtime.health import HealthCheck

__all__ = ["AsyncClient", "Client"]

A = TypeVar("A")
R = TypeVar("R")

if hasattr(os, "register_at_fork"):
    # Registered after awa_lib.runtime.forks, which closes the sockets of connections that it finds.
    os.register_at_fork(after_in_child=in_child)


class Client(Target, Verbs, Results):
    """Blocking client; can be shared between threads.

    The client connects on first use, never in the constructor.  It opens at most
    ``max_connections`` connections, in autocommit mode.  ``close()``, or the end of a ``with``
    block, closes them.

    Every verb can raise, besides the errors it names: Unavailable when the database cannot be
    reached, SchemaNotMigrated when tables are missing, and DatabaseError for any other error of
    the server.  A verb that changes jobs locks their rows in the order of their ids, at most 500
    in a statement, until the statement or the caller's transaction ends.  Reads take no locks.
    """

    def __init__(
        self, database_url: str, max_connections: int = 10, *, kinds: Kinds | None = None
    ) -> None:
        super().__init__(database_url, max_connections, kinds)
        self._pool: Pool | None = None
        self._waits: ThreadWaits | None = None
        self._bound: Borrowed | None = None

    @classmethod
    def on(cls, conn: Any, *, kinds: Kinds | None = None) -> Self:
        """Return a client that uses the caller's open connection.

        ``conn`` is a psycopg Connection, a SQLAlchemy Connection or Session, or Django's
        connection.  The verbs run in its transaction, if one is open.  The client neither commits
        nor closes it.  Raises TypeError for any other object.
        """
        bound = borrow(conn)
        client = cls.__new__(cls)
        Target.__init__(client, BOUND, 1, kinds)
        client._pool = client._waits = None  # noqa: SLF001 - an instance of this very class
        client._bound = bound  # noqa: SLF001 - an instance of this very class
        return client

    def using(self, conn: Any) -> Self:
        """Return a client that uses the caller's open connection.  See ``on``."""
        return type(self).on(conn, kinds=self.kinds)

    def _run(self, op: Op[R], /) -> R:
        if self._bound is not None:
            return self._bound.run(op)
        tries = Tries()
        op = again(op, tries)
        while True:
            try:
                pool, conn = self._take(tries)
                try:
                    result = run(conn, op)
                except BaseException as error:
                    pool.give(conn, error)
                    raise
                pool.give(conn)
            except Renew as more:
                time.sleep(more.seconds)
            else:
                return result

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

    def _open_waits(self) -> ThreadWaits:
        if self._bound is not None:
            raise bound()
        url = self._resolve()
        with self._starting:
            if self._waits is None:
                self._waits = ThreadWaits(url)
            return self._waits

    def _forked(self) -> None:
        super()._forked()
        self._pool = self._waits = None

    def transaction(self) -> Transaction:
        """Begin a transaction: ``with client.transaction() as tx``.

        The end of the block commits; an exception rolls back.  The transaction takes a connection
        when the block or the first statement begins.  Raises AwaError if the client is bound to a
        connection that is not psycopg's.
        """
        bound = None if self._bound is None else own(self._bound, psycopg.Connection)
        return Transaction(self._open, bound, self.kinds)

    def close(self) -> None:
        """Close every connection and release an embedded server.  May be called again."""
        waits, self._waits = self._waits, None
        if waits is not None:
            waits.close()
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
        """Apply every pending migration; several processes may call it at the same time.

        Takes an advisory lock and the locks of its DDL.  Raises SchemaUnsupported, Unavailable,
        DatabaseError.
        """
        from awa_lib.schema import migrate

        if self._bound is not None:
            if not isinstance(self._bound.conn, psycopg.Connection):
                raise no_migration(self._bound.conn)
            migrate.apply(self._bound.conn)
            return
        with self._open().lease() as conn:
            migrate.apply(conn)

    def health_check(self) -> HealthCheck:
        """Return whether the database answers; a blocking client runs no worker.

        An unreachable database is part of the result, not an error.
        """
        try:
            self._run(ping())
        except AwaError:
            return idle_health(connected=False)
        return idle_health(connected=True)


class AsyncClient(Target, AsyncVerbs, AsyncResults, Worker):
    """Async client and worker; belongs to the event loop that first uses it.

    The client connects on first use, never in the constructor: it can be made, and handlers can be
    registered, without a running event loop.  Errors and locks are those of ``Client``.
    """

    def __init__(
        self, database_url: str, max_connections: int = 10, *, kinds: Kinds | None = None
    ) -> None:
        Target.__init__(self, database_url, max_connections, kinds)
        Worker.__init__(self)
        self._pool: AsyncPool | None = None
        self._bound: AsyncBorrowed | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opening: asyncio.Lock | None = None
        self._waits: Waits | None = None
        self._batcher: Batcher | None = None

    @classmethod
    def on(cls, conn: Any, *, kinds: Kinds | None = None) -> Self:
        """Return a client that uses the caller's open connection.  See ``Client.on``.

        ``conn`` is a psycopg AsyncConnection, an asyncpg Connection or pool connection, or a
        SQLAlchemy AsyncConnection or AsyncSession.
        """
        bound = borrow_async(conn)
        client = cls(BOUND, 1, kinds=kinds)
        client._bound = bound
        return client

    def using(self, conn: Any) -> Self:
        """Return a client that uses the caller's open connection.  See ``on``."""
        return type(self).on(conn, kinds=self.kinds)

    async def _run(self, op: Op[R], /) -> R:
        if self._bound is not None:
            return await self._bound.run(op)
        tries = Tries()
        op = again(op, tries)
        while True:
            try:
                pool, conn = await self._take(tries)
                try:
                    result = await arun(conn, op)
                except BaseException as error:
                    await pool.give(conn, error)
                    raise
                await pool.give(conn)
            except Renew as more:
                await asyncio.sleep(more.seconds)
            else:
                return result

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
        self._loop = self._pool = self._opening = self._waits = self._batcher = None

    def _belong(self) -> None:
        """Move to a new event loop.  Raises AwaError while the previous loop is open."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            if self._pool is not None and self._loop is not None and not self._loop.is_closed():
                raise AwaError(
                    "the client belongs to another event loop",
                    why="its connections are tied to the loop that first used it",
                    hint="make one AsyncClient for each event loop",
                )
            self._loop, self._pool, self._opening = loop, None, asyncio.Lock()
            self._waits = self._batcher = None

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

    async def _open_waits(self) -> Waits:
        if self._bound is not None:
            raise bound()
        self._belong()
        dsn = await self._dsn()
        if self._waits is None:
            self._waits = Waits(dsn)
        return self._waits

    async def _dsn(self) -> str:
        if self._database_url.startswith("embedded:"):
            return await asyncio.to_thread(self._resolve)
        return self._resolve()

    def transaction(self) -> AsyncTransaction:
        """Begin a transaction: ``async with client.transaction() as tx``.

        ``async with await client.transaction() as tx`` works too.  The end of the block commits;
        an exception rolls back.
        """
        bound = None if self._bound is None else own(self._bound, psycopg.AsyncConnection)
        return AsyncTransaction(self._open, bound, self.kinds)

    async def close(self) -> None:
        """Close every connection and release an embedded server.  May be called again.

        A running worker is shut down first, with the default time to drain.
        """
        await self.shutdown()
        if self._batcher is not None:
            await self._batcher.close()
        waits, self._waits = self._waits, None
        if waits is not None:
            await waits.close()
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
        args: A,
        **options: Unpack[InsertOptions],
    ) -> Job[A]:
        """Insert one job and return it, in a statement and a commit shared with other tasks.

        For servers whose requests insert one job each: while a statement runs, the jobs of other
        tasks are collected for the next statement.  Each caller gets its own job or its own error,
        after the commit.  The options are those of ``insert``, except ``on_conflict``.  Raises as
        ``insert``.
        """
        if self.kinds.insert_functions:
            (args,), options = through_middleware([args], self.kinds, options)
        new = check_one(args, kinds=self.kinds, **options)
        if self._bound is None:
            self._belong()
        if self._batcher is None:
            self._batcher = Batcher(self._run)
        job = await self._batcher.insert(new)
        hold(job, args)
        return job

    async def migrate(self) -> None:
        """Apply every pending migration; several processes may call it at the same time.

        Takes an advisory lock and the locks of its DDL.  Raises SchemaUnsupported, Unavailable,
        DatabaseError.
        """
        if self._bound is not None:
            raise no_migration(self._bound.conn)
        with Client(await self._dsn(), 1) as client:
            await asyncio.to_thread(client.migrate)
