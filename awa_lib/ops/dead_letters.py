"""Dead letters: failed jobs that are kept apart until an operator acts on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from awa_lib._sql import atomic, sql
from awa_lib.codec.pgtext import int_array
from awa_lib.errors import (
    Conflict,
    InvalidTransition,
    JobNotFound,
    UniqueConflict,
    ValidationError,
)
from awa_lib.filters import DlqFilter, checked_filter, require_some
from awa_lib.logs import Logger
from awa_lib.models import Job, JobState
from awa_lib.ops.apart import Aside, change_apart
from awa_lib.ops.jobs import get_job
from awa_lib.validation import int64_of, moment_of, name_of, number_of, text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from typing import Unpack

    from awa_lib._sql import Op
    from awa_lib.errors import AwaError

__all__ = [
    "MOVE_BATCH",
    "bulk_move_failed_to_dlq",
    "bulk_retry_from_dlq",
    "move_failed",
    "move_failed_to_dlq",
    "move_page",
    "purge_dlq",
    "purge_dlq_job",
    "purge_page",
    "retry_from_dlq",
    "retry_page",
    "set_dead_letters",
]

logger = Logger(__name__)

# Rows locked by one statement.
MOVE_BATCH: Final = 500
_LONGEST_REASON: Final = 1_000
_LOCK_MS: Final = 250


def set_dead_letters(queue: str, enabled: bool) -> Op[None]:
    """Set whether failed jobs of a queue move to the dead letters.

    The leader moves them within seconds, including jobs that failed before, whichever worker ran
    them; retention then does not delete them.  Switching it off moves nothing back.
    Raises ValidationError.
    """
    name_of("queue", queue)
    if not isinstance(enabled, bool):
        raise ValidationError(f"enabled must be True or False, got {enabled!r}")
    yield sql.dead_letters("set_policy", queue=queue, enabled=enabled)


def move_failed(aside: Aside | None = None) -> Op[int]:
    """Move a batch of failed jobs of the queues that keep dead letters; return how many.

    A row that cannot be moved now does not stop the others and is retried soon.
    """
    aside = Aside() if aside is None else aside
    found = yield from _search(aside)
    moved = yield from change_apart(found, _move_briefly, aside, _leave)
    return len(moved)


@atomic
def _search(aside: Aside) -> Op[list[int]]:
    yield sql.maintenance("settle", milliseconds=_LOCK_MS)
    rows = yield sql.dead_letters("failed_ids_of_policies", limit=MOVE_BATCH + len(aside))
    return [row[0] for row in rows if row[0] not in aside][:MOVE_BATCH]


@atomic
def _move_briefly(ids: Sequence[int], milliseconds: int) -> Op[dict[int, None]]:
    yield sql.maintenance("settle", milliseconds=milliseconds)
    return dict.fromkeys((yield from _move(ids, None)))


def _leave(job_id: int, error: AwaError) -> Op[dict[int, None]]:
    logger.warning(
        "a failed job could not be moved to the dead letters; it is tried again",
        extra={"job_id": job_id, "error": str(error)},
    )
    yield from ()
    return {}


def _move(ids: Sequence[int], reason: str | None) -> Op[list[int]]:
    rows = yield sql.dead_letters("move_failed", ids=int_array(ids), reason=reason)
    return [row[0] for row in rows]


def move_failed_to_dlq(job_id: int, reason: str = "moved by hand") -> Op[None]:
    """Move a failed job to the dead letters, whatever its queue's policy.

    This frees its unique key, if failed jobs hold it.
    Raises JobNotFound, InvalidTransition, ValidationError, or Conflict when another transaction has
    locked the row.
    """
    reason = _reason(reason)
    if not (yield from _move([int64_of("job_id", job_id)], reason)):
        job = yield from get_job(job_id)
        if job.state is JobState.Failed:
            raise Conflict(
                f"job {job_id} was not moved: another transaction is changing it", hint="try again"
            )
        raise InvalidTransition(job_id, str(job.state), "move to the dead letters", ("failed",))


def bulk_move_failed_to_dlq(
    *,
    reason: str = "moved by hand",
    all: bool = False,  # noqa: A002 - the name of the option
    **where: Unpack[DlqFilter],
) -> Op[int]:
    """Move failed jobs that match to the dead letters; return how many.

    Filters are ``kind``, ``queue`` and ``tag``; without any, ``all=True`` is required.  Works in
    pages, each its own statement; rows that another transaction has locked are skipped.
    Raises ValidationError.
    """
    filters = checked_filter(where, DlqFilter)
    require_some("bulk_move_failed_to_dlq", filters, everything=all)
    reason = _reason(reason)
    moved = after = 0
    while True:
        rows = yield sql.dead_letters("failed_ids", after=after, limit=MOVE_BATCH, **filters)
        if not rows:
            return moved
        moved += len((yield from _move([row[0] for row in rows], reason)))
        after = rows[-1][0]


def _reason(value: object) -> str:
    if not text_of("reason", value, _LONGEST_REASON):
        raise ValidationError("reason must not be empty")
    return str(value)


def retry_from_dlq(
    job_id: int,
    *,
    run_at: datetime | str | None = None,
    priority: int | None = None,
    queue: str | None = None,
) -> Op[Job]:
    """Make a dead letter a job again and return it: same id, attempt 0, errors and progress kept.

    It runs now, or at ``run_at``; ``priority`` (1 to 4) and ``queue`` replace its own.
    Raises JobNotFound, ValidationError, or UniqueConflict when another live job holds its unique
    key: it then stays a dead letter.
    """
    when = None if run_at is None else moment_of(run_at)
    if priority is not None:
        number_of("priority", priority, 1, 4)
    if queue is not None:
        name_of("queue", queue)
    rows = yield sql.dead_letters(
        "retry",
        ids=int_array([int64_of("job_id", job_id)]),
        run_at=when,
        priority=priority,
        queue=queue,
    )
    if not rows:
        raise _no_dead_letter(job_id)
    return rows.into(Job)[0]


def bulk_retry_from_dlq(
    *,
    all: bool = False,  # noqa: A002 - the name of the option
    **where: Unpack[DlqFilter],
) -> Op[int]:
    """Make dead letters that match jobs again, to run now; return how many.

    Filters are ``kind``, ``queue`` and ``tag``; without any, ``all=True`` is required.  A job whose
    unique key another live job holds stays.  Works in pages, each its own transaction.
    Raises ValidationError.
    """
    filters = checked_filter(where, DlqFilter)
    require_some("bulk_retry_from_dlq", filters, everything=all)
    return (yield from _in_pages(filters, retry_page))


def purge_dlq_job(job_id: int) -> Op[None]:
    """Delete a dead letter for good.  Raises JobNotFound or ValidationError."""
    if not (yield from purge_page([int64_of("job_id", job_id)])):
        raise _no_dead_letter(job_id)


def purge_dlq(
    *,
    all: bool = False,  # noqa: A002 - the name of the option
    **where: Unpack[DlqFilter],
) -> Op[int]:
    """Delete dead letters that match for good; return how many.

    Filters are ``kind``, ``queue`` and ``tag``; without any, ``all=True`` is required.  Works in
    pages, each its own statement.  Raises ValidationError.
    """
    filters = checked_filter(where, DlqFilter)
    require_some("purge_dlq", filters, everything=all)
    return (yield from _in_pages(filters, purge_page))


def _in_pages(
    filters: dict[str, str | None], change: Callable[[Sequence[int]], Op[list[int]]]
) -> Op[int]:
    # In id order, so that a job that fails again meanwhile is not changed twice.
    changed = after = 0
    while True:
        rows = yield sql.dead_letters("ids", after=after, limit=MOVE_BATCH, **filters)
        if not rows:
            return changed
        changed += len((yield from change([row[0] for row in rows])))
        after = rows[-1][0]


def retry_page(ids: Sequence[int], queue: str | None = None) -> Op[list[int]]:
    """Make these dead letters jobs again; return the ids of those that no other job keeps out."""
    try:
        return (yield from _retry_ids(ids, queue))
    except UniqueConflict:
        retried = []
        for job_id in ids:
            try:
                retried += yield from _retry_ids([job_id], queue)
            except UniqueConflict:
                continue
        return retried


@atomic
def _retry_ids(ids: Sequence[int], queue: str | None) -> Op[list[int]]:
    rows = yield sql.dead_letters(
        "retry", ids=int_array(ids), run_at=None, priority=None, queue=queue
    )
    return [row[rows.columns.index("id")] for row in rows]


def purge_page(ids: Sequence[int]) -> Op[list[int]]:
    """Delete these dead letters for good; return the ids of those that there were."""
    rows = yield sql.dead_letters("purge", ids=int_array(ids))
    return [row[0] for row in rows]


def move_page(ids: Sequence[int], reason: str) -> Op[list[int]]:
    """Move those of these jobs that have failed to the dead letters; return their ids."""
    return (yield from _move(ids, _reason(reason)))


def _no_dead_letter(job_id: int) -> JobNotFound:
    return JobNotFound(
        job_id,
        why="no dead letter has this id, or another transaction is changing it",
        hint="list dead letters: awa dlq list",
    )
