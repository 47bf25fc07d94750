"""The list of checks, and how they are run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from awa_lib._sql import BEGIN, ROLLBACK, sql
from awa_lib.doctor import fleet, jobs, rights, schedules, schema, server, tables
from awa_lib.doctor.collect import COLLECTORS, Circumstances
from awa_lib.doctor.finding import Finding, Severity
from awa_lib.doctor.slots import slots
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
    """One check.  ``judge`` gets the facts named in ``needs`` and yields findings.

    ``fine`` says what is in order when it yields none.
    """

    name: str
    area: str
    fine: str
    judge: Callable[..., Iterator[Finding]]
    needs: tuple[str, ...]


# Area by area, in the order of the page.
_ALL: Final = (
    Check("migrations", "Schema", "all migrations are applied", schema.migrations, ("schema",)),
    Check(
        "drift",
        "Schema",
        "the schema is as the migrations create it",
        schema.drift,
        ("catalog", "schema"),
    ),
    Check(
        "dequeue-index",
        "Schema",
        "the dequeue index is there where it is needed",
        schema.dequeue_index,
        ("dequeue_index", "limits"),
    ),
    Check("extensions", "Schema", "no extension owns the schema", schema.extensions, ("owned",)),
    Check(
        "storage",
        "Schema",
        "jobs are stored where workers claim them",
        schema.storage,
        ("storage",),
    ),
    Check("stuck", "Jobs", "every running job has a worker", jobs.stuck_jobs, ("stuck", "fleet")),
    Check("orphans", "Jobs", "every running job can be rescued", jobs.orphans, ("stuck",)),
    Check(
        "callbacks",
        "Jobs",
        "no callback is overdue",
        jobs.callbacks,
        ("stuck", "fleet"),
    ),
    Check("promotion", "Jobs", "all due jobs are available", jobs.promotion, ("stuck", "fleet")),
    Check(
        "queues", "Jobs", "every queue with jobs has a worker", jobs.queues, ("waiting", "fleet")
    ),
    Check(
        "kinds",
        "Jobs",
        "a worker has a handler for every waiting kind",
        jobs.kinds,
        ("waiting", "fleet"),
    ),
    Check("slots", "Jobs", "every queue with jobs has a free slot", slots, ("waiting", "fleet")),
    Check(
        "failing",
        "Jobs",
        "no kind fails in nearly all attempts",
        jobs.failing,
        ("failing", "incidents"),
    ),
    Check(
        "batches", "Jobs", "no bulk operation is stuck", jobs.bulk_operations, ("bulk_operations",)
    ),
    Check(
        "workflows",
        "Jobs",
        "no workflow waits for a retry or a signal for long",
        jobs.workflows,
        ("waiting_workflows",),
    ),
    Check(
        "schedules",
        "Jobs",
        "every schedule fires",
        schedules.schedules,
        ("schedules", "fleet", "limits"),
    ),
    Check("ids", "Jobs", "ids are available", server.ids, ("ids", "limits")),
    Check(
        "subscriptions",
        "Jobs",
        "no subscription writes jobs",
        server.subscriptions,
        ("subscriptions",),
    ),
    Check(
        "leader",
        "Fleet",
        "one worker is the leader, or no worker runs",
        fleet.leader,
        ("fleet", "limits"),
    ),
    Check("workers", "Fleet", "all workers are healthy", fleet.workers, ("fleet",)),
    Check("versions", "Fleet", "all workers run one release", fleet.versions, ("fleet",)),
    Check(
        "descriptors",
        "Fleet",
        "all workers declare the same descriptors",
        fleet.descriptors,
        ("fleet",),
    ),
    Check("clock", "Fleet", "the clocks agree", server.clock, ("clock", "limits")),
    Check("autovacuum", "Tables", "autovacuum is on", tables.autovacuum, ("server", "tables")),
    Check("dead-rows", "Tables", "vacuum keeps up", tables.dead_rows, ("tables", "limits")),
    Check(
        "horizon",
        "Tables",
        "nothing prevents the removal of dead rows",
        tables.horizon,
        ("pins", "server", "limits"),
    ),
    Check(
        "bloat",
        "Tables",
        "no table or index is bloated",
        tables.bloat,
        ("tables", "index_sizes", "limits"),
    ),
    Check(
        "statistics",
        "Tables",
        "the planner has statistics of the tables",
        tables.statistics,
        ("tables", "server", "limits"),
    ),
    Check(
        "replica-identity",
        "Tables",
        "every table has a replica identity",
        schedules.replica_identity,
        ("without_identity",),
    ),
    Check(
        "durability",
        "Server",
        "committed data survives a crash",
        server.durability,
        ("server", "tables"),
    ),
    Check(
        "encoding", "Server", "the encoding of the database is UTF8", server.encoding, ("schema",)
    ),
    Check(
        "wraparound",
        "Server",
        "transaction id wraparound is far away",
        server.wraparound,
        ("server", "tables", "limits"),
    ),
    Check(
        "connections",
        "Server",
        "connection slots are free",
        server.connections,
        ("server", "limits"),
    ),
    Check(
        "pooler",
        "Server",
        "the connection uses no transaction pooler",
        server.pooler,
        ("backends",),
    ),
    Check("standby", "Server", "the server is the primary", server.standby, ("server",)),
    Check(
        "superuser",
        "Rights",
        "no worker runs as a superuser or the owner",
        rights.superuser,
        ("rights",),
    ),
    Check("public", "Rights", "PUBLIC has no rights", rights.public, ("rights",)),
    Check("rights", "Rights", "roles have the rights that they need", rights.fitting, ("rights",)),
)

CHECKS: Final = {check.name: check for check in _ALL}
_ORDER: Final = list(Severity)
_TIMED_OUT: Final = {
    "55P03": "a table is locked by a migration or another session",
    "57014": "the server is busy, or an index of a large table is missing",
}
# Read outside a transaction: a transaction pooler keeps one server connection inside it.
_OUTSIDE: Final = {"backends"}


def examine(
    chosen: Iterable[Check], given: Circumstances, *, everything: bool
) -> Op[list[Finding]]:
    """Collect the facts and judge them; see ``awa_lib.doctor.doctor``."""
    chosen = list(chosen)
    facts: dict[str, Any] = {"limits": given.limits}
    findings: list[Finding] = []
    for name in dict.fromkeys(["schema", *(need for check in chosen for need in check.needs)]):
        if name not in facts:
            facts[name] = yield from _collect(name, given)
    for check in chosen:
        found = list(_judge(check, [facts[need] for need in check.needs]))
        if everything and not found:
            found = [Finding(check.name, Severity.ok, check.fine)]
        findings += found
    return sorted(findings, key=lambda finding: _ORDER.index(finding.severity))


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


def _collect(name: str, given: Circumstances) -> Op[Any]:
    """Return a fact, or the error that kept it from being read."""
    try:
        collector = COLLECTORS[name](given)
        fact = yield from (collector if name in _OUTSIDE else _briefly(collector, given.limits))
    except Unavailable:
        raise
    except AwaError as error:
        # A missing table concerns one fact; a schema that is not awa's concerns them all.
        if name == "schema" and isinstance(error, SchemaMismatch):
            raise
        return error
    if name == "schema" and not fact.canonical:
        raise SchemaNotMigrated(
            "the awa schema is missing or not up to date in this database",
            why="no migration was applied",
            hint="apply the migrations: awa migrate",
        )
    return fact


def _briefly(collector: Op[Any], limits: Limits) -> Op[Any]:
    """Read with timeouts, in a transaction or a savepoint that is rolled back."""
    yield BEGIN
    try:
        ms = int(limits.look_seconds * 1000)
        yield sql.doctor("set_timeouts", statement_ms=str(ms), lock_ms=str(ms // 5))
        fact = yield from collector
    except AwaError:
        yield ROLLBACK
        raise
    yield ROLLBACK
    return fact


def _judge(check: Check, facts: list[Any]) -> Iterator[Finding]:
    for error in facts:
        if isinstance(error, AwaError):
            why = error.why
            if isinstance(error, DatabaseError):
                why = _TIMED_OUT.get(error.sqlstate or "", why)
            do = error.hint or f"awa doctor --check {check.name}"
            yield Finding(check.name, Severity.warning, f"not checked: {error}", why, do)
            return
    yield from check.judge(*facts)
