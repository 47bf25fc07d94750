"""Queues as rows of a table: what is wrong, slots, and the ends of the last hour."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from awa_cli.views.queues import queue_rows
from awa_cli.web.pages._list_query import address
from awa_cli.web.pages._sparks import Bars, Spark, spark
from awa_cli.web.pages.render import at
from awa_lib.reads.ends import QueueEnds, ends_by_queue

if TYPE_CHECKING:
    from collections.abc import Sequence

    from awa_cli.views.alerts import Alert
    from awa_cli.views.queues import QueueRow
    from awa_lib._sql import Op
    from awa_lib.reads.queues import QueueStat
    from awa_lib.reads.runtime import RuntimeInstance

__all__ = ["HourOfQueues", "QueueLine", "hour_of_queues", "queue_lines"]

_HOUR: Final = timedelta(hours=1)
_NONE: Final = QueueEnds({}, {})
# Heading, its key, and the states that it counts.
_COUNTS: Final = (
    ("available", ("available",)),
    ("running", ("running",)),
    ("failed", ("failed",)),
    ("later", ("scheduled", "retryable")),
    ("waiting", ("waiting_external",)),
)


@dataclass(frozen=True, slots=True)
class HourOfQueues:
    """The ends of each queue in the last hour."""

    bars: Bars
    ends: dict[str, QueueEnds]


@dataclass(frozen=True, slots=True)
class QueueLine:
    """A queue: ``counts`` are (number, address of these jobs) by column."""

    row: QueueRow
    to: str
    counts: dict[str, tuple[int, str]]
    completed: int
    spark: Spark | None


def hour_of_queues() -> Op[HourOfQueues]:
    """Read the ends of the last hour."""
    bars = Bars.over(_HOUR)
    ends = yield from ends_by_queue(bars.since, seconds=bars.seconds)
    return HourOfQueues(bars, ends)


def queue_lines(
    queues: Sequence[QueueStat],
    fleet: Sequence[RuntimeInstance],
    alerts: Sequence[Alert],
    hour: HourOfQueues,
) -> list[QueueLine]:
    """Return the queues: with the worst trouble, with most failed jobs, then the busiest."""
    rows = queue_rows(queues, fleet, alerts)
    # Sorting is stable: within each of the two the order stays.
    rows.sort(key=lambda row: (row.alert is None, _failed(row) if row.alert is None else 0))
    return [_line(row, hour) for row in rows]


def _failed(row: QueueRow) -> int:
    return -(row.stat.failed + row.stat.dead_letters)


def _line(row: QueueRow, hour: HourOfQueues) -> QueueLine:
    stat: Any = row.stat
    counts = {
        name: (
            sum(getattr(stat, state) for state in states),
            address({"state": states, "queue": row.queue}),
        )
        for name, states in _COUNTS
    }
    counts["dead"] = (stat.dead_letters, address({"queue": row.queue}, "/dlq"))
    ends = hour.ends.get(row.queue, _NONE)
    return QueueLine(
        row,
        at("queues", row.queue),
        counts,
        # Rows show what awa 0.5 completed, counts what was deleted since.
        max(stat.completed_last_hour, sum(ends.completed.values())),
        spark(hour.bars, ends.failed, ends.completed),
    )
