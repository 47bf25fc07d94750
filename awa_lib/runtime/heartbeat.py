"""Renew leases from a thread of its own, so that a blocked event loop loses no job."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING, Any, Final

from awa_lib import telemetry
from awa_lib._drive import run
from awa_lib.errors import AwaError, Unavailable
from awa_lib.ops import claims
from awa_lib.runtime.connections import connect_sync

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg

    from awa_lib.runtime.connections import Outage
    from awa_lib.runtime.context import Attempt

__all__ = ["Heartbeat"]

logger = logging.getLogger(__name__)

_CHUNK: Final = 500
_WATCH_SECONDS: Final = 2.0
_BLOCKED_SECONDS: Final = 5.0


class Heartbeat:
    """A thread with a blocking connection.

    Every interval it renews the lease of each attempt of this process, with its progress when
    there is news.  Attempts whose lease is gone (rescued, cancelled) are reported to the event
    loop, each with its waits when the beat began: one that waited meanwhile had its row under
    another state, and lost nothing.  In between it watches the event loop and names the handler
    that blocks it.
    """

    def __init__(
        self,
        dsn: str,
        interval_seconds: float,
        attempts: dict[tuple[int, int], Attempt],
        outage: Outage,
        on_lost: Callable[[list[tuple[Attempt, int]]], None],
    ) -> None:
        self._dsn = dsn
        self._interval = interval_seconds
        self._attempts = attempts
        self._outage = outage
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="awa heartbeat", daemon=True)
        self._conn: psycopg.Connection[Any] | None = None
        self._seen = time.monotonic()
        self._blocked = False
        self._loop_thread = threading.get_ident()

    @property
    def alive(self) -> bool:
        """Return True while the thread runs."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    async def stop(self) -> None:
        """Renew once more and end the thread."""
        self._stop.set()
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        due = time.monotonic() + self._interval
        failures = 0
        while not self._stop.wait(max(0.0, min(due - time.monotonic(), _WATCH_SECONDS))):
            self._watch()
            if time.monotonic() < due:
                continue
            if self._beat():
                failures = 0
                due = time.monotonic() + self._interval
            else:
                failures += 1
                due = time.monotonic() + min(0.2 * 2**failures, 5.0, self._interval)
        self._beat()
        if self._conn is not None:
            self._conn.close()

    def _beat(self) -> bool:
        """Renew all leases; return False when the database did not answer."""
        running = list(self._attempts.values())  # a copy: the loop's thread changes the dict
        # Waits are read first: a wait that begins in between then counts as begun since.
        waits = {a.job.id: (a, a.waits) for a in running}
        attempts = sorted((a for a in running if not a.waiting), key=lambda a: a.job.id)
        if not attempts:
            return True
        try:
            if self._conn is None or self._conn.closed:
                self._conn = connect_sync(self._dsn)
            lost: list[int] = []
            for start in range(0, len(attempts), _CHUNK):
                lost += self._renew(self._conn, attempts[start : start + _CHUNK])
        except Unavailable as error:
            self._outage.lost("heartbeat", error)
            self._close()
            return False
        except AwaError:
            logger.exception("heartbeats fail: jobs of this process may be rescued and run twice")
            self._close()
            return False
        self._outage.back("heartbeat")
        telemetry.heartbeat()
        if lost:
            self._tell(self._on_lost, [waits[job_id] for job_id in lost])
        return True

    def _renew(self, conn: psycopg.Connection[Any], attempts: list[Attempt]) -> list[int]:
        quiet = [(a.job.id, a.lease) for a in attempts if not a.has_news]
        news = [(a, a.noted, a.progress_text) for a in attempts if a.has_news]
        lost = run(conn, claims.heartbeat(quiet)) if quiet else []
        if news:
            leases = [(a.job.id, a.lease) for a, _, _ in news]
            lost += run(conn, claims.write_progress(leases, [text for _, _, text in news]))
            for attempt, noted, _ in news:
                attempt.mark_written(noted)
        return lost

    def _close(self) -> None:
        if self._conn is not None:
            self._conn.close()
            self._conn = None

    def _tell(self, call: Callable[..., None], *args: object) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(call, *args)

    def _watch(self) -> None:
        """Warn once when the event loop has not turned for 5 s, with the code it hangs in."""
        silent = time.monotonic() - self._seen
        if silent > _BLOCKED_SECONDS:
            if not self._blocked:
                self._blocked = True
                frame = sys._current_frames().get(self._loop_thread)  # noqa: SLF001 - the documented way to see another thread's stack
                stack = traceback.format_stack(frame)[-3:] if frame else []
                logger.warning(
                    "the event loop is blocked: an async handler calls blocking code; make it a "
                    "plain function (it then runs in a thread) or await\n%s",
                    "".join(stack),
                    extra={"seconds": round(silent, 1)},
                )
        else:
            self._blocked = False
        self._tell(self._tick)

    def _tick(self) -> None:
        self._seen = time.monotonic()
