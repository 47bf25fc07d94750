"""Queues with what is wrong with them and what holds their slots, as rows of the monitor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from awa_cli.views.alerts import ALERT_STYLES
from awa_cli.views.columns import Column
from awa_cli.views.words import span
from awa_lib.reads.slots import queue_slots

if TYPE_CHECKING:
    from collections.abc import Sequence

    from awa_cli.views.alerts import Alert
    from awa_lib.reads.queues import QueueStat
    from awa_lib.reads.runtime import RuntimeInstance
    from awa_lib.reads.slots import QueueSlots

__all__ = ["QUEUE_ROWS", "SUMMARY_ROWS", "QueueRow", "queue_rows"]

_WORDS: Final = {
    "failing": "failing",
    "unworked": "no worker",
    "blocked": "blocked",
    "full": "full",
    "growing": "behind",
    "late": "late",
    "paused": "paused",
}


@dataclass(frozen=True, slots=True)
class QueueRow:
    """A queue, its slots, which are None without a worker, and the worst alert about it."""

    stat: QueueStat
    slots: QueueSlots | None = None
    alert: Alert | None = None

    @property
    def queue(self) -> str:
        """Return the name."""
        return self.stat.queue

    @property
    def word(self) -> str:
        """Return what is wrong in a word, empty when nothing is."""
        if self.alert is not None:
            return _WORDS.get(self.alert.rule, "")
        return "paused" if self.stat.paused else ""


def queue_rows(
    queues: Sequence[QueueStat], fleet: Sequence[RuntimeInstance], alerts: Sequence[Alert]
) -> list[QueueRow]:
    """Return the queues, those with the worst trouble first, then the busiest."""
    ranks: dict[str, int] = {}
    for rank, alert in enumerate(alerts):
        for queue in alert.queues:
            ranks.setdefault(queue, rank)
    slots = queue_slots(fleet)
    rows = [
        QueueRow(
            one, slots.get(one.queue), alerts[ranks[one.queue]] if one.queue in ranks else None
        )
        for one in queues
    ]

    def order(row: QueueRow) -> tuple[int, int, int, str]:
        stat, rank = row.stat, ranks.get(row.queue, len(alerts))
        busy = stat.running + stat.available
        return rank, -busy, -stat.completed_last_hour, row.queue

    return sorted(rows, key=order)


def _trouble(row: QueueRow) -> str:
    if row.alert is None:
        return "bright_black" if row.stat.paused else ""
    return ALERT_STYLES[row.alert.severity]


def _slots(row: QueueRow) -> str | None:
    return None if row.slots is None else f"{row.slots.used:,}/{row.slots.slots:,}"


def _slots_style(row: QueueRow) -> str:
    if row.slots is None:
        return "bright_black"
    if row.slots.blocked:
        return "bold red"
    return "yellow" if row.slots.full else ""


QUEUE_ROWS: Final[tuple[Column[QueueRow], ...]] = (
    Column("queue", "QUEUE", lambda row: row.queue, width=8, style=_trouble),
    Column("trouble", "TROUBLE", lambda row: row.word, style=_trouble),
    Column("available", "AVAIL", lambda row: row.stat.available, right=True),
    Column("running", "RUN", lambda row: row.stat.running, right=True),
    Column(
        "slots",
        "SLOTS",
        _slots,
        style=_slots_style,
        right=True,
        by=lambda row: row.slots.used / row.slots.slots if row.slots and row.slots.slots else None,
    ),
    Column(
        "waiting",
        "WAITING",
        lambda row: row.stat.waiting_external,
        style=lambda row: "bold red" if row.slots is not None and row.slots.blocked else "",
        right=True,
    ),
    Column(
        "failed",
        "FAILED",
        lambda row: row.stat.failed,
        style=lambda row: "red" if row.stat.failed else "",
        right=True,
    ),
    Column(
        "later",
        "LATER",
        lambda row: row.stat.scheduled + row.stat.retryable,
        right=True,
        wide=True,
    ),
    Column("completed", "DONE/1H", lambda row: row.stat.completed_last_hour, right=True),
    Column(
        "lag",
        "LAG",
        lambda row: None if row.stat.lag_seconds is None else span(row.stat.lag_seconds),
        right=True,
        by=lambda row: row.stat.lag_seconds or 0.0,
    ),
)

SUMMARY_ROWS: Final = tuple(
    one for one in QUEUE_ROWS if one.key not in {"waiting", "later", "completed"}
)
