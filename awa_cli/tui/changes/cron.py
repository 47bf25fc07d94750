"""Changes of schedules."""

from __future__ import annotations

from awa_cli.tui.changes.change import Deed
from awa_lib.ops import cron as ops

__all__ = ["pause", "remove", "resume", "trigger"]


def trigger(name: str) -> Deed:
    """Make the deed that enqueues the job of a schedule now."""
    return Deed("cron.trigger", name, lambda: ops.trigger_cron_job(name))


def pause(name: str) -> Deed:
    """Make the deed that keeps a schedule from firing."""
    return Deed("cron.pause", name, lambda: ops.pause_cron_job(name, "tui"), lambda: resume(name))


def resume(name: str) -> Deed:
    """Make the deed that lets a schedule fire again."""
    return Deed("cron.resume", name, lambda: ops.resume_cron_job(name), lambda: pause(name))


def remove(name: str) -> Deed:
    """Make the deed that removes a schedule."""
    return Deed("cron.remove", name, lambda: ops.delete_cron_job(name))
