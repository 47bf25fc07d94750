"""The worker's own connections: bounded, re-made with back-off, their loss said once."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from psycopg.pq import TransactionStatus

from awa_lib.db.connect import Purpose, cut, settings_for
from awa_lib.db.drive import arun, turn
from awa_lib.errors import AwaError, Transient, Unavailable
from awa_lib.reads.health import is_at_work
from awa_lib.runtime.sessions import open_async, with_settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import psycopg

    from awa_lib._sql import Op

__all__ = [
    "HOT_PLANS",
    "Bound",
    "Bounds",
    "Link",
    "Outage",
    "within",
]

logger = logging.getLogger(__name__)
R = TypeVar("R")

_CLOSE_SECONDS: Final = 1.0
_SAME_OUTAGE_SECONDS: Final = 10.0
_LONGEST_PAUSE: Final = 3.0
_PATIENCE_SECONDS: Final = 5.0
# The hot statements are all index lookups.  On a fresh, fast-growing table without statistics the
# planner otherwise picks bitmap scans and sorts over the whole backlog (seen: 7 times slower).
HOT_PLANS: Final = (
    ("enable_seqscan", "off"),
    ("enable_bitmapscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("plan_cache_mode", "force_generic_plan"),
)


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long the statements of one duty may take, and how they are planned."""

    lock_ms: int = 2_000
    """Longest wait for another transaction's lock."""
    statement_seconds: int = 15
    """Longest statement, by the server's clock."""
    hot: bool = False
    """Index look-ups only, whatever the statistics say."""
    settings: tuple[tuple[str, str], ...] = ()

    @property
    def answer_seconds(self) -> float:
        """Return how long an op may be without its answer before its connection is given up.

        Ops of several statements take longer than one, and the server may be late.
        """
        return 2.0 * self.statement_seconds + 5.0

    def purpose(self, duty: str) -> Purpose:
        """Return what to connect with."""
        settings = (
            ("lock_timeout", _time(self.lock_ms)),
            ("statement_timeout", _time(self.statement_seconds * 1000)),
            # A process that is stopped in the middle of a transaction holds no locks for ever.
            ("idle_in_transaction_session_timeout", "30s"),
            ("jit", "off"),
            *(HOT_PLANS if self.hot else ()),
            *self.settings,
        )
        return Purpose(f"awa worker: {duty}", settings)


def _time(milliseconds: int) -> str:
    """Write a time as the server does: in the largest unit that fits."""
    for unit, size in (("min", 60_000), ("s", 1_000)):
        if milliseconds % size == 0:
            return f"{milliseconds // size}{unit}"
    return f"{milliseconds}ms"


class Outage:
    """Which connections are down; said once when they go and once when all are back.

    The connections of a process notice the same outage at different moments, so what follows
    within ten seconds belongs to it.  Whoever pauses before the next try goes on as soon as
    another connection works.
    """

    def __init__(self) -> None:
        self._down: dict[str, float] = {}
        self._links: list[Link] = []
        self._said_at = -_SAME_OUTAGE_SECONDS
        self._to_end = False
        self._works = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self.ended_at = time.monotonic()
        """When the last outage ended; at first when the process started."""

    @property
    def any(self) -> bool:
        """Return True while a connection is down, or waits for an answer for too long."""
        return bool(self._down) or self.unanswered

    @property
    def unanswered(self) -> bool:
        """Return True while a connection waits for an answer for too long."""
        return bool(self.overdue_links)

    @property
    def overdue_links(self) -> list[Link]:
        """Return the links that wait for an answer for too long."""
        return [link for link in self._links if link.overdue]

    def cut(self) -> None:
        """Let every op that is under way fail now: the process ends."""
        for link in self._links:
            link.cut()

    def watch(self, link: Link) -> None:
        """Count a link's unanswered statements as an outage."""
        self._links.append(link)

    @property
    def lost_links(self) -> list[Link]:
        """Return the links that are down."""
        return [link for link in self._links if link.name in self._down]

    def lost(self, name: str, error: Exception) -> None:
        """Note a lost connection."""
        now = time.monotonic()
        if not self._down and now - self._said_at >= _SAME_OUTAGE_SECONDS:
            self._said_at = now
            self._to_end = True
            with suppress(Exception):  # of the program's own log handlers
                logger.warning(
                    "lost the database (%s); claims stop, running jobs go on, reconnecting",
                    error or "the connection was closed",
                    extra={"connection": name},
                )
        self._down[name] = now
        self._works.clear()

    def back(self, name: str) -> None:
        """Note a working connection; may be called from any thread."""
        if self._down.pop(name, None) is None:
            return
        if not self._down:
            self.ended_at = time.monotonic()
            if self._to_end:
                self._to_end = False
                with suppress(Exception):
                    logger.info("the database is back")
        with suppress(RuntimeError):  # the loop has ended: nobody waits
            self._loop.call_soon_threadsafe(self._works.set)

    async def pause(self, failures: int) -> None:
        """Wait before the next try: 0.1 s doubling to 3 s, or until another connection works."""
        seconds = min(0.1 * 2 ** min(failures, 10), _LONGEST_PAUSE) * random.uniform(0.5, 1.0)
        self._works.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._works.wait(), seconds)


async def pause(failures: int) -> None:
    """Sleep before the next try: 0.1 s doubling to 3 s, jittered by half."""
    seconds = min(0.1 * 2 ** min(failures, 10), _LONGEST_PAUSE)
    await asyncio.sleep(seconds * random.uniform(0.5, 1.0))


