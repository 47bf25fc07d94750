"""Let time pass for jobs and schedules, without waiting."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, overload
from weakref import WeakKeyDictionary

from awa_lib._sql import atomic, sql
from awa_lib.client.clients import AsyncClient, Client
from awa_lib.cron import CronExpression, fault
from awa_lib.errors import ValidationError
from awa_lib.ops import cron
from awa_lib.ops.maintenance import promote
from awa_lib.testing._clients import either, perform

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from awa_lib._sql import Op
    from awa_lib.ops.cron import Due, Schedule

__all__ = ["travel"]

# A hundred years, well inside what timestamptz can hold.
_LONGEST_SECONDS: Final = 3.15e9
_FIRES_LIMIT: Final = 1_000
# How far each client's time is ahead of the clock.
_AHEAD: WeakKeyDictionary[AsyncClient | Client, timedelta] = WeakKeyDictionary()


@overload
def travel(
    client: AsyncClient,
    seconds: float | None = None,
    *,
    to: datetime | None = None,
    worker: AsyncClient | None = None,
) -> Coroutine[Any, Any, int]: ...
@overload
def travel(
    client: Client,
    seconds: float | None = None,
    *,
    to: datetime | None = None,
    worker: AsyncClient | None = None,
) -> int: ...
def travel(
    client: AsyncClient | Client,
    seconds: float | None = None,
    *,
    to: datetime | None = None,
    worker: AsyncClient | None = None,
) -> Coroutine[Any, Any, int] | int:
    """Let time pass for jobs and schedules; return how many jobs became available.

    Scheduled and retryable jobs come nearer by ``seconds``, or by the time left until ``to`` (with
    an offset).  Schedules, those of ``worker`` or of an async client included, enqueue a job for
    each fire in that time, at most 1,000.  No clock changes; travels of one client add up, and
    ``to`` counts from the last.  One transaction; only for the test's own database.
    Raises ValidationError unless exactly one of both is given and it is not in the past, or if a
    schedule would fire more often.
    """
    return either(client, _travel(client, seconds, to, worker))


async def _travel(
    client: AsyncClient | Client,
    seconds: float | None,
    to: datetime | None,
    worker: AsyncClient | None,
) -> int:
    ahead = _AHEAD.get(client, timedelta())
    way = _way(seconds, to, ahead)
    owner = worker or client
    declared = owner._declared_schedules() if isinstance(owner, AsyncClient) else []  # noqa: SLF001 - ours
    due = await perform(client, _pass(declared, ahead, way))
    _AHEAD[client] = ahead + way
    return due


def _way(seconds: float | None, to: datetime | None, ahead: timedelta) -> timedelta:
    if (seconds is None) == (to is None):
        raise ValidationError("give either seconds or to")
    if to is not None:
        if not isinstance(to, datetime) or to.tzinfo is None:
            raise ValidationError(f"to must be a datetime with an offset: {to!r}")
        if to < datetime.now(UTC) + ahead:
            raise ValidationError(f"to is in the past: {to.isoformat()}")
        return to - datetime.now(UTC) - ahead
    if (
        isinstance(seconds, bool)
        or not isinstance(seconds, int | float)
        or not 0 <= seconds <= _LONGEST_SECONDS
    ):
        raise ValidationError(
            f"seconds must be a number from 0 to {_LONGEST_SECONDS:.0f}: {seconds!r}"
        )
    return timedelta(seconds=seconds)


@atomic
def _pass(declared: Sequence[Schedule], ahead: timedelta, way: timedelta) -> Op[int]:
    if declared:
        yield from cron.declare(declared, fresh=True)
    rows = yield from cron.read_schedules()
    due = [_fires(row, row.now + ahead, way) for row in rows if _sound(row)]
    fired = yield from cron.fire([one for one in due if one.fires])
    yield sql.testing("shift_jobs", seconds=way.total_seconds())
    for block in ("promote_scheduled", "promote_retryable"):
        while count := (yield from promote(block)):
            fired += count
    return fired


def _sound(row: Due) -> bool:
    wrong = fault(
        row, tags=row.tag_count, metadata=row.metadata_type, times_readable=row.times_readable
    )
    return wrong is None


def _fires(row: Due, start: datetime, way: timedelta) -> cron.Fire:
    expression = CronExpression.cached(row.cron_expr, row.timezone)
    after = max(start, row.last_enqueued_at or start)
    found = expression.latest(after, start + way, _FIRES_LIMIT + 1)
    if len(found) > _FIRES_LIMIT:
        raise ValidationError(
            f"schedule {row.name!r} would fire more than {_FIRES_LIMIT:,} times in that time",
            hint="travel a shorter time, or leave the schedule out of the test",
        )
    return cron.Fire(row.name, row.last_enqueued_at, tuple((fire, row.now) for fire in found))
