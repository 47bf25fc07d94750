"""How the facts are read: each look is one op, and one look may serve many checks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from awa_lib._sql import compute, sql
from awa_lib.cron import CronExpression, ahead, begin
from awa_lib.doctor.catalog import Catalog, read_catalog
from awa_lib.doctor.facts import (
    Batch,
    Clock,
    Declared,
    Failing,
    Fleet,
    Held,
    Holder,
    Ids,
    IndexSize,
    Nameless,
    Pin,
    Role,
    RoleRights,
    Scheduled,
    Server,
    Storage,
    Stuck,
    Table,
    Waiting,
)
from awa_lib.errors import AwaError
from awa_lib.ops.schema import SchemaStatus, read_schema
from awa_lib.reads.cron import list_cron_jobs
from awa_lib.reads.runtime import live_instances
from awa_lib.schema.roles import RIGHTS

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from awa_lib._sql import Op, Rows
    from awa_lib.doctor.limits import Limits
    from awa_lib.reads.cron import CronJob

__all__ = ["LOOKS", "Circumstances"]

_SAMPLES: Final = 5


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What a look needs to know beside the database."""

    limits: Limits
    clock: Callable[[], float]
    """Seconds since 1970 on this machine."""
    beside: Callable[[], AbstractContextManager[object]]
    """Opens a second connection and keeps it in a transaction: only beside one does a pooler that
    hands out its server connections by the transaction show itself."""


def schema(_: Circumstances) -> Op[SchemaStatus]:
    """Read which migrations were applied."""
    return read_schema()


def catalog(_: Circumstances) -> Op[Catalog]:
    """Read what the schema is made of."""
    return read_catalog()


def server(_: Circumstances) -> Op[Server]:
    """Read the server's settings."""
    return (yield sql.doctor("server")).into(Server)[0]


def tables(_: Circumstances) -> Op[list[Table]]:
    """Read how well the tables are kept."""
    return (yield sql.doctor("tables")).into(Table)


def index_sizes(_: Circumstances) -> Op[list[IndexSize]]:
    """Read what indexes take."""
    return (yield sql.doctor("index_sizes")).into(IndexSize)


def pins(given: Circumstances) -> Op[list[Pin]]:
    """Read what keeps dead rows from being removed."""
    limits = given.limits
    rows = yield sql.doctor("pins", seconds=limits.transaction_seconds, xids=limits.pinned_xids)
    return rows.into(Pin)


def stuck(given: Circumstances) -> Op[dict[str, Stuck]]:
    """Read which jobs are stuck, by how."""
    rows = yield sql.doctor(
        "stuck",
        rescue_seconds=given.limits.rescue_seconds,
        promote_seconds=given.limits.promote_seconds,
    )
    return {what: Stuck(jobs, ids) for what, jobs, ids in rows}


def waiting(given: Circumstances) -> Op[list[Waiting]]:
    """Read which queues and kinds have jobs that nobody claims."""
    return (yield sql.doctor("waiting", seconds=given.limits.waiting_seconds)).into(Waiting)


def failing(given: Circumstances) -> Op[list[Failing]]:
    """Read which kinds fail."""
    limits = given.limits
    rows = yield sql.doctor(
        "failing",
        seconds=limits.failing_seconds,
        least=limits.failing_attempts,
        share=limits.failing_share,
    )
    return rows.into(Failing)


def fleet(_: Circumstances) -> Op[Fleet]:
    """Read who works."""
    live = yield from live_instances()
    lock = (yield sql.doctor("leader_lock")).into(Holder)
    queues = yield sql.read_descriptors("queue_declarations")
    kinds = yield sql.read_descriptors("kind_declarations")
    return Fleet(live, lock, _declared(queues), _declared(kinds))


def _declared(rows: Rows) -> list[Declared]:
    named = [dict(zip(rows.columns, row, strict=True)) for row in rows]
    return [
        Declared(row["name"], row["descriptor_mismatch"]) for row in named if row["live_instances"]
    ]


def clock(given: Circumstances) -> Op[Clock]:
    """Compare clocks: the quickest of some answers tells the most."""
    best: tuple[float, float] | None = None
    for _ in range(_SAMPLES):
        before = given.clock()
        now = (yield sql.doctor("clock")).scalar()
        after = given.clock()
        sample = ((after - before) / 2, (before + after) / 2 - now)
        best = min(best or sample, sample)
    assert best is not None
    ahead = yield sql.doctor("clocks", seconds=given.limits.skew_seconds)
    return Clock(best[1], best[0], [(worker, seconds) for worker, seconds in ahead])


def ids(_: Circumstances) -> Op[Ids]:
    """Read how many ids are left."""
    return (yield sql.doctor("ids")).into(Ids)[0]


def batches(given: Circumstances) -> Op[list[Batch]]:
    """Read which bulk operations hang."""
    limits = given.limits
    rows = yield sql.doctor(
        "batches", pending_seconds=limits.pending_seconds, running_seconds=limits.running_seconds
    )
    return rows.into(Batch)


def schedules(_: Circumstances) -> Op[list[Scheduled]]:
    """Read how the schedules stand."""
    found = yield from list_cron_jobs()
    now = datetime.fromtimestamp((yield sql.doctor("clock")).scalar(), UTC)
    return [_scheduled(one, now) for one in found]


def _scheduled(one: CronJob, now: datetime) -> Scheduled:
    late = 0.0
    if one.problem is None and one.paused_at is None:
        due = CronExpression.cached(one.cron_expr, one.timezone).next_after(begin(one))
        late = 0.0 if due is None else (now - due).total_seconds()
    later = ahead(one, now) if one.problem is not None and one.next_fire_at is not None else None
    wrong = one.problem if later is None else None
    return Scheduled(one.name, one.paused_at is not None, wrong, later, late)


def nameless(_: Circumstances) -> Op[list[Nameless]]:
    """Read which tables a publication cannot follow."""
    return (yield sql.doctor("nameless")).into(Nameless)


def storage(_: Circumstances) -> Op[list[Storage]]:
    """Read the record of a move to another storage engine; no row is a finding."""
    return (yield sql.doctor("storage")).into(Storage)


def rights(_: Circumstances) -> Op[RoleRights]:
    """Read what the roles that matter may do."""
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
    return RoleRights(roles, missing.into(Held), held.into(Held))


def backends(given: Circumstances) -> Op[set[int]]:
    """Read which processes of the server answer one connection; more than one behind a pooler."""
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
        raise AwaError(f"no second connection: {failed}", why=failed.why, hint=failed.hint)
    try:
        found.add((yield sql.doctor("backend")).scalar())
    finally:
        yield compute(lambda: second.__exit__(None, None, None))
    return found


LOOKS: Final[dict[str, Callable[[Circumstances], Op[Any]]]] = {
    look.__name__: look
    for look in (
        schema, catalog, server, tables, index_sizes, pins, stuck, waiting, failing, fleet,
        clock, ids, batches, schedules, nameless, storage, rights, backends,
    )
}  # fmt: skip
