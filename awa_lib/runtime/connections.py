"""The worker's own connections: re-made with backoff, their loss said once."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

import psycopg

from awa_lib._drive import arun, translate, turn
from awa_lib.errors import Unavailable
from awa_lib.runtime import forks

if TYPE_CHECKING:
    from awa_lib._sql import Op

__all__ = ["Link", "Outage", "connect", "connect_sync", "pause"]

logger = logging.getLogger(__name__)
R = TypeVar("R")

_CONNECT_SECONDS: Final = 10
_CLOSE_SECONDS: Final = 5.0
_SAME_OUTAGE_SECONDS: Final = 10.0
# The hot statements are all index lookups.  On a fresh, fast-growing table without statistics the
# planner otherwise picks bitmap scans and sorts over the whole backlog (seen: 7 times slower).
HOT_PLANS: Final = (
    "-c enable_seqscan=off -c enable_bitmapscan=off -c enable_hashjoin=off "
    "-c enable_mergejoin=off -c jit=off -c plan_cache_mode=force_generic_plan"
)
_PLAIN: Final = "-c jit=off"


class Outage:
    """Which connections are down; said once when they go and once when all are back.

    The connections of a process notice the same outage at different moments, so what follows
    within ten seconds belongs to it.
    """

    def __init__(self) -> None:
        self._down: set[str] = set()
        self._said_at = -_SAME_OUTAGE_SECONDS
        self._to_end = False

    @property
    def any(self) -> bool:
        """Return True while a connection is down."""
        return bool(self._down)

    def lost(self, name: str, error: Exception) -> None:
        """Note a lost connection."""
        now = time.monotonic()
        if not self._down and now - self._said_at >= _SAME_OUTAGE_SECONDS:
            logger.warning(
                "lost the database (%s); claims stop, running jobs go on, reconnecting",
                error,
                extra={"connection": name},
            )
            self._said_at = now
            self._to_end = True
        self._down.add(name)

    def back(self, name: str) -> None:
        """Note a working connection."""
        if name in self._down:
            self._down.discard(name)
            if not self._down and self._to_end:
                self._to_end = False
                logger.info("the database is back")


async def pause(failures: int) -> None:
    """Sleep before the next try: 0.1 s doubling to 5 s, jittered by half."""
    await asyncio.sleep(min(0.1 * 2**failures, 5.0) * random.uniform(0.5, 1.0))


def _arguments(dsn: str, options: str) -> dict[str, Any]:
    """Return what every connection is opened with; settings of the URL come last and win."""
    given = psycopg.conninfo.conninfo_to_dict(dsn)
    settings = f"-c timezone=UTC -c datestyle=ISO {options} {given.get('options') or ''}".strip()
    ours: dict[str, Any] = {
        "application_name": "awa worker",
        "connect_timeout": _CONNECT_SECONDS,
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
    }
    kept = {key: value for key, value in ours.items() if key not in given}
    return {**kept, "autocommit": True, "options": settings}


def _refused_options(error: psycopg.Error) -> bool:
    # A pooler that does not pass start-up parameters on says so; the connection then goes without.
    return "startup parameter" in str(error)


def _own(conn: Any) -> Any:
    forks.own(conn)
    return conn


async def connect(
    dsn: str, *, hot: bool = False, extra: str = ""
) -> psycopg.AsyncConnection[tuple[Any, ...]]:
    """Open one autocommit connection in UTC.  Raises Unavailable or DatabaseError."""
    arguments = _arguments(dsn, f"{HOT_PLANS if hot else _PLAIN} {extra}")
    try:
        try:
            return _own(await psycopg.AsyncConnection.connect(dsn, **arguments))
        except psycopg.OperationalError as error:
            if not _refused_options(error):
                raise
        del arguments["options"]
        return _own(await psycopg.AsyncConnection.connect(dsn, **arguments, prepare_threshold=None))
    except psycopg.Error as error:
        raise translate(error) from error


def connect_sync(dsn: str) -> psycopg.Connection[tuple[Any, ...]]:
    """Open one blocking autocommit connection in UTC.  Raises Unavailable or DatabaseError."""
    arguments = _arguments(dsn, _PLAIN)
    try:
        try:
            return _own(psycopg.Connection.connect(dsn, **arguments))
        except psycopg.OperationalError as error:
            if not _refused_options(error):
                raise
        del arguments["options"]
        return _own(psycopg.Connection.connect(dsn, **arguments, prepare_threshold=None))
    except psycopg.Error as error:
        raise translate(error) from error


class Link:
    """One named connection that is opened on demand and re-made after a loss."""

    def __init__(
        self, name: str, dsn: str, outage: Outage, *, hot: bool = False, extra: str = ""
    ) -> None:
        self.name = name
        self._dsn = dsn
        self._outage = outage
        self._hot = hot
        self._extra = extra
        self._conn: psycopg.AsyncConnection[tuple[Any, ...]] | None = None
        self._lock = asyncio.Lock()
        self.failures = 0

    async def connection(self) -> psycopg.AsyncConnection[tuple[Any, ...]]:
        """Return the open connection.  Raises Unavailable."""
        async with self._lock:
            if self._conn is None or self._conn.closed:
                try:
                    self._conn = await connect(self._dsn, hot=self._hot, extra=self._extra)
                except Unavailable as error:
                    self.failures += 1
                    self._outage.lost(self.name, error)
                    raise
            return self._conn

    async def run(self, op: Op[R]) -> R:
        """Drive an op.  Raises Unavailable after noting the loss; the next call reconnects."""
        try:
            conn = await self.connection()
            result = await arun(conn, op)
        except Unavailable as error:
            if self._conn is not None:
                self.failures += 1
                self._outage.lost(self.name, error)
            await self.close()
            raise
        except asyncio.CancelledError:
            # A statement cut off half-way leaves the connection in an unknown state.
            await self.close()
            raise
        self.failures = 0
        self._outage.back(self.name)
        return result

    async def close(self) -> None:
        """Close the connection, if open, once the statement under way has ended.

        A statement that gets no answer keeps the connection; its own end will let it go.
        """
        conn, self._conn = self._conn, None
        if conn is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_SECONDS), turn(conn):
                    await conn.close()
