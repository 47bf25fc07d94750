"""The connections of a worker process: opened on demand, re-made after a loss."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from psycopg.pq import TransactionStatus

from awa_lib.db.connect import cut, hang_up, settings_for
from awa_lib.db.drive import arun, readable, turn
from awa_lib.db.jitter import RANDOM
from awa_lib.errors import AwaError, Unavailable
from awa_lib.logs import Logger
from awa_lib.reads.health import is_at_work, ping
from awa_lib.runtime.sessions import HOT_PLANS, AnswerTimeout, Bounds, open_async, with_settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import psycopg

    from awa_lib._sql import Op

__all__ = ["HEARTBEAT", "Link", "Links", "Outage", "pause", "within"]

logger = Logger(__name__)
R = TypeVar("R")

_CLOSE_SECONDS: Final = 1.0
_SAME_OUTAGE_SECONDS: Final = 10.0
_LONGEST_PAUSE_SECONDS: Final = 3.0
# An index look-up without an answer for this long counts as an outage.
_LOOKUP_SECONDS: Final = 5.0
# After this long without an answer the server is asked whether it works on it.
_SILENT_SECONDS: Final = 2.0
_ASK_SECONDS: Final = 3.0

# Losing a claim in a server crash only leaves the job available, and the lease guard drops the
# end of an attempt whose claim was lost, so claims need not wait for the disk.
_CLAIMS: Final = Bounds(
    lock_ms=250, statement_seconds=30, hot=True, settings=(("synchronous_commit", "off"),)
)
_ENDS: Final = Bounds(lock_ms=250, statement_seconds=30, hot=True)
# All waits of a process share this connection: a locked row must not hold up the other waits.
_CALLBACKS: Final = Bounds(lock_ms=250, statement_seconds=10)
# A move that a server crash undoes is made again by a sweep: the notes that it took are back.
_WORKFLOWS: Final = Bounds(
    lock_ms=1000, statement_seconds=60, settings=(("synchronous_commit", "off"),)
)
# A look may read millions of dead index entries; nothing waits for it.
_LOOKS: Final = Bounds(lock_ms=250, statement_seconds=60, settings=HOT_PLANS)
_HEALTH: Final = Bounds(lock_ms=500, statement_seconds=2)
HEARTBEAT: Final = Bounds(lock_ms=250, statement_seconds=10)
# It asks anew each second, so a network that works again is soon noticed.
_PROBE: Final = replace(_HEALTH.purpose("probe"), connect_seconds=2)
# Connections that were given up while they were being opened; each ends within its time-out.
_given_up: Final[set[asyncio.Task[Any]]] = set()


class Outage:
    """Which connections of a process are down; each outage is logged at its start and its end.

    The connections notice the same outage at different moments: losses within ten seconds count
    as one.  A pause before a retry ends as soon as another connection works.
    """

    def __init__(self) -> None:
        self._down: dict[str, float] = {}
        self._links: list[Link] = []
        self._logged_at = -_SAME_OUTAGE_SECONDS
        self._log_end = False
        self._works = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self.ended_at = time.monotonic()
        """When the last outage ended; at first when the process started."""

    @property
    def any(self) -> bool:
        """Return True while a connection is down or its answer is overdue."""
        return bool(self._down) or self.unanswered

    @property
    def unanswered(self) -> bool:
        """Return True while an answer is overdue."""
        return bool(self.overdue_links)

    @property
    def overdue_links(self) -> list[Link]:
        """Return the links whose answer is overdue."""
        return [link for link in self._links if link.overdue]

    @property
    def silent_links(self) -> list[Link]:
        """Return the links that have waited for an answer for two seconds."""
        return [link for link in self._links if link.waiting_seconds > _SILENT_SECONDS]

    def cut(self) -> None:
        """Make every running op fail now: the process ends."""
        for link in self._links:
            link.cut()

    def watch(self, link: Link) -> None:
        """Count overdue answers of a link as an outage."""
        self._links.append(link)

    @property
    def lost_links(self) -> list[Link]:
        """Return the links that are down."""
        return [link for link in self._links if link.name in self._down]

    def lost(self, name: str, error: Exception) -> None:
        """Note a lost connection."""
        now = time.monotonic()
        if not self._down and now - self._logged_at >= _SAME_OUTAGE_SECONDS:
            self._logged_at = now
            self._log_end = True
            logger.warning(
                "the database is unavailable (%s); the worker stops claiming and reconnects, "
                "running jobs go on",
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
            if self._log_end:
                self._log_end = False
                logger.info("the database is available again; the worker goes on claiming")
        with suppress(RuntimeError):  # the loop has ended: nothing waits
            self._loop.call_soon_threadsafe(self._works.set)

    async def pause(self, failures: int) -> None:
        """Wait before a retry as ``pause`` does, or until another connection works."""
        self._works.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(_pause_seconds(failures)):
                await self._works.wait()


async def pause(failures: int) -> None:
    """Sleep before a retry: 0.1 s doubling to 3 s, jittered by half."""
    await asyncio.sleep(_pause_seconds(failures))


def _pause_seconds(failures: int) -> float:
    longest = min(0.1 * 2.0 ** min(failures, 10), _LONGEST_PAUSE_SECONDS)
    return longest * RANDOM.uniform(0.5, 1.0)


async def within(seconds: float, work: Awaitable[R]) -> R:
    """Return the result of an op that ends in time.  Raises TimeoutError otherwise.

    The op goes on to its own bound: cancelling a statement waits for the server, up to 10 s.
    """
    task = asyncio.ensure_future(work)
    done, _ = await asyncio.wait({task}, timeout=seconds)
    if not done:
        task.add_done_callback(lambda late: late.cancelled() or late.exception())
        raise TimeoutError
    return task.result()


class Link:
    """A named connection that is opened on demand and re-made after a loss.

    Tasks that share it take turns.  No answer within the bounds counts as a loss, so nothing waits
    forever for a server that has stopped.
    """

    def __init__(
        self, name: str, *, dsn: str, outage: Outage, bounds: Bounds | None = None
    ) -> None:
        self.name = name
        self.bounds = bounds or Bounds()
        self._dsn = dsn
        self._purpose = self.bounds.purpose(name)
        self._outage = outage
        self._conn: psycopg.AsyncConnection[tuple[Any, ...]] | None = None
        self._opening = asyncio.Lock()
        self._again: asyncio.Event | None = None
        self._turn = asyncio.Lock()
        self._asked_at: float | None = None
        self._opened_at: float | None = None
        outage.watch(self)

    @property
    def waiting_seconds(self) -> float:
        """Return how long the running op has waited for its answer, or for the connection."""
        since = self._asked_at or self._opened_at
        return 0.0 if since is None else time.monotonic() - since

    @property
    def overdue(self) -> bool:
        """Return True while its answer is late; for an index look-up after 5 s."""
        bounds = self.bounds
        return self.waiting_seconds > (
            _LOOKUP_SECONDS if bounds.hot else 2.0 + bounds.statement_seconds
        )

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
                    self._conn = await self._open()
                except Unavailable as error:
                    self._outage.lost(self.name, error)
                    raise
            return self._conn

    async def _open(self) -> psycopg.AsyncConnection[tuple[Any, ...]]:
        """Open a connection; once more when the first may have been lost on the way."""
        again = self._again = asyncio.Event()
        self._opened_at = time.monotonic()
        opening = asyncio.create_task(open_async(self._dsn, self._purpose))
        told = asyncio.create_task(again.wait())
        try:
            await asyncio.wait({opening, told}, return_when=asyncio.FIRST_COMPLETED)
            if not opening.done():
                _give_up(opening)
                opening = asyncio.create_task(open_async(self._dsn, self._purpose))
            return await opening
        except asyncio.CancelledError:
            opening.cancel()
            try:
                # The event loop may end next: see connect_async.
                await asyncio.wait({opening})
            finally:
                _give_up(opening)
            raise
        finally:
            self._again = self._opened_at = None
            told.cancel()

    async def run(self, op: Op[R]) -> R:
        """Drive an op.  Raises Unavailable after noting the loss; the next call reconnects."""
        async with self._turn:
            self._asked_at = time.monotonic()
            try:
                conn = self._conn
                if conn is None or conn.closed:
                    conn = await self.connection()
                with AnswerTimeout(conn, self.bounds.answer_seconds):
                    result = await arun(conn, with_settings(conn, op))
            except Unavailable as error:
                if self._conn is not None:
                    self._outage.lost(self.name, error)
                await self.close()
                raise
            except AwaError:
                self._outage.back(self.name)
                await self._end_transaction()
                raise
            except asyncio.CancelledError:
                # A statement that was cut off leaves the connection in an unknown state.
                await self.close()
                raise
            finally:
                self._asked_at = None
            self._outage.back(self.name)
            return result

    async def _end_transaction(self) -> None:
        """Close a connection that an op left in its transaction: the next op would fail in it.

        A client that cancels statements may cancel the ROLLBACK too.
        """
        conn = self._conn
        if (
            conn is not None
            and conn.autocommit
            and conn.pgconn.transaction_status != TransactionStatus.IDLE
        ):
            await self.close()

    async def cut_if_dead(self, ask: Callable[[Op[Any]], Awaitable[Any]]) -> None:
        """Cut a silent connection when the server, asked elsewhere, does not work for it.

        A proxy or a firewall may keep a dead connection open; nothing else shows that.  A
        connection that is still being opened is opened once more.
        """
        conn, asked = self._conn, self._asked_at
        if self._again is not None:
            again = self._again
            await ask(ping())
            again.set()
        elif conn is not None and not conn.closed and not self.pooled:
            at_work = await ask(is_at_work(conn.info.backend_pid))
            same = self._conn is conn and self._asked_at == asked and not conn.closed
            # An answer that has arrived is read first: the event loop may be late.
            if same and not at_work and not readable(conn.pgconn.socket):
                cut(conn)

    def cut(self) -> None:
        """Make the running op fail now."""
        if self._conn is not None and self._asked_at is not None:
            cut(self._conn)

    async def reconnect(self) -> None:
        """Connect again, if no op does it anyway; an outage may go on."""
        if self.idle:
            with suppress(AwaError):
                await self.run(ping())

    async def pause_after(self, failures: int) -> None:
        """Wait before a retry after this number of losses in a row."""
        await self._outage.pause(failures)

    async def close(self) -> None:
        """Close the connection, if open, once its running statement has ended.

        Without an answer within a second it is cut.
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


