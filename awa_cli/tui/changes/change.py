"""Changes as the monitor makes them: an action of ``actions`` with the op that does it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from awa_cli.views.actions import ACTIONS, operator, recorded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from awa_cli.views.actions import Action
    from awa_lib._sql import Op

__all__ = ["Deed", "drain_queue", "pause_queue", "resume_queue"]


@dataclass(frozen=True, slots=True)
class Deed:
    """One change of one thing, not made yet.  ``undo`` makes the deed that takes it back.

    The op of one that is ``in_parts`` notes each part itself, in the transaction of that part.
    ``detail`` and what ``outcome`` makes of the result are kept with the entry.
    """

    action_id: str
    target: str
    op: Callable[[], Op[Any]]
    undo: Callable[[], Deed] | None = None
    in_parts: bool = False
    outcome: Callable[[Any], dict[str, Any]] | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)

    @property
    def action(self) -> Action:
        """Return its words."""
        return ACTIONS[self.action_id]

    @property
    def question(self) -> str:
        """Return what is asked before."""
        return self.action.question.format(target=self.target)

    @property
    def done(self) -> str:
        """Return what is said after."""
        return self.action.done.format(target=self.target)

    def noted(self) -> Op[Any]:
        """Return the op with its entry in the audit log."""
        if self.in_parts:
            return self.op()
        return recorded(
            self.action_id, self.target, self.op(), via="tui", actor=operator(),
            outcome=self.outcome, **self.detail,
        )  # fmt: skip


def pause_queue(queue: str) -> Deed:
    """Make the deed that pauses a queue."""
    from awa_lib.ops.queues import pause_queue as op

    return Deed(
        "queue.pause", queue, lambda: op(queue, paused_by="tui"), lambda: resume_queue(queue)
    )


def resume_queue(queue: str) -> Deed:
    """Make the deed that lets a queue go on."""
    from awa_lib.ops.queues import resume_queue as op

    return Deed("queue.resume", queue, lambda: op(queue), lambda: pause_queue(queue))


def drain_queue(queue: str) -> Deed:
    """Make the deed that cancels what waits in a queue."""
    from awa_lib.ops.queues import drain_queue as op

    return Deed("queue.drain", queue, lambda: op(queue))
