"""Periodic jobs: a process declares its schedules, the leader fires all of them."""

from __future__ import annotations

import logging
import random
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from awa_lib.cron import CronExpression
from awa_lib.errors import AwaError, Unavailable, ValidationError
from awa_lib.ops import cron as ops
from awa_lib.runtime.service import Periodic

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from awa_lib.ops.cron import Due, Fire, Schedule
    from awa_lib.runtime.connections import Link

__all__ = ["Declarer", "Scheduler"]

logger = logging.getLogger(__name__)

_DECLARE_SECONDS: Final = 60.0
# A schedule that never fired looks back so far before its creation, as published.
_LOOK_BACK: Final = timedelta(minutes=1)


class Declarer:
    """Writes this process's schedules at its start, and says once a minute that it has them."""

    def __init__(self, link: Link, schedules: Sequence[Schedule]) -> None:
        self._link = link
        self._schedules = sorted(schedules, key=lambda schedule: schedule.name)
        self.duty = Periodic("schedules", _DECLARE_SECONDS, self._again)

    async def start(self) -> None:
        """Declare, so that the schedules are visible before this returns."""
        if self._schedules:
            await self._link.run(ops.declare(self._schedules, fresh=True))
            await self.duty.start()

    async def stop(self) -> None:
        """Say no more."""
        await self.duty.stop()

    async def _again(self) -> None:
        await self._link.run(ops.declare(self._schedules, fresh=False))


class Scheduler:
    """The leader's look at all schedules, once a second; due times are computed once."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._next: dict[str, tuple[Due, datetime | None]] = {}
        self._bad: set[tuple[str, str, str]] = set()

    async def evaluate(self) -> None:
        """Enqueue every fire that is due."""
        due = [one for row in await self._link.run(ops.read_schedules()) if (one := self._due(row))]
        if not due:
            return
        try:
            await self._link.run(ops.fire(due))
        except Unavailable:
            raise
        except AwaError:
            await self._fire_each(due)

    async def _fire_each(self, due: Sequence[Fire]) -> None:
        for one in due:
            try:
                await self._link.run(ops.fire([one]))
            except Unavailable:
                raise
            except AwaError as error:
                logger.warning(
                    "a schedule could not enqueue its job; it is tried again",
                    extra={"schedule": one.name, "error": str(error)},
                )

    def _due(self, row: Due) -> Fire | None:
        try:
            expression = CronExpression.cached(row.cron_expr, row.timezone)
        except ValidationError as error:
            self._complain(row, error)
            return None
        after = row.last_enqueued_at or row.created_at - _LOOK_BACK
        known = self._next.get(row.name)
        if known is not None and _same(known[0], row):
            next_at = known[1]
        else:
            next_at = expression.next_after(after)
            self._next[row.name] = (row, next_at)
        if next_at is None or next_at > row.now:
            return None
        limit = row.catch_up_limit if row.missed_fire_policy == "catch_up" else 1
        fires = expression.latest(after, row.now, limit)
        if not fires:
            return None
        planned = tuple((fire, row.now + _jitter(row)) for fire in fires)
        return ops.Fire(row.name, row.last_enqueued_at, planned)

    def _complain(self, row: Due, error: ValidationError) -> None:
        """Say once what is wrong with a schedule that somebody else wrote."""
        key = (row.name, row.cron_expr, row.timezone)
        if key not in self._bad:
            self._bad.add(key)
            logger.error(
                "a schedule cannot be read and does not fire",
                extra={"schedule": row.name, "error": str(error)},
            )


def _same(one: Due, other: Due) -> bool:
    return (one.cron_expr, one.timezone, one.last_enqueued_at, one.created_at) == (
        other.cron_expr, other.timezone, other.last_enqueued_at, other.created_at,
    )  # fmt: skip


def _jitter(row: Due) -> timedelta:
    return timedelta(seconds=random.uniform(0, row.jitter_seconds) if row.jitter_seconds else 0)
