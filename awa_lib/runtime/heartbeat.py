"""Renew leases from a thread of its own, so that a blocked event loop loses no job."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING, Any, Final, TypeVar

from psycopg.pq import TransactionStatus

from awa_lib.db.connect import cut
from awa_lib.db.drive import run
from awa_lib.errors import AwaError, Transient, Unavailable
from awa_lib.ops import claims
from awa_lib.reads.health import ping
from awa_lib.runtime.sessions import open_sync, with_settings
from awa_lib.runtime.supervisor import DutyState
from awa_lib.telemetry import metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    import psycopg

    from awa_lib._sql import Op
    from awa_lib.ops.claims import Missed
    from awa_lib.runtime.connections import Bounds, Outage
    from awa_lib.runtime.context import Attempt
    from awa_lib.runtime.progress import Progress

__all__ = ["Heartbeat"]

logger = logging.getLogger(__name__)
R = TypeVar("R")

_CHUNK: Final = 500
_WATCH_SECONDS: Final = 1.0
_BLOCKED_SECONDS: Final = 5.0
_LONGEST_PAUSE: Final = 3.0
_LONGEST_HELD: Final = 0.5


class Heartbeat:
    """A thread with a blocking connection.

    Every interval it renews the lease of each attempt of this process, with its progress when
    there is news.  Rows that another transaction holds are passed over and come back to.
    Attempts whose lease is gone (rescued, cancelled) are reported to the event loop, each with
    its waits when the beat began: one that waited meanwhile had its row under another state, and
    lost nothing.  In between it watches the event loop and names the handler that blocks it.
    """

    def __init__(
        self,
        dsn: str,
        *,
        interval_seconds: float,
        bounds: Bounds,
        attempts: Mapping[tuple[int, int], Attempt],
        outage: Outage,
        on_lost: Callable[[list[tuple[Attempt, int]]], None],
    ) -> None:
        self._dsn = dsn
        self._purpose = bounds.purpose("heartbeat")
        self._answer_seconds = bounds.answer_seconds
        self._interval = interval_seconds
        self._attempts = attempts
        self._outage = outage
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._conn: psycopg.Connection[Any] | None = None
        self._asked_at: float | None = None
        self._due = 0.0
        self._failing = False
        self._busy: set[tuple[int, int]] = set()
        self._ticked = True
        self._tick_asked_at = 0.0
        self._blocked = False
        self._loop_thread = threading.get_ident()
        self.state = DutyState("heartbeat", round_seconds=self._answer_seconds)

    @property
    def alive(self) -> bool:
        """Return True while the thread runs and its beats succeed."""
        return self._thread is not None and self._thread.is_alive() and self.state.healthy

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name="awa heartbeat", daemon=True)
        self._thread.start()

    async def stop(self, seconds: float) -> None:
        """Renew once more and end the thread; cut its connection when that takes too long."""
        self._stop.set()
        if self._thread is None:
            return
        await asyncio.to_thread(self._thread.join, seconds)
        if self._thread.is_alive():
            self.cut()

    def look(self) -> None:
        """Cut the connection when an answer is overdue; called by the event loop."""
        asked = self._asked_at
        if asked is not None and time.monotonic() - asked > self._answer_seconds:
            self.cut()

    def cut(self) -> None:
        """Let the thread's statement fail now."""
        conn = self._conn
        if conn is not None:
            cut(conn)

    def _run(self) -> None:
        self._due = time.monotonic() + self._interval
        failures = 0
        while not self._stop.wait(max(0.0, min(self._due - time.monotonic(), _WATCH_SECONDS))):
            try:
                if self._round():
                    failures = 0
                    self._failing = False
                    self.state.succeed()
                    self._outage.back("heartbeat")
            except BaseException as error:  # noqa: BLE001 - the thread outlives every error
                failures += 1
                self._failed(error)
                away = isinstance(error, Unavailable) or not isinstance(error, Transient)
                longest = _LONGEST_PAUSE if away else _LONGEST_HELD
                pause = min(0.2 * 2 ** min(failures, 5), longest, self._interval)
                self._due = time.monotonic() + max(pause, 0.1)
        try:
            self._beat(list(self._attempts.values()))
        except BaseException as error:
            logger.debug("the last heartbeat failed", exc_info=error)
        self._close()

    def _round(self) -> bool:
        """Do what is due; return whether the database was asked."""
        self._watch()
        if time.monotonic() >= self._due:
            self._beat(list(self._attempts.values()))
            self._due = time.monotonic() + self._interval
        elif self._busy:
            # A copy first: the event loop changes the attempts meanwhile.
            running = list(self._attempts.values())
            self._beat([a for a in running if _key(a) in self._busy])
        elif self._failing:
            self._ask(ping)
        else:
            return False
        return True

    def _failed(self, error: BaseException) -> None:
        self.state.fail(error)
        self._failing = True
        if not isinstance(error, Transient) or isinstance(error, Unavailable) or self._in_midst:
            self._close()
        if isinstance(error, Unavailable):
            self._outage.lost("heartbeat", error)

    @property
    def _in_midst(self) -> bool:
        """Return whether the connection was left in a transaction: a ROLLBACK may fail too."""
        conn = self._conn
        return conn is not None and conn.pgconn.transaction_status != TransactionStatus.IDLE

    def _beat(self, running: list[Attempt]) -> None:
        """Renew leases.  Raises what stands in the way of all of them."""
        self.state.begin()
        if self._failing and not running:
            # Nothing to renew says nothing of the database.
            self._ask(ping)
        # Waits are read first: a wait that begins in between then counts as begun since.
        waits = {_key(a): (a, a.waits) for a in running}
        lost: list[tuple[Attempt, int]] = []
        busy: set[tuple[int, int]] = set()
        for part in _parts([a for a in running if not a.waiting]):
            key_of = {a.job.id: _key(a) for a in part}
            missed = self._renew(part)
            lost += [waits[key_of[job_id]] for job_id in missed.stale]
            busy |= {key_of[job_id] for job_id in missed.busy}
        self._busy = busy
        metrics.heartbeat()
        if lost:
            self._tell(self._on_lost, lost)

    def _renew(self, attempts: list[Attempt]) -> Missed:
        quiet = [_key(a) for a in attempts if not a.has_news]
        news = [(a, a.noted, a.progress_text) for a in attempts if a.has_news]
        missed = claims.Missed([], [])
        if quiet:
            missed = self._patiently(lambda skip: claims.heartbeat(quiet, skip_locked=skip))
        if not news:
            return missed
        try:
            written = self._write(news)
        except Transient:
            raise
        except AwaError:
            # Progress that the database does not take must not cost the others their leases.
            written = claims.Missed([], [])
            for single in news:
                written = _join(written, self._write_alone(*single))
        return _join(missed, written)

    def _write(self, news: list[tuple[Attempt, Progress | None, str | None]]) -> Missed:
        leases = [_key(a) for a, _, _ in news]
        progress = [text for _, _, text in news]
        missed = self._patiently(
            lambda skip: claims.write_progress(leases, progress, skip_locked=skip)
        )
        for attempt, noted, _ in news:
            if attempt.job.id not in missed.busy:
                attempt.mark_written(noted)
        return missed

    def _write_alone(self, attempt: Attempt, noted: Progress | None, text: str | None) -> Missed:
        try:
            return self._write([(attempt, noted, text)])
        except Transient:
            raise
        except AwaError as error:
            logger.warning(
                "the progress of a job cannot be written (%s); it is left out",
                error,
                extra={"job_id": attempt.job.id},
            )
            attempt.mark_written(noted)
            return self._patiently(lambda skip: claims.heartbeat([_key(attempt)], skip_locked=skip))

    def _patiently(self, make: Callable[[bool], Op[Missed]]) -> Missed:
        """Renew all; when somebody holds a row, all but the held ones."""
        try:
            return self._ask(lambda: make(False))
        except Unavailable:
            raise
        except Transient:
            return self._ask(lambda: make(True))

    def _ask(self, make: Callable[[], Op[R]]) -> R:
        self._asked_at = time.monotonic()
        try:
            if self._conn is None or self._conn.closed:
                self._conn = open_sync(self._dsn, self._purpose)
            return run(self._conn, with_settings(self._conn, make()))
        finally:
            self._asked_at = None

    def _close(self) -> None:
        conn, self._conn = self._conn, None
        if conn is not None:
            conn.close()

    def _tell(self, call: Callable[..., None], *args: object) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(call, *args)

    def _watch(self) -> None:
        """Warn once when the event loop has not turned for 5 s, with the code it hangs in."""
        now = time.monotonic()
        if self._ticked:
            self._blocked = self._ticked = False
            self._tick_asked_at = now
            self._tell(self._tick)
        elif now - self._tick_asked_at > _BLOCKED_SECONDS and not self._blocked:
            self._blocked = True
            frame = sys._current_frames().get(self._loop_thread)  # noqa: SLF001 - the documented way to see another thread's stack
            stack = traceback.format_stack(frame)[-3:] if frame else []
            logger.warning(
                "the event loop is blocked: an async handler calls blocking code; make it a "
                "plain function (it then runs in a thread) or await\n%s",
                "".join(stack),
                extra={"seconds": round(now - self._tick_asked_at, 1)},
            )

    def _tick(self) -> None:
        self._ticked = True


def _key(attempt: Attempt) -> tuple[int, int]:
    return attempt.job.id, attempt.lease


def _join(one: Missed, other: Missed) -> Missed:
    return claims.Missed([*one.stale, *other.stale], [*one.busy, *other.busy])


def _parts(attempts: Iterable[Attempt]) -> Iterator[list[Attempt]]:
    """Split attempts into statements, sorted by id, each job at most once in each."""
    rest = sorted(attempts, key=_key)
    while rest:
        part: dict[int, Attempt] = {}
        later = []
        for attempt in rest:
            if attempt.job.id in part or len(part) == _CHUNK:
                later.append(attempt)
            else:
                part[attempt.job.id] = attempt
        yield list(part.values())
        rest = later
