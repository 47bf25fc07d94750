"""The whole at a glance: counts, names, what this server allows, storage, the audit log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from awa_cli.main import version
from awa_cli.web.access import Identity
from awa_cli.web.api._fields import (
    ActionId,
    BeforeId,
    Limit,
    Name,
    Object,
    Text,
    When,
    change,
)
from awa_cli.web.api.jobs import read_query
from awa_cli.web.endpoints import Routes
from awa_cli.web.json_schema import Rule
from awa_cli.web.settings import Settings
from awa_lib._sql import Op
from awa_lib.ops import storage
from awa_lib.reads.audit import AuditEntry, audit_entries
from awa_lib.reads.health import is_read_only
from awa_lib.reads.names import kind_names, queue_names
from awa_lib.reads.series import CreatedJobs, created_series
from awa_lib.reads.statistics import state_counts
from awa_lib.reads.storage import StorageReport, storage_report
from awa_lib.states import STATES

__all__ = ["routes"]

routes = Routes("overview")

_SLOWEST_POLL_MS = 5_000

Minutes = Annotated[int, Rule(minimum=1, maximum=10_080, description="From how long ago.")]


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What this server allows, and the caller.

    ``poll_interval_ms`` is how often it makes sense to ask again.  ``scope`` is read or operate.
    """

    read_only: bool
    poll_interval_ms: int
    user: str
    scope: str
    version: str


@routes.get("/capabilities")
def capabilities(who: Identity, settings: Settings) -> Op[Capabilities]:
    """What may be done here, and by whom."""
    read_only = yield from is_read_only()
    interval = max(_SLOWEST_POLL_MS, round(settings.cache_seconds * 1000))
    return Capabilities(settings.read_only or read_only, interval, who.name, who.scope, version())


@routes.get("/stats", cached=True)
def stats() -> Op[dict[str, int]]:
    """The number of jobs by state; completed ones as the leader counted them last."""
    counts = yield from state_counts()
    return {state: counts.get(state, 0) for state in STATES}


@routes.get("/stats/timeseries", cached=True)
def timeseries(*, minutes: Minutes = 60) -> Op[list[CreatedJobs]]:
    """Jobs created in each minute, by the state they are in now; empty minutes are left out."""
    return created_series(minutes)


@routes.get("/stats/kinds", cached=True)
def kinds() -> Op[list[str]]:
    """The names of kinds, sorted."""
    return kind_names()


@routes.get("/stats/queues", cached=True)
def queues() -> Op[list[str]]:
    """The names of queues, sorted."""
    return queue_names()


@routes.get("/storage", cached=True)
def report() -> Op[StorageReport]:
    """Where the storage transition stands and what blocks its next steps."""
    return storage_report()


@routes.post("/storage/prepare")
def prepare(who: Identity, *, engine: Name, details: Object | None = None) -> Op[StorageReport]:
    """Note another storage engine as the one to move to; jobs go on as before."""
    yield from change(who, "storage.prepare", engine, storage.prepare(engine, details))
    return (yield from storage_report())


@routes.post("/storage/abort")
def abort(who: Identity) -> Op[StorageReport]:
    """Forget the prepared storage engine."""
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
    """Who changed what, newest first; ``action`` is one, or a noun for all of its actions."""
    read: Any = read_query(since=since, until=until)
    return audit_entries(
        before_id=before_id, actor=actor, action=action, target=target, limit=limit,
        since=read["since"], until=read["until"],
    )  # fmt: skip
