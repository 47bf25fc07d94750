"""Operations on queues."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from awa_lib._sql import sql
from awa_lib.codec.pgtext import int_array
from awa_lib.validation import LONGEST_NAME, name_of, text_of

if TYPE_CHECKING:
    from awa_lib._sql import Op

__all__ = [
    "cancel_waiting",
    "count_waiting",
    "drain_queue",
    "flush_admin_metadata",
    "pause_queue",
    "resume_queue",
]

# Rows locked by a statement.
_ROWS_PER_STATEMENT: Final = 500


def pause_queue(queue: str, paused_by: str | None = None) -> Op[None]:
    """Stop claims of a queue in the whole fleet; running jobs go on.

    An unknown queue is created as paused.  Idempotent.  Raises ValidationError.
    """
    if paused_by is not None:
        text_of("paused_by", paused_by, LONGEST_NAME)
    yield sql.queues("pause_queue", queue=name_of("queue", queue), paused_by=paused_by)


def resume_queue(queue: str) -> Op[None]:
    """Allow claims of a queue again and wake its workers.  Idempotent.  Raises ValidationError."""
    yield sql.queues("resume_queue", queue=name_of("queue", queue))


def count_waiting(queue: str) -> Op[int]:
    """Return how many jobs ``cancel_waiting`` would cancel now.  Raises ValidationError."""
    rows = yield sql.jobs("count_drainable", queue=name_of("queue", queue))
    return int(rows[0][0])


def drain_queue(queue: str) -> Op[int]:
    """Do as ``cancel_waiting``, under the name of awa 0.5; raises as it does.

    Elsewhere to drain is to finish what is there.
    """
    return (yield from cancel_waiting(queue))


def cancel_waiting(queue: str) -> Op[int]:
    """Cancel every waiting job of a queue; running jobs are not cancelled.

    Neither are jobs that are claimed or moved meanwhile.  Returns the number cancelled.  Works in
    pages, each its own statement, so a large backlog is not locked at once; jobs that are inserted
    meanwhile or locked by another transaction may stay.  Raises ValidationError.
    """
    rows = yield sql.jobs("drainable_ids", queue=name_of("queue", queue))
    left = [row[0] for row in rows]
    cancelled = 0
    # Twice: a job that was promoted while the statement ran was seen in neither table.
    for _ in range(2):
        missed: list[int] = []
        for start in range(0, len(left), _ROWS_PER_STATEMENT):
            page = left[start : start + _ROWS_PER_STATEMENT]
            gone = yield sql.queues("drain", ids=int_array(page), queue=queue)
            done = {row[0] for row in gone}
            cancelled += len(done)
            missed += [job_id for job_id in page if job_id not in done]
        left = missed
    return cancelled


def flush_admin_metadata() -> Op[None]:
    """Recount the cached counters of every queue and kind now."""
    yield sql.queues("refresh_counts")
