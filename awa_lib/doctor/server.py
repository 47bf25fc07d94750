"""Check the server and the connection to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from awa_lib._sql import sql
from awa_lib.doctor.finding import Finding, Severity, advise, relation, set_server
from awa_lib.ops.schema import move_to_utf8

if TYPE_CHECKING:
    from collections.abc import Iterator

    from awa_lib.doctor.facts import Clock, Ids, Server, Table
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


def ids(left: Ids, limits: Limits) -> Iterator[Finding]:
    """Find that job ids run out."""
    used = left.last / left.largest
    if used > limits.ids_used:
        yield Finding(
            "ids",
            Severity.error if used > _NEARLY_ALL else Severity.warning,
            f"{used:.0%} of the job ids are used: {left.last:,} of {left.largest:,}",
            "when they are used up, no job can be inserted",
            advise(sql.advice("show_sequence")),
            "jobs_id_seq",
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
