"""Collect the facts: one op per fact; several checks may need the same fact."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from awa_lib._sql import compute, sql
from awa_lib.cron import CronExpression, ahead, begin
from awa_lib.doctor.catalog import Catalog, read_catalog
from awa_lib.doctor.facts import (
    Clock,
    Declared,
    DequeueIndex,
    Failing,
    Fleet,
    Holder,
    Ids,
    IndexSize,
    OpenBulkOperation,
    Owned,
    Pin,
    Role,
    RoleRight,
    RoleRights,
    Scheduled,
    Server,
    Storage,
    Stuck,
    Subscription,
    Table,
    Waiting,
    WaitingWorkflow,
    WithoutIdentity,
)
from awa_lib.errors import AwaError
from awa_lib.ops.schema import SchemaStatus, read_schema
from awa_lib.reads.cron import list_cron_jobs
from awa_lib.reads.health import server_time
from awa_lib.reads.incidents import Incidents
from awa_lib.reads.incidents import incidents as read_incidents
from awa_lib.reads.published import published_workers
from awa_lib.reads.runtime import runtime_instances
from awa_lib.schema.roles import RIGHTS

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from awa_lib._sql import Op, Rows
    from awa_lib.doctor.limits import Limits
    from awa_lib.reads.cron import CronJob

__all__ = ["COLLECTORS", "Circumstances"]

_SAMPLES: Final = 5


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What a collector needs to know besides the database."""

    limits: Limits
    clock: Callable[[], float]
    """Seconds since 1970 on this machine."""
    beside: Callable[[], AbstractContextManager[object]]
    """Opens a second connection and keeps it in a transaction: without it, a transaction pooler
    gives this session the same server connection each time and goes unnoticed."""


def schema(_: Circumstances) -> Op[SchemaStatus]:
    """Read which migrations are applied."""
    return read_schema()


def catalog(_: Circumstances) -> Op[Catalog]:
    """Read the objects of the schema."""
    return read_catalog()


def dequeue_index(_: Circumstances) -> Op[DequeueIndex]:
    """Read whether the dequeue index is there, and who needs it."""
    ((there, inserted),) = yield sql.doctor("dequeue_index")
    return DequeueIndex(there, inserted, (yield from published_workers()))


def server(_: Circumstances) -> Op[Server]:
    """Read the server's settings."""
    return (yield sql.doctor("server")).into(Server)[0]


def tables(_: Circumstances) -> Op[list[Table]]:
    """Read sizes, dead rows and vacuum settings of the tables."""
    return (yield sql.doctor("tables")).into(Table)


def index_sizes(_: Circumstances) -> Op[list[IndexSize]]:
    """Read the sizes of the indexes."""
    return (yield sql.doctor("index_sizes")).into(IndexSize)


def pins(given: Circumstances) -> Op[list[Pin]]:
    """Read what prevents the removal of dead rows."""
    limits = given.limits
    rows = yield sql.doctor("pins", seconds=limits.transaction_seconds, xids=limits.pinned_xids)
    return rows.into(Pin)


def stuck(given: Circumstances) -> Op[dict[str, Stuck]]:
    """Read which jobs are stuck, by what is wrong with them."""
    rows = yield sql.doctor(
        "stuck",
        rescue_seconds=given.limits.rescue_seconds,
        promote_seconds=given.limits.promote_seconds,
    )
    return {what: Stuck(jobs, ids) for what, jobs, ids in rows}


def waiting(given: Circumstances) -> Op[list[Waiting]]:
    """Read which queues and kinds have jobs that are not claimed."""
    return (yield sql.doctor("waiting", seconds=given.limits.waiting_seconds)).into(Waiting)


def failing(given: Circumstances) -> Op[list[Failing]]:
    """Read which kinds fail in most attempts."""
    limits = given.limits
    rows = yield sql.doctor(
        "failing",
        seconds=limits.failing_seconds,
        attempts=limits.failing_attempts,
        share=limits.failing_share,
    )
    return rows.into(Failing)


def incidents(given: Circumstances) -> Op[Incidents]:
    """Read which kinds fail now, as workers count the ends of attempts."""
    return read_incidents(given.limits.failing_attempts)


def fleet(_: Circumstances) -> Op[Fleet]:
    """Read the workers, the leader lock and the descriptors."""
    now = yield from server_time()
    found = yield from runtime_instances()
    live = [worker for worker in found if not worker.stale]
    silent = [worker for worker in found if worker.is_news(now)]
    lock = (yield sql.doctor("leader_lock")).into(Holder)
    queues = yield sql.read_descriptors("queue_declarations")
    kinds = yield sql.read_descriptors("kind_declarations")
    return Fleet(now, live, silent, lock, _declared(queues), _declared(kinds))


def _declared(rows: Rows) -> list[Declared]:
    named = [dict(zip(rows.columns, row, strict=True)) for row in rows]
    return [
        Declared(row["name"], row["descriptor_mismatch"]) for row in named if row["live_instances"]
    ]


