"""What all requests share: the connections and the cache."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final, TypeVar

from awa_cli.web.problems import ReadOnly, Refused
from awa_lib.db.connect import Purpose
from awa_lib.db.drive import arun
from awa_lib.db.pool import AsyncPool
from awa_lib.errors import Unavailable
from awa_lib.reads.health import is_read_only

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

    from awa_cli.web.access import Identity
    from awa_cli.web.settings import Settings
    from awa_lib._sql import Op
    from awa_lib.embedded import Server

__all__ = ["State"]

R = TypeVar("R")

# Filters are parameters; planned anew each time, the indexes on single states can serve them.
_READING: Final = (
    ("plan_cache_mode", "force_custom_plan"),
    ("jit", "off"),
    ("statement_timeout", "30s"),
)
_NO_WRITES: Final = (("default_transaction_read_only", "on"),)
# A lost database is asked for again after so long; until then requests fail at once.
_PAUSE_SECONDS: Final = 1.0
# How long a request waits for a connection while the database is lost.
_LOST_WAIT_SECONDS: Final = 2.0
_MOST_CACHED: Final = 256
_READ_ONLY_STATE: Final = "25006"


class State:
    """Connections, opened when first needed, and answers that may be given again."""

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
        """Run one operation or read.  Raises what it raises, and Unavailable soon."""
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
            return await arun(conn, op)

    async def _open(self) -> AsyncPool:
        async with self._opening:
            if self._pool is None:
                if self._lost is not None and time.monotonic() - self._lost[0] < _PAUSE_SECONDS:
                    raise self._lost[1]
                settings = _READING + (_NO_WRITES if self.settings.read_only else ())
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
        """Raise Refused when the caller may only read, ReadOnly when nothing may be changed."""
        if not who.may_operate:
            raise Refused(
                403,
                f"{who.name} may only read",
                "changes need the scope operate",
                "ask for a token or a user with the scope operate",
            )
        await self.require_writable()

    async def require_writable(self) -> None:
        """Raise ReadOnly when nothing may be changed here."""
        if self.settings.read_only:
            raise ReadOnly("it was started with --read-only")
        if await self.read_only():
            raise ReadOnly("the database is a standby, or was made read-only")

    async def read_only(self) -> bool:
        """Return whether changes are refused, as the database said within the cache's time."""
        if self.settings.read_only:
            return True
        return bool(await self.cache.get("read only", lambda: self.run(is_read_only())))

    async def close(self) -> None:
        """Close every connection, and let go of an embedded server."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.close()
        server, self._server = self._server, None
        if server is not None:
            server.release()


class _Cache:
    """Answers by key; who asks while one is being made waits for it instead of making another."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._kept: dict[Hashable, tuple[float, asyncio.Future[Any]]] = {}

    async def get(self, key: Hashable, make: Callable[[], Awaitable[Any]]) -> Any:
        """Return the kept answer, or a new one.  Raises what making it raises; that is not kept."""
        now = time.monotonic()
        kept = self._kept.get(key)
        if kept is not None and (not kept[1].done() or now - kept[0] < self._seconds):
            return await asyncio.shield(kept[1])
        while len(self._kept) >= _MOST_CACHED:
            del self._kept[next(iter(self._kept))]
        task = asyncio.ensure_future(_awaited(make))
        # Whoever asked may be gone when it fails.
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._kept[key] = (now, task)
        try:
            return await asyncio.shield(task)
        except Exception:
            if self._kept.get(key, (0, None))[1] is task:
                del self._kept[key]
            raise

    def clear(self) -> None:
        """Forget every answer; those being made now are given to who waits for them only."""
        self._kept.clear()


async def _awaited(make: Callable[[], Awaitable[R]]) -> R:
    return await make()
