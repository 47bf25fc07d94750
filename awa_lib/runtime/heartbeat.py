"""Renew leases from a thread, so that a blocked event loop loses no job."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING, Any, Final, TypeVar

from psycopg.pq import TransactionStatus

from awa_lib.db.connect import cut
from awa_lib.db.drive import run
from awa_lib.errors import AwaError, Transient, Unavailable
from awa_lib.logs import Logger
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
    from awa_lib.runtime.context import Attempt
    from awa_lib.runtime.job_logs import JobLogs
    from awa_lib.runtime.links import Outage
    from awa_lib.runtime.progress import Progress
    from awa_lib.runtime.sessions import Bounds

__all__ = ["Heartbeat"]

logger = Logger(__name__)
R = TypeVar("R")

_ROWS_PER_STATEMENT: Final = 500
_WATCH_SECONDS: Final = 1.0
_BLOCKED_SECONDS: Final = 5.0
_LONGEST_OUTAGE_PAUSE_SECONDS: Final = 3.0
_LONGEST_LOCKED_PAUSE_SECONDS: Final = 0.5


class Heartbeat:
    """A thread with a blocking connection that renews the leases of a process.

    At each interval it renews the lease of every attempt, and writes progress that has changed and
    what handlers have logged.
    Rows that another transaction has locked are skipped and retried.  Attempts whose lease is gone
    (rescued, cancelled) are reported to the event loop, each with its count of waits when the beat
    began: while an attempt waits its row is in another state, and its lease is not lost.  In
    between the thread watches the event loop and logs the code that blocks it.
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
        job_logs: JobLogs,
    ) -> None:
        self._dsn = dsn
        self._purpose = bounds.purpose("heartbeat")
        self._answer_seconds = bounds.answer_seconds
        self._interval = interval_seconds
        self._attempts = attempts
        self._outage = outage
        self._on_lost = on_lost
        self._job_logs = job_logs
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
        """Renew a last time and end the thread; cut its connection when that takes too long."""
        self._stop.set()
        if self._thread is None:
            return
        await asyncio.to_thread(self._thread.join, seconds)
        if self._thread.is_alive():
            self.cut()

    def cut_if_overdue(self) -> None:
        """Cut the connection when an answer is overdue; called by the event loop."""
        asked = self._asked_at
        if asked is not None and time.monotonic() - asked > self._answer_seconds:
            self.cut()

    def cut(self) -> None:
        """Make the thread's statement fail now."""
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
            except BaseException as error:  # noqa: BLE001 - no error ends the thread
                failures += 1
                self._failed(error)
                away = isinstance(error, Unavailable) or not isinstance(error, Transient)
                longest = _LONGEST_OUTAGE_PAUSE_SECONDS if away else _LONGEST_LOCKED_PAUSE_SECONDS
                pause = min(0.2 * 2 ** min(failures, 5), longest, self._interval)
                self._due = time.monotonic() + max(pause, 0.1)
        try:
            self._beat(list(self._attempts.values()))
            self._job_logs.write_sync(self._ask)
        except BaseException as error:
            logger.debug("the last heartbeat failed", exc_info=error)
        self._close()

    def _round(self) -> bool:
        """Do what is due; return True when a query was sent."""
        self._watch()
        if time.monotonic() >= self._due:
            self._beat(list(self._attempts.values()))
            self._due = time.monotonic() + self._interval
            # After the leases, which logs must not delay.
            self._job_logs.write_sync(self._ask)
        elif self._busy:
            # Copied: the event loop changes the attempts meanwhile.
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
        if (
            not isinstance(error, Transient)
            or isinstance(error, Unavailable)
            or self._in_transaction
        ):
            self._close()
        if isinstance(error, Unavailable):
            self._outage.lost("heartbeat", error)

    @property
    def _in_transaction(self) -> bool:
        """Return True when the connection is still in a transaction: a ROLLBACK may fail too."""
        conn = self._conn
        return conn is not None and conn.pgconn.transaction_status != TransactionStatus.IDLE

    def _beat(self, running: list[Attempt]) -> None:
        """Renew leases.  Raises the error that affects all of them."""
        self.state.begin()
        if self._failing and not running:
            # Without a lease to renew, ask whether the database answers.
            self._ask(ping)
        # Read before ``waiting``: a wait that begins in between must show in the count.
        waits = {_key(a): (a, a.waits) for a in running}
        # A job that waits for a callback has no lease to renew, but its row is running before the
        # wait is entered and after the answer has come, however long the handler is in learning it.
        waiting = {_key(a) for a in running if a.waiting}
        lost: list[tuple[Attempt, int]] = []
        busy: set[tuple[int, int]] = set()
        for part in _parts(running):
            key_of = {a.job.id: _key(a) for a in part}
            missed = self._renew(part, waiting)
            lost += [waits[key] for i in missed.stale if (key := key_of[i]) not in waiting]
            busy |= {key_of[job_id] for job_id in missed.busy}
        self._busy = busy
        metrics.heartbeat()
        if lost:
            self._call_on_loop(self._on_lost, lost)

    def _renew(self, attempts: list[Attempt], waiting: set[tuple[int, int]]) -> Missed:
        news = {_key(a) for a in attempts if a.has_news} - waiting
        unchanged = [_key(a) for a in attempts if _key(a) not in news]
        changed = [(a, a.noted, a.progress_text) for a in attempts if _key(a) in news]
        missed = claims.Missed([], [])
        if unchanged:
            missed = self._skipping_locked(
                lambda skip: claims.heartbeat(unchanged, skip_locked=skip)
            )
        if not changed:
            return missed
        try:
            written = self._write(changed)
        except Transient:
            raise
        except AwaError:
            # Progress that the database rejects must not cost the other attempts their leases.
            written = claims.Missed([], [])
            for single in changed:
                written = _join(written, self._write_alone(*single))
        return _join(missed, written)

    def _write(self, changed: list[tuple[Attempt, Progress | None, str | None]]) -> Missed:
        leases = [_key(a) for a, _, _ in changed]
        progress = [text for _, _, text in changed]
        missed = self._skipping_locked(
            lambda skip: claims.write_progress(leases, progress, skip_locked=skip)
        )
        for attempt, noted, _ in changed:
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
                "the progress of a job cannot be written (%s); the worker goes on without it",
                error,
                extra={"job_id": attempt.job.id},
            )
            attempt.mark_written(noted)
            return self._skipping_locked(
                lambda skip: claims.heartbeat([_key(attempt)], skip_locked=skip)
            )

    def _skipping_locked(self, make: Callable[[bool], Op[Missed]]) -> Missed:
        """Write all rows; if one is locked, again without the locked rows."""
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

    def _call_on_loop(self, call: Callable[..., None], *args: object) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(call, *args)

    def _watch(self) -> None:
        """Warn once when the event loop has been blocked for 5 s, with the code that blocks it."""
        now = time.monotonic()
        if self._ticked:
            self._blocked = self._ticked = False
            self._tick_asked_at = now
            self._call_on_loop(self._tick)
        elif now - self._tick_asked_at > _BLOCKED_SECONDS and not self._blocked:
            self._blocked = True
            frame = sys._current_frames().get(self._loop_thread)  # noqa: SLF001 - the documented way to see another thread's stack
            stack = traceback.format_stack(frame)[-3:] if frame else []
            logger.warning(
                "the event loop is blocked: an async handler calls blocking code; make the handler "
                "a plain function, which runs in a thread, or await\n%s",
                "".join(stack),
                extra={"seconds": round(now - self._tick_asked_at, 1)},
            )

    def _tick(self) -> None:
        self._ticked = True


def _key(attempt: Attempt) -> tuple[int, int]:
    return attempt.job.id, attempt.lease


def _join(first: Missed, second: Missed) -> Missed:
    return claims.Missed([*first.stale, *second.stale], [*first.busy, *second.busy])


def _parts(attempts: Iterable[Attempt]) -> Iterator[list[Attempt]]:
    """Split attempts into statements, sorted by id, each job at most once in a statement."""
    rest = sorted(attempts, key=_key)
    while rest:
        part: dict[int, Attempt] = {}
        later = []
        for attempt in rest:
            if attempt.job.id in part or len(part) == _ROWS_PER_STATEMENT:
                later.append(attempt)
            else:
                part[attempt.job.id] = attempt
        yield list(part.values())
        rest = later
