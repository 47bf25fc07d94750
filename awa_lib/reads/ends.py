"""Read counts of ends over time for charts, and failures that only rows show."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from awa_lib._sql import sql
from awa_lib.reads.failures import minutes_back_to
from awa_lib.telemetry.failures import normalised

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from awa_lib._sql import Op

__all__ = [
    "QueueEnds",
    "UngroupedFailure",
    "ends_by_failure",
    "ends_by_queue",
    "ungrouped_failures",
]

# Newest rows of each table that are read, so that a flood of failures costs no more.
_DEPTH: Final = 2_000
_MOST_TEXTS: Final = 500


@dataclass(frozen=True, slots=True)
class QueueEnds:
    """Completed jobs and failed attempts of a queue by bucket, whose number is the key."""

    completed: dict[int, int]
    failed: dict[int, int]


@dataclass(frozen=True, slots=True)
class UngroupedFailure:
    """Jobs of a kind that failed with the same text and belong to no failure.

    Workers and programs of awa 0.5 write such.  ``job_id`` is the newest; it is a dead letter if
    ``dead``.
    """

    kind: str
    queues: list[str]
    message: str
    failed: int
    first_seen_at: datetime
    last_seen_at: datetime
    job_id: int
    dead: bool


def ends_by_queue(since: datetime, *, seconds: int) -> Op[dict[str, QueueEnds]]:
    """Return the ends of each queue in buckets of ``seconds``, which is a multiple of 60.

    A bucket's number is its start in epoch seconds, divided by ``seconds``.
    """
    found: dict[str, QueueEnds] = {}
    rows = yield sql.read_ends(
        "ends_by_queue", since=since, seconds=seconds, minutes=minutes_back_to(since)
    )
    for queue, number, completed, failed in rows:
        one = found.setdefault(queue, QueueEnds({}, {}))
        one.completed[number], one.failed[number] = completed, failed
    return found


def ends_by_failure(
    failures: Sequence[str], since: datetime, *, seconds: int
) -> Op[dict[str, dict[int, int]]]:
    """Return the failed attempts of these failures by bucket, as ``ends_by_queue`` numbers them."""
    found: dict[str, dict[int, int]] = {}
    rows = yield sql.read_ends(
        "ends_by_failure",
        failures=list(failures),
        since=since,
        seconds=seconds,
        minutes=minutes_back_to(since),
    )
    for failure, number, failed in rows:
        found.setdefault(failure, {})[number] = failed
    return found


def ungrouped_failures(
    since: datetime, *, queue: str | None = None, kind: str | None = None
) -> Op[list[UngroupedFailure]]:
    """Return the failures that only rows show, the most frequent first.

    They are looked for among the newest 2,000 failed jobs, and as many dead letters.
    """
    rows = yield sql.read_ends(
        "ungrouped", since=since, queue=queue, kind=kind, depth=_DEPTH, limit=_MOST_TEXTS
    )
    found: dict[tuple[str, str], UngroupedFailure] = {}
    for kind_of, queues, text, failed, first, last, job_id, dead in rows:
        message = normalised(text or "")
        now = UngroupedFailure(kind_of, queues, message, failed, first, last, job_id, dead)
        before = found.get((kind_of, message))
        found[kind_of, message] = now if before is None else _joined(before, now)
    return sorted(found.values(), key=lambda one: (-one.failed, one.kind, one.message))


def _joined(one: UngroupedFailure, other: UngroupedFailure) -> UngroupedFailure:
    latest = one if one.last_seen_at >= other.last_seen_at else other
    return replace(
        latest,
        queues=sorted({*one.queues, *other.queues}),
        failed=one.failed + other.failed,
        first_seen_at=min(one.first_seen_at, other.first_seen_at),
    )
