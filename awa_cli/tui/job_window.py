"""A window on a list of millions: pages come when the view nears its ends, and go at the far one.

Rows are sorted by id, newest first.  Nothing here does I/O: an op reads, ``take`` puts it in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from awa_lib.reads.jobs import JobRow, job_rows, job_rows_after

if TYPE_CHECKING:
    from awa_lib._sql import Op
    from awa_lib.filters import JobQuery

__all__ = ["MOST", "PAGE", "JobWindow"]

PAGE: Final = 150
MOST: Final = 600
"""Rows that are kept."""


class JobWindow:
    """Loaded rows without a gap.  ``follows``: the first row is the newest there is.

    Once a person moves about it does not follow any more: rows that come are not shown, so that
    none is pushed away under the cursor; those on the screen are still kept up to date.
    """

    def __init__(self, query: JobQuery) -> None:
        self.query = query
        self.rows: list[JobRow] = []
        self.follows = True
        self.more_below = True
        self._top: int | None = None

    def hold(self) -> None:
        """Show nothing newer than the first row."""
        if self.follows and self.rows:
            self.follows = False
            self._top = self.rows[0].id

    def look(self, first: int, count: int) -> Op[None]:
        """Read what is on the screen anew: rows from ``first`` on, and the newest if it follows."""
        if self.follows or not self.rows:
            found = yield from job_rows(limit=max(count, PAGE), **self.query)
            self._renew(found, from_top=True, whole=len(found) < max(count, PAGE))
            return
        first = max(0, min(first, len(self.rows) - 1))
        before = self.rows[first].id + 1
        found = yield from job_rows(limit=count, **self._below(before))
        self._renew(found, from_top=False, whole=len(found) < count, before=before)

    def down(self) -> Op[None]:
        """Read the next page below."""
        if not self.rows or not self.more_below:
            return
        last = self.rows[-1].id
        found = yield from job_rows(limit=PAGE, **self._below(last))
        self.more_below = len(found) == PAGE
        self.rows = [*self.rows, *[one for one in found if one.id < last]][-MOST:]

    def up(self) -> Op[None]:
        """Read the page above again, where it was let go."""
        if self.follows or not self.rows or self._top is None or self.rows[0].id >= self._top:
            return
        first = self.rows[0].id
        found = yield from job_rows_after(first, limit=PAGE, **self.query)
        above = [one for one in found if first < one.id <= self._top]
        if not above:
            self._top = first
            return
        if len(self.rows) + len(above) > MOST:
            self.more_below = True
        self.rows = [*above, *self.rows][:MOST]

    def to_end(self) -> Op[None]:
        """Read the oldest page."""
        self.hold()
        self.rows = yield from job_rows_after(0, limit=PAGE, **self.query)
        self.more_below = False

    def to_top(self) -> None:
        """Follow the newest again; the next look reads them."""
        self.follows, self._top = True, None
        self.rows, self.more_below = [], True

    def _below(self, job_id: int) -> JobQuery:
        query = self.query.copy()
        query["before_id"] = job_id
        return query

    def _renew(
        self, found: list[JobRow], *, from_top: bool, whole: bool, before: int | None = None
    ) -> None:
        """Put rows in the place of those they tell about."""
        if whole:
            # Nothing lies below what was found.
            above = [] if from_top else [one for one in self.rows if one.id >= (before or 0)]
            self.rows, self.more_below = above + found, False
            return
        low = found[-1].id
        above = [] if from_top else [one for one in self.rows if one.id >= (before or 0)]
        below = [one for one in self.rows if one.id < low]
        if from_top and self.rows and low > self.rows[0].id:
            # More came at once than was read: what lies between is not known.
            below = []
        if len(above) + len(found) + len(below) > MOST or not below:
            self.more_below = True
        self.rows = [*above, *found, *below][:MOST]
