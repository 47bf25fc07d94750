"""Changes of queues."""

from __future__ import annotations

from awa_cli.tui.changes.change import Change
from awa_lib.ops import queues as ops

__all__ = ["drain", "pause", "resume"]


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


def drain(queue: str) -> Change:
    """Return the change that cancels the waiting jobs of a queue."""
    return Change("queue.drain", queue, lambda: ops.drain_queue(queue))
