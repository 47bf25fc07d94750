"""Check tables, and what prevents vacuum from removing dead rows."""

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

if TYPE_CHECKING:
    from collections.abc import Iterator

    from awa_lib.doctor.facts import IndexSize, Pin, Server, Table
    from awa_lib.doctor.limits import Limits

__all__ = ["autovacuum", "bloat", "dead_rows", "horizon", "statistics"]

# Autovacuum starts once a minute: a table may exceed its threshold for a while.
_LATE_TIMES: Final = 3
_STALE_TIMES: Final = 10
# The space of an index entry: key, pointer, and its share of a page that is two thirds full.
_ENTRY_BYTES: Final = 150
_LONG_SECONDS: Final = 3600


def autovacuum(server: Server, tables: list[Table]) -> Iterator[Finding]:
    """Find that autovacuum is off."""
    why = "dead rows accumulate, and each claim has to read past them"
    for setting in ("autovacuum", "track_counts"):
        if not getattr(server, setting):
            do = set_server(setting, "on")
            yield Finding("autovacuum", Severity.error, f"{setting} is off", why, do, setting)
    for table in tables:
        if not table.autovacuum:
            what = f"autovacuum is off for the table {table.name}"
            do = advise(sql.advice("enable_autovacuum"), table=relation(table.name))
            yield Finding("autovacuum", Severity.error, what, why, do, table.name)


def dead_rows(tables: list[Table], limits: Limits) -> Iterator[Finding]:
    """Find tables with more dead rows than autovacuum should leave."""
    for table in tables:
        if table.dead > max(limits.dead_rows, _LATE_TIMES * table.threshold):
            yield Finding(
                "dead-rows",
                Severity.warning,
                f"the table {table.name} has {table.dead:,} dead rows",
                f"autovacuum starts at {table.threshold:,.0f}: its workers are busy, or something "
                "holds back the horizon: awa doctor --check horizon",
                advise(sql.advice("vacuum"), table=relation(table.name)),
                table.name,
            )


def bloat(tables: list[Table], sizes: list[IndexSize], limits: Limits) -> Iterator[Finding]:
    """Find tables and indexes that take much more space than their rows need."""
    for table in tables:
        if table.row_bytes is None or table.rows < 0:
            continue
        need = max(table.rows * table.row_bytes, 1)
        if table.bytes > max(limits.bloat_bytes, limits.bloat_times * need):
            yield Finding(
                "bloat",
                Severity.note,
                f"the table {table.name} takes {_size(table.bytes)} for about {table.rows:,.0f} "
                f"rows, which need {_size(need)}",
                "new rows reuse the space, but scans of the whole table are slow",
                advise(sql.advice("vacuum_full"), table=relation(table.name))
                + "  -- locks the table while it is rewritten",
                table.name,
            )
    for index in sizes:
        need = max(index.entries, 1) * _ENTRY_BYTES
        if index.entries >= 0 and index.bytes > max(limits.bloat_bytes, limits.bloat_times * need):
            yield Finding(
                "bloat",
                Severity.warning,
                f"the index {index.name} takes {_size(index.bytes)} for about {index.entries:,.0f} "
                "entries",
                "scans of it read many empty pages, which displace others in memory",
                advise(sql.advice("reindex"), index=relation(index.name)),
                index.name,
            )


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 10 * 1024:  # at most four digits
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.0f} TB"


def statistics(tables: list[Table], server: Server, limits: Limits) -> Iterator[Finding]:
    """Find tables without planner statistics, or with old ones."""
    if server.standby:
        # Only the primary counts changes.
        return
    for table in tables:
        do = advise(sql.advice("analyze"), table=relation(table.name))
        if table.readable and table.row_bytes is None and table.bytes > limits.bare_bytes:
            yield Finding(
                "statistics",
                Severity.warning,
                f"the table {table.name} has no statistics",
                f"it holds {_size(table.bytes)}, and the planner has to guess; a restore or an "
                "upgrade of the server leaves no statistics",
                do,
                table.name,
            )
        elif table.changed > max(limits.dead_rows, _STALE_TIMES * table.rows) and table.rows >= 0:
            yield Finding(
                "statistics",
                Severity.warning,
                f"the statistics of the table {table.name} are old: {table.changed:,} rows have "
                "changed since",
                f"it had about {table.rows:,.0f} rows then, and is planned for as many",
                do,
                table.name,
            )


def horizon(pins: list[Pin], server: Server, limits: Limits) -> Iterator[Finding]:
    """Find what prevents the removal of dead rows."""
    for pin in pins:
        behind = "" if pin.xids is None else f", {pin.xids:,} transactions behind"
        long = (pin.seconds or 0) > limits.transaction_seconds + _LONG_SECONDS
        yield Finding(
            "horizon",
            Severity.error if long else Severity.warning,
            f"{_PINS[pin.kind].format(name=pin.name, pid=pin.pid)}{_since(pin.seconds)}{behind}",
            "newer dead rows cannot be removed, and claims read past them"
            + (f" ({pin.what})" if pin.what else ""),
            _unpin(pin),
            pin.name if pin.pid is None else str(pin.pid),
        )
    if not server.sees_all:
        yield Finding(
            "horizon",
            Severity.note,
            f"the role {server.role} sees only its own sessions",
            "a transaction of another role may hold back the horizon unseen",
            advise(sql.advice("see_all"), role=identifier(server.role)),
            server.role,
        )


_PINS: Final = {
    "transaction": "session {pid} ({name}) has a transaction open",
    "prepared transaction": "the prepared transaction {name!r} is open",
    "slot": "the replication slot {name!r} is behind",
    "standby": "the standby {name!r} reads old rows",
}


def _since(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes = seconds / 60
    if minutes < _LONG_SECONDS / 60 * 2:
        return f" for {minutes:.0f} min"
    return f" for {minutes / 60:.0f} h"


def _unpin(pin: Pin) -> str:
    if pin.kind == "transaction":
        return advise(sql.advice("terminate"), pid=literal(pin.pid))
    if pin.kind == "prepared transaction":
        return advise(sql.advice("rollback_prepared"), name=literal(pin.name))
    if pin.kind == "slot":
        drop = advise(sql.advice("drop_slot"), name=literal(pin.name))
        return f"{drop}  -- if it is no longer needed"
    return set_server("hot_standby_feedback", "off") + "  -- on the standby"