class Links:
    """The links of a process; the listener, the heartbeat and the leader have their own.

    Claims, their looks from the start, and ends have a link each: none waits for another.
    """

    def __init__(self, dsn: str) -> None:
        outage = Outage()
        self._dsn = dsn
        self.outage = outage
        self.claims = Link("claims", dsn=dsn, outage=outage, bounds=_CLAIMS)
        self.looks = Link("late jobs", dsn=dsn, outage=outage, bounds=_LOOKS)
        self.ends = Link("completions", dsn=dsn, outage=outage, bounds=_ENDS)
        self.callbacks = Link("callbacks", dsn=dsn, outage=outage, bounds=_CALLBACKS)
        self.workflows = Link("workflows", dsn=dsn, outage=outage, bounds=_WORKFLOWS)
        self.health = Link("health", dsn=dsn, outage=outage, bounds=_HEALTH)
        self.publisher = Link("publisher", dsn=dsn, outage=outage)

    async def repair(self) -> None:
        """Reconnect links that are down and idle, and cut dead ones; takes three seconds or so."""
        await asyncio.gather(
            *(link.reconnect() for link in self.outage.lost_links), self._cut_dead()
        )

    async def _cut_dead(self) -> None:
        """Cut silent connections that the server does not work for; takes at most three seconds.

        If the connection for health checks is silent too, a new one asks.
        """
        silent = self.outage.silent_links
        if not silent:
            return
        asking = _cut_each(silent, self.health.run) if self.health.idle else self._probe(silent)
        # An outage says nothing about these connections.
        with suppress(AwaError, TimeoutError):
            await within(_ASK_SECONDS, asking)

    async def _probe(self, silent: list[Link]) -> None:
        conn = await open_async(self._dsn, _PROBE)
        try:
            with AnswerTimeout(conn, _ASK_SECONDS):
                await _cut_each(silent, partial(arun, conn))
        finally:
            await conn.close()


async def _cut_each(silent: list[Link], ask: Callable[[Op[Any]], Awaitable[Any]]) -> None:
    for link in silent:
        await link.cut_if_dead(ask)


def _give_up(opening: asyncio.Task[psycopg.AsyncConnection[tuple[Any, ...]]]) -> None:
    _given_up.add(opening)
    opening.add_done_callback(_given_up.discard)
    opening.add_done_callback(hang_up)