async def within(seconds: float, work: Awaitable[R]) -> R:
    """Return the result of an op that ends in time.  Raises TimeoutError else.

    The op goes on to its own bound: to cancel a statement waits for the server, up to 10 s.
    """
    task = asyncio.ensure_future(work)
    done, _ = await asyncio.wait({task}, timeout=seconds)
    if not done:
        task.add_done_callback(lambda late: late.cancelled() or late.exception())
        raise TimeoutError
    return task.result()


class Bound:
    """Cuts a connection whose answer is overdue, for the block.

    In two steps, so that an event loop that was blocked reads what came meanwhile first.  A
    cancel would not do: psycopg then waits for the server's answer to the cancel.
    """

    def __init__(self, conn: psycopg.AsyncConnection[Any], seconds: float) -> None:
        self._conn = conn
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(seconds, self._soon)

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, *_: object) -> None:
        """End: the answer is there."""
        self._timer.cancel()

    def _soon(self) -> None:
        self._timer = self._loop.call_later(0.5, cut, self._conn)


class Link:
    """One named connection that is opened on demand and re-made after a loss.

    Tasks that share it take turns.  No answer within the bounds counts as a loss, so nobody waits
    for ever for a server that has stopped.
    """

    def __init__(self, name: str, dsn: str, outage: Outage, bounds: Bounds | None = None) -> None:
        self.name = name
        self.bounds = bounds or Bounds()
        self._dsn = dsn
        self._purpose = self.bounds.purpose(name)
        self._outage = outage
        self._conn: psycopg.AsyncConnection[tuple[Any, ...]] | None = None
        self._opening = asyncio.Lock()
        self._turn = asyncio.Lock()
        self._asked_at: float | None = None
        self.failures = 0
        outage.watch(self)

    @property
    def waiting_seconds(self) -> float:
        """Return how long the op under way has waited for its answer."""
        asked = self._asked_at
        return 0.0 if asked is None else time.monotonic() - asked

    @property
    def overdue(self) -> bool:
        """Return True while its answer is late: a look-up's after 5 s."""
        bounds = self.bounds
        patience = _PATIENCE_SECONDS if bounds.hot else 2.0 + bounds.statement_seconds
        return self.waiting_seconds > patience

    @property
    def idle(self) -> bool:
        """Return True while no op runs on it."""
        return not self._turn.locked()

    @property
    def pooled(self) -> bool:
        """Return True when a pooler stands between this connection and the server."""
        return self._conn is not None and bool(settings_for(self._conn))

    async def connection(self) -> psycopg.AsyncConnection[tuple[Any, ...]]:
        """Return the open connection.  Raises Unavailable."""
        async with self._opening:
            if self._conn is None or self._conn.closed:
                try:
                    self._conn = await open_async(self._dsn, self._purpose)
                except Unavailable as error:
                    self._lost(error)
                    raise
            return self._conn

    async def run(self, op: Op[R]) -> R:
        """Drive an op.  Raises Unavailable after noting the loss; the next call reconnects."""
        async with self._turn:
            self._asked_at = time.monotonic()
            try:
                conn = self._conn
                if conn is None or conn.closed:
                    conn = await self.connection()
                with Bound(conn, self.bounds.answer_seconds):
                    result = await arun(conn, with_settings(conn, op))
            except Unavailable as error:
                if self._conn is not None:
                    self._lost(error)
                await self.close()
                raise
            except AwaError:
                self._works()
                await self._end_transaction()
                raise
            except asyncio.CancelledError:
                # A statement cut off half-way leaves the connection in an unknown state.
                await self.close()
                raise
            finally:
                self._asked_at = None
            self._works()
            return result

    async def _end_transaction(self) -> None:
        """Give up a connection that an op left in its transaction: the next would fail in it.

        Who cancels statements may cancel the ROLLBACK too.
        """
        conn = self._conn
        if (
            conn is not None
            and conn.autocommit
            and conn.pgconn.transaction_status != TransactionStatus.IDLE
        ):
            await self.close()

    async def insist(
        self, make: Callable[[], Op[R]], *, until: Callable[[], bool] | None = None
    ) -> R:
        """Run what ``make`` returns, anew after each passing error, until it is answered.

        ``until`` ends it: once it returns True the error is raised.  A caller that is cancelled
        does not cut off a statement, and with it the connection that others use.
        """
        failures = 0
        while True:
            try:
                return await asyncio.shield(self.run(make()))
            except Transient:
                if until is not None and until():
                    raise
                failures += 1
                await self._outage.pause(failures)

    async def doubt(self, other: Link) -> None:
        """Cut an overdue connection on whose statement the server, asked elsewhere, does not work.

        A proxy or a firewall may keep a dead connection open, and then nothing else tells.
        """
        conn, asked = self._conn, self._asked_at
        if conn is None or conn.closed or self.pooled or self is other:
            return
        try:
            at_work = await other.run(is_at_work(conn.info.backend_pid))
        except AwaError:
            return  # an outage, and no news
        if not at_work and self._conn is conn and self._asked_at == asked:
            cut(conn)

    def cut(self) -> None:
        """Let the op under way fail now."""
        if self._conn is not None and self._asked_at is not None:
            cut(self._conn)

    async def pause_after(self, failures: int) -> None:
        """Wait before the next try after so many losses in a row."""
        await self._outage.pause(failures)

    def _lost(self, error: Exception) -> None:
        self.failures += 1
        self._outage.lost(self.name, error)

    def _works(self) -> None:
        self.failures = 0
        self._outage.back(self.name)

    async def close(self) -> None:
        """Close the connection, if open, once the statement under way has ended.

        One that gets no answer within a second is cut off.
        """
        conn, self._conn = self._conn, None
        if conn is None:
            return
        for _ in range(2):
            with suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_SECONDS), turn(conn):
                    await conn.close()
                return
            cut(conn)
