"""The two clients: the same verbs, blocking and async."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

import psycopg
from psycopg.conninfo import conninfo_to_dict

from awa_lib._drive import arun, averb, run, verb
from awa_lib._pool import AsyncPool, Pool
from awa_lib.errors import AwaError, DatabaseError, ValidationError
from awa_lib.ops import bulk, dead_letters, inserts, jobs, queues
from awa_lib.reads import bulk as read_bulk
from awa_lib.reads import dead_letters as read_dead_letters
from awa_lib.reads.queues import queue_stats
from awa_lib.runtime.worker import Worker, idle_health, reachable
from awa_lib.transaction import AsyncTransaction, Transaction

if TYPE_CHECKING:
    from types import TracebackType

    from awa_lib._sql import Op
    from awa_lib.embedded import Server
    from awa_lib.models import HealthCheck

__all__ = ["AsyncClient", "Client"]

R = TypeVar("R")

_BOUND: Final = "bound:"
# Pools of a parent process; letting go of one would make it wait for threads that are not here.
_INHERITED: Final[list[Pool]] = []


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
        try:
            conninfo_to_dict(self._database_url)
        except psycopg.ProgrammingError:
            # libpq's own words may repeat the URL, password and all.
            raise ValidationError(
                "the database URL cannot be read",
                why="it is neither a postgresql:// URL nor key=value pairs",
                hint="postgresql://user:password@host:5432/database",
            ) from None
        return self._database_url

    def _release(self) -> None:
        server, self._server = self._server, None
        self._closed = True
        if server is not None:
            server.release()


class Client(_Target):
    """Blocking client; safe to share between threads.

    Connects on first use, never in the constructor.  Connections are in autocommit mode, at most
    ``max_connections`` of them, closed by ``close()`` or at the end of a ``with`` block.
    """

    def __init__(self, database_url: str, max_connections: int = 10) -> None:
        super().__init__(database_url, max_connections)
        self._pool: Pool | None = None
        self._bound: psycopg.Connection[Any] | None = None

    @classmethod
    def on(cls, conn: psycopg.Connection[Any]) -> Self:
        """Return a client bound to an open connection, which stays the caller's.

        The verbs run inside the connection's open transaction, if there is one; nothing is
        committed or closed here.
        """
        if not isinstance(conn, psycopg.Connection):
            raise TypeError(f"Client needs a psycopg.Connection, got {type(conn).__qualname__}")
        client = cls.__new__(cls)
        _Target.__init__(client, _BOUND, 1)
        client._pool = None  # noqa: SLF001 - see below
        client._bound = conn  # noqa: SLF001 - an instance of this very class
        return client

    def using(self, conn: psycopg.Connection[Any]) -> Self:
        """Return the same verbs on the caller's connection, in its transaction.  See ``on``."""
        return type(self).on(conn)

    def _run(self, op: Op[R], /) -> R:
        if self._bound is not None:
            return run(self._bound, op)
        with self._open().lease() as conn:
            return run(conn, op)

    def _open(self) -> Pool:
        pool = self._pool
        if pool is not None and not pool.inherited:
            return pool
        url = self._resolve()
        with self._starting:
            if self._pool is not None and self._pool.inherited:
                _INHERITED.append(self._pool)
                self._pool = None
            if self._pool is None:
                self._pool = Pool(url, self._max_connections)
            return self._pool

    def transaction(self) -> Transaction:
        """Begin a transaction: ``with client.transaction() as tx``.

        Commits at the end of the block, rolls back on an exception.
        """
        return Transaction(self._open, self._bound)

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
        """Apply every pending migration.  Safe when several do it at once."""
        from awa_lib import _migrate

        if self._bound is not None:
            _migrate.apply(self._bound)
            return
        with self._open().lease() as conn:
            _migrate.apply(conn)

    def health_check(self) -> HealthCheck:
        """Return whether the database answers; a blocking client runs no worker."""
        return idle_health(connected=reachable(self))

    insert = verb(inserts.insert)
    insert_many = verb(inserts.insert_many)
    insert_many_copy = verb(inserts.insert_many_copy)
    get_job = verb(jobs.get_job)
    list_jobs = verb(jobs.list_jobs)
    retry = verb(jobs.retry)
    cancel = verb(jobs.cancel)
    retry_failed = verb(jobs.retry_failed)
    discard_failed = verb(jobs.discard_failed)
    pause_queue = verb(queues.pause_queue)
    resume_queue = verb(queues.resume_queue)
    drain_queue = verb(queues.drain_queue)
    queue_stats = verb(queue_stats)
    flush_admin_metadata = verb(queues.flush_admin_metadata)
    set_dead_letters = verb(dead_letters.set_dead_letters)
    list_dlq = verb(read_dead_letters.list_dlq)
    get_dlq_job = verb(read_dead_letters.get_dlq_job)
    dlq_depth = verb(read_dead_letters.dlq_depth)
    dlq_depth_by_queue = verb(read_dead_letters.dlq_depth_by_queue)
    retry_from_dlq = verb(dead_letters.retry_from_dlq)
    bulk_retry_from_dlq = verb(dead_letters.bulk_retry_from_dlq)
    move_failed_to_dlq = verb(dead_letters.move_failed_to_dlq)
    bulk_move_failed_to_dlq = verb(dead_letters.bulk_move_failed_to_dlq)
    purge_dlq_job = verb(dead_letters.purge_dlq_job)
    purge_dlq = verb(dead_letters.purge_dlq)
    preview_bulk_operation = verb(bulk.preview_bulk_operation)
    submit_bulk_operation = verb(bulk.submit_bulk_operation)
    get_bulk_operation = verb(read_bulk.get_bulk_operation)
    list_bulk_operations = verb(read_bulk.list_bulk_operations)
    cancel_bulk_operation = verb(bulk.cancel_bulk_operation)
    run_bulk_operation = verb(bulk.run_bulk_operation)


