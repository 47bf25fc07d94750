"""Insert jobs: a single job, many, or very many through COPY.

Arguments are checked and encoded when an op is made, before a connection is used.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Literal

from awa_lib._sql import atomic, sql
from awa_lib.codec import pgtext
from awa_lib.enqueue.new_jobs import NewJobs, check
from awa_lib.enqueue.options import complete, takes_options
from awa_lib.errors import (
    AwaError,
    UniqueConflict,
    ValidationError,
)
from awa_lib.models import Job
from awa_lib.telemetry import metrics
from awa_lib.validation import items_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime
    from typing import Unpack

    from awa_lib._sql import Op
    from awa_lib.enqueue.options import InsertOptions

__all__ = [
    "enqueue_many_copy",
    "insert",
    "insert_batch",
    "insert_free",
    "insert_many",
    "insert_many_copy",
]

OnConflict = Literal["raise", "skip", "return_existing", "replace"]
_MODES: Final = ("raise", "skip", "return_existing", "replace")
# Tries of a unique key whose holder ends between two statements.
_TRIES: Final = 5
# Jobs of a stream that are in memory at a time.
_STREAMED_JOBS: Final = 5_000
_ROWS_PER_STATEMENT: Final = 1000
# For this many jobs or fewer COPY's extra round trips cost more than they save.
_COPIED_FROM: Final = 1000


@takes_options
def insert(
    args: Any,
    *,
    on_conflict: OnConflict = "raise",
    **options: Unpack[InsertOptions],
) -> Op[Job]:
    """Insert a job and return it.

    ``args`` is a dataclass instance, a pydantic model or a dict.  The options:

    - ``kind``: the kind of the job; by default derived from the type of ``args``.
    - ``queue``: the queue.
    - ``priority``: 1 (most urgent) to 4.
    - ``max_attempts``: the maximum number of attempts, 1 to 1000.
    - ``tags``: at most 20 texts.
    - ``metadata``: a dict of JSON data.
    - ``run_at``: when the job may run; a time without an offset is UTC.  A job with a time in the
      future is scheduled, any other job is available at once.
    - ``unique_opts``: makes the job unique.  A dict of by_queue (False), by_args (True), by_period
      (the number of a period) and states (a bit mask, 31).
    - ``concurrency_key``: 1 to 200 characters, stored in the metadata; the policy
      ``max_running_per_key`` of the queue limits the running jobs with the same key.
    - ``on_conflict``: what to do if another job holds the unique key.  ``raise`` UniqueConflict,
      ``skip`` and return None, ``return_existing``, or ``replace``: give the other job these args
      and this ``run_at``, if it has not started, and return it.

    Raises UniqueConflict, ValidationError, SerializationError.
    """
    new = check([args], **options)
    return _first(new) if _raises(on_conflict, new) else _first_unique(new, on_conflict)


@takes_options
def insert_many(
    jobs: Iterable[Any],
    *,
    on_conflict: OnConflict = "raise",
    **options: Unpack[InsertOptions],
) -> Op[list[Job]]:
    """Insert all jobs or none, and return them in the same order with ascending ids.

    ``jobs`` are args as for ``insert``, of any types, or ``NewJob`` objects with options of their
    own.  The options are those of ``insert`` and hold for all other jobs.  With
    ``on_conflict="skip"`` the result leaves out jobs whose unique key is taken.  Raises as
    ``insert``.
    """
    new = check(jobs, **options)
    return _rows(new) if _raises(on_conflict, new) else _unique(new, on_conflict)


@takes_options
def insert_many_copy(
    jobs: Iterable[Any],
    *,
    on_conflict: OnConflict = "raise",
    **options: Unpack[InsertOptions],
) -> Op[list[Job]]:
    """Insert all jobs or none with COPY, the fastest way for more than 1000 jobs.

    Takes and returns what ``insert_many`` does, and inserts as it does at most 1000 jobs, for
    which that is faster, and jobs with a unique key or options of their own.  Raises as
    ``insert``.
    """
    new = check(jobs, **options)
    if not _raises(on_conflict, new):
        return _unique(new, on_conflict)
    return _copy(new) if len(new.args) > _COPIED_FROM and _copies(new) else _rows(new)


@atomic
@takes_options
def enqueue_many_copy(
    jobs: Iterable[Any],
    *,
    on_progress: Callable[[int], None] | None = None,
    **options: Unpack[InsertOptions],
) -> Op[int]:
    """Insert all jobs or none from an iterable of any length, and return their number.

    ``jobs`` and the options are those of ``insert_many``, except ``on_conflict``.  Jobs are read
    in batches of 5000 in one transaction; ``on_progress`` is called with the number of jobs after
    each batch.  Unique keys are claimed in order in each batch only: two such streams may
    deadlock, and one of them then raises Transient.  Raises as ``insert``.
    """
    if on_progress is not None and not callable(on_progress):
        raise ValidationError(f"on_progress must be a function, got {on_progress!r}")
    complete(options)
    count = 0
    source = iter(items_of("jobs", jobs))
    while batch := list(islice(source, _STREAMED_JOBS)):
        new = check(batch, **options)
        if _copies(new):
            yield from _copy_rows(new)
        else:
            yield from _each_chunk(new)
        count += len(batch)
        if on_progress is not None:
            on_progress(count)
    return count


def insert_batch(new: NewJobs) -> Op[list[Job]]:
    """Insert checked jobs in one statement and return them in order."""
    return _chunk(new)


def insert_free(new: NewJobs) -> Op[list[Job]]:
    """Insert checked jobs, except those whose unique key is taken."""
    return _unique(new, "skip") if new.unique_keys else _rows(new)


def _raises(on_conflict: object, new: NewJobs) -> bool:
    """Return True for the default mode.  Raises ValidationError for an unknown or useless mode."""
    if on_conflict == "raise":
        return True
    if on_conflict not in _MODES:
        raise ValidationError(f"on_conflict must be one of {_MODES}, got {on_conflict!r}")
    if not new.args:
        return True  # no job is no mistake
    if not new.unique_keys:
        raise ValidationError(
            f"on_conflict={on_conflict!r} needs unique_opts",
            why="jobs without a unique key never conflict",
            hint="for example unique_opts={'by_args': True}",
        )
    return False


def _copies(new: NewJobs) -> bool:
    return new.own is None and not new.unique_keys


def _first(new: NewJobs) -> Op[Job]:
    return (yield from _chunk(new))[0]


def _rows(new: NewJobs) -> Op[list[Job]]:
    if not new.args:
        return []
    # A single statement is atomic by itself and saves two round trips.
    return (yield from (_chunk(new) if len(new.args) <= _ROWS_PER_STATEMENT else _chunks(new)))


def _chunk(new: NewJobs) -> Op[list[Job]]:
    try:
        if new.immediate:
            rows = yield sql.jobs("insert_available", **new.immediate_params())
        else:
            rows = yield sql.jobs("insert_jobs", **new.params())
        if not rows:
            # Another storage engine takes the writes: only its own function knows the tables.
            params = new.params()
            del params["ids"]
            rows = yield sql.jobs("insert_jobs_compat", **params)
    except UniqueConflict as error:
        raise _conflict(new, error) from error.__cause__
    metrics.inserted(new.kinds_and_queues())
    return new.jobs(*rows[0])


def _conflict(new: NewJobs, error: UniqueConflict) -> UniqueConflict:
    """Return an error that names two conflicting jobs of this call, otherwise ``error``."""
    places: dict[bytes, int] = {}
    for place, key in enumerate(new.unique_keys):
        if key is not None and (first := places.setdefault(key, place)) != place:
            return UniqueConflict(
                f"two jobs of this call have the same unique key: positions {first} and {place}",
                constraint=error.constraint,
                why="only one job with a unique key may be live",
                hint="remove one of them, or use on_conflict='skip'",
            )
    return error


def _each_chunk(new: NewJobs) -> Op[list[Job]]:
    if new.unique_keys and len(new.args) > _ROWS_PER_STATEMENT:
        reserved = yield sql.jobs("reserve_ids", count=len(new.args))
        if reserved:
            return (yield from _in_key_order(new, *reserved[0]))
    jobs: list[Job] = []
    for start in range(0, len(new.args), _ROWS_PER_STATEMENT):
        jobs += yield from _chunk(new.slice(start, start + _ROWS_PER_STATEMENT))
    return jobs


def _in_key_order(new: NewJobs, ids: Sequence[int], now: datetime) -> Op[list[Job]]:
    """Insert jobs with unique keys in several statements, in the order of their keys."""
    order = new.key_order()
    for start in range(0, len(order), _ROWS_PER_STATEMENT):
        places = order[start : start + _ROWS_PER_STATEMENT]
        params = new.pick(places).params([ids[place] for place in places])
        try:
            yield sql.jobs("insert_jobs", **params)
        except UniqueConflict as error:
            raise _conflict(new, error) from error.__cause__
    metrics.inserted(new.kinds_and_queues())
    return new.jobs(ids, now)


_chunks = atomic(_each_chunk)


def _copy_rows(new: NewJobs) -> Op[list[Job]]:
    reserved = yield sql.jobs("reserve_ids", count=len(new.args))
    if not reserved:
        return (yield from _each_chunk(new))
    ids, now = reserved[0]
    run_at = new.options.run_at or now
    yield sql.jobs.copy(
        "copy_scheduled" if run_at > now else "copy_available", new.copy_text(ids, run_at)
    )
    metrics.inserted(new.kinds_and_queues())
    return new.jobs(ids, now)


_copy = atomic(_copy_rows)


def _first_unique(new: NewJobs, on_conflict: OnConflict) -> Op[Job]:
    jobs = yield from _unique(new, on_conflict)
    return jobs[0] if jobs else None  # type: ignore[return-value] # None is declared by the overloads of insert


@atomic
def _unique(new: NewJobs, on_conflict: OnConflict) -> Op[list[Job]]:
    """Insert jobs whose key is free; handle the others as ``on_conflict`` says."""
    jobs: dict[int, Job] = {}
    open_places = list(range(len(new.args)))
    for _ in range(_TRIES):
        part = new.pick(open_places)
        taken = yield from _insert_free(part, open_places, jobs)
        if not taken or on_conflict == "skip":
            return [jobs[place] for place in sorted(jobs)]
        keys = [key for place in taken if (key := new.unique_keys[place]) is not None]
        rows = yield sql.jobs("unique_holders", keys=pgtext.bytea_array(keys))
        holders = {bytes(row[0]): Job(*row[1:]) for row in rows}
        held = [
            (holder, place)
            for place in taken
            if (holder := holders.get(new.unique_keys[place] or b"")) is not None
        ]
        # Rows are locked in id order everywhere; of several jobs with a key the last wins.
        for holder, place in sorted(held, key=lambda pair: pair[0].id):
            replaced = on_conflict == "replace"
            jobs[place] = (yield from _replace(new.pick([place]), holder)) if replaced else holder
        # The key of a holder that ended meanwhile is free.
        open_places = [place for place in taken if place not in jobs]
        if not open_places:
            return [jobs[place] for place in sorted(jobs)]
    raise UniqueConflict(why="the jobs that hold the key change too quickly", hint="try again")


def _insert_free(part: NewJobs, places: Sequence[int], jobs: dict[int, Job]) -> Op[list[int]]:
    """Insert the jobs whose key is free and add them to ``jobs``; return the other places."""
    taken: list[int] = []
    order, ids = part.key_order(), []
    if len(order) > _ROWS_PER_STATEMENT and (
        reserved := (yield sql.jobs("reserve_ids", count=len(order)))
    ):
        ids = reserved[0][0]
    elif len(order) <= _ROWS_PER_STATEMENT:
        order.sort()  # a single statement keeps the order by itself
    for start in range(0, len(order), _ROWS_PER_STATEMENT):
        there = order[start : start + _ROWS_PER_STATEMENT]
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


def _replace(new: NewJobs, holder: Job) -> Op[Job]:
    options = (new.own or [new.options])[0]
    rows = yield sql.jobs("replace_job", id=holder.id, args=new.args[0], run_at=options.run_at)
    if not rows:
        raise UniqueConflict(
            job_id=holder.id,
            why=f"it is {holder.state}: only a job that has not started can be replaced",
            hint="leave running and completed out of the states of unique_opts",
        )
    return rows.into(Job)[0]
