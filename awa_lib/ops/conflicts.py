"""Insert jobs whose unique key may be taken: leave them out, return or replace the holder."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, Literal

from awa_lib._sql import atomic, sql
from awa_lib.codec import pgtext
from awa_lib.errors import AwaError, UniqueConflict
from awa_lib.models import Job, JobState
from awa_lib.telemetry import metrics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from awa_lib._sql import Op
    from awa_lib.enqueue.new_jobs import NewJobs

__all__ = ["ROWS_PER_STATEMENT", "OnConflict", "insert_or"]

OnConflict = Literal["raise", "skip", "return_existing", "replace"]
ROWS_PER_STATEMENT: Final = 1000
_REPLACED: Final = (JobState.Scheduled, JobState.Available, JobState.Retryable)
# Tries of a unique key whose holder ends between two statements.
_TRIES: Final = 5


@atomic
def insert_or(new: NewJobs, on_conflict: OnConflict, longest: float | None = None) -> Op[list[Job]]:
    """Insert jobs whose key is free; handle the others as ``on_conflict`` says.

    A job that is replaced runs at most ``longest`` seconds after it was first inserted.
    """
    jobs: dict[int, Job] = {}
    open_places = list(range(len(new.args)))
    for _ in range(_TRIES):
        part = new.pick(open_places)
        taken = yield from _insert_free(part, open_places, jobs)
        if not taken or on_conflict == "skip":
            return [jobs[place] for place in sorted(jobs)]
        keys = [key for place in taken if (key := new.unique_keys[place]) is not None]
        rows = yield sql.jobs("unique_holders", keys=pgtext.bytea_array(keys))
        holders = {bytes(row[0]): Job(*row[1:-1]) for row in rows}
        held = [
            (holder, place)
            for place in taken
            if (holder := holders.get(new.unique_keys[place] or b"")) is not None
        ]
        # Rows are locked in id order everywhere; of several jobs with a key the last wins.
        for holder, place in sorted(held, key=lambda pair: pair[0].id):
            if on_conflict == "return_existing":
                jobs[place] = holder
            elif job := (yield from _replace(new.pick([place]), holder, rows[0][-1], longest)):
                jobs[place] = job
        # The key of a holder that ended or started meanwhile may be free.
        open_places = [place for place in taken if place not in jobs]
        if not open_places:
            return [jobs[place] for place in sorted(jobs)]
    raise UniqueConflict(why="the jobs that hold the key change too quickly", hint="try again")


def _insert_free(part: NewJobs, places: Sequence[int], jobs: dict[int, Job]) -> Op[list[int]]:
    """Insert the jobs whose key is free and add them to ``jobs``; return the other places."""
    taken: list[int] = []
    order, ids = part.key_order(), []
    if len(order) > ROWS_PER_STATEMENT and (
        reserved := (yield sql.jobs("reserve_ids", count=len(order)))
    ):
        ids = reserved[0][0]
    elif len(order) <= ROWS_PER_STATEMENT:
        order.sort()  # a single statement keeps the order by itself
    for start in range(0, len(order), ROWS_PER_STATEMENT):
        there = order[start : start + ROWS_PER_STATEMENT]
        chunk = part.pick(there)
        given = [ids[place] for place in there] if ids else ()
        rows = yield sql.jobs("insert_unique_jobs", **chunk.columns(given))
        if not rows:
            raise AwaError(
                "on_conflict is not supported: another storage engine takes the writes",
                hint="insert without on_conflict and handle UniqueConflict",
            )
        won = [row[0] for row in rows if row[1] is not None]
        free = chunk.pick(won)
        metrics.inserted(free.kinds_and_queues())
        made = free.jobs([row[1] for row in rows if row[1] is not None], rows[0][2])
        jobs.update({places[there[place]]: job for place, job in zip(won, made, strict=True)})
        taken += [places[there[row[0]]] for row in rows if row[1] is None]
    return sorted(taken)


def _replace(new: NewJobs, holder: Job, now: datetime, longest: float | None) -> Op[Job | None]:
    """Replace a job that has not started; return None when it has changed meanwhile."""
    if holder.state not in _REPLACED:
        raise UniqueConflict(
            job_id=holder.id,
            why=f"it is {holder.state}: only a job that has not started can be replaced",
            hint="use unique=awa.Unique(states='not_started'): the key is held until the start",
        )
    options = (new.own or [new.options])[0]
    starts = options.starts(now)
    if longest is not None:
        created = datetime.fromisoformat(holder.created_at)
        starts = min(starts, created + timedelta(seconds=longest))
    rows = yield sql.jobs("replace_job", id=holder.id, args=new.args[0], run_at=starts)
    return rows.into(Job)[0] if rows else None