class AsyncClient(_Target, Worker):
    """Async client, and the worker; belongs to the event loop that first uses it.

    Connects on first use, never in the constructor, so it can be made, and handlers registered,
    with no running loop.
    """

    def __init__(self, database_url: str, max_connections: int = 10) -> None:
        _Target.__init__(self, database_url, max_connections)
        Worker.__init__(self)
        self._pool: AsyncPool | None = None
        self._bound: psycopg.AsyncConnection[Any] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opening: asyncio.Lock | None = None

    @classmethod
    def on(cls, conn: psycopg.AsyncConnection[Any]) -> Self:
        """Return a client bound to an open connection.  See ``Client.on``."""
        if not isinstance(conn, psycopg.AsyncConnection):
            raise TypeError(
                f"AsyncClient needs a psycopg.AsyncConnection, got {type(conn).__qualname__}"
            )
        client = cls(_BOUND, 1)
        client._bound = conn
        return client

    def using(self, conn: psycopg.AsyncConnection[Any]) -> Self:
        """Return the same verbs on the caller's connection, in its transaction.  See ``on``."""
        return type(self).on(conn)

    async def _run(self, op: Op[R], /) -> R:
        if self._bound is not None:
            return await arun(self._bound, op)
        pool = await self._open()
        async with pool.lease() as conn:
            return await arun(conn, op)

    async def _open(self) -> AsyncPool:
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            if self._pool is not None and self._loop is not None and not self._loop.is_closed():
                raise AwaError(
                    "the client belongs to another event loop",
                    why="its connections are tied to the loop that first used it",
                    hint="make one AsyncClient for each event loop",
                )
            self._loop, self._pool, self._opening = loop, None, asyncio.Lock()
        if self._pool is not None:
            return self._pool
        assert self._opening is not None
        async with self._opening:
            if self._pool is None:
                pool = AsyncPool(await self._dsn(), self._max_connections)
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
        return AsyncTransaction(self._open, self._bound)

    async def close(self) -> None:
        """Close every connection, and let go of an embedded server.  Idempotent.

        A running worker is shut down first, with its default time to drain.
        """
        await self.shutdown()
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

    async def migrate(self) -> None:
        """Apply every pending migration.  Safe when several do it at once."""
        with Client(await self._dsn(), 1) as client:
            await asyncio.to_thread(client.migrate)

    insert = averb(inserts.insert)
    insert_many = averb(inserts.insert_many)
    insert_many_copy = averb(inserts.insert_many_copy)
    get_job = averb(jobs.get_job)
    list_jobs = averb(jobs.list_jobs)
    retry = averb(jobs.retry)
    cancel = averb(jobs.cancel)
    retry_failed = averb(jobs.retry_failed)
    discard_failed = averb(jobs.discard_failed)
    pause_queue = averb(queues.pause_queue)
    resume_queue = averb(queues.resume_queue)
    drain_queue = averb(queues.drain_queue)
    queue_stats = averb(queue_stats)
    flush_admin_metadata = averb(queues.flush_admin_metadata)
    set_dead_letters = averb(dead_letters.set_dead_letters)
    list_dlq = averb(read_dead_letters.list_dlq)
    get_dlq_job = averb(read_dead_letters.get_dlq_job)
    dlq_depth = averb(read_dead_letters.dlq_depth)
    dlq_depth_by_queue = averb(read_dead_letters.dlq_depth_by_queue)
    retry_from_dlq = averb(dead_letters.retry_from_dlq)
    bulk_retry_from_dlq = averb(dead_letters.bulk_retry_from_dlq)
    move_failed_to_dlq = averb(dead_letters.move_failed_to_dlq)
    bulk_move_failed_to_dlq = averb(dead_letters.bulk_move_failed_to_dlq)
    purge_dlq_job = averb(dead_letters.purge_dlq_job)
    purge_dlq = averb(dead_letters.purge_dlq)
    preview_bulk_operation = averb(bulk.preview_bulk_operation)
    submit_bulk_operation = averb(bulk.submit_bulk_operation)
    get_bulk_operation = averb(read_bulk.get_bulk_operation)
    list_bulk_operations = averb(read_bulk.list_bulk_operations)
    cancel_bulk_operation = averb(bulk.cancel_bulk_operation)
    run_bulk_operation = averb(bulk.run_bulk_operation)
