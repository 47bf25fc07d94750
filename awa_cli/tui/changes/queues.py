"""Changes of queues."""

from __future__ import annotations

from typing import TYPE_CHECKING

from awa_cli.tui.changes.change import Change
from awa_cli.views.words import waiting_of
from awa_lib.ops import queues as ops

if TYPE_CHECKING:
    from awa_lib.reads.queues import QueueStat

__all__ = ["cancel_waiting", "pause", "resume"]


def pause(queue: str) -> Change:
    """Return the change that pauses a queue."""
    return Change(
        "queue.pause",
        queue,
        lambda: ops.pause_queue(queue, paused_by="tui"),
        undo=lambda: resume(queue),
    )


def resume(queue: str) -> Change:
    """Return the change that resumes a queue."""
    return Change("queue.resume", queue, lambda: ops.resume_queue(queue), undo=lambda: pause(queue))


def cancel_waiting(stat: QueueStat) -> Change:
    """Return the change that cancels the waiting jobs of a queue."""
    words = waiting_of(stat.waiting, stat.queue)
    return Change("queue.cancel-waiting", words, lambda: ops.cancel_waiting(stat.queue))
