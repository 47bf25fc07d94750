"""Queues and kinds with what is declared about them, and whether their workers agree."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from awa_lib._json import loads
from awa_lib._sql import sql
from awa_lib.reads.queues import QueueStat, queue_stats

if TYPE_CHECKING:
    from datetime import datetime

    from awa_lib._sql import Op, Rows

__all__ = [
    "DeclaredKind",
    "KindOverview",
    "QueueOverview",
    "declared_kinds",
    "list_kinds",
    "list_queues",
]


@dataclass(frozen=True, slots=True)
class _Declared:
    """What the workers declared; all of it is empty where none has."""

    display_name: str | None = None
    description: str | None = None
    owner: str | None = None
    docs_url: str | None = None
    tags: list[str] = dataclasses.field(default_factory=list)
    extra: dict[str, Any] = dataclasses.field(default_factory=dict)
    descriptor_last_seen_at: datetime | None = None
    """When a worker declared it last."""
    descriptor_stale: bool = False
    """Nobody has declared it for three intervals, or 30 s."""
    descriptor_mismatch: bool = False
    """Live workers declare it differently (drift): a deploy is half-way, or forgotten."""
    live_instances: int = 0
    """Live workers that declare it."""


@dataclass(frozen=True, slots=True)
class QueueOverview(_Declared):
    """One queue: its descriptor, and what ``QueueStat`` says."""

    queue: str = ""
    total_queued: int = 0
    scheduled: int = 0
    available: int = 0
    retryable: int = 0
    running: int = 0
    failed: int = 0
    waiting_external: int = 0
    completed_last_hour: int = 0
    lag_seconds: float | None = None
    paused: bool = False


@dataclass(frozen=True, slots=True)
class DeclaredKind(_Declared):
    """One kind that a worker has declared."""

    kind: str = ""


@dataclass(frozen=True, slots=True)
class KindOverview(DeclaredKind):
    """One kind: its descriptor and its jobs.

    ``job_count`` holds jobs of every state and comes from the counters that the leader keeps;
    all others are exact.  ``queue_count`` leaves out queues whose jobs ended over an hour ago.
    """

    job_count: int = 0
    queue_count: int = 0
    scheduled: int = 0
    available: int = 0
    retryable: int = 0
    running: int = 0
    failed: int = 0
    waiting_external: int = 0
    completed_last_hour: int = 0


def list_queues() -> Op[list[QueueOverview]]:
    """Return one row per queue anybody knows of, sorted by name; the counts are exact."""
    stats = yield from queue_stats()
    declared = _by_name((yield sql.read_descriptors("queue_declarations")))
    names = [field.name for field in dataclasses.fields(QueueStat)]
    return [
        QueueOverview(**declared.get(one.queue, {}), **{name: getattr(one, name) for name in names})
        for one in stats
    ]


def list_kinds() -> Op[list[KindOverview]]:
    """Return one row per kind that has jobs, is declared or is worked, sorted by name."""
    rows = yield sql.read_descriptors("kind_counts")
    counts = {row["kind"]: row for row in (dict(zip(rows.columns, r, strict=True)) for r in rows)}
    declared = _by_name((yield sql.read_descriptors("kind_declarations")))
    return [
        KindOverview(**{"kind": name, **declared.get(name, {}), **counts.get(name, {})})
        for name in sorted(counts.keys() | declared.keys())
    ]


def declared_kinds() -> Op[list[DeclaredKind]]:
    """Return the kinds that workers have declared, sorted by name."""
    found = _by_name((yield sql.read_descriptors("kind_declarations")))
    return [DeclaredKind(**found[name], kind=name) for name in sorted(found)]


def _by_name(rows: Rows) -> dict[str, dict[str, Any]]:
    found = {}
    for row in rows:
        columns = dict(zip(rows.columns, row, strict=True))
        columns["extra"] = loads(columns["extra"])
        found[columns.pop("name")] = columns
    return found
