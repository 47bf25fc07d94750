"""Plan, apply and check migrations.

Blocking only: a migration runs once per deployment, and ``AsyncClient.migrate`` runs it in a
thread.  The checks of workers at start are ops: see ``awa_lib.ops.schema``.
"""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from psycopg import Error as PgError
from psycopg import errors as pg
from psycopg.pq import TransactionStatus

from awa_lib._sql import Op, Rows, Statement, sql
from awa_lib.db.drive import run
from awa_lib.db.translate import translate
from awa_lib.errors import (
    AccessDenied,
    Conflict,
    DatabaseError,
    SchemaNotMigrated,
    Unavailable,
    ValidationError,
)
from awa_lib.ops.schema import SchemaStatus, check, read_schema, require_encoding
from awa_lib.schema.online import execute, run_online
from awa_lib.schema.scripts import (
    Migration,
    current_migration_version,
    load,
    migrations,
    migrations_range,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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

# Later requests wait behind a lock request, so it is short and repeated.  It is also shorter than
# the server's wait before it looks for deadlocks: a worker is never the one that is ended.
_LOCK_MS: Final = 500
_LOCK_TRIES: Final = 25
# Building or dropping an index concurrently blocks no session while it waits.
_ONLINE_LOCK_TIMEOUT: Final = "30s"
_ONLINE_LOCK_TRIES: Final = 3
_REFRESH_TIMEOUT: Final = "5s"
# The lock of awa 0.5 ("AWA_MIGR") and our own ("AWA_TOOL").  awa 0.5 waits for its lock inside a
# statement, and building an index concurrently waits for that statement: so the first lock is
# released before our own track, in which awa 0.5 takes no part.
_PUBLISHED_LOCK: Final = 4708303813013489490
_OWN_LOCK: Final = 4708303813131325260


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
        why, hint = _missing_right(conn)
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

    with _session(conn), _lock(conn, _OWN_LOCK, tell, wait_seconds):
        with _lock(conn, _PUBLISHED_LOCK, tell, wait_seconds):
            status = plan(conn, target=to)
            require_encoding(status)
            canonical = [item for item in status.pending if item.track == "canonical"]
            if canonical and any(status.toolkit):
                run(conn, _one(sql.schema("mark_toolkit")))
            split = status.pending.index(canonical[-1]) + 1 if canonical else 0
            for migration in status.pending[:split]:
                step(migration)
        for migration in status.pending[split:]:
            step(migration)
        if applied:
            _refresh(conn)
    return applied


def _one(statement: Statement) -> Op[Rows]:
    return (yield statement)


@contextmanager
def _session(conn: Connection[Any]) -> Iterator[None]:
    if conn.info.transaction_status != TransactionStatus.IDLE:
        raise ValidationError(
            "migrations cannot run inside a transaction",
            why="each script commits by itself and some build indexes online",
            hint="commit first, or use another connection",
        )
    autocommit = conn.autocommit
    conn.autocommit = True
    before = run(conn, _one(sql.schema("read_timeouts")))[0]
    try:
        yield
    finally:
        with suppress(DatabaseError, PgError):
            _set_timeouts(conn, *before)
            conn.autocommit = autocommit


def _set_timeouts(conn: Connection[Any], lock: str, statement: str) -> None:
    run(conn, _one(sql.schema("set_timeouts", lock_timeout=lock, statement_timeout=statement)))


def _yielding(conn: Connection[Any]) -> str:
    """Return how long to wait for a lock: less than until a deadlock is looked for."""
    before_look = run(conn, _one(sql.schema("deadlock_timeout"))).scalar() // 2
    return f"{max(1, min(_LOCK_MS, before_look))}ms"


@contextmanager
def _lock(
    conn: Connection[Any], key: int, tell: Callable[[Step], None], seconds: float
) -> Iterator[None]:
    until = time.monotonic() + seconds
    reported = False
    while not run(conn, _one(sql.schema("try_migration_lock", key=key))).scalar():
        rows = run(conn, _one(sql.schema("migration_lock_holder", key=key)))
        holder = _describe(rows)
        if time.monotonic() >= until:
            raise Conflict(
                f"another migration has been running for more than {seconds:g} s",
                why=f"{holder} holds the migration lock",
                hint="wait for it to end and run again; awa migrate can be repeated at any time",
            )
        if not reported:
            tell(Step("waiting", note=f"{holder} holds the migration lock"))
            reported = True
        time.sleep(0.1)
    try:
        yield
    finally:
        with suppress(DatabaseError, PgError):
            run(conn, _one(sql.schema("migration_unlock", key=key)))


def _describe(rows: Rows) -> str:
    if not rows:
        return "a session that has just ended"
    pid, username, application = rows[0][:3]
    return f"process {pid} of {username!r} ({application or 'no application name'})"


def _apply_one(conn: Connection[Any], migration: Migration, tell: Callable[[Step], None]) -> None:
    online = not migration.transactional
    tries = _ONLINE_LOCK_TRIES if online else _LOCK_TRIES
    _set_timeouts(conn, _ONLINE_LOCK_TIMEOUT if online else _yielding(conn), "0")
    for left in reversed(range(tries)):
        try:
            _execute(conn, migration)
        except (pg.LockNotAvailable, pg.DeadlockDetected) as error:
            rows = run(conn, _one(sql.schema("oldest_transaction")))
            age = f", in a transaction for {rows[0][3]} s" if rows else ""
            blocker = _describe(rows) + age
            if not left:
                raise Unavailable(
                    f"migration {migration.label} could not lock its tables",
                    sqlstate=error.sqlstate,
                    why=f"other transactions hold them; the oldest is {blocker}",
                    hint="end that transaction and run again: awa migrate",
                ) from error
            tell(Step("waiting", migration, note=f"tables are locked: {blocker}"))
            time.sleep(0.5)
        except pg.InsufficientPrivilege as error:
            why, hint = _missing_right(conn)
            raise AccessDenied(
                f"migration {migration.label} ({migration.description}) failed: {translate(error)}",
                sqlstate=error.sqlstate,
                why=why,
                hint=hint,
            ) from error
        except PgError as error:
            raise DatabaseError(
                f"migration {migration.label} ({migration.description}) failed: {translate(error)}",
                sqlstate=error.sqlstate,
                constraint=error.diag.constraint_name,
                why="it was rolled back" if migration.transactional else None,
                hint="fix the cause and run again: awa migrate",
            ) from error
        else:
            return


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
    if makes in migration.sql and run(conn, _one(sql.schema("schema_exists"))).scalar():
        return migration.sql.replace(makes, "", 1)
    return migration.sql


def _missing_right(conn: Connection[Any]) -> tuple[str, str]:
    """Return which right is missing, and the statement with which an administrator gives it."""
    role, database, made, granted, owner = run(conn, _one(sql.schema("missing_right")))[0]
    if made is not None:
        return (
            f"there is no schema awa, and {role} may not CREATE in the database {database}",
            f"as an administrator: {made};",
        )
    if granted is not None and owner is None:
        return (
            f"the role {role} may not CREATE in the schema awa",
            f"as its owner: {granted};",
        )
    return (
        f"the role {role} does not own what the migration changes; {owner or 'another role'} does",
        "migrate as the owner or a member of that role: see awa roles",
    )


def _refresh(conn: Connection[Any]) -> None:
    # Best effort, as in awa 0.5: the next leader counts again.
    with suppress(DatabaseError, SchemaNotMigrated):
        _set_timeouts(conn, _yielding(conn), _REFRESH_TIMEOUT)
        run(conn, _one(sql.schema("refresh_counts")))
