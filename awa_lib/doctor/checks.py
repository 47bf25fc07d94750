"""Every check, and the op that makes them."""

from __future__ import annotations

import time
from contextlib import nullcontext
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final

from awa_lib._sql import BEGIN, ROLLBACK, sql
from awa_lib.doctor import fleet, jobs, rights, schema, server, tables
from awa_lib.doctor.finding import Finding, Severity
from awa_lib.doctor.limits import Limits
from awa_lib.doctor.looks import LOOKS, Circumstances
from awa_lib.errors import (
    AwaError,
    DatabaseError,
    SchemaMismatch,
    SchemaNotMigrated,
    Unavailable,
    ValidationError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager

    from awa_lib._sql import Op

__all__ = ["CHECKS", "Check", "doctor"]


@dataclass(frozen=True, slots=True)
class Check:
    """A question, the looks that its answer is made from, and what to say when all is well."""

    name: str
    area: str
    fine: str
    judge: Callable[..., Iterator[Finding]]
    needs: tuple[str, ...]


def _checks() -> Iterator[Check]:
    area = "Schema"
    yield Check("migrations", area, "all migrations are applied", schema.migrations, ("schema",))
    yield Check(
        "drift", area, "tables, indexes, functions and triggers are as our files make them",
        schema.drift, ("catalog", "schema"),
    )  # fmt: skip
    yield Check("storage", area, "jobs go where workers look", schema.storage, ("storage",))
    area = "Jobs"
    yield Check(
        "stuck", area, "every running job has a worker", jobs.stuck_jobs, ("stuck", "fleet")
    )
    yield Check("orphans", area, "every running job can be rescued", jobs.orphans, ("stuck",))
    yield Check(
        "callbacks", area, "no wait for a callback is overdue", jobs.callbacks, ("stuck", "fleet")
    )
    yield Check("promotion", area, "what is due is available", jobs.promotion, ("stuck", "fleet"))
    yield Check(
        "queues", area, "every queue with jobs has a worker", jobs.queues, ("waiting", "fleet")
    )
    yield Check(
        "kinds", area, "a worker knows every kind that waits", jobs.kinds, ("waiting", "fleet")
    )
    yield Check("batches", area, "no bulk operation hangs", jobs.batches, ("batches",))
    yield Check("ids", area, "there are ids for jobs", server.ids, ("ids", "limits"))
    area = "Fleet"
    yield Check(
        "leader", area, "one worker leads, or none is there", fleet.leader, ("fleet", "limits")
    )
    yield Check("workers", area, "all workers are healthy", fleet.workers, ("fleet",))
    yield Check("versions", area, "all workers run one release", fleet.versions, ("fleet",))
    yield Check(
        "descriptors", area, "workers agree about what they declare", fleet.descriptors, ("fleet",)
    )
    yield Check("clock", area, "the clocks agree", server.clock, ("clock", "limits"))
    area = "Tables"
    yield Check("autovacuum", area, "autovacuum is on", tables.autovacuum, ("server", "tables"))
    yield Check("dead-rows", area, "vacuum keeps up", tables.dead_rows, ("tables", "limits"))
    yield Check(
        "horizon", area, "nothing keeps dead rows from being removed",
        tables.horizon, ("pins", "server", "limits"),
    )  # fmt: skip
    yield Check(
        "bloat", area, "tables and indexes are as large as they need to be",
        tables.bloat, ("tables", "index_sizes", "limits"),
    )  # fmt: skip
    yield Check(
        "statistics", area, "the planner knows the tables",
        tables.statistics, ("tables", "server", "limits"),
    )  # fmt: skip
    area = "Server"
    yield Check(
        "durability", area, "what is committed survives a crash",
        server.durability, ("server", "tables"),
    )  # fmt: skip
    yield Check(
        "wraparound", area, "there are transaction ids",
        server.wraparound, ("server", "tables", "limits"),
    )  # fmt: skip
    yield Check(
        "connections", area, "connection slots are free", server.connections, ("server", "limits")
    )
    yield Check("pooler", area, "no pooler changes the connection", server.pooler, ("backends",))
    area = "Rights"
    yield Check(
        "superuser", area, "no worker is a superuser or the owner", rights.superuser, ("rights",)
    )
    yield Check("public", area, "PUBLIC may do nothing", rights.public, ("rights",))
    yield Check("rights", area, "roles have what they need", rights.fitting, ("rights",))


CHECKS: Final = {check.name: check for check in _checks()}
_ORDER: Final = list(Severity)
_GIVEN_UP: Final = {
    "55P03": "a table is locked: a migration runs, or somebody holds it",
    "57014": "the server is busy, or the table is large and an index is missing",
}
# A pooler that hands out connections by the transaction keeps one for the length of each.
_OUTSIDE: Final = {"backends"}


def doctor(
    checks: Iterable[str] | None = None,
    *,
    everything: bool = False,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    clock: Callable[[], float] = time.time,
    beside: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> Op[list[Finding]]:
    """Look for what goes wrong and return what was found, the worst first.

    ``checks`` chooses some of ``awa_lib.doctor.CHECKS``; ``everything`` adds those that found
    nothing.  A check that cannot look says so in a warning.  Changes nothing, waits for no lock
    for long, works on a standby.  ``beside`` opens a second connection and keeps it in a
    transaction: without it a transaction pooler shows itself only on a busy server.
    Raises ValidationError for an unknown check, SchemaMismatch, Unavailable.
    """
    chosen = _choose(checks)
    given = Circumstances(limits, clock, beside)
    seen: dict[str, Any] = {"limits": limits}
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


def _choose(names: Iterable[str] | None) -> list[Check]:
    if names is None:
        return list(CHECKS.values())
    wanted = set(names)
    for name in sorted(wanted - CHECKS.keys()):
        close = get_close_matches(name, CHECKS, n=1)
        raise ValidationError(
            f"unknown check: {name}",
            why="checks are " + ", ".join(CHECKS),
            hint=f"did you mean: {close[0]}" if close else None,
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
