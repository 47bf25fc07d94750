"""Changes of schedules."""

from __future__ import annotations

from awa_cli.tui.changes.change import Change
from awa_lib.ops import cron as ops

__all__ = ["pause", "remove", "resume", "trigger"]


def trigger(name: str) -> Change:
    """Return the change that enqueues the job of a schedule now."""
    return Change("cron.trigger", name, lambda: ops.trigger_cron_job(name))


def pause(name: str) -> Change:
    """Return the change that pauses a schedule."""
    return Change(
        "cron.pause", name, lambda: ops.pause_cron_job(name, "tui"), undo=lambda: resume(name)
    )


def resume(name: str) -> Change:
    """Return the change that resumes a schedule."""
    return Change("cron.resume", name, lambda: ops.resume_cron_job(name), undo=lambda: pause(name))


def remove(name: str) -> Change:
    """Return the change that removes a schedule."""
    return Change("cron.remove", name, lambda: ops.delete_cron_job(name))
