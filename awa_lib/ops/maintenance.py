"""What the leader does: promote, rescue, age, clean up, count."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from awa_lib._sql import atomic, sql
from awa_lib.errors import AwaError, Unavailable
from awa_lib.ops.jobs import id_array

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from awa_lib._sql import Op

__all__ = [
    "Rescued",
    "age",
    "delete_finished",
    "forget",
    "forget_signatures",
    "promote",
    "recount",
    "rescue_callbacks",
    "rescue_deadline",
    "rescue_stale",
]

logger = logging.getLogger(__name__)

PROMOTE_BATCH: Final = 4096
RESCUE_BATCH: Final = 500
# Statements that failed for one row are repeated row by row, this many at a time.
_ONE_BY_ONE: Final = 200
Block = Literal["promote_scheduled", "promote_retryable"]
Cause = Literal["heartbeat", "deadline", "callback"]


@dataclass(frozen=True, slots=True)
class Rescued:
    """A job that was taken away from an attempt."""

    id: int
    kind: str
    queue: str
    run_lease: int
    state: str


def promote(block: Block, limit: int = PROMOTE_BATCH) -> Op[int]:
    """Make due jobs of one cold state available; return how many.

    When one row makes the statement fail (its unique key was taken, say), the due rows are taken
    one by one; the bad ones are parked for a minute with the reason in their errors.
    """
    try:
        return (yield from _promote(block, limit, None))
    except Unavailable:
        raise
    except AwaError:
        return (yield from _promote_each(block))


@atomic
def _promote(block: Block, limit: int, only: str | None) -> Op[int]:
    rows = yield sql.maintenance(block, limit=limit, only=only)
    return int(rows.scalar())


def _promote_each(block: Block) -> Op[int]:
    due = yield sql.maintenance("due_ids", limit=_ONE_BY_ONE)
    promoted = 0
    for (job_id,) in due:
        try:
            promoted += yield from _promote(block, 1, id_array([job_id]))
        except Unavailable:
            raise
        except AwaError as error:
            logger.warning(
                "a job could not be promoted; it is tried again in a minute",
                extra={"job_id": job_id, "error": str(error)},
            )
            yield sql.maintenance("park", id=job_id, reason=f"cannot be made available: {error}")
    return promoted


def rescue_stale(staleness_seconds: float, limit: int = RESCUE_BATCH) -> Op[list[Rescued]]:
    """Take running jobs whose last heartbeat is older than this; they run again at once."""
    rows = yield sql.maintenance("stale_ids", staleness=staleness_seconds, limit=limit)
    error = "heartbeat stale: worker presumed dead"
    return (yield from _rescue([r[0] for r in rows], "heartbeat", error, staleness_seconds))


def rescue_deadline(limit: int = RESCUE_BATCH) -> Op[list[Rescued]]:
    """Take running jobs past their deadline; they run again after the backoff."""
    rows = yield sql.maintenance("overdue_ids", limit=limit)
    return (yield from _rescue([r[0] for r in rows], "deadline", "hard deadline exceeded", 0))


def rescue_callbacks(limit: int = RESCUE_BATCH) -> Op[list[Rescued]]:
    """Take waiting jobs whose callback timed out; they run again after the backoff."""
    rows = yield sql.maintenance("expired_callback_ids", limit=limit)
    return (yield from _rescue([r[0] for r in rows], "callback", "callback timed out", 0))


def _rescue(ids: Sequence[int], cause: Cause, error: str, staleness: float) -> Op[list[Rescued]]:
    """Rescue a set; when one row makes it fail, each by itself, the bad one ending failed.

    No attempt count is ever exceeded: a job on its last attempt ends failed.
    """
    if not ids:
        return []

    def one(chosen: Sequence[int], text: str, *, spent: bool) -> Op[list[Rescued]]:
        rows = yield sql.maintenance(
            "rescue",
            ids=id_array(chosen),
            cause=cause,
            error=text,
            staleness=staleness,
            spent=spent,
        )
        return rows.into(Rescued)

    attempt: Callable[..., Op[list[Rescued]]] = atomic(one)
    try:
        return (yield from attempt(sorted(ids), error, spent=False))
    except Unavailable:
        raise
    except AwaError:
        rescued: list[Rescued] = []
        for job_id in sorted(ids):
            rescued += yield from _rescue_one(attempt, job_id, error)
        return rescued


def _rescue_one(
    attempt: Callable[..., Op[list[Rescued]]], job_id: int, error: str
) -> Op[list[Rescued]]:
    try:
        return (yield from attempt([job_id], error, spent=False))
    except Unavailable:
        raise
    except AwaError as reason:
        try:
            return (yield from attempt([job_id], f"{error}; no retry: {reason}", spent=True))
        except Unavailable:
            raise
        except AwaError as again:
            logger.warning(
                "a job could not be rescued", extra={"job_id": job_id, "error": str(again)}
            )
            return []


def age(threshold_seconds: float = 60, limit: int = 1000) -> Op[int]:
    """Raise the priority of jobs that have waited this long by one level; return how many."""
    rows = yield sql.maintenance("age", threshold=threshold_seconds, limit=limit)
    return int(rows.scalar())


def delete_finished(
    completed_seconds: float,
    failed_seconds: float,
    limit: int,
    queue: str | None = None,
    except_queues: Sequence[str] = (),
) -> Op[int]:
    """Delete up to ``limit`` jobs of each sort that ended longer ago than this; return how many."""
    scope = {"queue": queue, "except_queues": list(except_queues), "limit": limit}
    completed = yield sql.maintenance("delete_completed", seconds=completed_seconds, **scope)
    others = yield sql.maintenance("delete_unsuccessful", seconds=failed_seconds, **scope)
    return int(completed.scalar()) + int(others.scalar())


def recount() -> Op[None]:
    """Bring the cached counters up to date, within their own limit of the time."""
    yield sql.maintenance("recount")


def forget_signatures() -> Op[None]:
    """Drop the request signatures of callbacks that are too old to be accepted."""
    yield sql.callbacks("forget_signatures")


def forget(descriptor_seconds: float) -> Op[None]:
    """Delete rows of processes, and descriptors, that nobody has renewed; 0 keeps descriptors.

    Bulk operations are deleted a month after they ended.
    """
    yield sql.maintenance("forget_instances")
    yield sql.maintenance("forget_bulk_operations")
    if descriptor_seconds:
        yield sql.maintenance("forget_queue_descriptors", seconds=descriptor_seconds)
        yield sql.maintenance("forget_kind_descriptors", seconds=descriptor_seconds)
