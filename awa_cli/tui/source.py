"""Where the monitor's data comes from: one connection that reads, one that listens.

The reading one cannot write: the server refuses.  A change gets a connection of its own, so that
it neither waits for a slow read nor is cut off with one.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar

from psycopg.pq import TransactionStatus

from awa_cli.database.session import adial
from awa_cli.views.words import now
from awa_lib.db.drive import arun
from awa_lib.errors import InvalidInput, Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from datetime import datetime

    import psycopg

    from awa_cli.database.target import Target
    from awa_lib._sql import Op
    from awa_lib.reads.rights import Rights

__all__ = ["Source"]

R = TypeVar("R")

# Filters are parameters; planned anew each time, the indexes on single states can serve them.
_READING: Final = (
    ("default_transaction_read_only", "on"),
    ("plan_cache_mode", "force_custom_plan"),
    ("jit", "off"),
)
_CLOSE_SECONDS: Final = 2.0
_WATCH_SECONDS: Final = 30.0


class Source:
    """One database, looked at and changed."""

    def __init__(self, target: Target, url: str | None = None, *, read_only: bool = False) -> None:
        self.target = target
        self._url = url
        self._read_only = read_only
        self._conn: psycopg.AsyncConnection[Any] | None = None
        self._dialling = asyncio.Lock()
        self.rights: Rights | None = None
        self.read_at: datetime | None = None
        """When a read succeeded last."""
        self.lost: Unavailable | None = None
        """Why the database cannot be reached, as long as it cannot."""

    @property
    def can_change(self) -> bool:
        """Return False where nothing at all may be changed."""
        return not self._read_only and (self.rights is None or not self.rights.standby)

    def allows(self, action_id: str) -> bool:
        """Say whether an action may be offered, as far as is known."""
        noun = action_id.partition(".")[0]
        return self.can_change and (self.rights is None or self.rights.allow(noun))

    async def read(self, op: Op[R]) -> R:
        """Run a read.  Raises Unavailable; the next call connects again."""
        conn = None
        try:
            conn = await self._reading()
            result = await arun(conn, op)
        except Unavailable as error:
            self.lost = error
            await self._drop(conn)
            raise
        except asyncio.CancelledError:
            # psycopg has told the server to stop; where that failed the connection is lost.
            if conn is not None and conn.pgconn.transaction_status != TransactionStatus.IDLE:
                await self._drop(conn)
            raise
        self.lost, self.read_at = None, now()
        return result

    async def change(self, op: Op[R]) -> R:
        """Run a change on a connection of its own.  Raises InvalidInput in read-only mode."""
        if not self.can_change:
            raise InvalidInput("nothing is changed here", why="the monitor is read-only")
        async with await adial(self.target, self._url) as conn:
            return await arun(conn, op)

    async def watch(self, ids: Sequence[int]) -> AsyncIterator[None]:
        """Yield whenever one of these jobs is claimed or ends, as long as the database tells.

        Ends at once where nothing may be written, as it is noted whom to tell: look now and then
        instead.
        """
        from awa_lib.errors import AwaError
        from awa_lib.ops.waits import CHANNEL, watch_jobs

        if not self.can_change:
            return
        with suppress(AwaError, OSError):
            async with await adial(self.target, self._url) as conn:
                await conn.execute(f"LISTEN {CHANNEL}".encode())
                while True:
                    await arun(conn, watch_jobs(ids, 2 * _WATCH_SECONDS))
                    async for _ in _heard(conn):
                        yield

    async def close(self) -> None:
        """Close the reading connection."""
        await self._drop(self._conn)

    def age(self) -> timedelta | None:
        """Return how old the data is, None before the first."""
        return None if self.read_at is None else max(now() - self.read_at, timedelta())

    async def _reading(self) -> psycopg.AsyncConnection[Any]:
        async with self._dialling:
            if self._conn is None or self._conn.closed:
                self._conn = await adial(self.target, self._url, settings=_READING)
                self.rights = await self._ask_rights(self._conn)
            return self._conn

    async def _ask_rights(self, conn: psycopg.AsyncConnection[Any]) -> Rights:
        from awa_lib.reads.rights import rights

        return await arun(conn, rights())

    async def _drop(self, conn: psycopg.AsyncConnection[Any] | None) -> None:
        if conn is self._conn:
            self._conn = None
        if conn is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_SECONDS):
                    await conn.close()


async def _heard(conn: psycopg.AsyncConnection[Any]) -> AsyncIterator[None]:
    import psycopg

    try:
        async for _ in conn.notifies(timeout=_WATCH_SECONDS):
            yield
    except psycopg.OperationalError as error:
        raise Unavailable("the listening connection is lost") from error
