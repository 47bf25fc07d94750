"""The pages that were visited: back, forward, out, and marks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from awa_cli.tui.navigation import PAGES

__all__ = ["History", "Visit"]

_MAX_VISITS: Final = 100


@dataclass(slots=True, eq=False)
class Visit:
    """One visit of a page.  ``subject`` is a job's id or a queue's name, where a page needs one.

    ``state`` holds what the page restores when it is shown again: its filter, cursor and data.
    """

    page_id: str
    subject: Any = None
    parent: Visit | None = None
    state: dict[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """Return the title of the page with its subject or filter."""
        about = self.subject or self.state.get("filter")
        return f"{PAGES[self.page_id].title} {about or ''}".rstrip()

    def path(self) -> list[Visit]:
        """Return the visits this one was entered through, the oldest first, and itself."""
        return [*(self.parent.path() if self.parent else ()), self]


class History:
    """Visits in order, and the current one."""

    def __init__(self, first: Visit) -> None:
        self.visits = [first]
        self._at = 0
        self.marks: dict[str, Visit] = {}

    @property
    def current(self) -> Visit:
        """Return the current visit."""
        return self.visits[self._at]

    def go(self, visit: Visit) -> Visit:
        """Add a visit after the current one, in place of those that followed it."""
        self.visits = [*self.visits[: self._at + 1], visit][-_MAX_VISITS:]
        self._at = len(self.visits) - 1
        return visit

    def back(self) -> Visit | None:
        """Go to the previous visit, if there is one."""
        return self._move(-1)

    def forward(self) -> Visit | None:
        """Go to the next visit, if there is one."""
        return self._move(1)

    def out(self) -> Visit | None:
        """Go to the visit from which the current one was entered, if it was."""
        if (parent := self.current.parent) is None:
            return None
        if self._at and self.visits[self._at - 1] is parent:
            return self._move(-1)
        return self.go(parent)

    def mark(self, letter: str) -> None:
        """Give the current visit a letter."""
        self.marks[letter] = self.current

    def jump(self, letter: str) -> Visit | None:
        """Go to the visit that has this letter, if it is not the current one."""
        visit = self.marks.get(letter)
        return None if visit is None or visit is self.current else self.go(visit)

    def _move(self, step: int) -> Visit | None:
        if not 0 <= self._at + step < len(self.visits):
            return None
        self._at += step
        return self.current
