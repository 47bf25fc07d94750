"""Read what goes wrong now: kinds whose attempts fail, and the pace of each queue.

Both come from the counts of ends, which workers of awa 0.5 do not write.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from awa_lib._sql import sql

if TYPE_CHECKING:
    from datetime import datetime

    from awa_lib._sql import Op

__all__ = ["Badges", "FailingKind", "Incidents", "badges", "incidents"]

# Long enough for a kind that runs once a minute to show ten failures.
_FAILING_SECONDS: Final = 1_800.0
# Fewer failures are what retries are for.
_FAILING_ATTEMPTS: Final = 10
# A minute in which a smaller share failed is a good one, after which a kind does not fail.
_FAILING_SHARE: Final = 0.8
# The beginning of an incident is looked for so far back: it bounds the read.
_BACK_SECONDS: Final = 6 * 3_600.0
# Minutes that show the pace of a queue: one alone may hold a pause of a worker.
_PACE_MINUTES: Final = 5


@dataclass(frozen=True, slots=True)
class FailingKind:
    """A kind whose attempts have nearly all failed ``since`` a minute of the last six hours.

    ``attempts`` and ``failed`` are those since then, ``failure``, ``error_type`` and ``message``
    those of its most frequent failure, None when that is not known.  Muted failures do not count.
    """

    kind: str
    queues: list[str]
    attempts: int
    failed: int
    since: datetime
    failure: str | None
    error_type: str | None
    message: str | None


@dataclass(frozen=True, slots=True)
class Incidents:
    """What goes wrong now.

    ``failing`` has the kind with most failures first, at most 20.  ``ends`` maps a queue to the
    attempts that ended in it, by minutes ago.
    """

    failing: list[FailingKind] = field(default_factory=list)
    ends: dict[str, dict[int, int]] = field(default_factory=dict)

    def pace(self, queue: str, seconds: float) -> float | None:
        """Return how many attempts ended per second, None when none was counted.

        Measured in the whole minutes of the last ``seconds``, five at most.
        """
        minutes = min(_PACE_MINUTES, int(seconds // 60))
        counts = self.ends.get(queue, {})
        ended = sum(counts.get(ago, 0) for ago in range(1, minutes + 1))
        return ended / (60 * minutes) if ended else None


@dataclass(frozen=True, slots=True)
class Badges:
    """Numbers for a navigation: failures of the last hour, and dead letters, at most 10,000."""

    failures: int = 0
    dead_letters: int = 0


def badges() -> Op[Badges]:
    """Return the numbers for a navigation; muted failures do not count."""
    return (yield sql.read_failures("badges")).into(Badges)[0]


def incidents(attempts: int = _FAILING_ATTEMPTS) -> Op[Incidents]:
    """Return what goes wrong now; a kind with fewer than ``attempts`` failures is left out.

    Reads counts alone: the cost does not grow with the jobs.
    """
    failing = yield sql.read_failures(
        "failing_kinds",
        seconds=_FAILING_SECONDS,
        attempts=attempts,
        share=_FAILING_SHARE,
        back=_BACK_SECONDS,
    )
    ends: dict[str, dict[int, int]] = {}
    for queue, ago, count in (yield sql.read_failures("ends_by_minute", minutes=_PACE_MINUTES)):
        ends.setdefault(queue, {})[ago] = count
    return Incidents(failing.into(FailingKind), ends)
