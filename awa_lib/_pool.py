"""The connections of a client: psycopg's pools, made to fail fast and to survive restarts.

A psycopg pool connects in the background, so a wrong password would look like a time-out: the
first connection is made here, in the caller, and handed to the pool.  Its own check of idle
connections pauses longer after each dead one, which after a restart of the server is all of
them: the check is done here, without pauses.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import psycopg
from psycopg_pool import AsyncConnectionPool, ConnectionPool, PoolTimeout

from awa_lib._drive import check_socket, translate
from awa_lib.addresses import read_address
from awa_lib.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

__all__ = ["AsyncPool", "Pool", "PoolLimits"]

AsyncConn: TypeAlias = psycopg.AsyncConnection[tuple[Any, ...]]
Conn: TypeAlias = psycopg.Connection[tuple[Any, ...]]

WAIT_SECONDS: Final = 10.0
# The pool retries at growing pauses.  After this long it gives up and the next caller makes it
# begin anew, at once; with the default of minutes, a caller could wait long for a live server.
_RETRY_SECONDS: Final = WAIT_SECONDS
_SETTINGS: Final = "-c timezone=UTC -c datestyle=ISO"


class _Connector:
    """What both kinds of pool are told about connecting."""

    def __init__(self, dsn: str, settings: str = "") -> None:
        given = read_address(dsn)
        self.address = f"{given.get('host') or 'the local socket'}:{given.get('port') or 5432}"
        self.arguments: dict[str, Any] = {
            "autocommit": True,
            "connect_timeout": given.get("connect_timeout") or int(WAIT_SECONDS),
            "fallback_application_name": "awa",
            "options": " ".join([_SETTINGS, settings, str(given.get("options") or "")]).strip(),
        }
        self.error: psycopg.Error | None = None

    def refused_settings(self, error: psycopg.OperationalError) -> bool:
        """Return True for a pooler that passes no start-up settings on; go on without them."""
        if "startup parameter" not in str(error) or "options" not in self.arguments:
            return False
        del self.arguments["options"]
        # Such a pooler switches servers under its clients.
        self.arguments["prepare_threshold"] = None
        return True

    def out_of_time(self, size: int, seconds: float = WAIT_SECONDS) -> Unavailable:
        """Return the error for no connection in time."""
        if self.error is not None:
            return Unavailable(
                f"no connection to the database at {self.address} within {seconds:.0f} s",
                why=str(translate(self.error)),
                hint="check that the server runs and the URL is right",
            )
        return Unavailable(
            f"no connection was free within {seconds:.0f} s",
            why=f"all {size} connections of this client are in use",
            hint="end transactions sooner, or give the client more max_connections",
        )

    def unreachable(self, error: psycopg.Error) -> Unavailable:
        """Return the error for a first connection that failed."""
        return Unavailable(
            f"cannot connect to the database at {self.address}",
            sqlstate=error.sqlstate,
            why=str(error).strip().replace("\n", " "),
            hint="check that the server runs and the URL is right",
        )


class _Connect(_Connector):
    """Stands in for the connection class of a pool; gives out what was opened first."""

    def __init__(self, dsn: str) -> None:
        super().__init__(dsn)
        self.ready: list[Conn] = []

    def connect(self, conninfo: str = "", **_: Any) -> Conn:
        """Open a connection."""
        if self.ready:
            return self.ready.pop()
        try:
            conn = psycopg.Connection.connect(conninfo, **self.arguments)
        except psycopg.OperationalError as error:
            if self.refused_settings(error):
                return self.connect(conninfo)
            self.error = error
            raise
        self.error = None
        return conn


class _AsyncConnect(_Connector):
    """The async form of ``_Connect``."""

    def __init__(self, dsn: str, settings: str) -> None:
        super().__init__(dsn, settings)
        self.ready: list[AsyncConn] = []

    async def connect(self, conninfo: str = "", **_: Any) -> AsyncConn:
        """Open a connection."""
        if self.ready:
            return self.ready.pop()
        try:
            conn = await psycopg.AsyncConnection.connect(conninfo, **self.arguments)
        except psycopg.OperationalError as error:
            if self.refused_settings(error):
                return await self.connect(conninfo)
            self.error = error
            raise
        self.error = None
        return conn


class Pool:
    """Blocking connections, shared by threads.  Raises Unavailable when none can be made."""

    def __init__(self, dsn: str, size: int) -> None:
        self._size = size
        self._connect = _Connect(dsn)
        try:
            self._connect.ready.append(self._connect.connect(dsn))
        except psycopg.Error as error:
            raise self._connect.unreachable(error) from error
        self._pool = ConnectionPool(
            dsn,
            connection_class=self._connect,  # type: ignore[arg-type]  # all it does is connect
            min_size=0,
            max_size=size,
            timeout=WAIT_SECONDS,
            reconnect_timeout=_RETRY_SECONDS,
            num_workers=1,
            open=True,
        )
        self._pid = os.getpid()

    @property
    def inherited(self) -> bool:
        """Return True in a forked child: the sockets and threads are its parent's."""
        return self._pid != os.getpid()

    @contextmanager
    def lease(self) -> Iterator[Conn]:
        """Lend a live connection for the block."""
        conn = self.take()
        try:
            yield conn
        finally:
            self._pool.putconn(conn)

    def take(self) -> Conn:
        """Lend a live connection until ``give``."""
        while True:
            try:
                conn: Conn = self._pool.getconn()
            except PoolTimeout:
                raise self._connect.out_of_time(self._size) from None
            try:
                check_socket(conn)
            except psycopg.OperationalError:
                conn.close()
                self._pool.putconn(conn)
            else:
                return conn

    def give(self, conn: Conn) -> None:
        """Take a connection back."""
        self._pool.putconn(conn)

    def close(self) -> None:
        """Close every connection."""
        self._pool.close()
        while self._connect.ready:
            self._connect.ready.pop().close()


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """Bounds of a pool."""

    most: int = 10
    """Connections at once."""
    least: int = 0
    """Connections that are kept when idle."""
    idle_seconds: float = 600.0
    """How long a connection beyond ``least`` may be idle."""
    lifetime_seconds: float = 3600.0
    """How long a connection may live."""
    wait_seconds: float = WAIT_SECONDS
    """How long a caller waits for a free connection."""


