"""Statistics, names, capabilities, storage and the audit log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from awa_cli.access import Identity
from awa_cli.filters.query import Read, pairs
from awa_cli.filters.spelling import QUERY_STRING
from awa_cli.version import version
from awa_cli.web.api.fields import (
    ActionId,
    BeforeId,
    Limit,
    Name,
    Object,
    Text,
    When,
    change,
)
from awa_cli.web.endpoints import Routes
from awa_cli.web.json_schema import Rule
from awa_cli.web.settings import Settings
from awa_lib._sql import Op
from awa_lib.ops import storage
from awa_lib.reads.audit import AuditEntry, audit_entries
from awa_lib.reads.health import may_change
from awa_lib.reads.names import kind_names, queue_names
from awa_lib.reads.series import CreatedJobs, created_series
from awa_lib.reads.statistics import state_counts
from awa_lib.reads.storage import StorageReport, storage_report
from awa_lib.states import STATES

__all__ = ["routes"]

routes = Routes("overview")

_MIN_POLL_MS = 5_000

Minutes = Annotated[int, Rule(minimum=1, maximum=10_080, description="The last minutes.")]


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What this server allows the caller to do.

    ``poll_interval_ms`` is the shortest useful interval between requests.  ``scope`` is read or
    operate.
    """

    read_only: bool
    poll_interval_ms: int
    user: str
    scope: str
    version: str


@routes.get("/capabilities")
def capabilities(who: Identity, settings: Settings) -> Op[Capabilities]:
    """Show what this server allows the caller to do."""
    read_only = (yield from may_change()).read_only
    interval = max(_MIN_POLL_MS, round(settings.cache_seconds * 1000))
    return Capabilities(settings.read_only or read_only, interval, who.name, who.scope, version())


@routes.get("/stats", cached=True)
def stats() -> Op[dict[str, int]]:
    """Count the jobs by state; completed jobs as of the leader's last count."""
    counts = yield from state_counts()
    return {state: counts.get(state, 0) for state in STATES}


@routes.get("/stats/timeseries", cached=True)
def timeseries(*, minutes: Minutes = 60) -> Op[list[CreatedJobs]]:
    """Count the jobs created in each minute by their present state; empty minutes are left out."""
    return created_series(minutes)


@routes.get("/stats/kinds", cached=True)
def kinds() -> Op[list[str]]:
    """List the names of the kinds."""
    return kind_names()


@routes.get("/stats/queues", cached=True)
def queues() -> Op[list[str]]:
    """List the names of the queues."""
    return queue_names()


@routes.get("/storage", cached=True)
def report() -> Op[StorageReport]:
    """Report the state of the storage transition, and what blocks its next steps."""
    return storage_report()


@routes.post("/storage/prepare")
def prepare(who: Identity, *, engine: Name, details: Object | None = None) -> Op[StorageReport]:
    """Record the storage engine to move to; no job moves yet."""
    yield from change(who, "storage.prepare", engine, storage.prepare(engine, details))
    return (yield from storage_report())


@routes.post("/storage/abort")
def abort(who: Identity) -> Op[StorageReport]:
    """Abort the preparation of a storage engine."""
    yield from change(who, "storage.abort", "storage", storage.abort())
    return (yield from storage_report())


@routes.get("/audit")
def audit(
    *,
    actor: Text | None = None,
    action: ActionId | None = None,
    target: Text | None = None,
    since: When | None = None,
    until: When | None = None,
    before_id: BeforeId = None,
    limit: Limit = 50,
) -> Op[list[AuditEntry]]:
    """List the audit log, newest first; ``action`` is an action, or a noun for all its actions."""
    span = QUERY_STRING.read(pairs(since=since, until=until), Read.AUDIT)
    return audit_entries(
        before_id=before_id,
        actor=actor,
        action=action,
        target=target,
        limit=limit,
        since=span.get("since"),
        until=span.get("until"),
    )
