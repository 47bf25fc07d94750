"""Wait for jobs to end: one listening connection of a client, shared by all that wait."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import psycopg

from awa_lib.db.connect import Purpose, connect_async, settings_for
from awa_lib.db.drive import arun
from awa_lib.db.sqlstates import READ_ONLY
from awa_lib.db.translate import translate
from awa_lib.errors import AwaError, DatabaseError, Transient
from awa_lib.ops.waits import CHANNEL, FIRST_LOOKS, job_states, unwatch_jobs, watch_jobs
from awa_lib.states import ENDED

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ThreadWaits", "Waits"]

_PURPOSE: Final = Purpose("awa waits", (("lock_timeout", "2s"), ("statement_timeout", "10s")))
_WATCHED_SECONDS: Final = 60.0
# All jobs are looked at this often: some changes are not notified (a job that is cancelled before
# its first attempt, or deleted), and a session may not be allowed to ask for notifications.
_LOOK_SECONDS: Final = 2.0
_LOOK_UNHEARD_SECONDS: Final = 0.5
_SHORTEST_REST_SECONDS: Final = 0.02
# How long the connection is kept when nobody waits.
_IDLE_SECONDS: Final = 10.0
_FIRST_PAUSE_SECONDS: Final = 0.1
_LONGEST_PAUSE_SECONDS: Final = 5.0
_STOP_SECONDS: Final = 2.0


class Waits:
    """The waits of an event loop.

    Sessions that wait are told of the end of each job by a trigger, so the number of statements
    does not grow with the time that is waited.
    """

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._waiting: dict[int, list[asyncio.Future[None]]] = {}
        # Jobs to look at now: their wait is new, or a notification says that they have ended.
        self._due: set[int] = set()
        # Jobs whose wait is new, by the times of their next looks.
        self._young: list[tuple[float, int]] = []
        self._watched: set[int] = set()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._lost = False
        self._closed = False
        self.trouble: str | None = None
        """Why the database cannot be asked now; None while it can."""

    async def ended(self, job_id: int) -> None:
        """Wait until a job has ended, or does not exist.  Raises DatabaseError."""
        if self._closed:
            raise _closed()
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(job_id, []).append(future)
        self._add(job_id)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="awa waits")
        try:
            await future
        finally:
            if not future.done() or future.cancelled():
                self._leave(job_id, future)

    def _add(self, job_id: int) -> None:
        now = time.monotonic()
        self._due.add(job_id)
        self._young += [(now + seconds, job_id) for seconds in FIRST_LOOKS]
        self._wake.set()

    def _leave(self, job_id: int, future: asyncio.Future[None]) -> None:
        futures = self._waiting.get(job_id, [])
        if future in futures:
            futures.remove(future)
        if not futures:
            self._waiting.pop(job_id, None)

    async def _run(self) -> None:
        """Serve until nobody has waited for a while; connect again after a loss."""
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                await self._session()
            except (psycopg.Error, AwaError, OSError) as error:
                known = translate(error) if isinstance(error, psycopg.Error) else error
                if isinstance(known, AwaError) and not isinstance(known, Transient):
                    self._fail(known)
                    return
                if self.trouble is None:  # it has worked since the last loss
                    pause = _FIRST_PAUSE_SECONDS
                self.trouble = str(known)
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
                if not self._waiting:
                    return
            except BaseException as error:
                self._fail(_closed() if isinstance(error, asyncio.CancelledError) else error)
                raise
            else:
                if not self._waiting:
                    return

    async def _session(self) -> None:
        conn = await connect_async(self._dsn, _PURPOSE)
        try:
            self._lost, self._watched = False, set()
            heard = await self._listen(conn)
            # What ended while no session listened was not notified.
            self._due.update(self._waiting)
            await self._serve(conn, heard=heard)
        finally:
            await conn.close()

    async def _listen(self, conn: psycopg.AsyncConnection[Any]) -> bool:
        """Listen; return False where notifications cannot arrive."""
        conn.add_notify_handler(lambda notify: self._notice(notify.payload))
        if settings_for(conn):
            return False  # behind a pooler the session may be another's
        try:
            await conn.execute(f"LISTEN {CHANNEL}".encode())
            await arun(conn, watch_jobs([], _WATCHED_SECONDS))
        except (psycopg.Error, DatabaseError) as error:
            passing = isinstance(error, psycopg.OperationalError | Transient)
            if passing and error.sqlstate != READ_ONLY:
                raise
            return False  # a role or a session that only reads, or a standby
        return True

    async def _serve(self, conn: psycopg.AsyncConnection[Any], *, heard: bool) -> None:
        every = _LOOK_SECONDS if heard else _LOOK_UNHEARD_SECONDS
        look_at = time.monotonic() + every
        renew_at = time.monotonic() + _WATCHED_SECONDS / 2
        idle_at: float | None = None
        while not self._lost:
            self._wake.clear()
            now = time.monotonic()
            if now >= look_at:
                self._due.update(self._waiting)
                look_at = now + every
            if now >= renew_at:
                self._watched.clear()
                renew_at = now + _WATCHED_SECONDS / 2
            self._due.update(job_id for at, job_id in self._young if at <= now)
            self._young = [one for one in self._young if one[0] > now and one[1] in self._waiting]
            if due := sorted(self._due & self._waiting.keys()):
                self._due.clear()
                await self._look(conn, due, heard=heard)
                continue
            self._due.clear()
            idle_at = None if self._waiting else idle_at or now + _IDLE_SECONDS
            if idle_at is not None and now >= idle_at:
                return
            next_at = min([at for at, _ in self._young] + [look_at if idle_at is None else idle_at])
            await self._rest(conn, max(next_at - now, _SHORTEST_REST_SECONDS))
        raise psycopg.OperationalError("the connection was lost")

    async def _rest(self, conn: psycopg.AsyncConnection[Any], seconds: float) -> None:
        """Wait for a notification, a new wait, or the end of the time."""
        loop, socket = asyncio.get_running_loop(), conn.fileno()
        loop.add_reader(socket, self._read, conn)
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), seconds)
        finally:
            loop.remove_reader(socket)

    async def _look(
        self, conn: psycopg.AsyncConnection[Any], ids: list[int], *, heard: bool
    ) -> None:
        """Ask for notifications of these jobs, then look how they stand."""
        if heard and (new := [job_id for job_id in ids if job_id not in self._watched]):
            await arun(conn, watch_jobs(new, _WATCHED_SECONDS))
            self._watched.update(new)
        states = await arun(conn, job_states(ids))
        self.trouble = None
        over = [one for one in ids if one not in states or states[one].state in ENDED]
        for job_id in over:
            for future in self._waiting.pop(job_id, []):
                if not future.done():
                    future.set_result(None)
        # Also of waits that were given up.
        gone = self._watched - self._waiting.keys()
        if gone:
            await arun(conn, unwatch_jobs(sorted(gone)))
            self._watched -= gone

    def _read(self, conn: psycopg.AsyncConnection[Any]) -> None:
        """Read the notifications on the socket; those that come during a query have a handler."""
        pgconn = conn.pgconn
        try:
            pgconn.consume_input()
        except psycopg.OperationalError:
            self._lost = True
        if self._lost or pgconn.status != psycopg.pq.ConnStatus.OK:
            self._lost = True
            self._wake.set()
            return
        while notify := pgconn.notifies():
            self._notice(notify.extra.decode("utf-8", "replace"))

    def _notice(self, payload: str) -> None:
        number, _, state = payload.partition(" ")
        if state in ENDED and number.isdecimal() and int(number) in self._waiting:
            self._due.add(int(number))
            self._wake.set()

    def _fail(self, error: BaseException) -> None:
        waiting, self._waiting = self._waiting, {}
        for future in (future for futures in waiting.values() for future in futures):
            if not future.done():
                future.set_exception(error)

    async def close(self) -> None:
        """End every wait with an error, and close the connection."""
        self._closed = True
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task], timeout=_STOP_SECONDS)


class ThreadWaits:
    """The waits of a blocking client: ``Waits`` on an event loop in a thread of their own."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._main, name="awa waits", daemon=True)
        self._thread.start()
        self._ready.wait()

    @property
    def trouble(self) -> str | None:
        """Why the database cannot be asked now; None while it can."""
        return self._waits.trouble

    def ended(
        self, job_id: int, seconds: float | None, stopped: Callable[[], bool] | None = None
    ) -> bool:
        """Wait until a job has ended; return False after ``seconds``, or once it is stopped."""
        assert self._loop is not None
        future = asyncio.run_coroutine_threadsafe(self._waits.ended(job_id), self._loop)
        until = None if seconds is None else time.monotonic() + seconds
        try:
            while True:
                rest = None if until is None else max(0.0, until - time.monotonic())
                if stopped is not None:
                    rest = _STOP_SECONDS / 4 if rest is None else min(rest, _STOP_SECONDS / 4)
                with suppress(TimeoutError):
                    future.result(rest)
                    return True
                over = until is not None and time.monotonic() >= until
                if over or (stopped is not None and stopped()):
                    return False
        finally:
            future.cancel()

    def _main(self) -> None:
        # psycopg needs a selector; a policy of the program may give another loop.
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            self._loop = runner.get_loop()
            self._stop = asyncio.Event()
            with suppress(asyncio.CancelledError):
                runner.run(self._serve())

    async def _serve(self) -> None:
        self._waits = Waits(self._dsn)
        self._ready.set()
        await self._stop.wait()
        await self._waits.close()

    def close(self) -> None:
        """End every wait with an error, and the thread."""
        if self._loop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(_STOP_SECONDS)


def _closed() -> DatabaseError:
    return DatabaseError("the client was closed during a wait", hint="make a new client")
