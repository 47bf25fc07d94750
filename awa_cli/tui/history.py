"""Where one has been: back, forward, out, and marks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

__all__ = ["Stop", "Trail"]

_MOST: Final = 100


@dataclass(slots=True, eq=False)
class Stop:
    """A place with what is looked at there: ``subject`` is a job's id, a queue's name, a filter.

    ``memory`` holds what the screen wants to find again: its cursor, its last data.
    """

    place: str
    subject: Any = None
    parent: Stop | None = None
    memory: dict[str, Any] = field(default_factory=dict)

    def line(self) -> list[Stop]:
        """Return the stops that led here by going in, the first first."""
        return [*(self.parent.line() if self.parent else ()), self]


class Trail:
    """The stops in the order they were made, and the one where one is."""

    def __init__(self, first: Stop) -> None:
        self.stops = [first]
        self._at = 0
        self.marks: dict[str, Stop] = {}

    @property
    def here(self) -> Stop:
        """Return where one is."""
        return self.stops[self._at]

    def go(self, stop: Stop) -> Stop:
        """Go to a new stop; what lay ahead is forgotten, and so is the oldest of a hundred."""
        self.stops = [*self.stops[: self._at + 1], stop][-_MOST:]
        self._at = len(self.stops) - 1
        return stop

    def back(self) -> Stop | None:
        """Go to the stop before, if there is one."""
        return self._move(-1)

    def forward(self) -> Stop | None:
        """Go to the stop one went back from, if there is one."""
        return self._move(1)

    def out(self) -> Stop | None:
        """Go to where one went in from, if one did."""
        if (parent := self.here.parent) is None:
            return None
        if self._at and self.stops[self._at - 1] is parent:
            return self._move(-1)
        return self.go(parent)

    def mark(self, letter: str) -> None:
        """Give this stop a letter."""
        self.marks[letter] = self.here

    def jump(self, letter: str) -> Stop | None:
        """Go to a marked stop, if there is one."""
        stop = self.marks.get(letter)
        return None if stop is None or stop is self.here else self.go(stop)

    def _move(self, step: int) -> Stop | None:
        if not 0 <= self._at + step < len(self.stops):
            return None
        self._at += step
        return self.here
