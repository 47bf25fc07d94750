"""What the leader's look for due jobs finds for its other duties."""

from __future__ import annotations

import math
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from awa_lib.ops.maintenance import Others

__all__ = ["News"]

_SECONDS: Final = 0.9
# After a refusal: somebody may have locked one of the small tables.
_REFUSED_SECONDS: Final = 10.0
# While the promotion is busy, or fails, each duty looks for itself.
_FRESH_SECONDS: Final = 2.0


def _nothing() -> None:
    pass


class News:
    """The last answer; the look asks about once a second."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._at = self._ask_at = -math.inf
        self._last: Others | None = None
        self.on_bulk: Callable[[], None] = _nothing
        """Called when a bulk operation is open and none was before."""
        self.on_schedules: Callable[[], None] = _nothing
        """Called when a schedule was changed."""

    @property
    def wanted(self) -> bool:
        """Return True when the next look must ask."""
        return self._clock() >= self._ask_at

    @property
    def fresh(self) -> Others | None:
        """Return the last answer; None when it is older than two seconds."""
        return self._last if self._clock() - self._at < _FRESH_SECONDS else None

    def now(self, then: Others) -> datetime:
        """Return the time by the database's clock, told by the last answer."""
        return then.now + timedelta(seconds=self._clock() - self._at)

    def refused(self) -> None:
        """Ask no more for ten seconds."""
        self._ask_at = self._clock() + _REFUSED_SECONDS

    def note(self, found: Others) -> None:
        """Keep an answer."""
        before, self._last, self._at = self._last, found, self._clock()
        self._ask_at = self._at + _SECONDS
        if found.bulk and not (before and before.bulk):
            self.on_bulk()
        if before is None or found.schedules != before.schedules:
            self.on_schedules()
