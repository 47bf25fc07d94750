"""Read where the storage transition stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from awa_lib._json import as_members, dumps, loads
from awa_lib._sql import sql
from awa_lib.errors import SchemaNotMigrated

if TYPE_CHECKING:
    from datetime import datetime

    from awa_lib._sql import Op

__all__ = ["StorageReport", "storage_report"]


@dataclass(frozen=True, slots=True)
class StorageReport:
    """Where the transition stands and what blocks its next steps, in the published order."""

    current_engine: str
    active_engine: str
    prepared_engine: str | None
    state: str
    transition_epoch: int
    details: dict[str, Any]
    entered_at: datetime
    updated_at: datetime
    finalized_at: datetime | None
    canonical_live_backlog: int
    prepared_queue_storage_schema: str | None
    prepared_schema_ready: bool
    live_runtime_capability_counts: dict[str, int]
    can_enter_mixed_transition: bool
    enter_mixed_transition_blockers: list[str]
    can_finalize: bool
    finalize_blockers: list[str]


def storage_report() -> Op[StorageReport]:
    """Return the report.  The blockers are the sentences of awa 0.5."""
    rows = yield sql.read_storage("storage_report")
    if not rows:
        raise SchemaNotMigrated(
            "the record of the storage transition is missing",
            why="awa.storage_transition_state has no row",
            hint="repair it: awa migrate",
        )
    return rows.into(_report)[0]


def _report(*, details: str, live_runtime_capability_counts: str, **columns: Any) -> StorageReport:
    counts: dict[str, int] = loads(live_runtime_capability_counts)
    enter = _enter_blockers(columns, counts)
    finalize = _finalize_blockers(columns, counts)
    return StorageReport(
        details=as_members(details),
        live_runtime_capability_counts=dict(sorted(counts.items())),
        can_enter_mixed_transition=not enter,
        enter_mixed_transition_blockers=enter,
        can_finalize=not finalize,
        finalize_blockers=finalize,
        **columns,
    )


def _enter_blockers(columns: dict[str, Any], counts: dict[str, int]) -> list[str]:
    blockers = _common_blockers(columns, "prepared")
    schema = columns["prepared_queue_storage_schema"]
    if schema is not None and not columns["prepared_schema_ready"]:
        blockers.append("prepared queue-storage schema is missing required tables")
    if old := counts.get("canonical", 0):
        blockers.append(f"{old} canonical-only runtime(s) are still live")
    if not counts.get("queue_storage", 0):
        blockers.append("no live queue-storage-capable runtimes are reporting")
    return blockers


def _finalize_blockers(columns: dict[str, Any], counts: dict[str, int]) -> list[str]:
    blockers = _common_blockers(columns, "mixed_transition")
    if backlog := columns["canonical_live_backlog"]:
        blockers.append(f"canonical live backlog is {backlog}")
    if old := counts.get("canonical", 0) + counts.get("canonical_drain_only", 0):
        blockers.append(f"{old} canonical or drain-only runtime(s) are still live")
    return blockers


def _common_blockers(columns: dict[str, Any], expected: str) -> list[str]:
    blockers = []
    if columns["state"] != expected:
        blockers.append(f"state is '{columns['state']}' (expected '{expected}')")
    if (engine := columns["prepared_engine"]) != "queue_storage":
        # The sentence of awa 0.5 writes the engine as Rust's Option; scripts compare it.
        shown = "None" if engine is None else f"Some({dumps(engine)})"
        blockers.append(f'prepared_engine is {shown} (expected Some("queue_storage"))')
    return blockers
