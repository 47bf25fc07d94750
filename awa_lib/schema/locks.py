"""The locks of a migrator: it waits for others, never long and never silently."""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from psycopg import Error as PgError
from psycopg import errors as pg
from psycopg.pq import TransactionStatus

from awa_lib._sql import Op, Rows, Statement, sql
from awa_lib.db.drive import run
from awa_lib.db.translate import translate
from awa_lib.errors import AccessDenied, Conflict, DatabaseError, Unavailable, ValidationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from psycopg import Connection

__all__ = [
    "OWN_LOCK",
    "PUBLISHED_LOCK",
    "attempt",
    "holding",
    "missing_right",
    "one",
    "outside_transaction",
    "set_timeouts",
    "yielding",
]

# Later requests wait behind a lock request, so it is short and repeated.  It is also shorter than
# the server's wait before it looks for deadlocks: a worker is never the one that is ended.
_LOCK_MS: Final = 500
_LOCK_TRIES: Final = 25
# Building or dropping an index concurrently blocks no session while it waits.
_ONLINE_LOCK_TIMEOUT: Final = "30s"
_ONLINE_LOCK_TRIES: Final = 3
# The lock of awa 0.5 ("AWA_MIGR") and our own ("AWA_TOOL").  awa 0.5 waits for its lock inside a
# statement, and building an index concurrently waits for that statement: so the first lock is
# released before our own track, in which awa 0.5 takes no part.
PUBLISHED_LOCK: Final = 4708303813013489490
OWN_LOCK: Final = 4708303813131325260


def one(statement: Statement) -> Op[Rows]:
    """Return the rows of a statement."""
    return (yield statement)


@contextmanager
def outside_transaction(conn: Connection[Any]) -> Iterator[None]:
    """Commit each statement by itself; restore the settings of the session afterwards."""
    if conn.info.transaction_status != TransactionStatus.IDLE:
        raise ValidationError(
            "migrations cannot run inside a transaction",
            why="each script commits by itself and some build indexes online",
            hint="commit first, or use another connection",
        )
    autocommit = conn.autocommit
    conn.autocommit = True
    before = run(conn, one(sql.schema("read_timeouts")))[0]
    try:
        yield
    finally:
        with suppress(DatabaseError, PgError):
            set_timeouts(conn, *before)
            conn.autocommit = autocommit


def set_timeouts(conn: Connection[Any], lock: str, statement: str) -> None:
    """Set the timeouts of the session."""
    run(conn, one(sql.schema("set_timeouts", lock_timeout=lock, statement_timeout=statement)))


def yielding(conn: Connection[Any]) -> str:
    """Return how long to wait for a lock: less than until a deadlock is looked for."""
    before_look = run(conn, one(sql.schema("deadlock_timeout"))).scalar() // 2
    return f"{max(1, min(_LOCK_MS, before_look))}ms"


@contextmanager
def holding(
    conn: Connection[Any], key: int, waiting: Callable[[str], None], seconds: float
) -> Iterator[None]:
    """Hold a migration lock of the session.  Raises Conflict after ``seconds``."""
    until = time.monotonic() + seconds
    reported = False
    while not run(conn, one(sql.schema("try_migration_lock", key=key))).scalar():
        rows = run(conn, one(sql.schema("migration_lock_holder", key=key)))
        holder = _describe(rows)
        if time.monotonic() >= until:
            raise Conflict(
                f"another migration has been running for more than {seconds:g} s",
                why=f"{holder} holds the migration lock",
                hint="wait for it to end and run again; awa migrate can be repeated at any time",
            )
        if not reported:
            waiting(f"{holder} holds the migration lock")
            reported = True
        time.sleep(0.1)
    try:
        yield
    finally:
        with suppress(DatabaseError, PgError):
            run(conn, one(sql.schema("migration_unlock", key=key)))


def _describe(rows: Rows) -> str:
    if not rows:
        return "a session that has just ended"
    pid, username, application = rows[0][:3]
    return f"process {pid} of {username!r} ({application or 'no application name'})"


def _blocker(conn: Connection[Any]) -> str:
    rows = run(conn, one(sql.schema("oldest_transaction")))
    return _describe(rows) + (f", in a transaction for {rows[0][3]} s" if rows else "")


def attempt(
    conn: Connection[Any],
    work: Callable[[], object],
    *,
    subject: str,
    command: str,
    online: bool,
    waiting: Callable[[str], None],
    title: str | None = None,
) -> None:
    """Do ``work``, again while locks of others are in its way.

    ``subject`` and ``title`` name it in errors, ``command`` runs it again, and ``waiting`` is told
    what it waits for.  Raises Unavailable, AccessDenied, DatabaseError.
    """
    tries = _ONLINE_LOCK_TRIES if online else _LOCK_TRIES
    set_timeouts(conn, _ONLINE_LOCK_TIMEOUT if online else yielding(conn), "0")
    for left in reversed(range(tries)):
        try:
            work()
        except (pg.LockNotAvailable, pg.DeadlockDetected) as error:
            blocker = _blocker(conn)
            if not left:
                raise Unavailable(
                    f"{subject} could not lock its tables",
                    sqlstate=error.sqlstate,
                    why=f"other transactions hold them; the oldest is {blocker}",
                    hint=f"end that transaction and run again: {command}",
                ) from error
            waiting(f"tables are locked: {blocker}")
            time.sleep(0.5)
        except pg.InsufficientPrivilege as error:
            why, hint = missing_right(conn)
            raise AccessDenied(
                f"{title or subject} failed: {translate(error)}",
                sqlstate=error.sqlstate,
                why=why,
                hint=hint,
            ) from error
        except PgError as error:
            raise DatabaseError(
                f"{title or subject} failed: {translate(error)}",
                sqlstate=error.sqlstate,
                constraint=error.diag.constraint_name,
                why=None if online else "it was rolled back",
                hint=f"fix the cause and run again: {command}",
            ) from error
        else:
            return


def missing_right(conn: Connection[Any]) -> tuple[str, str]:
    """Return which right is missing, and the statement with which an administrator gives it."""
    role, database, made, granted, owner = run(conn, one(sql.schema("missing_right")))[0]
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
