"""What all requests share: the connection pool and the caches."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final, TypeVar

from awa_cli import clock
from awa_cli.web.problems import ReadOnly, Refused
from awa_lib.db.connect import Purpose
from awa_lib.db.drive import arun
from awa_lib.db.pool import AsyncPool
from awa_lib.errors import Unavailable
from awa_lib.reads.health import MayChange, may_change, server_time

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

    from awa_cli.access import Identity
    from awa_cli.web.settings import Settings
    from awa_lib._sql import Op
    from awa_lib.embedded import Server

__all__ = ["State"]

R = TypeVar("R")

# Filters are parameters: only a plan made for their values can use the indexes on single states.
_READ_SETTINGS: Final = (
    ("plan_cache_mode", "force_custom_plan"),
    ("jit", "off"),
    ("statement_timeout", "30s"),
)
_READ_ONLY_SETTINGS: Final = (("default_transaction_read_only", "on"),)
# After a failed connection, requests fail at once for this long before the next attempt.
_RETRY_SECONDS: Final = 1.0
# How long a request waits for a connection while the database is unreachable.
_LOST_WAIT_SECONDS: Final = 2.0
_MAX_CACHED: Final = 256
_READ_ONLY_STATE: Final = "25006"


class State:
    """The connection pool, opened at its first use, and the caches of answers."""

    def __init__(self, database_url: str, settings: Settings) -> None:
        self.settings = settings
        self.cache = _Cache(settings.cache_seconds)
        self.scrapes = _Cache(settings.scrape_seconds)
        self._url = database_url
        self._server: Server | None = None
        self._pool: AsyncPool | None = None
        self._opening = asyncio.Lock()
        self._lost: tuple[float, Unavailable] | None = None

    async def run(self, op: Op[R]) -> R:
        """Run an operation or a read.  Raises its errors, and Unavailable without a long wait."""
        try:
            if self._lost is None:
                result = await self._run(op)
            else:
                try:
                    async with asyncio.timeout(_LOST_WAIT_SECONDS):
                        result = await self._run(op)
                except TimeoutError:
                    raise self._lost[1] from None
        except Unavailable as error:
            if error.sqlstate == _READ_ONLY_STATE:
                raise ReadOnly("the database is a standby, or was made read-only") from error
            self._lost = (time.monotonic(), error)
            raise
        self._lost = None
        return result

    async def _run(self, op: Op[R]) -> R:
        pool = await self._open()
        async with pool.lease() as conn:
            if clock.is_old():
                clock.follow(await arun(conn, server_time()))
            return await arun(conn, op)

    async def _open(self) -> AsyncPool:
        async with self._opening:
            if self._pool is None:
                if self._lost is not None and time.monotonic() - self._lost[0] < _RETRY_SECONDS:
                    raise self._lost[1]
                settings = _READ_SETTINGS + (_READ_ONLY_SETTINGS if self.settings.read_only else ())
                purpose = Purpose(settings=settings)
                pool = AsyncPool(await self._dsn(), self.settings.pool, purpose)
                await pool.open()
                self._pool = pool
            return self._pool

    async def _dsn(self) -> str:
        if not self._url.startswith("embedded:"):
            return self._url
        if self._server is None:
            from awa_lib.embedded import acquire

            self._server = await asyncio.to_thread(acquire, self._url)
        return self._server.url

    async def require_operate(self, who: Identity) -> None:
        """Raise Refused if the caller may only read, ReadOnly if the server takes no changes."""
        if not who.may_operate:
            raise Refused(
                403,
                f"{who.name} may only read",
                "changes need the scope operate",
                "use a token or a user with the scope operate",
            )
        await self.require_writable()

    async def require_writable(self) -> None:
        """Raise ReadOnly if the server takes no changes."""
        if self.settings.read_only:
            raise ReadOnly("it was started with --read-only")
        found = await self._may_change()
        if not found.writable:
            raise ReadOnly("the database is a standby, or was made read-only")
        if not found.allowed:
            raise ReadOnly(
                "the role that it logs in with may only read",
                "start it with a role that may change jobs, as awa roles makes: runtime",
            )

    async def read_only(self) -> bool:
        """Return whether the server takes no changes; the answer may be as old as the cache."""
        if self.settings.read_only:
            return True
        return (await self._may_change()).read_only

    async def _may_change(self) -> MayChange:
        found: MayChange = await self.cache.get("may change", lambda: self.run(may_change()))
        return found

    async def close(self) -> None:
        """Close every connection, and release an embedded server."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.close()
        server, self._server = self._server, None
        if server is not None:
            server.release()


class _Cache:
    """Answers by key; requests for an answer that is being computed wait for it."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._kept: dict[Hashable, tuple[float, asyncio.Future[Any]]] = {}

    async def get(self, key: Hashable, make: Callable[[], Awaitable[Any]]) -> Any:
        """Return the kept answer, or the result of ``make``, whose errors are not kept."""
        now = time.monotonic()
        kept = self._kept.get(key)
        if kept is not None and (not kept[1].done() or now - kept[0] < self._seconds):
            return await asyncio.shield(kept[1])
        while len(self._kept) >= _MAX_CACHED:
            del self._kept[next(iter(self._kept))]
        task = asyncio.ensure_future(_awaited(make))
        # The request may be gone when the task fails: nobody else would fetch the exception.
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._kept[key] = (now, task)
        try:
            return await asyncio.shield(task)
        except Exception:
            if self._kept.get(key, (0, None))[1] is task:
                del self._kept[key]
            raise

    def clear(self) -> None:
        """Forget every answer; requests that wait for an answer still get it."""
        self._kept.clear()


async def _awaited(make: Callable[[], Awaitable[R]]) -> R:
    return await make()
