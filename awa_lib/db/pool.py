"""Connection pools of a client: psycopg's pools that fail fast and survive restarts.

A psycopg pool connects in the background, so a wrong password would look like a time-out.  Here
the caller opens the first connection and hands it to the pool.  psycopg's check of idle connections
pauses longer after each dead connection, and after a restart all are dead; a pool that cannot
connect pauses for up to 8 s, while the callers wait.  Here the check has no pauses, and connecting
pauses for a second at most.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import time
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from weakref import WeakSet

import psycopg
from psycopg.pq import TransactionStatus
from psycopg_pool import AsyncConnectionPool, ConnectionPool, PoolClosed, PoolTimeout

from awa_lib.db.connect import Purpose
from awa_lib.db.connectors import WAIT_SECONDS, AsyncConnect, Connect
from awa_lib.db.drive import check_socket
from awa_lib.errors import DatabaseError, Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from awa_lib.db.connectors import AsyncConn, Conn

__all__ = ["AsyncPool", "Pool", "PoolLimits"]

# The pool's own retries, at growing pauses, would come after ours.
_NO_RETRY_SECONDS: Final = 0.001
# For the threads of a pool; a thread may be connecting to a server that does not answer.
_CLOSE_SECONDS: Final = 2.0
_CLIENT: Final = Purpose()
# To ask psycopg's async pool takes a seventh of the client's time for the insert of one job, so a
# connection is lent again without it for this long.  The pool's limits of age and idle time follow.
_SPARE_SECONDS: Final = 1.0
# In the namespace of a connection: until when it is lent again without the pool.
_SPARE_UNTIL: Final = "_awa_spare_until"


def _closed() -> DatabaseError:
    return DatabaseError("the client is closed", hint="make a new client")


class Pool:
    """Blocking connections, shared by threads.  Raises Unavailable when none can be made."""

    def __init__(self, dsn: str, size: int) -> None:
        self._size = size
        self._connect = Connect(dsn, _CLIENT)
        try:
            self._connect.ready.append(self._connect.dial(dsn))
        except psycopg.Error as error:
            raise self._connect.unreachable(error) from error
        self._pool = ConnectionPool(
            dsn,
            connection_class=self._connect,  # type: ignore[arg-type]  # all it does is connect
            min_size=0,
            max_size=size,
            timeout=WAIT_SECONDS,
            reconnect_timeout=_NO_RETRY_SECONDS,
            num_workers=1,
            open=True,
        )
        self._pid = os.getpid()
        _open.add(self)

    @contextmanager
    def lease(self) -> Iterator[Conn]:
        """Lease a live connection for the block."""
        conn = self.take()
        try:
            yield conn
        except BaseException as error:
            self.give(conn, error)
            raise
        self.give(conn)

    def take(self) -> Conn:
        """Return a live connection, which the caller gives back with ``give``."""
        until = time.monotonic() + WAIT_SECONDS
        while True:
            try:
                conn: Conn = self._pool.getconn(max(until - time.monotonic(), 0.001))
            except PoolTimeout:
                raise self._connect.out_of_time(self._size) from None
            except PoolClosed:
                raise _closed() from None
            try:
                check_socket(conn)
            except psycopg.OperationalError as error:
                self._connect.error = error
                conn.close()
                self._pool.putconn(conn)
            else:
                return conn

    def give(self, conn: Conn, error: BaseException | None = None) -> None:
        """Give a connection back; it is closed unless its transaction has ended.

        After ``Unavailable`` it is closed even if it is open: a demoted server keeps its sessions.
        """
        if self._pid != os.getpid():
            return
        if (
            isinstance(error, Unavailable)
            or conn.pgconn.transaction_status != TransactionStatus.IDLE
        ):
            conn.close()
        self._pool.putconn(conn)

    def forget(self) -> None:
        """Keep a forked child from using the connections of its parent, also when it exits."""
        _inherited.append(self)
        # Otherwise the end of the pool would wait for threads that do not exist here.
        self._pool._closed = True  # noqa: SLF001 - a pool has no public way to be dropped

    def close(self) -> None:
        """Close every connection."""
        if self._pid != os.getpid():
            return
        self._connect.closed.set()
        self._pool.close(_CLOSE_SECONDS)
        while self._connect.ready:
            self._connect.ready.pop().close()


_open: Final[WeakSet[Pool | AsyncPool]] = WeakSet()
# Of a parent process; kept for ever, because a deleted pool ends its sessions on the server.
_inherited: Final[list[Pool | AsyncPool]] = []


def _forget_all() -> None:
    for pool in list(_open):
        pool.forget()
    _open.clear()


@atexit.register
def _close_all() -> None:
    """Close the pools that a script has left open.

    Later, while Python exits, the threads of a pool no longer run, and the end of the pool would
    wait for them in vain, from Python 3.13 on with a warning after ten seconds.
    """
    for pool in list(_open):
        if isinstance(pool, Pool):
            pool.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """The limits of a pool."""

    most: int = 10
    """The maximum number of connections."""
    least: int = 0
    """The number of idle connections that are kept."""
    idle_seconds: float = 600.0
    """The idle time after which a connection beyond ``least`` is closed."""
    lifetime_seconds: float = 3600.0
    """The maximum age of a connection."""
    wait_seconds: float = WAIT_SECONDS
    """The time a caller waits for a free connection."""


class AsyncPool:
    """Async connections of an event loop, for one purpose.  See ``Pool``."""

    def __init__(self, dsn: str, limits: PoolLimits, purpose: Purpose | None = None) -> None:
        self._dsn = dsn
        self._limits = limits
        self._connect = AsyncConnect(dsn, purpose or _CLIENT)
        self.loop = asyncio.get_running_loop()
        self._pid = os.getpid()
        # A connection that psycopg's pool has lent and nobody uses.
        self._spare: AsyncConn | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._putting: asyncio.Task[None] | None = None
        # How many callers wait for psycopg's pool.
        self._asking = 0

    async def open(self) -> None:
        """Open the first connection and the pool.  Raises Unavailable."""
        try:
            self._connect.ready.append(await self._connect.dial(self._dsn))
        except psycopg.Error as error:
            raise await asyncio.to_thread(self._connect.unreachable, error) from error
        self._pool = AsyncConnectionPool(
            self._dsn,
            connection_class=self._connect,  # type: ignore[arg-type]  # all it does is connect
            min_size=self._limits.least,
            max_size=self._limits.most,
            max_idle=self._limits.idle_seconds,
            max_lifetime=self._limits.lifetime_seconds,
            timeout=self._limits.wait_seconds,
            reconnect_timeout=_NO_RETRY_SECONDS,
            num_workers=1,
            open=False,
        )
        await self._pool.open()
        _open.add(self)

    @asynccontextmanager
    async def lease(self) -> AsyncIterator[AsyncConn]:
        """Lease a live connection for the block."""
        conn = await self.take()
        try:
            yield conn
        except BaseException as error:
            await self.give(conn, error)
            raise
        await self.give(conn)

    async def take(self) -> AsyncConn:
        """Return a live connection, which the caller gives back with ``give``."""
        until = time.monotonic() + self._limits.wait_seconds
        conn, self._spare = self._spare, None
        while True:
            conn = conn or await self._ask(until)
            try:
                check_socket(conn)
            except psycopg.OperationalError as error:
                self._connect.error = error
                await conn.close()
                await self._pool.putconn(conn)
                conn = None
            else:
                return conn

    async def _ask(self, until: float) -> AsyncConn:
        self._asking += 1
        try:
            conn: AsyncConn = await self._pool.getconn(max(until - time.monotonic(), 0.001))
        except PoolTimeout:
            raise self._connect.out_of_time(self._limits.most, self._limits.wait_seconds) from None
        except PoolClosed:
            raise _closed() from None
        finally:
            self._asking -= 1
        vars(conn)[_SPARE_UNTIL] = time.monotonic() + _SPARE_SECONDS
        return conn

    async def give(self, conn: AsyncConn, error: BaseException | None = None) -> None:
        """Give a connection back.  See ``Pool.give``."""
        if self._pid != os.getpid():
            return
        if (
            isinstance(error, Unavailable)
            or conn.pgconn.transaction_status != TransactionStatus.IDLE
        ):
            await conn.close()
        elif (
            self._spare is None
            and not self._asking
            and not self._pool.closed
            and time.monotonic() < vars(conn)[_SPARE_UNTIL]
        ):
            self._spare = conn
            if self._timer is None:
                self._timer = self.loop.call_later(_SPARE_SECONDS, self._put_back)
            return
        await self._pool.putconn(conn)

    def _put_back(self) -> None:
        """Give psycopg's pool the spare connection."""
        self._timer = None
        if (conn := self._spare) is not None:
            self._spare = None
            self._putting = self.loop.create_task(self._pool.putconn(conn))

    def forget(self) -> None:
        """Keep a forked child from using the connections of its parent.  See ``Pool.forget``."""
        _inherited.append(self)
        self._pool._closed = True  # noqa: SLF001 - a pool has no public way to be dropped

    async def close(self) -> None:
        """Close every connection; does nothing if the event loop is closed."""
        if self._pid != os.getpid() or self.loop.is_closed():
            return
        self._connect.closed.set()
        if self._timer is not None:
            self._timer.cancel()
            self._put_back()
        if self._putting is not None:
            await asyncio.wait({self._putting}, timeout=_CLOSE_SECONDS)
        await self._pool.close(_CLOSE_SECONDS)
        while self._connect.ready:
            await self._connect.ready.pop().close()
