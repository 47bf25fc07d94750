"""Where claims begin while dead rows make a look from the start expensive.

While a transaction holds an old snapshot, the entries of claimed rows stay in the index of claims,
and a look from the start walks all of them: after minutes at 3,000 jobs a second that takes more
than the claims.  So a claim may begin at a mark: for a kind and a priority, the row that was
claimed last.

A claimable row behind a mark became claimable, or was unlocked, after the last look from the start
that reached its place: it was committed late, handed back, moved, made more urgent, or locked.  The
next look from the start finds it, a second later as a rule.  A claim from a mark may leave rows
out, and never takes a row that a look from the start would not.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from awa_lib.ops.claims import Begin
from awa_lib.runtime.looks import Looks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Marks"]

# What claiming a row takes, at most.
_SECONDS_PER_ROW: Final = 0.00005
# How fast the shortest time of a claim is forgotten, as the network may have become slower.
_FORGOTTEN_PER_CLAIM: Final = 1.02
_PRIORITIES: Final = range(1, 5)
_START: Final = "-infinity"
# Places in the rows of a claim: awa_lib.models.Job.
_KIND, _PRIORITY, _RUN_AT = 1, 4, -4


class Marks:
    """The marks of a queue, in the memory of one process; others need not agree."""

    def __init__(self, kinds: Sequence[str], clock: Callable[[], float] = time.monotonic) -> None:
        self._kinds = kinds
        self._looks = Looks(clock)
        self._at: dict[tuple[str, int], str] = {}
        self._shortest = 0.0

    @property
    def seconds(self) -> float | None:
        """Return the time until a look from the start is due; None while each claim is one."""
        return self._looks.seconds

    def begins(self) -> list[Begin] | None:
        """Return where the next claim begins, in the order of claims; None for the start."""
        if self._looks.due:
            return None
        return [
            Begin(kind, priority, self._at.get((kind, priority), _START))
            for priority in _PRIORITIES
            for kind in self._kinds
        ]

    def forget(self) -> None:
        """Look from the start next: after an error nobody knows what became claimable."""
        self._at.clear()
        self._looks.forget()

    def claimed(
        self, rows: Sequence[tuple[Any, ...]], *, wanted: int, seconds: float, marked: bool
    ) -> None:
        """Note the rows of a claim, in the order of claims, and how long it took."""
        least = self._shortest * _FORGOTTEN_PER_CLAIM if self._shortest else seconds
        self._shortest = min(seconds, least)
        if not marked:
            look = seconds - self._shortest - len(rows) * _SECONDS_PER_ROW
            if not self._looks.took(look):
                self._at.clear()
                return
            if rows and (len(rows) >= wanted or len(self._kinds) > 1):
                # It has not reached every place: behind an older mark there may be rows.
                self._at.clear()
        for row in rows:
            at = row[_RUN_AT]
            # The margin before the earliest time of PostgreSQL is out of its range.
            self._at[row[_KIND], row[_PRIORITY]] = _START if at.endswith("BC") else at
