"""Insert jobs: one, many, or very many through COPY.

Arguments are checked and encoded when an op is made, before any connection is taken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from awa_lib._sql import atomic, sql
from awa_lib.new_jobs import NewJobs, check

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from awa_lib._sql import Op
    from awa_lib.models import Job

__all__ = ["insert", "insert_many", "insert_many_copy"]

# Rows of one statement.
_CHUNK: Final = 1000
# Up to here COPY's extra round trips cost more than they save.
_FEW: Final = 1000


def insert(
    args: Any,
    *,
    kind: str | None = None,
    queue: str = "default",
    priority: int = 2,
    max_attempts: int = 25,
    tags: Sequence[str] | None = None,
    metadata: Mapping[str, Any] | None = None,
    run_at: datetime | str | None = None,
    unique_opts: Mapping[str, Any] | None = None,
) -> Op[Job]:
    """Insert one job and return it.

    ``args`` is a dataclass instance, a pydantic model or a dict; the kind is derived from its
    type unless given.  A ``run_at`` in the future makes the job scheduled, one in the past
    available at once; without an offset it is UTC.  ``unique_opts`` holds by_queue (False),
    by_args (True), by_period (a bucket number) and states (mask, 31).
    Raises UniqueConflict, ValidationError, SerializationError.
    """
    new = check([args], kind, queue, priority, max_attempts, tags, metadata, run_at, unique_opts)
    return _first(new)


def insert_many(
    jobs: Iterable[Any],
    *,
    kind: str | None = None,
    queue: str = "default",
    priority: int = 2,
    max_attempts: int = 25,
    tags: Sequence[str] | None = None,
    metadata: Mapping[str, Any] | None = None,
    run_at: datetime | str | None = None,
    unique_opts: Mapping[str, Any] | None = None,
) -> Op[list[Job]]:
    """Insert all jobs or none and return them in the same order, ids ascending.

    ``jobs`` are args as ``insert`` takes them, of one class or several; the options hold for all.
    Raises as ``insert``.
    """
    new = check(jobs, kind, queue, priority, max_attempts, tags, metadata, run_at, unique_opts)
    return _rows(new)


def insert_many_copy(
    jobs: Iterable[Any],
    *,
    kind: str | None = None,
    queue: str = "default",
    priority: int = 2,
    max_attempts: int = 25,
    tags: Sequence[str] | None = None,
    metadata: Mapping[str, Any] | None = None,
    run_at: datetime | str | None = None,
    unique_opts: Mapping[str, Any] | None = None,
) -> Op[list[Job]]:
    """Insert all jobs or none through COPY, the fastest way for more than a thousand jobs.

    Takes and returns what ``insert_many`` does; fewer jobs, and unique ones, go its way, which
    is faster there by a seventh.  Raises as ``insert``.
    """
    new = check(jobs, kind, queue, priority, max_attempts, tags, metadata, run_at, unique_opts)
    return _rows(new) if new.unique_keys or len(new.args) <= _FEW else _copy(new)


def _first(new: NewJobs) -> Op[Job]:
    return (yield from _chunk(new))[0]


def _rows(new: NewJobs) -> Op[list[Job]]:
    if not new.args:
        return []
    # One statement is atomic by itself and saves two round trips.
    return (yield from (_chunk(new) if len(new.args) <= _CHUNK else _chunks(new)))


def _chunk(new: NewJobs) -> Op[list[Job]]:
    params = new.params()
    rows = yield sql.jobs("insert_jobs", **params)
    if not rows:
        # Another storage engine takes the writes: only its own door knows where they go.
        rows = yield sql.jobs("insert_jobs_compat", **params)
    return new.jobs(*rows[0])


def _each_chunk(new: NewJobs) -> Op[list[Job]]:
    jobs: list[Job] = []
    for start in range(0, len(new.args), _CHUNK):
        jobs += yield from _chunk(new.slice(start, start + _CHUNK))
    return jobs


_chunks = atomic(_each_chunk)


@atomic
def _copy(new: NewJobs) -> Op[list[Job]]:
    reserved = yield sql.jobs("reserve_ids", count=len(new.args))
    if not reserved:
        return (yield from _each_chunk(new))
    ids, now = reserved[0]
    run_at = new.run_at or now
    yield sql.jobs.copy(
        "copy_scheduled" if run_at > now else "copy_available", new.copy_text(ids, run_at)
    )
    return new.jobs(ids, now)
