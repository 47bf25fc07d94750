"""Plan, apply and check migrations.

Blocking only: a migration runs once per deployment, and ``AsyncClient.migrate`` runs it in a
thread.  The checks of workers at start are ops: see ``awa_lib.ops.schema``.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from awa_lib._sql import sql
from awa_lib.db.drive import run
from awa_lib.errors import AccessDenied, DatabaseError, SchemaNotMigrated
from awa_lib.ops.schema import SchemaStatus, check, read_schema, require_encoding
from awa_lib.schema.locks import (
    OWN_LOCK,
    PUBLISHED_LOCK,
    attempt,
    holding,
    missing_right,
    one,
    outside_transaction,
    set_timeouts,
    yielding,
)
from awa_lib.schema.online import execute, run_online
from awa_lib.schema.scripts import (
    Migration,
    current_migration_version,
    load,
    migrations,
    migrations_range,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg import Connection

__all__ = [
    "Migration",
    "SchemaStatus",
    "Step",
    "apply",
    "check",
    "current_migration_version",
    "load",
    "migrations",
    "migrations_range",
    "plan",
    "read_schema",
]

_REFRESH_TIMEOUT: Final = "5s"


@dataclass(frozen=True, slots=True)
class Step:
    """Progress of ``apply``.  ``note`` says what it waits for."""

    status: Literal["applying", "applied", "waiting"]
    migration: Migration | None = None
    seconds: float = 0.0
    note: str = ""


def plan(conn: Connection[Any], *, target: int | None = None) -> SchemaStatus:
    """Return the state of the schema and what ``apply(conn, to=target)`` would do."""
    try:
        return run(conn, read_schema(target))
    except AccessDenied as error:
        if not error.sqlstate:
            raise
        why, hint = missing_right(conn)
        raise AccessDenied(str(error), sqlstate=error.sqlstate, why=why, hint=hint) from error


def apply(
    conn: Connection[Any],
    *,
    to: int | None = None,
    on_step: Callable[[Step], None] | None = None,
    wait_seconds: float = 60.0,
) -> list[Migration]:
    """Apply pending migrations up to canonical version ``to``, and return them.

    Holds session locks, so the connection must be direct (no pooler) and outside a transaction.
    Each script commits by itself: after an error the earlier scripts stay applied, and another
    call continues.  The toolkit track follows a complete canonical track.
    Raises Conflict when another migrator holds the lock for ``wait_seconds``, Unavailable when a
    table stays locked, SchemaUnsupported as ``plan`` and for a database without an encoding.
    """
    tell = on_step or (lambda _step: None)
    applied: list[Migration] = []

    def step(migration: Migration) -> None:
        tell(Step("applying", migration))
        started = time.monotonic()
        _apply_one(conn, migration, tell)
        applied.append(migration)
        tell(Step("applied", migration, time.monotonic() - started))

    def waiting(note: str) -> None:
        tell(Step("waiting", note=note))

    with outside_transaction(conn), holding(conn, OWN_LOCK, waiting, wait_seconds):
        with holding(conn, PUBLISHED_LOCK, waiting, wait_seconds):
            status = plan(conn, target=to)
            require_encoding(status)
            canonical = [item for item in status.pending if item.track == "canonical"]
            if canonical and any(status.toolkit):
                run(conn, one(sql.schema("mark_toolkit")))
            split = status.pending.index(canonical[-1]) + 1 if canonical else 0
            for migration in status.pending[:split]:
                step(migration)
        for migration in status.pending[split:]:
            step(migration)
        if applied:
            _refresh(conn)
    return applied


def _apply_one(conn: Connection[Any], migration: Migration, tell: Callable[[Step], None]) -> None:
    attempt(
        conn,
        lambda: _execute(conn, migration),
        subject=f"migration {migration.label}",
        title=f"migration {migration.label} ({migration.description})",
        command="awa migrate",
        online=not migration.transactional,
        waiting=lambda note: tell(Step("waiting", migration, note=note)),
    )


def _execute(conn: Connection[Any], migration: Migration) -> None:
    # Without parameters, a bare % and several statements are possible; bytes, as it is no literal.
    if migration.transactional:
        with conn.transaction():
            if migration.track == "toolkit" and migration.version:
                execute(conn, sql.schema("forget_mark", version=migration.version))
            conn.execute(_text(conn, migration).encode())
    else:
        run_online(conn, migration)


def _text(conn: Connection[Any], migration: Migration) -> str:
    """Return the script without the statement that makes the schema, if the schema is there.

    The statement needs CREATE on the database even then, and a role that got its schema from an
    administrator need not have it.
    """
    makes = sql.advice("create_schema").query.text
    if makes in migration.sql and run(conn, one(sql.schema("schema_exists"))).scalar():
        return migration.sql.replace(makes, "", 1)
    return migration.sql


def _refresh(conn: Connection[Any]) -> None:
    # Best effort, as in awa 0.5: the next leader counts again.
    with suppress(DatabaseError, SchemaNotMigrated):
        set_timeouts(conn, yielding(conn), _REFRESH_TIMEOUT)
        run(conn, one(sql.schema("refresh_counts")))
