"""Schedules: a process declares its own, the leader fires all of them."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING, Final

from awa_lib.cron import CronExpression, ahead, begin, fault
from awa_lib.db.jitter import RANDOM
from awa_lib.errors import AwaError, Transient, Unavailable
from awa_lib.logs import Logger
from awa_lib.ops import cron as ops
from awa_lib.runtime.supervisor import Duty

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from awa_lib.ops.cron import Due, Fire, Schedule
    from awa_lib.runtime.links import Link
    from awa_lib.runtime.news import News

__all__ = ["SCHEDULES_SECONDS", "Declarer", "Scheduler"]

logger = Logger(__name__)

SCHEDULES_SECONDS: Final = 1.0
"""The longest pause between two rounds of the scheduler."""
_DECLARE_SECONDS: Final = 60.0
# Jobs of one statement, which takes well under a second.
_JOBS_PER_STATEMENT: Final = 2_000
# Fires computed between two turns of the event loop: some milliseconds.
_FIRES_PER_TURN: Final = 200
# A round ends after this many transient errors: each may have waited for a lock.
_TRANSIENT_ERRORS_PER_ROUND: Final = 3
_LONGEST_PAUSE_SECONDS: Final = 60.0
_SHORTEST_PAUSE_SECONDS: Final = 0.01
# Transient errors of a schedule are logged from this many in a row.
_LOGGED_TRANSIENT_ERRORS: Final = 5


class Declarer:
    """Write the schedules of this process at its start, and renew them once a minute."""

    def __init__(self, link: Link, schedules: Sequence[Schedule]) -> None:
        self._link = link
        self._schedules = sorted(schedules, key=lambda schedule: schedule.name)
        self._undeclared: list[Schedule] = []
        self.duty = Duty("schedules", self._renew, seconds=_DECLARE_SECONDS)

    async def start(self) -> None:
        """Declare the schedules, so that they are visible when this returns."""
        if self._schedules:
            await self._declare_at_start(self._schedules)
            await self.duty.start()

    async def stop(self) -> None:
        """Stop renewing."""
        await self.duty.stop()

    async def _declare_at_start(self, schedules: list[Schedule]) -> None:
        """Declare schedules; locked rows do not stop the start and are declared later."""
        busy = set(await self._link.run(ops.declare(schedules, fresh=True)))
        undeclared = [schedule for schedule in schedules if schedule.name in busy]
        logged, self._undeclared = undeclared == self._undeclared, undeclared
        if busy and not logged:
            logger.warning(
                "schedules are locked by an open transaction; the worker declares them later",
                extra={"schedules": sorted(busy)},
            )

    async def _renew(self) -> None:
        if self._undeclared:
            await self._declare_at_start(self._undeclared)
        await self._link.run(ops.declare(self._schedules, fresh=False))


@dataclass(frozen=True, slots=True)
class _Known:
    """When a row fires next, valid until the row changes."""

    row: Due
    next_at: datetime | None


class Scheduler:
    """Fire all schedules that are due; due times are computed once for each row.

    Reads the schedules when one is due or was changed, and while nothing tells of changes.
    """

    def __init__(self, link: Link, news: News) -> None:
        self._link = link
        self._news = news
        # What the news said before the last read, and when the next schedule is due.
        self._version: str | None = None
        self._next_at: datetime | None = None
        self._known: dict[str, _Known] = {}
        self._logged: dict[str, str] = {}
        self._failed: dict[str, tuple[int, float]] = {}

    async def evaluate(self) -> float | None:
        """Enqueue every fire that is due; return the pause when the next is due within a second."""
        seen = self._news.fresh
        if seen is not None and seen.schedules == self._version:
            now = self._news.now(seen)
            if self._next_at is None or self._next_at > now:
                return self._pause(now)
        self._version = None
        rows = await self._link.run(ops.read_schedules())
        self._forget({row.name for row in rows})
        due = [fire for row in rows if (fire := await self._due(row)) is not None]
        for batch in _batches(due):
            await self._fire(batch)
        nexts = [one.next_at for one in self._known.values() if one.next_at is not None]
        self._next_at = min(nexts, default=None)
        # A change since then has made, or makes, another number.
        self._version = None if seen is None else seen.schedules
        return self._pause(rows[0].now) if rows else None

    def _pause(self, now: datetime) -> float | None:
        """Return the time until the next is due; None for the usual pause."""
        if self._next_at is None:
            return None
        seconds = (self._next_at - now).total_seconds()
        return max(seconds, _SHORTEST_PAUSE_SECONDS) if 0 < seconds < SCHEDULES_SECONDS else None

    async def _fire(self, due: Sequence[Fire]) -> None:
        try:
            await self._link.run(ops.fire(due))
        except Unavailable:
            raise
        except AwaError as error:
            if len(due) > 1:
                await self._fire_each(due)
            else:
                self._fails(due[0].name, error)
        else:
            for fire in due:
                self._failed.pop(fire.name, None)

    async def _fire_each(self, due: Sequence[Fire]) -> None:
        """Fire each schedule by itself; raise after several transient errors."""
        transient = 0
        for fire in due:
            try:
                await self._link.run(ops.fire([fire]))
            except Unavailable:
                raise
            except AwaError as error:
                self._fails(fire.name, error)
                transient += isinstance(error, Transient)
                if transient == _TRANSIENT_ERRORS_PER_ROUND:
                    raise
            else:
                self._failed.pop(fire.name, None)

    def _fails(self, name: str, error: AwaError) -> None:
        """Skip a schedule for a while, longer each time, so that it does not delay others."""
        failures = self._failed.get(name, (0, 0.0))[0] + 1
        wait = min(2.0 ** min(failures - 1, 10), _LONGEST_PAUSE_SECONDS)
        self._failed[name] = (failures, time.monotonic() + wait)
        if not isinstance(error, Transient) or failures >= _LOGGED_TRANSIENT_ERRORS:
            self._log(name, "a schedule could not enqueue its job; it is tried again", error)

    async def _due(self, row: Due) -> Fire | None:
        """Return the fires of a row that are due; an error of one row does not affect others."""
        try:
            known = self._known.get(row.name)
            if known is None or known.row != replace(row, now=known.row.now):
                known = self._known[row.name] = _Known(row, None)
                known = self._known[row.name] = _Known(row, self._next(row))
                # Computing one takes about a millisecond.
                await asyncio.sleep(0)
            if known.next_at is None or known.next_at > row.now:
                return None
            if self._failed.get(row.name, (0, 0.0))[1] > time.monotonic():
                return None
            return await _fires(row)
        except Exception as error:  # noqa: BLE001 - any program may have written the row
            why = error if isinstance(error, AwaError) else f"{type(error).__name__}: {error}"
            self._log(row.name, "a schedule cannot be read and does not fire", why)
            return None

    def _next(self, row: Due) -> datetime | None:
        """Return when a row fires next after its last fire; None when it cannot fire."""
        expression = CronExpression.cached(row.cron_expr, row.timezone)
        wrong = fault(
            row,
            tags=row.tag_count,
            metadata=row.metadata_type,
            times_readable=row.times_readable,
        )
        if wrong is not None:
            self._log(row.name, "a schedule cannot fire", wrong)
            return None
        late = ahead(row, row.now)
        if late is None:
            self._logged.pop(row.name, None)
        else:
            self._log(row.name, "a schedule does not fire for now", late)
        return expression.next_after(begin(row))

    def _log(self, name: str, message: str, why: object) -> None:
        """Log once what is wrong with a schedule."""
        if self._logged.get(name) != str(why):
            self._logged[name] = str(why)
            logger.error(message, extra={"schedule": name, "error": str(why)})

    def _forget(self, present: set[str]) -> None:
        """Drop what is kept about schedules that are gone or paused."""
        gone = self._known.keys() | self._logged.keys() | self._failed.keys()
        for name in gone - present:
            self._known.pop(name, None)
            self._logged.pop(name, None)
            self._failed.pop(name, None)


async def _fires(row: Due) -> Fire | None:
    """Return the fires of a row that are due, oldest first, a bounded number."""
    limit = row.catch_up_limit if row.missed_fire_policy == "catch_up" else 1
    after = begin(row)
    found: deque[datetime] = deque()
    for fire in CronExpression.cached(row.cron_expr, row.timezone).back_from(row.now):
        if fire <= after or len(found) == limit:
            break
        found.appendleft(fire)
        if not len(found) % _FIRES_PER_TURN:
            await asyncio.sleep(0)
    if not found:
        return None
    # The next round enqueues the rest.
    planned = tuple((fire, row.now + _jitter(row)) for fire in islice(found, _JOBS_PER_STATEMENT))
    return ops.Fire(row.name, row.last_enqueued_at, planned, row.version)


def _batches(due: Sequence[Fire]) -> Iterator[list[Fire]]:
    """Split fires into batches for one statement each."""
    batch: list[Fire] = []
    jobs = 0
    for fire in due:
        if batch and jobs + len(fire.fires) > _JOBS_PER_STATEMENT:
            yield batch
            batch, jobs = [], 0
        batch.append(fire)
        jobs += len(fire.fires)
    if batch:
        yield batch


def _jitter(row: Due) -> timedelta:
    return timedelta(seconds=RANDOM.uniform(0, row.jitter_seconds) if row.jitter_seconds else 0)