class AsyncPool:
    """Async connections of one event loop, with more ``settings`` of theirs.  See ``Pool``."""

    def __init__(self, dsn: str, limits: PoolLimits, settings: str = "") -> None:
        self._dsn = dsn
        self._limits = limits
        self._connect = _AsyncConnect(dsn, settings)
        self.loop = asyncio.get_running_loop()

    async def open(self) -> None:
        """Connect once.  Raises Unavailable."""
        try:
            self._connect.ready.append(await self._connect.connect(self._dsn))
        except psycopg.Error as error:
            raise self._connect.unreachable(error) from error
        self._pool = AsyncConnectionPool(
            self._dsn,
            connection_class=self._connect,  # type: ignore[arg-type]  # all it does is connect
            min_size=self._limits.least,
            max_size=self._limits.most,
            max_idle=self._limits.idle_seconds,
            max_lifetime=self._limits.lifetime_seconds,
            timeout=self._limits.wait_seconds,
            reconnect_timeout=_RETRY_SECONDS,
            num_workers=1,
            open=False,
        )
        await self._pool.open()

    @asynccontextmanager
    async def lease(self) -> AsyncIterator[AsyncConn]:
        """Lend a live connection for the block."""
        conn = await self.take()
        try:
            yield conn
        finally:
            await self._pool.putconn(conn)

    async def take(self) -> AsyncConn:
        """Lend a live connection until ``give``."""
        while True:
            try:
                conn: AsyncConn = await self._pool.getconn()
            except PoolTimeout:
                raise self._connect.out_of_time(
                    self._limits.most, self._limits.wait_seconds
                ) from None
            try:
                check_socket(conn)
            except psycopg.OperationalError:
                await conn.close()
                await self._pool.putconn(conn)
            else:
                return conn

    async def give(self, conn: AsyncConn) -> None:
        """Take a connection back."""
        await self._pool.putconn(conn)

    async def close(self) -> None:
        """Close every connection; nothing to do when their event loop has ended before them."""
        if self.loop.is_closed():
            return
        await self._pool.close()
        while self._connect.ready:
            await self._connect.ready.pop().close()
