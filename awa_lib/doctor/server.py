"""Check the server and the connection to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from awa_lib._sql import sql
from awa_lib.doctor.finding import (
    Finding,
    Severity,
    advise,
    identifier,
    literal,
    relation,
    set_server,
)
from awa_lib.ops.schema import move_to_utf8

if TYPE_CHECKING:
    from collections.abc import Iterator

    from awa_lib.doctor.facts import Clock, Ids, Server, Subscription, Table
    from awa_lib.doctor.limits import Limits
    from awa_lib.ops.schema import SchemaStatus

__all__ = [
    "clock",
    "connections",
    "durability",
    "encoding",
    "ids",
    "pooler",
    "standby",
    "subscriptions",
    "wraparound",
]

_FROZEN_ERROR: Final = 1_500_000_000
_NEARLY_ALL: Final = 0.9
_NOTIFY_FULL: Final = 0.5


def durability(server: Server, tables: list[Table]) -> Iterator[Finding]:
    """Find settings and tables that lose data in a crash."""
    for setting in ("fsync", "full_page_writes"):
        if not getattr(server, setting):
            yield Finding(
                "durability",
                Severity.error,
                f"{setting} is off",
                "a crash of the machine can corrupt the whole database",
                set_server(setting, "on"),
                setting,
            )
    if server.synchronous_commit in {"off", "local"}:
        yield Finding(
            "durability",
            Severity.note,
            f"synchronous_commit is {server.synchronous_commit} for this role",
            "a crash can lose the last commits: inserted jobs are gone, ended jobs run again",
            set_server("synchronous_commit", "on"),
            "synchronous_commit",
        )
    for table in tables:
        # job_waits is unlogged on purpose: its sessions end with the server.
        if table.unlogged and table.name != "job_waits":
            yield Finding(
                "durability",
                Severity.error,
                f"the table {table.name} is unlogged",
                "a crash empties it, and a standby does not have it",
                advise(sql.advice("make_logged"), table=relation(table.name)),
                table.name,
            )


def encoding(status: SchemaStatus) -> Iterator[Finding]:
    """Find a database whose encoding is not UTF8."""
    if status.encoding == "UTF8":
        return
    unchecked = status.encoding == "SQL_ASCII"
    yield Finding(
        "encoding",
        Severity.error if unchecked else Severity.warning,
        f"the database has the encoding {status.encoding}",
        "it stores bytes of any encoding, unchecked; workers refuse to start"
        if unchecked
        else "args, progress, tags and errors with other characters are refused",
        move_to_utf8(status.database),
        status.database,
    )


def wraparound(server: Server, tables: list[Table], limits: Limits) -> Iterator[Finding]:
    """Find tables that approach transaction id wraparound."""
    old = [table for table in tables if table.frozen_age > limits.frozen_xids]
    ages = [(server.database, server.frozen_age)] if not old else []
    ages += [(table.name, table.frozen_age) for table in old]
    for name, age in ages:
        if age <= limits.frozen_xids:
            continue
        table = None if name == server.database else relation(name)
        yield Finding(
            "wraparound",
            Severity.error if age > _FROZEN_ERROR else Severity.warning,
            f"{'the database' if table is None else 'the table'} {name} has unfrozen rows that are "
            f"{age:,} transactions old",
            "at 2,000,000,000 the server refuses all writes; autovacuum does not keep up, or "
            "something holds back the horizon: awa doctor --check horizon",
            advise(sql.advice("vacuum_database"))
            if table is None
            else advise(sql.advice("vacuum_freeze"), table=table),
            name,
        )


_SEQUENCES: Final = {
    "jobs_id_seq": ("job", "no job can be inserted"),
    "audit_log_id_seq": ("audit entry", "no change can be noted, so commands that change fail"),
}


def ids(sequences: list[Ids], limits: Limits) -> Iterator[Finding]:
    """Find sequences that are missing, used up, or behind the rows."""
    for name in _SEQUENCES.keys() - {one.sequence for one in sequences}:
        what, harm = _SEQUENCES[name]
        yield Finding(
            "ids", Severity.error, f"the sequence {name} of {what} ids is missing", harm, None, name
        )
    for one in sequences:
        what, harm = _SEQUENCES[one.sequence]
        last = one.last or 0
        used = last / one.largest
        if one.highest > last and one.readable:
            yield Finding(
                "ids",
                Severity.error,
                f"the next {what} id is {last + 1:,}, but ids up to {one.highest:,} are in use",
                f"{harm} until the sequence has passed them; rows were copied without it, by "
                "logical replication or by a restore of data only",
                advise(
                    sql.advice("set_sequence"),
                    sequence=literal(f"awa.{one.sequence}"),
                    highest=literal(one.highest),
                ),
                one.sequence,
            )
        if used > limits.ids_used:
            yield Finding(
                "ids",
                Severity.error if used > _NEARLY_ALL else Severity.warning,
                f"{used:.0%} of the {what} ids are used: {last:,} of {one.largest:,}",
                f"when they are used up, {harm}",
                advise(sql.advice("show_sequence")),
                one.sequence,
            )


def subscriptions(found: list[Subscription]) -> Iterator[Finding]:
    """Find subscriptions that write jobs: workers here would run the publisher's jobs again."""
    for one in found:
        yield Finding(
            "subscriptions",
            Severity.warning if one.enabled else Severity.note,
            f"the subscription {one.name} writes jobs here"
            if one.enabled
            else f"the subscription {one.name} wrote jobs here; it is disabled",
            "workers here and at its publisher would run the same jobs; sequences do not follow",
            advise(sql.advice("disable_subscription"), name=identifier(one.name))
            + "  -- when no worker of the publisher runs any more; then awa doctor --check ids"
            if one.enabled
            else "awa doctor --check ids",
            one.name,
        )


