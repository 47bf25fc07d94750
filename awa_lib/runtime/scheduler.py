"""Periodic jobs: a process declares its schedules, the leader fires all of them."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING, Final

from awa_lib.cron import CronExpression, ahead, begin, fault
from awa_lib.errors import AwaError, Transient, Unavailable
from awa_lib.ops import cron as ops
from awa_lib.runtime.periodic import Periodic

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from awa_lib.ops.cron import Due, Fire, Schedule
    from awa_lib.runtime.connections import Link

__all__ = ["Declarer", "Scheduler"]

logger = logging.getLogger(__name__)

_DECLARE_SECONDS: Final = 60.0
# Jobs of one statement: it takes well under a second.
_MOST_AT_ONCE: Final = 2_000
# Fires found between two turns of the event loop: some milliseconds.
_PAUSE_EVERY: Final = 200
# Schedules that may meet a passing error, each for as long as a lock is waited for.
_MOST_PASSING: Final = 3
_LONGEST_WAIT: Final = 60.0
# Passing errors of one schedule in a row that are worth a word.
_OFTEN: Final = 5


class Declarer:
    """Writes this process's schedules at its start, and says once a minute that it has them."""

    def __init__(self, link: Link, schedules: Sequence[Schedule]) -> None:
        self._link = link
        self._schedules = sorted(schedules, key=lambda schedule: schedule.name)
        self._late: list[Schedule] = []
        self.duty = Periodic("schedules", _DECLARE_SECONDS, self._again)

    async def start(self) -> None:
        """Declare, so that the schedules are visible before this returns."""
        if self._schedules:
            await self._declare_at_start(self._schedules)
            await self.duty.start()

    async def stop(self) -> None:
        """Say no more."""
        await self.duty.stop()

    async def _declare_at_start(self, schedules: list[Schedule]) -> None:
        """Declare; those that somebody has locked keep no worker from starting and come later."""
        busy = set(await self._link.run(ops.declare(schedules, fresh=True)))
        late = [one for one in schedules if one.name in busy]
        said, self._late = late == self._late, late
        if busy and not said:
            logger.warning(
                "schedules are locked by an open transaction; they are declared later",
                extra={"schedules": sorted(busy)},
            )

    async def _again(self) -> None:
        if self._late:
            await self._declare_at_start(self._late)
        await self._link.run(ops.declare(self._schedules, fresh=False))


@dataclass(frozen=True, slots=True)
class _Known:
    """What was found out about a row, as long as it stays as it is."""

    row: Due
    next_at: datetime | None


class Scheduler:
    """The leader's look at all schedules, once a second; due times are computed once."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._known: dict[str, _Known] = {}
        self._said: dict[str, str] = {}
        self._failed: dict[str, tuple[int, float]] = {}

    async def evaluate(self) -> None:
        """Enqueue every fire that is due."""
        rows = await self._link.run(ops.read_schedules())
        self._forget({row.name for row in rows})
        due = [fire for row in rows if (fire := await self._due(row)) is not None]
        for batch in _batches(due):
            await self._fire(batch)

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
            for one in due:
                self._failed.pop(one.name, None)

    async def _fire_each(self, due: Sequence[Fire]) -> None:
        """Fire by itself what does not fire together; give up when nothing goes for the moment."""
        passing = 0
        for one in due:
            try:
                await self._link.run(ops.fire([one]))
            except Unavailable:
                raise
            except AwaError as error:
                self._fails(one.name, error)
                passing += isinstance(error, Transient)
                if passing == _MOST_PASSING:
                    raise
            else:
                self._failed.pop(one.name, None)

    def _fails(self, name: str, error: AwaError) -> None:
        """Leave a schedule alone for a while, longer each time, so that others get their turn."""
        failures = self._failed.get(name, (0, 0.0))[0] + 1
        wait = min(2.0 ** min(failures - 1, 10), _LONGEST_WAIT)
        self._failed[name] = (failures, time.monotonic() + wait)
        if not isinstance(error, Transient) or failures >= _OFTEN:
            self._say(name, "a schedule could not enqueue its job; it is tried again", error)

    async def _due(self, row: Due) -> Fire | None:
        """Return the fires of a row that are due; no row keeps another from firing."""
        try:
            known = self._known.get(row.name)
            if known is None or known.row != replace(row, now=known.row.now):
                known = self._known[row.name] = _Known(row, None)
                known = self._known[row.name] = _Known(row, self._next(row))
                # A millisecond each at first.
                await asyncio.sleep(0)
            if known.next_at is None or known.next_at > row.now:
                return None
            if self._failed.get(row.name, (0, 0.0))[1] > time.monotonic():
                return None
            return await _fires(row)
        except Exception as error:  # noqa: BLE001 - of whatever kind
            why = error if isinstance(error, AwaError) else f"{type(error).__name__}: {error}"
            self._say(row.name, "a schedule cannot be read and does not fire", why)
            return None

    def _next(self, row: Due) -> datetime | None:
        """Return when a row fires next, after its last fire; None when it cannot."""
        expression = CronExpression.cached(row.cron_expr, row.timezone)
        wrong = fault(
            row,
            tags=row.tag_count,
            metadata=row.metadata_type,
            times_readable=row.times_readable,
        )
        if wrong is not None:
            self._say(row.name, "a schedule cannot fire", wrong)
            return None
        late = ahead(row, row.now)
        if late is None:
            self._said.pop(row.name, None)
        else:
            self._say(row.name, "a schedule does not fire for now", late)
        return expression.next_after(begin(row))

    def _say(self, name: str, message: str, why: object) -> None:
        """Say once what is wrong with a schedule."""
        if self._said.get(name) != str(why):
            self._said[name] = str(why)
            logger.error(message, extra={"schedule": name, "error": str(why)})

    def _forget(self, present: set[str]) -> None:
        """Forget the schedules that are gone or paused."""
        gone = self._known.keys() | self._said.keys() | self._failed.keys()
        for name in gone - present:
            self._known.pop(name, None)
            self._said.pop(name, None)
            self._failed.pop(name, None)


async def _fires(row: Due) -> Fire | None:
    """Return the fires of a row that are due, the oldest first, a bounded number."""
    limit = row.catch_up_limit if row.missed_fire_policy == "catch_up" else 1
    after = begin(row)
    found: deque[datetime] = deque()
    for fire in CronExpression.cached(row.cron_expr, row.timezone).back_from(row.now):
        if fire <= after or len(found) == limit:
            break
        found.appendleft(fire)
        if not len(found) % _PAUSE_EVERY:
            await asyncio.sleep(0)
    if not found:
        return None
    # The next look makes up for the rest.
    planned = tuple((fire, row.now + _jitter(row)) for fire in islice(found, _MOST_AT_ONCE))
    return ops.Fire(row.name, row.last_enqueued_at, planned, row.version)


def _batches(due: Sequence[Fire]) -> Iterator[list[Fire]]:
    """Split what is due, so that no statement enqueues too much."""
    batch: list[Fire] = []
    jobs = 0
    for one in due:
        if batch and jobs + len(one.fires) > _MOST_AT_ONCE:
            yield batch
            batch, jobs = [], 0
        batch.append(one)
        jobs += len(one.fires)
    if batch:
        yield batch


def _jitter(row: Due) -> timedelta:
    return timedelta(seconds=random.uniform(0, row.jitter_seconds) if row.jitter_seconds else 0)
