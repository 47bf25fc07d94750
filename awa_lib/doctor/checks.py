"""Every check, and how they are made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from awa_lib._sql import BEGIN, ROLLBACK, sql
from awa_lib.doctor import fleet, jobs, rights, schedules, schema, server, tables
from awa_lib.doctor.collect import LOOKS, Circumstances
from awa_lib.doctor.finding import Finding, Severity
from awa_lib.errors import (
    AwaError,
    DatabaseError,
    SchemaMismatch,
    SchemaNotMigrated,
    Unavailable,
    ValidationError,
)
from awa_lib.validation import did_you_mean, items_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from awa_lib._sql import Op
    from awa_lib.doctor.limits import Limits

__all__ = ["CHECKS", "Check", "choose", "examine"]


@dataclass(frozen=True, slots=True)
class Check:
    """A question, the looks that its answer is made from, and what to say when all is well."""

    name: str
    area: str
    fine: str
    judge: Callable[..., Iterator[Finding]]
    needs: tuple[str, ...]


# Area by area, in the order of the page.
_ALL: Final = (
    Check("migrations", "Schema", "all migrations are applied", schema.migrations, ("schema",)),
    Check(
        "drift", "Schema", "tables, indexes, functions and triggers are as our files make them",
        schema.drift, ("catalog", "schema"),
    ),
    Check("storage", "Schema", "jobs go where workers look", schema.storage, ("storage",)),
    Check("stuck", "Jobs", "every running job has a worker", jobs.stuck_jobs, ("stuck", "fleet")),
    Check("orphans", "Jobs", "every running job can be rescued", jobs.orphans, ("stuck",)),
    Check(
        "callbacks", "Jobs", "no wait for a callback is overdue",
        jobs.callbacks, ("stuck", "fleet"),
    ),
    Check("promotion", "Jobs", "what is due is available", jobs.promotion, ("stuck", "fleet")),
    Check(
        "queues", "Jobs", "every queue with jobs has a worker", jobs.queues, ("waiting", "fleet")
    ),
    Check(
        "kinds", "Jobs", "a worker knows every kind that waits", jobs.kinds, ("waiting", "fleet")
    ),
    Check("failing", "Jobs", "no kind fails nearly always", jobs.failing, ("failing",)),
    Check("batches", "Jobs", "no bulk operation hangs", jobs.batches, ("batches",)),
    Check(
        "schedules", "Jobs", "every schedule fires",
        schedules.schedules, ("schedules", "fleet", "limits"),
    ),
    Check("ids", "Jobs", "there are ids for jobs", server.ids, ("ids", "limits")),
    Check(
        "leader", "Fleet", "one worker leads, or none is there", fleet.leader, ("fleet", "limits")
    ),
    Check("workers", "Fleet", "all workers are healthy", fleet.workers, ("fleet",)),
    Check("versions", "Fleet", "all workers run one release", fleet.versions, ("fleet",)),
    Check(
        "descriptors", "Fleet", "workers agree about what they declare",
        fleet.descriptors, ("fleet",),
    ),
    Check("clock", "Fleet", "the clocks agree", server.clock, ("clock", "limits")),
    Check("autovacuum", "Tables", "autovacuum is on", tables.autovacuum, ("server", "tables")),
    Check("dead-rows", "Tables", "vacuum keeps up", tables.dead_rows, ("tables", "limits")),
    Check(
        "horizon", "Tables", "nothing keeps dead rows from being removed",
        tables.horizon, ("pins", "server", "limits"),
    ),
    Check(
        "bloat", "Tables", "tables and indexes are as large as they need to be",
        tables.bloat, ("tables", "index_sizes", "limits"),
    ),
    Check(
        "statistics", "Tables", "the planner knows the tables",
        tables.statistics, ("tables", "server", "limits"),
    ),
    Check(
        "replica-identity", "Tables", "publications can tell all rows apart",
        schedules.replica_identity, ("nameless",),
    ),
    Check(
        "durability", "Server", "what is committed survives a crash",
        server.durability, ("server", "tables"),
    ),
    Check(
        "encoding", "Server", "the database can hold every text", server.encoding, ("schema",)
    ),
    Check(
        "wraparound", "Server", "there are transaction ids",
        server.wraparound, ("server", "tables", "limits"),
    ),
    Check(
        "connections", "Server", "connection slots are free",
        server.connections, ("server", "limits"),
    ),
    Check("pooler", "Server", "no pooler changes the connection", server.pooler, ("backends",)),
    Check(
        "superuser", "Rights", "no worker is a superuser or the owner",
        rights.superuser, ("rights",),
    ),
    Check("public", "Rights", "PUBLIC may do nothing", rights.public, ("rights",)),
    Check("rights", "Rights", "roles have what they need", rights.fitting, ("rights",)),
)  # fmt: skip

CHECKS: Final = {check.name: check for check in _ALL}
_ORDER: Final = list(Severity)
_GIVEN_UP: Final = {
    "55P03": "a table is locked: a migration runs, or somebody holds it",
    "57014": "the server is busy, or the table is large and an index is missing",
}
# A pooler that hands out connections by the transaction keeps one for the length of each.
_OUTSIDE: Final = {"backends"}


def examine(
    chosen: Iterable[Check], given: Circumstances, *, everything: bool
) -> Op[list[Finding]]:
    """Look and judge; see ``awa_lib.doctor.doctor``."""
    chosen = list(chosen)
    seen: dict[str, Any] = {"limits": given.limits}
    findings: list[Finding] = []
    for name in dict.fromkeys(["schema", *(need for check in chosen for need in check.needs)]):
        if name not in seen:
            seen[name] = yield from _look(name, given)
    for check in chosen:
        found = list(_judge(check, [seen[need] for need in check.needs]))
        if everything and not found:
            found = [Finding(check.name, Severity.ok, check.fine)]
        findings += found
    return sorted(findings, key=lambda one: _ORDER.index(one.severity))


def choose(names: Iterable[str] | None) -> list[Check]:
    """Return the checks of these names, or all.  Raises ValidationError."""
    if names is None:
        return list(CHECKS.values())
    wanted = list(items_of("checks", names))
    for name in wanted:
        if not isinstance(name, str) or name not in CHECKS:
            raise ValidationError(
                f"unknown check: {name}",
                why="checks are " + ", ".join(CHECKS),
                hint=did_you_mean(name, CHECKS),
            )
    return [check for check in CHECKS.values() if check.name in wanted]


def _look(name: str, given: Circumstances) -> Op[Any]:
    """Return what a look shows, or the error that kept it from looking."""
    try:
        look = LOOKS[name](given)
        seen = yield from (look if name in _OUTSIDE else _briefly(look, given.limits))
    except Unavailable:
        raise
    except AwaError as error:
        # A table that is missing is one look's trouble; a schema that is not ours is everybody's.
        if name == "schema" and isinstance(error, SchemaMismatch):
            raise
        return error
    if name == "schema" and not seen.canonical:
        raise SchemaNotMigrated(
            "the awa schema is missing or not up to date in this database",
            why="no migration was applied",
            hint="apply the migrations: awa migrate",
        )
    return seen


def _briefly(look: Op[Any], limits: Limits) -> Op[Any]:
    """Look in a transaction or a savepoint with a time-out, and leave nothing of it."""
    yield BEGIN
    try:
        ms = int(limits.look_seconds * 1000)
        yield sql.doctor("be_brief", look_ms=str(ms), lock_ms=str(ms // 5))
        seen = yield from look
    except AwaError:
        yield ROLLBACK
        raise
    yield ROLLBACK
    return seen


def _judge(check: Check, seen: list[Any]) -> Iterator[Finding]:
    for one in seen:
        if isinstance(one, AwaError):
            why = one.why
            if isinstance(one, DatabaseError):
                why = _GIVEN_UP.get(one.sqlstate or "", why)
            do = one.hint or f"awa doctor --check {check.name}"
            yield Finding(check.name, Severity.warning, f"could not look: {one}", why, do)
            return
    yield from check.judge(*seen)
