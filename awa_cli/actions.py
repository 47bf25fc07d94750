"""Every change an operator can make, named once: command, dialog and button use these words."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from awa_cli.options import common

if TYPE_CHECKING:
    import typer

__all__ = ["ACTIONS", "Action", "Danger", "confirm"]


class Danger(IntEnum):
    """How much a mistake costs."""

    NONE = 0
    """Undone by its opposite."""
    SOME = 1
    """Changes jobs; no data is lost."""
    DESTRUCTIVE = 2
    """Cannot be undone: asked about at a terminal."""


@dataclass(frozen=True, slots=True)
class Action:
    """One change: ``verb`` on a button, ``question`` before it happens, with {target}."""

    id: str
    verb: str
    question: str
    danger: Danger


_ALL: Final = (
    Action("job.enqueue", "Enqueue", "Enqueue a job of kind {target}?", Danger.NONE),
    Action("job.retry", "Retry", "Run job {target} again?", Danger.SOME),
    Action("job.cancel", "Cancel", "Cancel job {target}?", Danger.SOME),
    Action("job.retry-failed", "Retry failed", "Run failed jobs of {target} again?", Danger.SOME),
    Action(
        "job.discard",
        "Discard",
        "Delete all failed jobs of kind {target} for good?",
        Danger.DESTRUCTIVE,
    ),
    Action("queue.pause", "Pause", "Stop starting jobs of queue {target}?", Danger.NONE),
    Action("queue.resume", "Resume", "Start jobs of queue {target} again?", Danger.NONE),
    Action(
        "queue.drain",
        "Drain",
        "Cancel every job that waits in queue {target}?",
        Danger.DESTRUCTIVE,
    ),
    Action(
        "storage.prepare", "Prepare", "Note {target} as the storage engine to move to?", Danger.SOME
    ),
    Action("storage.abort", "Abort", "Forget the prepared storage engine?", Danger.SOME),
)
ACTIONS: Final = {action.id: action for action in _ALL}


def confirm(ctx: typer.Context, action_id: str, target: str) -> None:
    """Ask before a destructive change at a terminal.  Raises typer.Abort on no.

    Without a terminal nothing is asked, so that scripts written for the published command work.
    """
    action = ACTIONS[action_id]
    asked = action.danger >= Danger.DESTRUCTIVE and sys.stdin.isatty()
    if not asked or common(ctx).yes:
        return
    import typer

    typer.confirm(action.question.format(target=target), abort=True, err=True)
