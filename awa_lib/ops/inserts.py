"""Insert jobs: a single job, many, or very many through COPY.

Options and the first arguments are checked when an op is made, before a connection is used.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from awa_lib._sql import atomic, sql
from awa_lib.enqueue.blocks import Blocks
from awa_lib.enqueue.kinds import UNDECLARED, Kinds
from awa_lib.enqueue.middleware import through_middleware
from awa_lib.enqueue.new_jobs import NewJobs, check, check_one, hold
from awa_lib.enqueue.options import complete, takes_options
from awa_lib.enqueue.unique import Unique
from awa_lib.errors import UniqueConflict, ValidationError
from awa_lib.ops.conflicts import ROWS_PER_STATEMENT, OnConflict, insert_or
from awa_lib.telemetry import metrics
from awa_lib.validation import items_of, seconds_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime, timedelta
    from typing import Unpack

    from awa_lib._sql import Op
    from awa_lib.enqueue.options import InsertOptions
    from awa_lib.models import Job

__all__ = [
    "enqueue_many_copy",
    "insert",
    "insert_batch",
    "insert_free",
    "insert_many",
    "insert_many_copy",
]

_MODES: Final = ("raise", "skip", "return_existing", "replace")
# Jobs of a stream that are in memory at a time.
_STREAMED_JOBS: Final = 5_000
# For this many jobs or fewer COPY's extra round trips cost more than they save.
_COPIED_FROM: Final = 1000


@takes_options
def insert(
    args: Any,
    *,
    on_conflict: OnConflict = "raise",
    debounce: float | str | timedelta | None = None,
    max_wait: float | str | timedelta | None = None,
    kinds: Kinds = UNDECLARED,
    **options: Unpack[InsertOptions],
) -> Op[Job]:
    """Insert a job and return it, with its args as they were given.

    ``args`` is a dataclass instance, a pydantic model or a dict.  An option that is not given is
    that which the client's ``task`` or ``kind`` declared for the kind.  The options:

    - ``kind``: the kind of the job; by default that declared with the type of ``args``, otherwise
      derived from its name.
    - ``queue``: the queue.
    - ``priority``: 1 (most urgent) to 4.
    - ``max_attempts``: the maximum number of attempts, 1 to 1000.
    - ``tags``: at most 20 texts.
    - ``metadata``: a dict of JSON data.
    - ``run_at``: when the job may run; a time without an offset is UTC.  A job with a time in the
      future is scheduled, any other job is available at once.
    - ``delay``: after how long the job may run, by the clock of the database: seconds, a timedelta
      or text like ``10m``.
    - ``unique``: makes the job unique; see ``Unique``.
    - ``unique_opts``: the same as awa 0.5 writes it.  A dict of by_queue (False), by_args (True),
      by_period (the number of a period) and states (a bit mask, 31).
    - ``concurrency_key``: 1 to 200 characters, stored in the metadata; the policy
      ``max_running_per_key`` of the queue limits the running jobs with the same key.
    - ``on_conflict``: what to do if another job holds the unique key.  ``raise`` UniqueConflict,
      ``skip`` and return None, ``return_existing`` (its args are JSON data), or ``replace`` args
      and ``run_at`` or ``delay`` of the other job, if it has not started, and return it.
    - ``debounce``: a time as for ``delay``.  The job runs when no further insert with its unique
      key came for that long, with the args of the last one, and at most ``max_wait`` after the
      first.  It holds its key until it starts; by default it is unique by its args.

    Raises UniqueConflict, ValidationError, SerializationError.
    """
    if kinds.insert_functions:
        (args,), options = through_middleware([args], kinds, options)
    if debounce is not None or max_wait is not None:
        return _with(
            args,
            _debounced(
                args, options, kinds, debounce=debounce, max_wait=max_wait, on_conflict=on_conflict
            ),
        )
    return _one(check_one(args, kinds=kinds, **options), args, on_conflict)


@takes_options
def insert_many(
    jobs: Iterable[Any],
    *,
    on_conflict: OnConflict = "raise",
    kinds: Kinds = UNDECLARED,
    **options: Unpack[InsertOptions],
) -> Op[list[Job]]:
    """Insert all jobs or none, and return them in the same order with ascending ids.

    ``jobs`` are args as for ``insert``, of any types, or ``NewJob`` objects with options of their
    own.  The options are those of ``insert`` and hold for all other jobs.  With
    ``on_conflict="skip"`` the result leaves out jobs whose unique key is taken.  More than 1000
    jobs without a unique key or options of their own are inserted with COPY, and encoded while
    the server works: do not change them meanwhile.  Raises as ``insert``.
    """
    given, options = through_middleware(list(items_of("jobs", jobs)), kinds, options)
    if len(given) > _COPIED_FROM:
        blocks = Blocks(given, kinds=kinds, **options)
        if _raises(on_conflict, blocks.first) and blocks.copied:
            return _copy(blocks)
        new = blocks.all()
    else:
        new = check(given, kinds=kinds, **options)
    return _rows(new) if _raises(on_conflict, new) else insert_or(new, on_conflict)


@takes_options
def insert_many_copy(
    jobs: Iterable[Any],
    *,
    on_conflict: OnConflict = "raise",
    kinds: Kinds = UNDECLARED,
    **options: Unpack[InsertOptions],
) -> Op[list[Job]]:
    """Insert as ``insert_many``, which uses COPY by itself.

    The name is that of awa 0.5.  Raises as ``insert``.
    """
    return insert_many(jobs, on_conflict=on_conflict, kinds=kinds, **options)


@atomic
@takes_options
def enqueue_many_copy(
    jobs: Iterable[Any],
    *,
    on_conflict: OnConflict = "raise",
    on_progress: Callable[[int], None] | None = None,
    kinds: Kinds = UNDECLARED,
    **options: Unpack[InsertOptions],
) -> Op[int]:
    """Insert all jobs or none from an iterable of any length, and return their number.

    ``jobs`` and the options are those of ``insert_many``; jobs that ``on_conflict="skip"`` leaves
    out do not count.  Jobs are read in batches of 5000 in one transaction; ``on_progress`` is
    called with the number of jobs after each batch.  Unique keys are claimed in order in each
    batch only: two such streams may deadlock, and one of them then raises Transient.  Raises as
    ``insert``.
    """
    if on_progress is not None and not callable(on_progress):
        raise ValidationError(f"on_progress must be a function, got {on_progress!r}")
    complete(options)
    _check_mode(on_conflict)
    count, unique = 0, False
    source = iter(items_of("jobs", jobs))
    while batch := list(islice(source, _STREAMED_JOBS)):
        passed, own = through_middleware(batch, kinds, options)
        blocks = Blocks(passed, kinds=kinds, **own)
        if on_conflict != "raise" and blocks.first.unique_keys:
            unique = True
            count += len((yield from insert_or(blocks.all(), on_conflict)))
        else:
            yield from (
                _copy_rows(blocks, keep=False) if blocks.copied else _each_chunk(blocks.all())
            )
            count += len(batch)
        if on_progress is not None:
            on_progress(count)
    if count and on_conflict != "raise" and not unique:
        raise _needs_key(on_conflict)
    return count


def _one(new: NewJobs, args: Any, on_conflict: OnConflict) -> Op[Job]:
    if _raises(on_conflict, new):
        return _first(new, args)
    op = _first_unique(new, on_conflict)
    return op if on_conflict == "return_existing" else _with(args, op)


def _debounced(
    args: Any,
    options: InsertOptions,
    kinds: Kinds,
    *,
    debounce: object,
    max_wait: object,
    on_conflict: OnConflict,
) -> Op[Job]:
    given = [name for name in ("run_at", "delay") if options.get(name) is not None]
    given += [] if on_conflict == "raise" else ["on_conflict"]
    if given:
        raise ValidationError(
            f"debounce and {given[0]} were both given",
            why="debounce says when the job runs, and replaces a job that waits",
        )
    wait = seconds_of("debounce", debounce)
    longest = None if max_wait is None else seconds_of("max_wait", max_wait, least=wait)
    options["delay"] = wait
    new = check([args], kinds=kinds, **options)
    if new.options.unique is None:
        options["unique"] = Unique()
        new = check([args], kinds=kinds, **options)
    assert new.options.unique is not None
    new = replace(new, options=replace(new.options, unique=new.options.unique.while_waiting()))
    return _first_unique(new, "replace", longest)


def insert_batch(new: NewJobs) -> Op[list[Job]]:
    """Insert checked jobs in one statement and return them in order."""
    return _chunk(new)


def insert_free(new: NewJobs) -> Op[list[Job]]:
    """Insert checked jobs, except those whose unique key is taken."""
    return insert_or(new, "skip") if new.unique_keys else _rows(new)


def _raises(on_conflict: object, new: NewJobs) -> bool:
    """Return True for the default mode.  Raises ValidationError for an unknown or useless mode."""
    _check_mode(on_conflict)
    if on_conflict == "raise" or not new.args:  # no job is no mistake
        return True
    if not new.unique_keys:
        raise _needs_key(on_conflict)
    return False


def _check_mode(on_conflict: object) -> None:
    if on_conflict not in _MODES:
        raise ValidationError(f"on_conflict must be one of {_MODES}, got {on_conflict!r}")


def _needs_key(on_conflict: object) -> ValidationError:
    return ValidationError(
        f"on_conflict={on_conflict!r} needs a unique key",
        why="jobs without a unique key never conflict",
        hint="for example unique=awa.Unique(by='args')",
    )


def _with(args: Any, op: Op[Job]) -> Op[Job]:
    job = yield from op
    if job is not None:  # skipped
        hold(job, args)
    return job


def _first(new: NewJobs, args: Any) -> Op[Job]:
    job = (yield from _chunk(new))[0]
    hold(job, args)
    return job


def _rows(new: NewJobs) -> Op[list[Job]]:
    if not new.args:
        return []
    # A single statement is atomic by itself and saves two round trips.
    return (yield from (_chunk(new) if len(new.args) <= ROWS_PER_STATEMENT else _chunks(new)))


def _chunk(new: NewJobs) -> Op[list[Job]]:
    try:
        if new.immediate:
            name = "insert_one" if len(new.args) == 1 else "insert_available"
            rows = yield sql.jobs(name, **new.immediate_params())
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
    if new.unique_keys and len(new.args) > ROWS_PER_STATEMENT:
        reserved = yield sql.jobs("reserve_ids", count=len(new.args))
        if reserved:
            return (yield from _in_key_order(new, *reserved[0]))
    jobs: list[Job] = []
    for start in range(0, len(new.args), ROWS_PER_STATEMENT):
        jobs += yield from _chunk(new.slice(start, start + ROWS_PER_STATEMENT))
    return jobs


def _in_key_order(new: NewJobs, ids: Sequence[int], now: datetime) -> Op[list[Job]]:
    """Insert jobs with unique keys in several statements, in the order of their keys."""
    order = new.key_order()
    for start in range(0, len(order), ROWS_PER_STATEMENT):
        places = order[start : start + ROWS_PER_STATEMENT]
        params = new.pick(places).params([ids[place] for place in places])
        try:
            yield sql.jobs("insert_jobs", **params)
        except UniqueConflict as error:
            raise _conflict(new, error) from error.__cause__
    metrics.inserted(new.kinds_and_queues())
    return new.jobs(ids, now)


_chunks = atomic(_each_chunk)


def _copy_rows(blocks: Blocks, *, keep: bool = True) -> Op[list[Job]]:
    reserved = yield sql.jobs("reserve_ids", count=len(blocks))
    if not reserved:
        return (yield from _each_chunk(blocks.all()))
    ids, now = reserved[0]
    later = blocks.first.options.starts(now) > now
    yield sql.jobs.copy(
        "copy_scheduled" if later else "copy_available", blocks.text(ids, now, keep=keep)
    )
    if blocks.error is not None:
        raise blocks.error
    metrics.inserted(blocks.first.kinds_and_queues())
    return blocks.jobs


_copy = atomic(_copy_rows)


def _first_unique(new: NewJobs, on_conflict: OnConflict, longest: float | None = None) -> Op[Job]:
    jobs = yield from insert_or(new, on_conflict, longest)
    return jobs[0] if jobs else None  # type: ignore[return-value] # None is declared by the overloads of insert
