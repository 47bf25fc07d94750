"""The loaded part of a list of millions of jobs.

Rows are sorted by id, newest first; more are read when the view nears an end of the loaded rows,
and rows at the far end are dropped.  Nothing here does I/O: the methods return ops.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from awa_lib.reads.jobs import JobRow, job_rows, job_rows_after

if TYPE_CHECKING:
    from awa_lib._sql import Op
    from awa_lib.filters import JobQuery

__all__ = ["MAX_ROWS", "READ_ROWS", "JobWindow"]

READ_ROWS: Final = 150
"""Rows of one read."""
MAX_ROWS: Final = 600
"""Rows that are kept."""


class JobWindow:
    """Loaded rows without a gap.  While it ``follows``, the first row is the newest job.

    Once the user moves the cursor it stops following: newer rows are not shown, so that no row
    moves away under the cursor.  Rows on the screen are still kept up to date.
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

    def refresh(self, first: int, count: int) -> Op[None]:
        """Read the rows on the screen again: ``count`` rows from ``first``, or the newest."""
        if self.follows or not self.rows:
            found = yield from job_rows(limit=max(count, READ_ROWS), **self.query)
            self._replace(found, from_top=True, whole=len(found) < max(count, READ_ROWS))
            return
        first = max(0, min(first, len(self.rows) - 1))
        before = self.rows[first].id + 1
        found = yield from job_rows(limit=count, **self._below(before))
        self._replace(found, from_top=False, whole=len(found) < count, before=before)

    def read_older(self) -> Op[None]:
        """Read rows below the last one."""
        if not self.rows or not self.more_below:
            return
        last = self.rows[-1].id
        found = yield from job_rows(limit=READ_ROWS, **self._below(last))
        self.more_below = len(found) == READ_ROWS
        self.rows = [*self.rows, *[row for row in found if row.id < last]][-MAX_ROWS:]

    def read_newer(self) -> Op[None]:
        """Read rows above the first one that were dropped."""
        if self.follows or not self.rows or self._top is None or self.rows[0].id >= self._top:
            return
        first = self.rows[0].id
        found = yield from job_rows_after(first, limit=READ_ROWS, **self.query)
        above = [row for row in found if first < row.id <= self._top]
        if not above:
            self._top = first
            return
        if len(self.rows) + len(above) > MAX_ROWS:
            self.more_below = True
        self.rows = [*above, *self.rows][:MAX_ROWS]

    def _below(self, job_id: int) -> JobQuery:
        query = self.query.copy()
        query["before_id"] = job_id
        return query

    def _replace(
        self, found: list[JobRow], *, from_top: bool, whole: bool, before: int | None = None
    ) -> None:
        """Replace the rows in the range that was read.  ``whole``: the range reaches the end."""
        above = [] if from_top else [row for row in self.rows if row.id >= (before or 0)]
        if whole:
            self.rows, self.more_below = above + found, False
            return
        low = found[-1].id
        below = [row for row in self.rows if row.id < low]
        if from_top and self.rows and low > self.rows[0].id:
            # More jobs arrived than one read returns: those in between are not loaded.
            below = []
        if len(above) + len(found) + len(below) > MAX_ROWS or not below:
            self.more_below = True
        self.rows = [*above, *found, *below][:MAX_ROWS]
