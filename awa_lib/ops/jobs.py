"""Operations on single jobs and sets of jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

from awa_lib._json import loads
from awa_lib._sql import atomic, sql
from awa_lib.codec import pgtext
from awa_lib.codec.encode import encode
from awa_lib.codec.pgtext import int_array
from awa_lib.enqueue.unique import unique_key
from awa_lib.errors import InvalidTransition, JobNotFound, UniqueConflict
from awa_lib.filters import checked_limit
from awa_lib.models import Job
from awa_lib.ops.job_steps import forget_from
from awa_lib.states import CAN_CANCEL, CAN_RETRY, ENDED, QUEUED
from awa_lib.validation import LONGEST_NAME, int64_of, name_of, number_of, state_of, text_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from awa_lib._sql import Op

__all__ = [
    "cancel",
    "cancel_by_unique_key",
    "cancel_in_pages",
    "discard",
    "discard_failed",
    "discard_page",
    "get_job",
    "get_jobs",
    "list_jobs",
    "move_page",
    "move_queue",
    "prioritize_page",
    "retry",
    "retry_failed",
    "retry_in_pages",
    "retry_page",
    "set_priority",
]

# Rows locked by a statement of a bulk change.
_ROWS_PER_STATEMENT: Final = 500
Block = Literal["retry_jobs", "cancel_jobs"]


def get_job(job_id: int) -> Op[Job]:
    """Return a job.

    Raises JobNotFound, whose hint says when it is among the dead letters, or ValidationError.
    """
    rows = yield sql.jobs("get_job", id=int64_of("job_id", job_id))
    if not rows:
        dead = yield sql.dead_letters("is_dead", id=job_id)
        if dead:
            raise JobNotFound(
                job_id,
                why="it failed and was moved to the dead letters",
                hint=f"show it: awa dlq show {job_id}; run it again: awa dlq retry {job_id}",
            )
        raise JobNotFound(job_id)
    return rows.into(Job)[0]


def get_jobs(job_ids: Sequence[int]) -> Op[list[Job]]:
    """Return the jobs with these ids that exist, by id."""
    rows = yield sql.jobs("get_jobs", ids=int_array(job_ids))
    return rows.into(Job)


def list_jobs(
    *,
    state: str | None = None,
    kind: str | None = None,
    queue: str | None = None,
    limit: int = 100,
    before_id: int | None = None,
    tag: str | None = None,
) -> Op[list[Job]]:
    """Return a page of jobs, newest id first.

    The next page starts at ``before_id=page[-1].id``.  Raises ValidationError, also for an unknown
    state or a negative limit.
    """
    asked: dict[str, Any] = {
        "before_id": None if before_id is None else int64_of("before_id", before_id),
        "state": None if state is None else state_of(state),
        "kind": None if kind is None else text_of("kind", kind, LONGEST_NAME),
        "queue": None if queue is None else text_of("queue", queue, LONGEST_NAME),
        "limit": checked_limit(limit),
    }
    if tag is None:
        rows = yield sql.jobs("list_jobs", **asked)
    else:
        tag = text_of("tag", tag, LONGEST_NAME)
        rows = yield sql.jobs("list_tagged_jobs", **asked, tag=tag)
    return rows.into(Job)


def retry(job_id: int, *, from_step: str | None = None) -> Op[Job]:
    """Make a job available now and return it.

    With ``from_step`` its handler does that durable step again, and those that ended after it.
    A failed, cancelled or waiting_external job starts again with attempt 0; a retryable job skips
    the rest of its delay and keeps its attempts.  Raises JobNotFound, InvalidTransition,
    ValidationError, or UniqueConflict when another live job holds its unique key.
    """
    if from_step is None:
        return _change("retry_jobs", job_id, "retry", CAN_RETRY)
    return _retry_from(int64_of("job_id", job_id), name_of("from_step", from_step))


@atomic
def _retry_from(job_id: int, step: str) -> Op[Job]:
    job = yield from _change("retry_jobs", job_id, "retry", CAN_RETRY)
    yield from forget_from(job_id, step)
    return job


def cancel(job_id: int) -> Op[Job]:
    """Cancel a job that has not ended and return it.

    A running handler is stopped at once: ``job.is_cancelled()`` returns True and an async handler
    gets CancelledError; its result is dropped.  Raises JobNotFound, InvalidTransition or
    ValidationError.
    """
    return (yield from _change("cancel_jobs", job_id, "cancel", CAN_CANCEL))


def _change(block: Block, job_id: int, word: str, allowed: tuple[str, ...]) -> Op[Job]:
    # A job that moves between the two tables while the statement runs is seen by neither half of
    # it, so a miss on an allowed state is tried again.  One statement writes: no transaction.
    for _ in range(3):
        rows = yield sql.jobs(block, ids=int_array([int64_of("job_id", job_id)]))
        if rows:
            return rows.into(Job)[0]
        job = yield from get_job(job_id)
        if str(job.state) not in allowed:
            break
    raise InvalidTransition(job_id, str(job.state), word, allowed)


def set_priority(job_id: int, priority: int) -> Op[Job]:
    """Set the priority of a waiting job, 1 (urgent) to 4, and return the job.

    Aging starts again from it.  Raises JobNotFound, InvalidTransition, or ValidationError.
    """
    number_of("priority", priority, 1, 4)
    rows = yield sql.bulk(
        "set_priority", ids=int_array([int64_of("job_id", job_id)]), priority=priority
    )
    return (yield from _waiting(job_id, "change the priority of", moved=bool(rows)))


def move_queue(job_id: int, to_queue: str) -> Op[Job]:
    """Move a waiting job to another queue and return it.

    Its unique key does not change.  Raises JobNotFound, InvalidTransition, ValidationError.
    """
    name_of("to_queue", to_queue)
    rows = yield sql.bulk(
        "move_queue", ids=int_array([int64_of("job_id", job_id)]), to_queue=to_queue
    )
    return (yield from _waiting(job_id, "move", moved=bool(rows)))


def cancel_by_unique_key(
    kind: str,
    *,
    queue: str | None = None,
    args: Any = None,
    period_bucket: int | None = None,
) -> Op[Job | None]:
    """Cancel the oldest job with a unique key that has not ended; return it, or None.

    Give exactly what the key was made of: ``queue`` for by_queue, ``args`` for by_args, the bucket
    number for by_period.  Raises ValidationError or SerializationError.
    """
    text_of("kind", kind, LONGEST_NAME)
    if queue is not None:
        text_of("queue", queue, LONGEST_NAME)
    if period_bucket is not None:
        int64_of("period_bucket", period_bucket)
    data = ... if args is None else loads(encode(args))
    key = unique_key(kind, queue=queue, args=data, period=period_bucket)
    return _cancel_by_key(key)


def _cancel_by_key(key: bytes) -> Op[Job | None]:
    held = yield sql.jobs("unique_holders", keys=pgtext.bytea_array([key]))
    ids = [row[1] for row in held] or [
        row[0] for row in (yield sql.jobs("find_by_unique_key", key=key))
    ]
    for job_id in ids:
        try:
            return (yield from cancel(job_id))
        except (InvalidTransition, JobNotFound):
            continue
    return None


def discard(job_id: int) -> Op[None]:
    """Delete a job that has ended.  Raises JobNotFound, InvalidTransition or ValidationError."""
    rows = yield sql.bulk("delete", ids=int_array([int64_of("job_id", job_id)]))
    if not rows:
        job = yield from get_job(job_id)
        raise InvalidTransition(job_id, str(job.state), "discard", ENDED)


def _waiting(job_id: int, word: str, *, moved: bool) -> Op[Job]:
    job = yield from get_job(job_id)
    if not moved:
        raise InvalidTransition(job_id, str(job.state), word, QUEUED)
    return job


def retry_failed(*, kind: str | None = None, queue: str | None = None) -> Op[list[Job]]:
    """Make every failed job of a kind or a queue available and return them by id.

    Jobs whose unique key another live job holds stay failed.  Works in pages, each its own
    statement.  Raises ValueError unless exactly one of ``kind`` and ``queue`` is given, and
    ValidationError.
    """
    if (kind is None) == (queue is None):
        raise ValueError("Specify exactly one of kind or queue")
    if kind is None:
        text_of("queue", queue, LONGEST_NAME)
    else:
        text_of("kind", kind, LONGEST_NAME)
    rows = yield sql.jobs("failed_ids", kind=kind, queue=queue)
    return (yield from retry_in_pages([row[0] for row in rows]))


def retry_in_pages(ids: Sequence[int]) -> Op[list[Job]]:
    """Retry the jobs with these ids; return those retried.  Jobs that conflict are skipped."""
    changed: list[Job] = []
    for start in range(0, len(ids), _ROWS_PER_STATEMENT):
        page = ids[start : start + _ROWS_PER_STATEMENT]
        try:
            changed += yield from _retry_page(page)
        except UniqueConflict:
            for job_id in page:
                try:
                    changed += yield from _retry_page([job_id])
                except UniqueConflict:
                    continue
    return changed


@atomic
def _retry_page(ids: Sequence[int]) -> Op[list[Job]]:
    rows = yield sql.jobs("retry_jobs", ids=int_array(ids))
    return rows.into(Job)


def cancel_in_pages(ids: Sequence[int]) -> Op[list[int]]:
    """Cancel the jobs with these ids that have not ended; return their ids."""
    cancelled: list[int] = []
    for start in range(0, len(ids), _ROWS_PER_STATEMENT):
        rows = yield sql.jobs(
            "cancel_jobs", ids=int_array(ids[start : start + _ROWS_PER_STATEMENT])
        )
        cancelled += [row[rows.columns.index("id")] for row in rows]
    return cancelled


def retry_page(ids: Sequence[int]) -> Op[list[int]]:
    """Retry those of these jobs that may be; return their ids.  Jobs that conflict are skipped."""
    return [job.id for job in (yield from retry_in_pages(ids))]


def prioritize_page(ids: Sequence[int], priority: int) -> Op[list[int]]:
    """Set the priority of those of these jobs that wait; return their ids.  One statement."""
    number_of("priority", priority, 1, 4)
    rows = yield sql.bulk("set_priority", ids=int_array(ids), priority=priority)
    return [row[0] for row in rows]


def move_page(ids: Sequence[int], to_queue: str) -> Op[list[int]]:
    """Move those of these jobs that wait to another queue; return their ids.  One statement."""
    name_of("to_queue", to_queue)
    rows = yield sql.bulk("move_queue", ids=int_array(ids), to_queue=to_queue)
    return [row[0] for row in rows]


def discard_page(ids: Sequence[int]) -> Op[list[int]]:
    """Delete those of these jobs that have ended; return their ids.  One statement."""
    rows = yield sql.bulk("delete", ids=int_array(ids))
    return [row[0] for row in rows]


def discard_failed(kind: str) -> Op[int]:
    """Delete every failed job of a kind for good; return how many.

    One statement, which locks every row that it deletes.  Raises ValidationError.
    """
    rows = yield sql.jobs("discard_failed", kind=text_of("kind", kind, LONGEST_NAME))
    return int(rows.scalar())
