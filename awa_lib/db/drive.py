"""Run ops on psycopg connections, blocking and async.

``run`` and ``arun`` execute each statement that an op yields and send it the rows.  Errors of
psycopg do not leave this module: they are translated and thrown into the op, which may handle
them.
"""

from __future__ import annotations

import asyncio
import re
import select
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row

from awa_lib._sql import BEGIN, COMMIT, ROLLBACK, Op, Rows
from awa_lib.db.again import RENEW, Renew
from awa_lib.db.far_times import read_again
from awa_lib.db.refusals import advice
from awa_lib.db.sqlstates import READ_ONLY, Meaning, meaning_of
from awa_lib.db.turns import thread_turn, turn
from awa_lib.errors import (
    FIND_PRIMARY,
    AccessDenied,
    AwaError,
    DatabaseError,
    SchemaNotMigrated,
    SerializationError,
    Transient,
    Unavailable,
    UniqueConflict,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

    from psycopg.adapt import AdaptersMap

    from awa_lib._sql import Statement

__all__ = [
    "abegin",
    "arun",
    "begin",
    "check_socket",
    "explain",
    "readable",
    "run",
    "translate",
    "turn",
    "without_values",
]

P = ParamSpec("P")
R = TypeVar("R")

_UNIQUE: Final = "idx_awa_jobs_unique"
_UNIQUE_VIOLATION: Final = "23505"
_NO_RIGHT: Final = "42501"
# A table, a schema or a function does not exist.
_UNDEFINED: Final = {"42P01", "3F000", "42883"}
# A character that the encoding of the server lacks, or bytes that are no character.
_UNKNOWN_TEXT: Final = {"22P05", "22021"}
_KEYS: Final = {_UNIQUE, "jobs_hot_pkey", "scheduled_jobs_pkey"}
# By a trigger or a function: the words of whoever wrote it.
_RAISED: Final = "P0001"
# The first line of the CONTEXT of a message in the words of a published function: what it quotes is
# its own argument.  Names and keywords are in no language.
_OWN_WORDS = re.compile(r'[^\n]*(?<![\w."])(?:awa\.)?storage_prepare\([^\n]*\bRAISE\b')
# In messages about a value (class 22), what is quoted is the value, in the quotes of any language.
_QUOTED = re.compile('["«»„“”\u2018\u2019「『].*["«»„“”\u2018\u2019」』]', re.DOTALL)
# Of the driver, without a code: the connection is lost, or its answers fit no question, as when a
# pooler reports the loss of its server before a statement is sent.
_BROKEN: Final = (psycopg.OperationalError, psycopg.InterfaceError, psycopg.InternalError)
_HOLDER = re.compile(r"held by job (\d+)")


def translate(error: psycopg.Error | UnicodeError) -> AwaError:
    """Return the library's error for an error of psycopg or of encoding text."""
    if isinstance(error, UnicodeError):
        return _unwritable(error)
    diag = error.diag
    if diag.message_primary is not None:
        # A traceback shows the whole text, of which DETAIL and CONTEXT quote rows; they stay in
        # error.diag.
        error.args = (without_values(diag.message_primary, error.sqlstate, diag.context),)
    return explain(
        diag.message_primary or str(error),
        error.sqlstate,
        constraint=diag.constraint_name,
        detail=diag.message_detail,
        hint=diag.message_hint,
        context=diag.context,
        broken=isinstance(error, _BROKEN),
    )


def explain(
    message: str,
    sqlstate: str | None,
    *,
    constraint: str | None,
    detail: str | None,
    hint: str | None,
    context: str | None,
    broken: bool,
) -> AwaError:
    """Return the library's error for a message of the server or the driver.

    ``context`` is the server's CONTEXT.  ``broken`` is True if an error without a code means a lost
    connection.
    """
    message = without_values(message.strip().replace("\n", " "), sqlstate, context)
    if sqlstate == _UNIQUE_VIOLATION and constraint in _KEYS:
        return _duplicate(constraint, detail)
    if sqlstate in _UNDEFINED and "awa" in message:
        return SchemaNotMigrated(
            "the awa schema is missing or not up to date in this database",
            why=message,
            hint="apply the migrations: awa migrate",
        )
    if sqlstate == _NO_RIGHT:
        return AccessDenied(
            message,
            sqlstate=sqlstate,
            why="the role of this connection lacks the privilege",
            hint="use a role that has it; awa roles prints the roles and their privileges",
        )
    if sqlstate in _UNKNOWN_TEXT:
        return _unstorable(sqlstate)
    meaning = meaning_of(sqlstate, broken=broken)
    if meaning is Meaning.LOST:
        return _lost(message, sqlstate)
    kind = Transient if meaning is Meaning.AGAIN else DatabaseError
    if meaning is Meaning.THEIRS and sqlstate != _RAISED:
        detail = None  # the server quotes the row in it
    if meaning is Meaning.AGAIN:
        detail = detail or "other transactions hold the locks it needs, or it was cancelled"
        hint = hint or "try again"
    return kind(message, sqlstate=sqlstate, constraint=constraint, why=detail, hint=hint)


def _duplicate(constraint: str, detail: str | None) -> AwaError:
    if constraint == _UNIQUE:
        holder = _HOLDER.fullmatch(detail or "")
        return UniqueConflict(constraint=_UNIQUE, job_id=int(holder[1]) if holder else None)
    return DatabaseError(
        "the sequence of job ids gave out an id that is in use",
        sqlstate=_UNIQUE_VIOLATION,
        constraint=constraint,
        why="jobs were copied here without their sequence",
        hint="awa doctor --check ids prints the statement that sets it",
    )


def without_values(message: str, sqlstate: str | None, context: str | None) -> str:
    """Return a message of the server without the value of a row that it quotes."""
    if (sqlstate or "").startswith("22") and not _OWN_WORDS.match(context or ""):
        return _QUOTED.sub('"…"', message)
    return message


def _unwritable(error: UnicodeError) -> SerializationError:
    # The error itself contains the whole text.
    encoding = getattr(error, "encoding", "its encoding")
    return SerializationError(
        f"text cannot be sent over this connection: {encoding} has no such character",
        why="the client_encoding of the connection is not UTF8",
        hint="run SET client_encoding TO 'UTF8' on it first, or leave the character out",
    )


def _unstorable(sqlstate: str | None) -> DatabaseError:
    # The message of the server shows bytes of the job.
    return DatabaseError(
        "text cannot be stored in this database: its encoding has no such character",
        sqlstate=sqlstate,
        why="the database was not created with ENCODING 'UTF8'",
        hint="leave the character out, or move to a database with the encoding UTF8",
    )


def _lost(message: str, sqlstate: str | None) -> Unavailable:
    if sqlstate == READ_ONLY:
        return Unavailable(
            f"the database takes no changes: {message}",
            sqlstate=sqlstate,
            why="the server is a standby or read-only, or the transaction is",
            hint=FIND_PRIMARY,
        )
    if sqlstate is None and (known := advice(message)) is not None:
        return Unavailable(f"cannot connect to the database: {message}", hint=known)
    return Unavailable(
        f"the database is not available: {message}",
        sqlstate=sqlstate,
        why="the server is down, restarting, unreachable or out of connection slots",
        hint="check the server and the database URL, then try again",
    )


def check_socket(conn: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> None:
    """Raise OperationalError when the server has closed an idle connection.

    Checks the socket only (about 2 µs); a probe query would double the round trips.
    """
    pgconn = conn.pgconn
    while readable(pgconn.socket):
        # The last message of the server is read without an error; only then the stream ends.
        pgconn.consume_input()
        if pgconn.status != psycopg.pq.ConnStatus.OK:
            raise psycopg.OperationalError("the server closed the connection")


def readable(socket: int) -> bool:
    """Return whether there is something to read; waits for nothing."""
    if not hasattr(select, "poll"):  # Windows
        return bool(select.select([socket], [], [], 0)[0])
    # Unlike select, poll works for file descriptors above 1023.
    poller = select.poll()
    poller.register(socket, select.POLLIN)
    return bool(poller.poll(0))


def begin(conn: psycopg.Connection[Any]) -> AbstractContextManager[Any]:
    """Enter and return a transaction block, or a savepoint in the caller's transaction.

    Without autocommit, a block that is opened first is the transaction itself, and its end would
    commit; an empty statement makes psycopg begin the caller's transaction before it.
    """
    if not conn.autocommit and conn.pgconn.transaction_status == TransactionStatus.IDLE:
        conn.execute(b"")
    block = conn.transaction()
    block.__enter__()
    return block


async def abegin(conn: psycopg.AsyncConnection[Any]) -> AbstractAsyncContextManager[Any]:
    """Enter and return a transaction block on an async connection.  See ``begin``."""
    if not conn.autocommit and conn.pgconn.transaction_status == TransactionStatus.IDLE:
        await conn.execute(b"")
    block = conn.transaction()
    await block.__aenter__()
    return block


def run(conn: psycopg.Connection[Any], op: Op[R]) -> R:
    """Run an op on a blocking connection and return its result.

    On an autocommit connection each statement commits by itself, unless the op is atomic.  Inside
    a transaction nothing is committed; atomic ops use savepoints.
    """
    with thread_turn(conn):
        open_blocks: list[AbstractContextManager[Any]] = []
        try:
            return _steps(conn, op, open_blocks)
        except BaseException as error:
            with _undone(conn):
                while open_blocks:
                    open_blocks.pop().__exit__(type(error), error, error.__traceback__)
            raise


@contextmanager
def _undone(conn: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> Iterator[None]:
    """Close a connection whose transaction cannot be rolled back: no half of an op must stay."""
    try:
        yield
    except BaseException:
        if conn.pgconn.transaction_status != TransactionStatus.INERROR:
            conn.pgconn.finish()
        raise


def _steps(
    conn: psycopg.Connection[Any], op: Op[R], open_blocks: list[AbstractContextManager[Any]]
) -> R:
    try:
        statement = next(op)
        while True:
            try:
                if statement.work is None:
                    rows = _execute(conn, statement, open_blocks)
                else:
                    rows = Rows([(statement.work(),)])
            except (psycopg.Error, UnicodeError) as error:
                statement = op.throw(translate(error).with_traceback(error.__traceback__))
            else:
                statement = op.send(rows)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return] # StopIteration.value is Any


def _execute(
    conn: psycopg.Connection[Any],
    statement: Statement,
    open_blocks: list[AbstractContextManager[Any]],
) -> Rows:
    if statement is BEGIN:
        open_blocks.append(begin(conn))
        return Rows()
    if statement is COMMIT:
        open_blocks.pop().__exit__(None, None, None)
        return Rows()
    if statement is ROLLBACK:
        open_blocks.pop().__exit__(psycopg.Rollback, psycopg.Rollback(), None)
        return Rows()
    if statement.query is RENEW:
        raise Renew(statement.values[0])
    with _Cursor(conn, row_factory=tuple_row) as cursor:
        if statement.data is not None:
            with cursor.copy(statement.query.text) as copy:
                for block_of_text in statement.data:
                    copy.write(block_of_text)
            return Rows()
        cursor.execute(statement.query.text, statement.values)
        return _rows(cursor)


async def arun(conn: psycopg.AsyncConnection[Any], op: Op[R]) -> R:
    """Run an op on an async connection, one op at a time.  See ``run``."""
    async with turn(conn):
        open_blocks: list[AbstractAsyncContextManager[Any]] = []
        try:
            return await _asteps(conn, op, open_blocks)
        except BaseException as error:
            with _undone(conn):
                while open_blocks:
                    await open_blocks.pop().__aexit__(type(error), error, error.__traceback__)
            raise


async def _asteps(
    conn: psycopg.AsyncConnection[Any],
    op: Op[R],
    open_blocks: list[AbstractAsyncContextManager[Any]],
) -> R:
    try:
        statement = next(op)
        while True:
            try:
                if statement.work is None:
                    rows = await _aexecute(conn, statement, open_blocks)
                else:
                    rows = Rows([(await asyncio.to_thread(statement.work),)])
            except (psycopg.Error, UnicodeError) as error:
                statement = op.throw(translate(error).with_traceback(error.__traceback__))
            else:
                statement = op.send(rows)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return] # StopIteration.value is Any


async def _aexecute(
    conn: psycopg.AsyncConnection[Any],
    statement: Statement,
    open_blocks: list[AbstractAsyncContextManager[Any]],
) -> Rows:
    if statement is BEGIN:
        open_blocks.append(await abegin(conn))
        return Rows()
    if statement is COMMIT:
        await open_blocks.pop().__aexit__(None, None, None)
        return Rows()
    if statement is ROLLBACK:
        await open_blocks.pop().__aexit__(psycopg.Rollback, psycopg.Rollback(), None)
        return Rows()
    if statement.query is RENEW:
        raise Renew(statement.values[0])
    async with _AsyncCursor(conn, row_factory=tuple_row) as cursor:
        if statement.data is not None:
            async with cursor.copy(statement.query.text) as copy:
                for block_of_text in statement.data:
                    await copy.write(block_of_text)
            return Rows()
        await cursor.execute(statement.query.text, statement.values)
        return await _arows(cursor)


async def _arows(cursor: psycopg.AsyncRawCursor[Any]) -> Rows:
    if cursor.description is None:
        return Rows()
    columns = tuple(column.name for column in cursor.description)
    try:
        return Rows(await cursor.fetchall(), columns)
    except psycopg.DataError:
        return Rows(read_again(cursor), columns)


def _rows(cursor: psycopg.RawCursor[Any]) -> Rows:
    if cursor.description is None:
        return Rows()
    columns = tuple(column.name for column in cursor.description)
    try:
        return Rows(cursor.fetchall(), columns)
    except psycopg.DataError:
        return Rows(read_again(cursor), columns)


class _Cursor(psycopg.RawCursor[Any]):
    """Reads rows with psycopg's own types, whatever the caller's connection has registered."""

    @property
    def adapters(self) -> AdaptersMap:
        return psycopg.adapters


class _AsyncCursor(psycopg.AsyncRawCursor[Any]):
    @property
    def adapters(self) -> AdaptersMap:
        return psycopg.adapters
