"""Run ops on psycopg connections, blocking and async.

``run`` and ``arun`` execute each statement that an op yields and send it the rows.  Errors of
psycopg do not leave this module: they are translated and thrown into the op, which may handle
them.
"""

from __future__ import annotations

import asyncio
import select
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import psycopg
from psycopg.pq import TransactionStatus

from awa_lib._sql import BEGIN, COMMIT, ROLLBACK, Op, Rows
from awa_lib.db.again import RENEW, Renew
from awa_lib.db.cursors import acursor_of, arows_of, cursor_of, rows_of
from awa_lib.db.translate import translate
from awa_lib.db.turns import thread_turn, turn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

    from awa_lib._sql import Statement

__all__ = [
    "abegin",
    "arun",
    "begin",
    "check_socket",
    "readable",
    "run",
    "turn",
]

P = ParamSpec("P")
R = TypeVar("R")


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
    cursor = cursor_of(conn)
    if statement.data is not None:
        with cursor.copy(statement.query.text) as copy:
            for block_of_text in statement.data:
                copy.write(block_of_text)
        return Rows()
    cursor.execute(statement.query.text, statement.values)
    return rows_of(cursor)


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
    cursor = acursor_of(conn)
    if statement.data is not None:
        async with cursor.copy(statement.query.text) as copy:
            for block_of_text in statement.data:
                await copy.write(block_of_text)
        return Rows()
    await cursor.execute(statement.query.text, statement.values)
    return await arows_of(cursor)
