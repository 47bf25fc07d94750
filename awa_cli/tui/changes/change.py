"""A change as the monitor makes it: an action of ``views.actions`` with the op that does it."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Any

from awa_cli.views.actions import ACTIONS, operator, recorded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from awa_cli.views.actions import Action
    from awa_lib._sql import Op

__all__ = ["Change"]


@dataclass(frozen=True, slots=True)
class Change:
    """One change, not made yet.  ``undo`` returns the change that reverses it.

    The op of a change that is ``in_parts`` writes an audit entry for each part, in the transaction
    of that part.  ``detail`` and what ``outcome`` returns for the result go into the audit entry.
    """

    action_id: str
    target: str
    op: Callable[[], Op[Any]]
    _: KW_ONLY
    undo: Callable[[], Change] | None = None
    in_parts: bool = False
    outcome: Callable[[Any], dict[str, Any]] | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)

    @property
    def action(self) -> Action:
        """Return the action."""
        return ACTIONS[self.action_id]

    @property
    def question(self) -> str:
        """Return the question of the confirmation."""
        return self.action.question.format(target=self.target)

    @property
    def done(self) -> str:
        """Return the notification after the change."""
        return self.action.done.format(target=self.target)

    def recorded(self) -> Op[Any]:
        """Return the op with its entry in the audit log."""
        if self.in_parts:
            return self.op()
        return recorded(
            self.action_id,
            self.target,
            self.op(),
            via="tui",
            actor=operator(),
            outcome=self.outcome,
            **self.detail,
        )
