"""Read queues and kinds with their descriptors, and whether the workers agree on these."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from awa_lib._json import as_members
from awa_lib._sql import sql
from awa_lib.errors import NotFound
from awa_lib.reads.dead_letters import dlq_depth
from awa_lib.reads.policies import get_queue_policy
from awa_lib.reads.queues import QueueStat, queue_stats
from awa_lib.reads.runtime import live_instances
from awa_lib.validation import did_you_mean

if TYPE_CHECKING:
    from datetime import datetime

    from awa_lib._sql import Op, Rows
    from awa_lib.policies import QueuePolicy
    from awa_lib.reads.runtime import RuntimeInstance

__all__ = [
    "DeclaredKind",
    "KindOverview",
    "QueueDetails",
    "QueueOverview",
    "declared_kinds",
    "kind_overview",
    "list_kinds",
    "list_queues",
    "queue_details",
]


@dataclass(frozen=True)
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


@dataclass(frozen=True)
class QueueOverview(_Declared, QueueStat):
    """One queue: what ``QueueStat`` says, and its descriptor."""


@dataclass(frozen=True)
class _Kind:
    kind: str


@dataclass(frozen=True)
class DeclaredKind(_Declared, _Kind):
    """One kind that a worker has declared."""


@dataclass(frozen=True)
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
    dead_letters: int = 0


def list_queues() -> Op[list[QueueOverview]]:
    """Return one row per known queue, sorted by name; the counts are exact."""
    stats = yield from queue_stats()
    declared = _by_name((yield sql.read_descriptors("queue_declarations")))
    names = [field.name for field in dataclasses.fields(QueueStat)]
    return [
        QueueOverview(**declared.get(row.queue, {}), **{name: getattr(row, name) for name in names})
        for row in stats
    ]


@dataclass(frozen=True, slots=True)
class QueueDetails:
    """All that is known of one queue.

    ``workers`` are the live processes that work it, ``dead_letters`` the number of them.
    """

    overview: QueueOverview
    policy: QueuePolicy
    workers: list[RuntimeInstance]
    dead_letters: int


def queue_details(queue: str) -> Op[QueueDetails]:
    """Return all about one queue.  Raises NotFound for an unknown name."""
    found = {row.queue: row for row in (yield from list_queues())}
    if queue not in found:
        raise NotFound(
            f"queue not found: {queue}",
            why="it has no jobs, no settings and no worker",
            hint=did_you_mean(queue, found, "awa queue show ") or "list queues: awa queue list",
        )
    workers = yield from live_instances()
    return QueueDetails(
        found[queue],
        (yield from get_queue_policy(queue)),
        [worker for worker in workers if queue in {row.get("queue") for row in worker.queues}],
        (yield from dlq_depth(queue)),
    )


def kind_overview(kind: str) -> Op[KindOverview]:
    """Return one kind.  Raises NotFound for an unknown name."""
    found = {row.kind: row for row in (yield from list_kinds())}
    if kind not in found:
        raise NotFound(
            f"kind not found: {kind}",
            why="it has no jobs, and no worker declares it",
            hint=did_you_mean(kind, found, "awa kind show ") or "list kinds: awa kind list",
        )
    return found[kind]


def list_kinds() -> Op[list[KindOverview]]:
    """Return one row per kind that has jobs or is declared, sorted by name."""
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
        columns["extra"] = as_members(columns["extra"])
        found[columns.pop("name")] = columns
    return found