def connections(server: Server, limits: Limits) -> Iterator[Finding]:
    """Find that connection slots, or the space of the notification queue, run out."""
    used = server.connections / max(server.slots, 1)
    if used >= limits.slots_used:
        yield Finding(
            "connections",
            Severity.error if used >= _NEARLY_ALL else Severity.warning,
            f"{server.connections} of {server.slots} connection slots are used",
            "when none is left, workers and applications cannot connect",
            advise(sql.advice("lookup_sessions")),
        )
    if server.notify_usage > _NOTIFY_FULL:
        yield Finding(
            "connections",
            Severity.error,
            f"the notification queue is {server.notify_usage:.0%} full",
            "a listening session keeps a transaction open; when the queue is full, commits fail",
            "awa doctor --check horizon",
        )


def clock(seen: Clock, limits: Limits) -> Iterator[Finding]:
    """Find clocks that differ from the server's."""
    if abs(seen.ahead) - seen.give_or_take > limits.skew_seconds:
        way = "ahead of" if seen.ahead > 0 else "behind"
        yield Finding(
            "clock",
            Severity.warning,
            f"the clock of this machine is {abs(seen.ahead):.1f} s {way} the server's",
            "run_at and schedules that this machine computes are wrong by as much",
            "timedatectl status",
            "this machine",
        )
    for worker, seconds in seen.workers:
        yield Finding(
            "clock",
            Severity.warning,
            f"the clock of the worker {worker} is at least {seconds:.1f} s ahead of the server's",
            "its schedules fire too early, and the run_at that it computes is too late",
            "timedatectl status",
            worker,
        )


def pooler(backends: set[int]) -> Iterator[Finding]:
    """Find a transaction pooler: it serves each transaction by another server connection."""
    if len(backends) > 1:
        yield Finding(
            "pooler",
            Severity.warning,
            "this URL connects through a transaction pooler",
            "LISTEN does not work there, so workers poll; the leader keeps one of its connections "
            "in a transaction; awa migrate cannot lock",
            "awa worker MODULE:CLIENT --database-url postgresql://USER@HOST:5432/NAME",
        )


def standby(server: Server) -> Iterator[Finding]:
    """Find a standby: what it shows may be old, and it takes no changes."""
    if server.standby:
        yield Finding(
            "standby",
            Severity.note,
            "this server is a standby",
            "its rows may be older than those of the primary, and it refuses changes; a worker "
            "waits until it is the primary",
            "awa doctor --database-url postgresql://USER@HOST1,HOST2/NAME",
        )
