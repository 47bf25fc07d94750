"""Read what a monitoring system scrapes, from the database alone, without a worker's help."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from awa_lib._sql import sql
from awa_lib.reads.workflow_tasks import TASK_STATES

if TYPE_CHECKING:
    from awa_lib._sql import Op

__all__ = [
    "BOUNDS",
    "DatabaseHealth",
    "Durations",
    "EndRate",
    "RecentEnds",
    "TableHealth",
    "WorkflowCounts",
    "database_health",
    "recent_ends",
    "table_health",
    "workflow_counts",
]

BOUNDS: Final = (
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
    300.0,
    1800.0,
)
"""Upper bounds of the duration buckets, in seconds; the last bucket has none."""
# 10,000 rows take a quarter of a second on a slow disk.  With more ends in the interval, rates are
# taken over the part of it that these rows cover.
_ENDS_LIMIT: Final = 10_000
_WORKFLOWS_LIMIT: Final = 10_000
_WORKFLOW_ENDS: Final = ("succeeded", "failed", "cancelled")


@dataclass(frozen=True, slots=True)
class EndRate:
    """Jobs of a queue and kind that ended in a state, or were ``retried``, per second."""

    queue: str
    kind: str
    state: str
    per_second: float


@dataclass(slots=True)
class Durations:
    """A histogram of durations: ``counts`` has one entry per bucket, ``total`` is in seconds."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    total: float = 0.0


@dataclass(frozen=True, slots=True)
class RecentEnds:
    """Jobs that ended recently; ``waited`` and ``ran`` cover completed jobs, by queue.

    ``retried`` are attempts that failed and are tried again, which only workers count.
    """

    rates: list[EndRate]
    waited: dict[str, Durations]
    ran: dict[str, Durations]
    retried: list[EndRate] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class DatabaseHealth:
    """The state of the server that a queue depends on."""

    size_bytes: int
    connections: int
    max_connections: int
    standby: bool
    oldest_transaction_seconds: float


@dataclass(frozen=True, slots=True)
class TableHealth:
    """A table of jobs; ``vacuumed_at`` is in epoch seconds, None for never."""

    name: str
    live_rows: int
    dead_rows: int
    size_bytes: int
    vacuumed_at: float | None


@dataclass(slots=True)
class WorkflowCounts:
    """Open workflows, and those that ended recently: all states are there, also with 0."""

    open: int = 0
    """At most 10,000 are counted, the newest."""
    tasks: dict[str, int] = field(default_factory=lambda: dict.fromkeys(TASK_STATES, 0))
    """Tasks of these open workflows, by state."""
    ended: dict[str, float] = field(default_factory=lambda: dict.fromkeys(_WORKFLOW_ENDS, 0.0))
    """Workflows that ended in a state, per second."""
    skipped_per_second: float = 0.0
    """Skipped tasks of the workflows that ended."""


def recent_ends(seconds: float = 300.0) -> Op[RecentEnds]:
    """Return what ended in the last ``seconds``, or in a shorter time when many jobs ended.

    A rate is the larger of two: that of rows, and that of the counts of workers, which also know
    of jobs that were retried or deleted since, but not of those that awa 0.5 ended.
    """
    found = RecentEnds([], {}, {})
    rates: dict[tuple[str, str, str], float] = {}
    durations = {"waited": found.waited, "ran": found.ran}
    rows = yield sql.read_metrics(
        "recent_ends", seconds=seconds, limit=_ENDS_LIMIT, bounds=list(BOUNDS)
    )
    for what, queue, kind, state, bucket, jobs, amount in rows:
        if what == "ended":
            rates[queue, kind, state] = jobs / amount
        else:
            histogram = durations[what].setdefault(queue, Durations())
            histogram.counts[bucket] += jobs
            histogram.total += amount
    counted = yield sql.read_ends("recent", seconds=seconds, minutes=1)
    for queue, kind, outcome, ends, covered in counted:
        if outcome == "retried":
            found.retried.append(EndRate(queue, kind, outcome, ends / covered))
            continue
        key = (queue, kind, outcome)
        rates[key] = max(rates.get(key, 0.0), ends / covered)
    found.rates.extend(EndRate(*key, rate) for key, rate in sorted(rates.items()))
    return found


def workflow_counts(seconds: float = 300.0) -> Op[WorkflowCounts]:
    """Return the open workflows, and the ends of the last ``seconds``, or of less with many ends.

    Takes no lock; costs at most two reads of 10,000 rows by an index.
    """
    found = WorkflowCounts()
    rows = yield sql.read_metrics("workflow_counts", seconds=seconds, limit=_WORKFLOWS_LIMIT)
    for state, workflows, *tasks, covered in rows:
        if state == "open":
            found.open = int(workflows)
            found.tasks = dict(zip(TASK_STATES, map(int, tasks), strict=True))
        else:
            found.ended[state] = workflows / covered
            found.skipped_per_second += int(tasks[-1]) / covered
    return found


def database_health() -> Op[DatabaseHealth]:
    """Return the state of the server."""
    rows = yield sql.read_metrics("database_health")
    return rows.into(DatabaseHealth)[0]


def table_health() -> Op[list[TableHealth]]:
    """Return the tables of jobs, sorted by name."""
    rows = yield sql.read_metrics("table_health")
    return rows.into(TableHealth)
