"""Where claims begin while dead rows make a look from the start expensive.

While a transaction holds an old snapshot, the entries of claimed rows stay in the index of claims,
and a look from the start walks all of them: after minutes at 3,000 jobs a second that takes longer
than the claims.  So claims begin at marks: for a kind and a priority, the row that was claimed
last.  Beside them, on another connection, looks from the start find the late jobs
(``awa_lib.runtime.late_jobs``), and the next claims take them by their ids.

A claimable row behind a mark became claimable, or was unlocked, after the last look had begun: it
was committed late, handed back, moved, made more urgent, or locked.  The next look finds it, a
second later as a rule.  A claim from a mark may leave rows out, and never takes a row that a claim
from the start would not.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from awa_lib.ops.late_jobs import Begin
from awa_lib.runtime.looks import Looks

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from awa_lib.ops.late_jobs import Late

__all__ = ["Marks"]

# What claiming a row takes, at most.
_SECONDS_PER_ROW: Final = 0.00005
# How fast the shortest time of a claim is forgotten, as the network may have become slower.
_FORGOTTEN_PER_CLAIM: Final = 1.02
_PRIORITIES: Final = range(1, 5)
_START: Final = "-infinity"
# Places in the rows of a claim: awa_lib.models.Job.
_ID, _KIND, _PRIORITY, _RUN_AT = 0, 1, 4, -4


class Marks:
    """The marks of a queue, in the memory of one process; others need not agree."""

    def __init__(self, kinds: Sequence[str], clock: Callable[[], float] = time.monotonic) -> None:
        self._kinds = kinds
        self._looks = Looks(clock)
        self._at: dict[tuple[str, int], str] = {}
        self._late: dict[int, list[Begin]] = {}
        self._asked = False
        self._found: Sequence[Late] = ()
        self._shortest = 0.0
        self.guarded = False
        """Somebody looks from the start beside the claims; without, each claim is such a look."""

    @property
    def used(self) -> bool:
        """Return True while claims begin at marks."""
        return self._looks.due_at is not None

    @property
    def due_at(self) -> float:
        """Return when the next look beside the claims is due, by the clock."""
        return self._looks.due_at or 0.0

    @property
    def has_late_jobs(self) -> bool:
        """Return True while a look has found what no claim has tried to take."""
        return bool(self._late or self._found)

    def begins(self, wanted: int) -> list[Begin] | None:
        """Return where the next claim begins, in the order of claims; None for the start."""
        if not self.used:
            return None
        # Not earlier: a claim that was under way would move the marks on again.
        if self._found:
            self._learn()
        legs: list[Begin] = []
        for priority in _PRIORITIES:
            # Each is tried once: what is locked is found again by the next look.
            late = self._late.pop(priority, [])
            if late[wanted:]:
                self._late[priority] = late[wanted:]
            legs += [*late[:wanted], *self._begins(priority)]
        return legs

    def _learn(self) -> None:
        found, self._found = self._found, ()
        waiting, self._late = self._late, {}
        for priority in _PRIORITIES:
            late = [
                Begin(one.kind, priority, _START, job_id)
                for one in found
                if one.priority == priority
                for job_id in one.ids
            ]
            if late:
                # First those that were found before and not tried: others may be locked for long.
                known = set(late)
                kept = [one for one in waiting.get(priority, ()) if one in known]
                self._late[priority] = list(dict.fromkeys([*kept, *late]))
        for one in found:
            self._put(one.kind, one.priority, one.begin)

    def _begins(self, priority: int) -> list[Begin]:
        return [
            Begin(kind, priority, self._at.get((kind, priority), _START)) for kind in self._kinds
        ]

    def claimed(
        self,
        rows: Sequence[tuple[Any, ...]],
        *,
        wanted: int,
        seconds: float,
        begins: Sequence[Begin] | None,
    ) -> None:
        """Note the rows of a claim, in the order of claims, and how long it took."""
        least = self._shortest * _FORGOTTEN_PER_CLAIM if self._shortest else seconds
        self._shortest = min(seconds, least)
        if begins is None:
            look = seconds - self._shortest - len(rows) * _SECONDS_PER_ROW
            if not (self.guarded and self._looks.took(look)):
                return
            self._at.clear()
        late = {one.id: one for one in begins or () if one.id is not None}
        for row in rows:
            if not late.pop(row[_ID], None):
                self._put(row[_KIND], row[_PRIORITY], row[_RUN_AT])
        if self.used and late and len(rows) >= wanted:
            self._put_back(late.values(), rows[-1][_PRIORITY])

    def _put_back(self, late: Collection[Begin], last: int) -> None:
        """Try these again: others up to this priority have filled the claim."""
        for priority in range(last, _PRIORITIES.stop):
            mine = [one for one in late if one.priority == priority]
            rest = self._late.get(priority, [])
            # Some of the last priority may be locked: the others come first.
            if both := [*rest, *mine] if priority == last else [*mine, *rest]:
                self._late[priority] = both

    def _put(self, kind: str, priority: int, at: str) -> None:
        # The margin before the earliest time of PostgreSQL is out of its range.
        self._at[kind, priority] = _START if at.endswith("BC") else at

    def ask(self) -> list[Begin]:
        """Return what the look that begins now is to look behind."""
        self._asked = True
        return [one for priority in _PRIORITIES for one in self._begins(priority)]

    def looked(self, found: Sequence[Late], seconds: float) -> None:
        """Note what that look has found, and how long it took; a cheap one ends the marks."""
        if not self._asked:
            return  # an error came in between
        self._asked = False
        if self._looks.took(seconds - self._shortest):
            self._found = found
        else:
            self.forget()

    def forget(self) -> None:
        """Claim from the start next: after an error nobody knows what became claimable."""
        self._at.clear()
        self._late, self._found, self._asked = {}, (), False
        self._looks.forget()
