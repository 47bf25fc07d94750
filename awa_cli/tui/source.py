"""The database of the monitor: one connection to read, one to listen, one for each change.

The reading connection is read-only on the server.  A change has its own connection, so that it
neither waits for a slow read nor is cancelled with it.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar

from psycopg.pq import TransactionStatus

from awa_cli import clock
from awa_cli.database.session import adial
from awa_cli.views.words import now
from awa_lib.db.drive import arun
from awa_lib.errors import AwaError, InvalidInput, Unavailable
from awa_lib.reads.health import server_time
from awa_lib.reads.incidents import Badges, badges

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from datetime import datetime

    import psycopg

    from awa_cli.database.target import Target
    from awa_lib._sql import Op
    from awa_lib.reads.rights import Rights

__all__ = ["Source"]

R = TypeVar("R")

# Filters are parameters: only a plan for their values can use the indexes on single states.
_READING: Final = (
    ("default_transaction_read_only", "on"),
    ("plan_cache_mode", "force_custom_plan"),
    ("jit", "off"),
)
_CLOSE_SECONDS: Final = 2.0
_BADGES_SECONDS: Final = 10.0
_WATCH_SECONDS: Final = 30.0


class Source:
    """Reads and changes one database."""

    def __init__(self, target: Target, url: str | None = None, *, read_only: bool = False) -> None:
        self.target = target
        self._url = url
        self._read_only = read_only
        self._conn: psycopg.AsyncConnection[Any] | None = None
        self._connecting = asyncio.Lock()
        self.rights: Rights | None = None
        self.read_at: datetime | None = None
        """The time of the last successful read."""
        self.badges = Badges()
        """Numbers for the navigation, at most ten seconds old while pages are read."""
        self._badges_at: float | None = None
        self.lost: Unavailable | None = None
        """Why the database cannot be reached; None while it can."""

    @property
    def can_change(self) -> bool:
        """Return False in read-only mode and on a standby."""
        return not self._read_only and (self.rights is None or not self.rights.standby)

    def allows(self, action_id: str) -> bool:
        """Return True if the database rights allow an action, or are not known yet."""
        noun = action_id.partition(".")[0]
        return self.can_change and (self.rights is None or self.rights.allow(noun))

    async def read(self, op: Op[R]) -> R:
        """Run a read.  Raises Unavailable if the connection is lost; the next call reconnects."""
        conn = None
        try:
            conn = await self._reading()
            result = await arun(conn, op)
        except Unavailable as error:
            self.lost = error
            await self._drop(conn)
            raise
        except asyncio.CancelledError:
            # psycopg has cancelled the query; if that failed, the connection is of no more use.
            if conn is not None and conn.pgconn.transaction_status != TransactionStatus.IDLE:
                await self._drop(conn)
            raise
        self.lost, self.read_at = None, now()
        return result

    async def read_badges(self) -> None:
        """Read the numbers for the navigation, unless they are fresh."""
        began = time.monotonic()
        if self._badges_at is not None and began - self._badges_at < _BADGES_SECONDS:
            return
        self._badges_at = began
        # Without them the page is as good: a role may lack the right to read both tables.
        with suppress(AwaError):
            self.badges = await self.read(badges())

    async def change(self, op: Op[R]) -> R:
        """Run a change on its own connection.  Raises InvalidInput in read-only mode."""
        if not self.can_change:
            raise InvalidInput("cannot change the database", why="the monitor is read-only")
        async with await adial(self.target, self._url) as conn:
            result = await arun(conn, op)
        self._badges_at = None
        return result

    async def watch(self, ids: Sequence[int]) -> AsyncIterator[None]:
        """Yield when one of these jobs is claimed or ends, until the connection is lost.

        To be notified, the monitor writes the ids to the database; in read-only mode it cannot,
        and the iterator ends at once.
        """
        from awa_lib.ops.waits import CHANNEL, watch_jobs

        if not self.can_change:
            return
        with suppress(AwaError, OSError):
            async with await adial(self.target, self._url) as conn:
                await conn.execute(f"LISTEN {CHANNEL}".encode())
                while True:
                    await arun(conn, watch_jobs(ids, 2 * _WATCH_SECONDS))
                    async for _ in _notifications(conn):
                        yield

    async def close(self) -> None:
        """Close the reading connection."""
        await self._drop(self._conn)

    def age(self) -> timedelta | None:
        """Return the age of the data, None before the first read."""
        return None if self.read_at is None else max(now() - self.read_at, timedelta())

    async def _reading(self) -> psycopg.AsyncConnection[Any]:
        async with self._connecting:
            if self._conn is None or self._conn.closed:
                self._conn = await adial(self.target, self._url, settings=_READING)
                self.rights = await self._read_rights(self._conn)
            if clock.is_old():
                clock.follow(await arun(self._conn, server_time()))
            return self._conn

    async def _read_rights(self, conn: psycopg.AsyncConnection[Any]) -> Rights:
        from awa_lib.reads.rights import rights

        return await arun(conn, rights())

    async def _drop(self, conn: psycopg.AsyncConnection[Any] | None) -> None:
        if conn is self._conn:
            self._conn = None
        if conn is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_SECONDS):
                    await conn.close()


async def _notifications(conn: psycopg.AsyncConnection[Any]) -> AsyncIterator[None]:
    import psycopg

    try:
        async for _ in conn.notifies(timeout=_WATCH_SECONDS):
            yield
    except psycopg.OperationalError as error:
        raise Unavailable("lost the listening connection") from error
