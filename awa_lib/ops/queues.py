"""Operations on queues."""

from __future__ import annotations

from typing import TYPE_CHECKING

from awa_lib._sql import sql
from awa_lib.fields import LONGEST_NAME, name_of, text_of
from awa_lib.ops.jobs import cancel_in_pages

if TYPE_CHECKING:
    from awa_lib._sql import Op

__all__ = ["drain_queue", "flush_admin_metadata", "pause_queue", "resume_queue"]


def pause_queue(queue: str, paused_by: str | None = None) -> Op[None]:
    """Stop claims of a queue in the whole fleet; running jobs go on.

    A queue nobody has seen yet is created, paused.  Idempotent.  Raises ValidationError.
    """
    if paused_by is not None:
        text_of("paused_by", paused_by, LONGEST_NAME)
    yield sql.queues("pause_queue", queue=name_of("queue", queue), paused_by=paused_by)


def resume_queue(queue: str) -> Op[None]:
    """Allow claims of a queue again and wake its workers.  Idempotent.  Raises ValidationError."""
    yield sql.queues("resume_queue", queue=name_of("queue", queue))


def drain_queue(queue: str) -> Op[int]:
    """Cancel every job of a queue that waits; running jobs are spared.

    Returns the number cancelled.  Works in pages, each its own statement, so a large backlog is
    not locked at once; jobs inserted meanwhile may stay.  Raises ValidationError.
    """
    rows = yield sql.jobs("drainable_ids", queue=name_of("queue", queue))
    return len((yield from cancel_in_pages([row[0] for row in rows])))


def flush_admin_metadata() -> Op[None]:
    """Recount the cached counters of every queue and kind now."""
    yield sql.queues("refresh_counts")
