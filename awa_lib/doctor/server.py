"""The checks of the server and the way to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from psycopg import sql as names

from awa_lib._sql import sql
from awa_lib.doctor.finding import Finding, Severity, advise, relation
from awa_lib.ops.schema import move_to_utf8

if TYPE_CHECKING:
    from collections.abc import Iterator

    from awa_lib.doctor.facts import Clock, Ids, Server, Table
    from awa_lib.doctor.limits import Limits
    from awa_lib.ops.schema import SchemaStatus

__all__ = [
    "clock", "connections", "durability", "encoding", "ids", "pooler", "wraparound",
]  # fmt: skip

_FROZEN_ERROR: Final = 1_500_000_000
_NEARLY_ALL: Final = 0.9
_NOTIFY_FULL: Final = 0.5


def durability(server: Server, tables: list[Table]) -> Iterator[Finding]:
    """Find what does not survive a crash."""
    for setting in ("fsync", "full_page_writes"):
        if not getattr(server, setting):
            yield Finding(
                "durability",
                Severity.error,
                f"{setting} is off",
                "a crash of the machine can leave the whole database unreadable",
                advise(
                    sql.advice("set_server"), sql.advice("reload"),
                    name=names.SQL(setting), value=names.SQL("on"),
                ),
                setting,
            )  # fmt: skip
    if server.synchronous_commit in {"off", "local"}:
        yield Finding(
            "durability",
            Severity.note,
            f"synchronous_commit is {server.synchronous_commit} for this role",
            "what was just committed can be lost: jobs that were inserted, ends that ran twice",
            advise(
                sql.advice("set_server"), sql.advice("reload"),
                name=names.SQL("synchronous_commit"), value=names.SQL("on"),
            ),
            "synchronous_commit",
        )  # fmt: skip
    for table in tables:
        # Who waits for a job is forgotten by a crash on purpose.
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
    """Find a database that cannot hold every text."""
    if status.encoding == "UTF8":
        return
    none = status.encoding == "SQL_ASCII"
    yield Finding(
        "encoding",
        Severity.error if none else Severity.warning,
        f"the database has the encoding {status.encoding}" + (", which is none" if none else ""),
        "it keeps bytes without knowing their letters: workers refuse to start"
        if none
        else "text with letters outside of it is refused: arguments, progress, tags and errors",
        move_to_utf8(status.database),
        status.database,
    )


def wraparound(server: Server, tables: list[Table], limits: Limits) -> Iterator[Finding]:
    """Find rows so old that transaction ids run out."""
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
            f"{'the database' if table is None else 'the table'} {name} has rows {age:,} "
            "transactions old that are not frozen",
            "at 2,000,000,000 the server refuses every write; autovacuum does not get there, or "
            "something pins the horizon: awa doctor --check horizon",
            advise(sql.advice("vacuum_database"))
            if table is None
            else advise(sql.advice("vacuum_freeze"), table=table),
            name,
        )


def ids(left: Ids, limits: Limits) -> Iterator[Finding]:
    """Find that ids of jobs run out."""
    used = left.last / left.most
    if used > limits.ids_used:
        yield Finding(
            "ids",
            Severity.error if used > _NEARLY_ALL else Severity.warning,
            f"{used:.0%} of the ids of jobs are used: {left.last:,} of {left.most:,}",
            "when they are used up, no job can be inserted",
            advise(sql.advice("show_sequence")),
            "jobs_id_seq",
        )


def connections(server: Server, limits: Limits) -> Iterator[Finding]:
    """Find that connection slots run out, or the room for notifications."""
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
            f"the queue of notifications is {server.notify_usage:.0%} full",
            "a session that listens has a transaction open for long; when it is full, commits fail",
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
            "run_at and schedules that are computed here come out as much too early or too late",
            "timedatectl status",
            "this machine",
        )
    for worker, seconds in seen.workers:
        yield Finding(
            "clock",
            Severity.warning,
            f"the clock of the worker {worker} is at least {seconds:.1f} s ahead of the server's",
            "its schedules fire too early, and its run_at come out too late",
            "timedatectl status",
            worker,
        )


def pooler(backends: set[int]) -> Iterator[Finding]:
    """Find a pooler that hands out another server connection for each transaction."""
    if len(backends) > 1:
        yield Finding(
            "pooler",
            Severity.warning,
            "this URL leads through a pooler that changes connections under its clients",
            "LISTEN is not heard there, so workers poll; the leader's lock stays with the "
            "pooler, so that none or several lead; awa migrate cannot lock",
            "awa worker MODULE:CLIENT --database-url postgresql://USER@HOST:5432/NAME",
        )
