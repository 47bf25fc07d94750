"""What a monitoring system asks, from the database alone, whoever works the queues."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from awa_lib._sql import sql

if TYPE_CHECKING:
    from awa_lib._sql import Op

__all__ = [
    "BOUNDS", "DatabaseHealth", "Durations", "EndRate", "RecentEnds", "TableHealth",
    "database_health", "recent_ends", "table_health",
]  # fmt: skip

BOUNDS: Final = (
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0,
)  # fmt: skip
"""Upper ends of the buckets of durations, in seconds; the last bucket has none."""
# A quarter of a second on a slow disk; at more than that in five minutes rates are of less time.
_MOST: Final = 10_000


@dataclass(frozen=True, slots=True)
class EndRate:
    """How many jobs a second came to an end of this kind."""

    queue: str
    kind: str
    state: str
    per_second: float


@dataclass(slots=True)
class Durations:
    """How many jobs took how long: ``counts`` has one entry a bucket, ``total`` is in seconds."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    total: float = 0.0


@dataclass(frozen=True, slots=True)
class RecentEnds:
    """What ended lately; ``waited`` and ``ran`` are of completed jobs, by queue."""

    rates: list[EndRate]
    waited: dict[str, Durations]
    ran: dict[str, Durations]


@dataclass(frozen=True, slots=True)
class DatabaseHealth:
    """The server as far as a queue depends on it."""

    size_bytes: int
    connections: int
    max_connections: int
    standby: bool
    oldest_transaction_seconds: float


@dataclass(frozen=True, slots=True)
class TableHealth:
    """One table that grows; ``vacuumed_at`` in epoch seconds, None for never."""

    name: str
    live_rows: int
    dead_rows: int
    size_bytes: int
    vacuumed_at: float | None


def recent_ends(seconds: float = 300.0) -> Op[RecentEnds]:
    """Return what ended in so many seconds until now; of a busy time, less of it."""
    found = RecentEnds([], {}, {})
    durations = {"waited": found.waited, "ran": found.ran}
    rows = yield sql.read_metrics("recent_ends", seconds=seconds, limit=_MOST, bounds=list(BOUNDS))
    for what, queue, kind, state, bucket, jobs, amount in rows:
        if what == "ended":
            found.rates.append(EndRate(queue, kind, state, jobs / amount))
        else:
            one = durations[what].setdefault(queue, Durations())
            one.counts[bucket] += jobs
            one.total += amount
    return found


def database_health() -> Op[DatabaseHealth]:
    """Return the state of the server."""
    rows = yield sql.read_metrics("database_health")
    return rows.into(DatabaseHealth)[0]


def table_health() -> Op[list[TableHealth]]:
    """Return the tables that grow, by name."""
    rows = yield sql.read_metrics("table_health")
    return rows.into(TableHealth)
