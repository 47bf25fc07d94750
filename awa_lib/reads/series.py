"""Read the number of jobs over time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from awa_lib._sql import sql
from awa_lib.validation import number_of

if TYPE_CHECKING:
    from datetime import datetime

    from awa_lib._sql import Op

__all__ = ["CreatedJobs", "created_series"]

_WEEK: Final = 7 * 24 * 60


@dataclass(frozen=True, slots=True)
class CreatedJobs:
    """Jobs that were created in the minute from ``bucket`` on and are in ``state`` now."""

    bucket: datetime
    state: str
    count: int


def created_series(minutes: int = 60) -> Op[list[CreatedJobs]]:
    """Return the jobs created in the last ``minutes``, oldest first; empty minutes are left out.

    Raises ValidationError.
    """
    number_of("minutes", minutes, 1, _WEEK)
    rows = yield sql.read_series("created_series", minutes=minutes)
    return rows.into(CreatedJobs)
