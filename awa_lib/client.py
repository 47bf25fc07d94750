"""The two clients: the same verbs, blocking and async."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

import psycopg

from awa_lib._drive import arun, averb, check_socket, run, translate, verb
from awa_lib.errors import AwaError, Unavailable, ValidationError
from awa_lib.ops import inserts, jobs, queues
from awa_lib.reads.queues import queue_stats
from awa_lib.runtime.worker import Worker, idle_health, reachable
from awa_lib.transaction import AsyncTransaction, Transaction

if TYPE_CHECKING:
    from types import TracebackType

    from psycopg_pool import AsyncConnectionPool, ConnectionPool

    from awa_lib._sql import Op
    from awa_lib.embedded import Server
    from awa_lib.models import HealthCheck

__all__ = ["AsyncClient", "Client"]

R = TypeVar("R")

_WAIT_SECONDS: Final = 10.0


class _Target:
    """A database URL, or the caller's connection; starts an embedded server when asked for."""

    def __init__(self, database_url: str, max_connections: int) -> None:
        if not isinstance(database_url, str) or not database_url:
            raise ValidationError(
                "a database URL is needed",
                hint="postgresql://user@host/database, or embedded: for a local server",
            )
        self._database_url = database_url
        self._max_connections = max_connections
        self._server: Server | None = None
        self._closed = False
        self._starting = threading.Lock()

    def _resolve(self) -> str:
        """Return a connection string psycopg takes.  Blocks while an embedded server starts."""
        with self._starting:
            if self._closed:
                raise AwaError("the client is closed", hint="make a new one")
            if self._database_url.startswith("embedded:"):
                if self._server is None:
                    from awa_lib.embedded import acquire

                    self._server = acquire(self._database_url)
                return self._server.url
        try:
            psycopg.conninfo.conninfo_to_dict(self._database_url)
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

    def _pool_options(self) -> dict[str, Any]:
        return {
            "min_size": 0,
            "max_size": self._max_connections,
            "timeout": _WAIT_SECONDS,
            "open": False,
            "kwargs": {"autocommit": True, "connect_timeout": 10, "application_name": "awa"},
        }

    def _unreachable(self) -> Unavailable:
        parts = psycopg.conninfo.conninfo_to_dict(self._resolve())
        where = f"{parts.get('host', 'the default socket')}:{parts.get('port', 5432)}"
        return Unavailable(
            f"no connection to the database at {where} within {_WAIT_SECONDS:.0f} s",
            why="the server is down or unreachable, or every pooled connection is in use",
            hint="check that the server runs and the URL is right",
        )


class Client(_Target):
    """Blocking client; safe to share between threads.

    Connects on first use, never in the constructor.  Connections are in autocommit mode, at most
    ``max_connections`` of them, closed by ``close()`` or at the end of a ``with`` block.
    """

    def __init__(self, database_url: str, max_connections: int = 10) -> None:
        super().__init__(database_url, max_connections)
        self._pool: ConnectionPool[psycopg.Connection[Any]] | None = None
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
        _Target.__init__(client, "bound:", 1)
        client._pool = None  # noqa: SLF001 - see below
        client._bound = conn  # noqa: SLF001 - an instance of this very class
        return client

    def using(self, conn: psycopg.Connection[Any]) -> Self:
        """Return the same verbs on the caller's connection, in its transaction.  See ``on``."""
        return type(self).on(conn)

    def _run(self, op: Op[R], /) -> R:
        if self._bound is not None:
            return run(self._bound, op)
        from psycopg_pool import PoolTimeout

        pool = self._open()
        try:
            with pool.connection() as conn:
                return run(conn, op)
        except PoolTimeout:
            raise self._unreachable() from None
        except psycopg.Error as error:
            raise translate(error) from error

    def _open(self) -> ConnectionPool[psycopg.Connection[Any]]:
        if self._pool is None:
            from psycopg_pool import ConnectionPool

            url = self._resolve()
            with self._starting:
                if self._pool is None:
                    pool = ConnectionPool(url, check=check_socket, **self._pool_options())
                    pool.open()
                    self._pool = pool
        return self._pool

    def transaction(self) -> Transaction:
        """Begin a transaction: ``with client.transaction() as tx``.

        Commits at the end of the block, rolls back on an exception.
        """
        if self._bound is not None:
            return Transaction(None, self._bound)
        return Transaction(self._open(), None)

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

        with psycopg.connect(self._resolve(), autocommit=True) as conn:
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


class AsyncClient(_Target, Worker):
    """Async client, and the worker; belongs to the event loop that first uses it.

    Connects on first use, never in the constructor, so it can be made, and handlers registered,
    with no running loop.
    """

    def __init__(self, database_url: str, max_connections: int = 10) -> None:
        _Target.__init__(self, database_url, max_connections)
        Worker.__init__(self)
        self._pool: AsyncConnectionPool[psycopg.AsyncConnection[Any]] | None = None
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
        client = cls("bound:", 1)
        client._bound = conn
        return client

    def using(self, conn: psycopg.AsyncConnection[Any]) -> Self:
        """Return the same verbs on the caller's connection, in its transaction.  See ``on``."""
        return type(self).on(conn)

    async def _run(self, op: Op[R], /) -> R:
        if self._bound is not None:
            return await arun(self._bound, op)
        from psycopg_pool import PoolTimeout

        pool = await self._open()
        try:
            async with pool.connection() as conn:
                return await arun(conn, op)
        except PoolTimeout:
            raise self._unreachable() from None
        except psycopg.Error as error:
            raise translate(error) from error

    async def _open(self) -> AsyncConnectionPool[psycopg.AsyncConnection[Any]]:
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            if self._pool is not None and self._loop is not None and not self._loop.is_closed():
                raise AwaError(
                    "the client belongs to another event loop",
                    why="its connections are tied to the loop that first used it",
                    hint="make one AsyncClient for each event loop",
                )
            self._loop, self._pool, self._opening = loop, None, asyncio.Lock()
        if self._pool is None:
            assert self._opening is not None
            async with self._opening:
                if self._pool is None:
                    from psycopg_pool import AsyncConnectionPool

                    pool = AsyncConnectionPool(
                        await self._dsn(), check=_acheck, **self._pool_options()
                    )
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


async def _acheck(conn: psycopg.AsyncConnection[Any]) -> None:
    check_socket(conn)