def clock(given: Circumstances) -> Op[Clock]:
    """Compare clocks; of several samples the quickest answer is the most exact."""
    best: tuple[float, float] | None = None
    for _ in range(_SAMPLES):
        before = given.clock()
        now = (yield sql.doctor("clock")).scalar()
        after = given.clock()
        sample = ((after - before) / 2, (before + after) / 2 - now)
        best = min(best or sample, sample)
    assert best is not None
    fast = yield sql.doctor("clocks", seconds=given.limits.skew_seconds)
    return Clock(best[1], best[0], [(worker, seconds) for worker, seconds in fast])


def ids(_: Circumstances) -> Op[list[Ids]]:
    """Read which ids the sequences give out, and which are in use."""
    return (yield sql.doctor("ids")).into(Ids)


def subscriptions(_: Circumstances) -> Op[list[Subscription]]:
    """Read which subscriptions write jobs here."""
    return (yield sql.doctor("subscriptions")).into(Subscription)


def owned(_: Circumstances) -> Op[list[Owned]]:
    """Read what belongs to an extension."""
    return (yield sql.doctor("owned_by_extensions")).into(Owned)


def waiting_workflows(given: Circumstances) -> Op[list[WaitingWorkflow]]:
    """Read which workflows wait without a task that runs."""
    rows = yield sql.doctor("waiting_workflows", seconds=given.limits.workflow_seconds)
    return rows.into(WaitingWorkflow)


def bulk_operations(given: Circumstances) -> Op[list[OpenBulkOperation]]:
    """Read which bulk operations are stuck or failed."""
    limits = given.limits
    rows = yield sql.doctor(
        "bulk_operations",
        pending_seconds=limits.pending_seconds,
        running_seconds=limits.running_seconds,
    )
    return rows.into(OpenBulkOperation)


def schedules(_: Circumstances) -> Op[list[Scheduled]]:
    """Read which schedules are faulty or late."""
    found = yield from list_cron_jobs()
    now = datetime.fromtimestamp((yield sql.doctor("clock")).scalar(), UTC)
    return [_scheduled(schedule, now) for schedule in found]


def _scheduled(row: CronJob, now: datetime) -> Scheduled:
    late = 0.0
    if row.problem is None and row.paused_at is None:
        due = CronExpression.cached(row.cron_expr, row.timezone).next_after(begin(row))
        late = 0.0 if due is None else (now - due).total_seconds()
    later = ahead(row, now) if row.problem is not None and row.next_fire_at is not None else None
    wrong = row.problem if later is None else None
    return Scheduled(row.name, row.paused_at is not None, wrong, later, late)


def without_identity(_: Circumstances) -> Op[list[WithoutIdentity]]:
    """Read which tables have no replica identity."""
    return (yield sql.doctor("without_identity")).into(WithoutIdentity)


def storage(_: Circumstances) -> Op[list[Storage]]:
    """Read the record of the storage transition; a missing row is a finding."""
    return (yield sql.doctor("storage")).into(Storage)


def rights(_: Circumstances) -> Op[RoleRights]:
    """Read the rights of the roles that use the schema."""
    roles = (yield sql.roles("standing", workers="awa worker%")).into(Role)
    asked = [
        (role.role, right) for role in roles for right in RIGHTS if right.purpose == role.purpose
    ]
    missing = yield sql.roles(
        "missing",
        roles=[name for name, _ in asked],
        kinds=[right.kind for _, right in asked],
        objects=[right.object for _, right in asked],
        privileges=[right.privilege for _, right in asked],
        columns=[right.column for _, right in asked],
    )
    held = yield sql.roles("held", roles=[role.role for role in roles])
    return RoleRights(roles, missing.into(RoleRight), held.into(RoleRight))


def backends(given: Circumstances) -> Op[set[int]]:
    """Read the server processes behind this connection; several mean a transaction pooler."""
    found = set()
    for _ in range(_SAMPLES):
        found.add((yield sql.doctor("backend")).scalar())
    second = given.beside()

    def open_second() -> AwaError | None:
        try:
            second.__enter__()
        except AwaError as error:
            return error
        return None

    failed = (yield compute(open_second)).scalar()
    if failed is not None:
        raise AwaError(
            f"cannot open a second connection: {failed}", why=failed.why, hint=failed.hint
        )
    try:
        found.add((yield sql.doctor("backend")).scalar())
    finally:
        yield compute(lambda: second.__exit__(None, None, None))
    return found


COLLECTORS: Final[dict[str, Callable[[Circumstances], Op[Any]]]] = {
    collector.__name__: collector
    for collector in (
        schema,
        catalog,
        dequeue_index,
        server,
        tables,
        index_sizes,
        pins,
        stuck,
        waiting,
        failing,
        incidents,
        fleet,
        clock,
        ids,
        subscriptions,
        owned,
        bulk_operations,
        waiting_workflows,
        schedules,
        without_identity,
        storage,
        rights,
        backends,
    )
}
