"""Check the schema."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from psycopg import sql as names

from awa_lib._sql import sql
from awa_lib.doctor.catalog import definition, reference
from awa_lib.doctor.finding import Finding, Severity, advise, identifier, literal, relation
from awa_lib.schema.scripts import RETIRABLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from awa_lib.doctor.catalog import Catalog, Index
    from awa_lib.doctor.facts import DequeueIndex, Owned, Storage
    from awa_lib.doctor.limits import Limits
    from awa_lib.ops.schema import SchemaStatus

__all__ = ["dequeue_index", "drift", "extensions", "migrations", "storage"]

_JOBS: Final = ("jobs_hot", "scheduled_jobs")
# A comment, so that the remedies of all drift can be piped into psql.
_SEE: Final = "-- see its definition: awa migrate --sql"
_PREPARED_SECONDS: Final = 7 * 86400


def migrations(status: SchemaStatus) -> Iterator[Finding]:
    """Find pending migrations."""
    if status.pending and all(
        item.track == "toolkit" and item.version in status.again for item in status.pending
    ):
        yield Finding(
            "migrations",
            Severity.warning,
            f"{len(status.pending)} toolkit migrations must be applied again",
            "another release of awa has rewritten the schema; workers start and run nevertheless",
            "awa migrate",
        )
    elif status.pending:
        labels = ", ".join(item.label for item in status.pending)
        yield Finding(
            "migrations",
            Severity.error,
            f"migrations are pending: {labels}",
            f"the schema is at version {status.version}, made by {status.made_by}; "
            "workers of this version refuse to start",
            "awa migrate",
        )


def drift(found: Catalog, status: SchemaStatus) -> Iterator[Finding]:
    """Find missing, changed and foreign objects; none while migrations are pending."""
    if status.pending:
        return
    wanted = reference()
    yield from _missing_tables(found, wanted)
    yield from _columns(found, wanted)
    yield from _constraints(found, wanted)
    yield from _functions(found, wanted)
    yield from _triggers(found, wanted)
    yield from _indexes(found, wanted)


def _drift(severity: Severity, what: str, why: str, do: str | None, subject: str) -> Finding:
    return Finding("drift", severity, what, why, do, subject)


def _missing_tables(found: Catalog, wanted: Catalog) -> Iterator[Finding]:
    for table in sorted(wanted.tables - found.tables):
        what = f"the table {table} is missing"
        yield _drift(Severity.error, what, "a migration created it", _SEE, table)
    for table in sorted(found.tables - wanted.tables):
        what = f"the table {table} is not part of awa"
        yield _drift(Severity.note, what, "no migration creates it", None, table)


def _columns(found: Catalog, wanted: Catalog) -> Iterator[Finding]:
    for (table, name), column in wanted.columns.items():
        subject = f"{table}.{name}"
        if table not in found.tables:
            continue
        there = found.columns.get((table, name))
        if there is None:
            what = f"the column {subject} is missing"
            yield _drift(Severity.error, what, "statements use it", _SEE, subject)
        elif there.has_default != column.has_default and column.has_default:
            what = f"the column {subject} has no default"
            why = "inserts leave it out"
            yield _drift(Severity.error, what, why, _default(table, name), subject)
        elif (there.type, there.not_null) != (column.type, column.not_null):
            what = f"the column {subject} is {_typed(there.type, there.not_null)}"
            why = f"the migrations create it as {_typed(column.type, column.not_null)}"
            yield _drift(Severity.error, what, why, _SEE, subject)
    for table, name in sorted(found.columns.keys() - wanted.columns.keys()):
        if table in wanted.tables:
            what = f"the column {table}.{name} is not part of awa"
            why = "a job that moves between the tables loses its value"
            severity = Severity.warning if table in _JOBS else Severity.note
            yield _drift(severity, what, why, None, f"{table}.{name}")


def _typed(kind: str, not_null: bool) -> str:
    return f"{kind} NOT NULL" if not_null else kind


def _default(table: str, name: str) -> str:
    if table not in _JOBS or name != "id":
        return _SEE
    return advise(
        sql.advice("set_default"),
        table=relation(table),
        column=identifier(name),
        sequence=literal("awa.jobs_id_seq"),
    )


def _constraints(found: Catalog, wanted: Catalog) -> Iterator[Finding]:
    for (table, name), constraint in wanted.constraints.items():
        if table not in found.tables:
            continue
        there = found.constraints.get((table, name))
        given = {"table": relation(table), "name": identifier(name)}
        validate = advise(sql.advice("validate_constraint"), **given)
        if there is None:
            what = f"the constraint {name} of {table} is missing"
            why = "rows that workers cannot read may come in"
            assert constraint.definition is not None
            rule = names.SQL(constraint.definition)
            add = advise(sql.advice("add_constraint"), definition=rule, **given)
            yield _drift(Severity.warning, what, why, f"{add}\n{validate}", name)
        elif not there.valid:
            what = f"the constraint {name} of {table} is not valid"
            why = "rows from before it was added were not checked"
            yield _drift(Severity.warning, what, why, validate, name)
    for table, name in sorted(found.constraints.keys() - wanted.constraints.keys()):
        if table in wanted.tables:
            what = f"the constraint {name} of {table} is not part of awa"
            why = "a change of a job that it forbids fails in a worker"
            severity = Severity.warning if table in _JOBS else Severity.note
            yield _drift(severity, what, why, None, name)


def _functions(found: Catalog, wanted: Catalog) -> Iterator[Finding]:
    for name, digests in wanted.functions.items():
        do = definition("function", name.partition("(")[0])
        there = found.functions.get(name)
        if there is None:
            what = f"the function {name} is missing"
            yield _drift(Severity.error, what, "statements or triggers call it", do, name)
        elif not there <= digests:
            what = f"the function {name} has a different body"
            why = "it was replaced by hand or by another release of awa"
            yield _drift(Severity.error, what, why, do, name)
    for name in sorted(found.functions.keys() - wanted.functions.keys()):
        what = f"the function {name} is not part of awa"
        yield _drift(Severity.note, what, "no migration creates it", None, name)


def _triggers(found: Catalog, wanted: Catalog) -> Iterator[Finding]:
    for (table, name), trigger in wanted.triggers.items():
        if table not in found.tables:
            continue
        there = found.triggers.get((table, name))
        given = {"table": relation(table), "name": identifier(name)}
        if there is None:
            what = f"the trigger {name} of {table} is missing"
            why = f"{trigger.function}() is no longer called"
            yield _drift(Severity.error, what, why, definition("trigger", name), name)
        elif not there.enabled:
            what = f"the trigger {name} of {table} is disabled"
            why = f"{trigger.function}() is not called"
            yield _drift(
                Severity.error, what, why, advise(sql.advice("enable_trigger"), **given), name
            )
        elif there.function != trigger.function:
            what = f"the trigger {name} of {table} calls {there.function}()"
            why = f"the migrations make it call {trigger.function}()"
            drop = advise(sql.advice("drop_trigger"), **given)
            do = f"{drop}\n{definition('trigger', name)}"
            yield _drift(Severity.error, what, why, do, name)
    for table, name in sorted(found.triggers.keys() - wanted.triggers.keys()):
        if table in wanted.tables:
            drop = advise(sql.advice("drop_trigger"), table=relation(table), name=identifier(name))
            what = f"the trigger {name} of {table} is not part of awa"
            why = "it slows every statement that changes jobs"
            severity = Severity.warning if table in _JOBS else Severity.note
            yield _drift(severity, what, why, f"-- if you do not need it: {drop}", name)


def _indexes(found: Catalog, wanted: Catalog) -> Iterator[Finding]:
    for name, index in wanted.indexes.items():
        if index.table_name not in found.tables:
            continue
        there = found.indexes.get(name)
        build = _build(name, index)
        drop = advise(sql.advice("drop_index"), index=relation(name))
        severity = Severity.error if index.is_unique else Severity.warning
        if there is None and name in RETIRABLE.values():
            continue
        if there is None:
            what = f"the index {name} on {index.table_name} is missing"
            why = "it enforces uniqueness" if index.is_unique else "statements rely on it"
            yield _drift(severity, what, why, build, name)
        elif not there.usable:
            what = f"the index {name} cannot be used"
            why = "its build was interrupted; it slows writes, and no query uses it"
            yield _drift(severity, what, why, f"{drop}\n{build}", name)
        elif there != index:
            what = f"the index {name} has a different definition"
            why = f"it is on {', '.join(there.keys)} instead of {', '.join(index.keys)}"
            if there.keys == index.keys:
                why = "its columns are right, but not its method or condition"
            yield _drift(severity, what, why, f"{drop}\n{build}", name)
    for name in sorted(found.indexes.keys() - wanted.indexes.keys()):
        table = found.indexes[name].table_name
        if table in wanted.tables:
            drop = advise(sql.advice("drop_index"), index=relation(name))
            what = f"the index {name} on {table} is not part of awa"
            why = "it slows every claim and completion"
            severity = Severity.warning if table in _JOBS else Severity.note
            why = why if table in _JOBS else "no migration creates it"
            yield _drift(severity, what, why, f"-- if you do not need it: {drop}", name)


def _build(name: str, index: Index) -> str | None:
    if made := definition("index", name):
        return made
    return advise(
        sql.advice("add_primary_key"),
        table=relation(index.table_name),
        name=identifier(name),
        keys=names.SQL(", ").join(map(identifier, index.keys)),
    )


def dequeue_index(index: DequeueIndex, limits: Limits) -> Iterator[Finding]:
    """Find that workers of awa 0.5 lack their index, or that it is written for none."""
    live = [worker for worker in index.workers if worker.live]
    if live and not index.there:
        yield Finding(
            "dequeue-index",
            Severity.warning,
            "workers of awa 0.5 run without the dequeue index",
            f"each of their claims reads all available jobs of its queue; {live[0]}",
            "awa migrate --restore dequeue-index",
        )
    elif index.there and not index.workers and index.inserted >= limits.dequeue_inserts:
        yield Finding(
            "dequeue-index",
            Severity.note,
            "no worker of awa 0.5 was seen for a day, and only such workers use the dequeue index",
            f"it was written for each of {index.inserted:,} jobs",
            "awa migrate --retire dequeue-index",
        )


def extensions(owned: list[Owned]) -> Iterator[Finding]:
    """Find objects of the schema that belong to an extension."""
    for one in owned:
        leave = advise(
            sql.advice("leave_extension"),
            extension=identifier(one.extension),
            object=names.SQL(one.object),  # as the server writes it
        )
        yield Finding(
            "extensions",
            Severity.error,
            f"the {one.object} belongs to the extension {one.extension}",
            "pg_dump leaves it out, and DROP EXTENSION drops it with its rows",
            leave,
            one.object,
        )


def storage(record: list[Storage]) -> Iterator[Finding]:
    """Find a transition to another storage engine."""
    if not record:
        yield Finding(
            "storage",
            Severity.error,
            "the record of the storage engine is missing",
            "awa.storage_transition_state has no row",
            advise(sql.advice("restore_storage")),
        )
    for row in record:
        if row.state == "canonical" and row.current_engine == "canonical":
            continue
        if row.state == "prepared":
            if row.seconds > _PREPARED_SECONDS:
                yield Finding(
                    "storage",
                    Severity.note,
                    f"a move to the engine {row.prepared_engine} was prepared "
                    f"{row.seconds / 86400:.0f} days ago",
                    "it was not continued; jobs are stored as before",
                    "awa storage abort",
                )
            continue
        yield Finding(
            "storage",
            Severity.error,
            f"new jobs go to another storage engine: state {row.state}, "
            f"engine {row.prepared_engine or row.current_engine}",
            "a later release of awa has moved the jobs; workers of this release see only the "
            "older ones",
            "awa storage status",
        )
