"""Read dead letters: as objects of awa 0.5, and as flat rows for tools."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from awa_lib._sql import sql
from awa_lib.errors import JobNotFound
from awa_lib.filters import DlqFilter, checked_filter, checked_limit
from awa_lib.models import DlqEntry, Job
from awa_lib.validation import LONGEST_NAME, int64_of, text_of

if TYPE_CHECKING:
    from typing import Unpack

    from awa_lib._sql import Op

__all__ = [
    "DeadLetter",
    "count_dead_letters",
    "dead_letter",
    "dead_letters",
    "dlq_depth",
    "dlq_depth_by_queue",
    "get_dlq_job",
    "list_dlq",
]


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A dead letter for tools: the job as it failed, and why and since when it is here."""

    id: int
    kind: str
    queue: str
    reason: str
    """Why it is here."""
    dead_at: datetime
    args: Any
    priority: int
    attempt: int
    max_attempts: int
    original_run_lease: int
    created_at: datetime
    finalized_at: datetime | None
    errors: list[dict[str, Any]]
    """One object for each failed attempt, oldest first."""
    metadata: dict[str, Any]
    tags: list[str]
    progress: dict[str, Any] | None


def dead_letters(
    *, before_id: int | None = None, limit: int = 100, **where: Unpack[DlqFilter]
) -> Op[list[DeadLetter]]:
    """Return the page of ``list_dlq`` as flat rows."""
    found = yield from list_dlq(before_id=before_id, limit=limit, **where)
    return [_flat(entry) for entry in found]


def dead_letter(job_id: int) -> Op[DeadLetter]:
    """Return one dead letter as a flat row.  Raises JobNotFound."""
    return _flat((yield from get_dlq_job(job_id)))


def count_dead_letters(**where: Unpack[DlqFilter]) -> Op[int]:
    """Return the number of dead letters that match.  Raises ValidationError."""
    rows = yield sql.read_dead_letters("count", **checked_filter(where, DlqFilter))
    return int(rows.scalar())


def _flat(entry: DlqEntry) -> DeadLetter:
    job = entry.job
    ended = job.finalized_at
    return DeadLetter(
        id=job.id,
        kind=job.kind,
        queue=job.queue,
        reason=entry.reason,
        dead_at=entry.dead_at,
        args=job.args,
        priority=job.priority,
        attempt=job.attempt,
        max_attempts=job.max_attempts,
        original_run_lease=entry.original_run_lease,
        created_at=datetime.fromisoformat(job.created_at),
        finalized_at=None if ended is None else datetime.fromisoformat(ended),
        errors=job.errors,
        metadata=job.metadata,
        tags=job.tags,
        progress=job.progress,
    )


def list_dlq(
    *, before_id: int | None = None, limit: int = 100, **where: Unpack[DlqFilter]
) -> Op[list[DlqEntry]]:
    """Return a page of dead letters, newest id first; filters are ``kind``, ``queue``, ``tag``.

    The next page starts at ``before_id=page[-1].job.id``.  Raises ValidationError.
    """
    filters = checked_filter(where, DlqFilter)
    if before_id is not None:
        int64_of("before_id", before_id)
    rows = yield sql.read_dead_letters(
        "list", before_id=before_id, limit=checked_limit(limit), **filters
    )
    return rows.into(_entry)


def get_dlq_job(job_id: int) -> Op[DlqEntry]:
    """Return one dead letter.

    Raises JobNotFound, also for a job that is not a dead letter, or ValidationError.
    """
    rows = yield sql.read_dead_letters("get", id=int64_of("job_id", job_id))
    if not rows:
        raise JobNotFound(
            job_id,
            why="no dead letter has this id",
            hint=f"see whether it is a job: awa job show {job_id}",
        )
    return rows.into(_entry)[0]


def dlq_depth(queue: str | None = None) -> Op[int]:
    """Return the number of dead letters, in all queues or in one; counted, not cached.

    Raises ValidationError.
    """
    if queue is not None:
        text_of("queue", queue, LONGEST_NAME)
    rows = yield sql.read_dead_letters("depth", queue=queue)
    return int(rows.scalar())


def dlq_depth_by_queue() -> Op[dict[str, int]]:
    """Return the number of dead letters by queue; queues without any are left out."""
    rows = yield sql.read_dead_letters("depth_by_queue")
    return {queue: int(depth) for queue, depth in rows}


def _entry(*, reason: str, dead_at: Any, **job: Any) -> DlqEntry:
    return DlqEntry(Job(**job), reason, dead_at, job["run_lease"])
