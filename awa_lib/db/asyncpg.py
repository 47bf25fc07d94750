"""Run ops on asyncpg connections.

asyncpg encodes parameters in binary and needs the exact Python type of each; ops send text that
PostgreSQL reads.  Every parameter of ours is written ``$n::type``, so it is sent as text and cast
twice, ``$n::text::type``.
"""

from __future__ import annotations

import asyncio
import re
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Final, TypeVar
from weakref import WeakKeyDictionary

from awa_lib._sql import BEGIN, COMMIT, ROLLBACK, Op, Rows
from awa_lib.codec import pgtext
from awa_lib.db.translate import explain, translate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from awa_lib._sql import Statement
    from awa_lib.errors import AwaError

__all__ = ["run"]

R = TypeVar("R")

_PARAM: Final = re.compile(r"\$(\d+)::")
_COPY: Final = re.compile(r"COPY (\w+)\.(\w+) \(([^)]*)\)\s+FROM STDIN", re.IGNORECASE)
# By connection: tasks that share a connection take turns.
_turns: WeakKeyDictionary[Any, asyncio.Lock] = WeakKeyDictionary()


async def run(conn: Any, op: Op[R]) -> R:
    """Run an op on an asyncpg connection or pool connection and return its result.

    Nothing is committed in the caller's transaction; atomic ops use savepoints.  Ops of several
    tasks take turns; asyncpg refuses a statement of the caller while another runs.
    """
    async with _turn(conn):
        open_blocks: list[Any] = []
        try:
            return await _steps(conn, op, open_blocks)
        except BaseException:
            await _undo(conn, open_blocks)
            raise


def _turn(conn: Any) -> asyncio.Lock:
    # A pool connection has no weak references, but the connection inside it has.
    inner = getattr(conn, "_con", conn)
    # None: it was given back to the pool, and the first statement will raise.
    return asyncio.Lock() if inner is None else _turns.setdefault(inner, asyncio.Lock())


async def _undo(conn: Any, open_blocks: list[Any]) -> None:
    """Roll back what an op has begun: no half of it must stay."""
    try:
        while open_blocks:
            block = open_blocks.pop()
            # A lost connection has no transaction to roll back.
            if not _lost(conn):
                await block.rollback()
    except BaseException:
        if not _lost(conn):
            conn.terminate()
        raise


async def _steps(conn: Any, op: Op[R], open_blocks: list[Any]) -> R:
    import asyncpg

    try:
        statement = next(op)
        while True:
            try:
                if statement.work is None:
                    rows = await _execute(conn, statement, open_blocks)
                else:
                    rows = Rows([(await asyncio.to_thread(statement.work),)])
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, UnicodeError) as error:
                statement = op.throw(_translate(error, conn).with_traceback(error.__traceback__))
            else:
                statement = op.send(rows)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return] # StopIteration.value is Any


async def _execute(conn: Any, statement: Statement, open_blocks: list[Any]) -> Rows:
    if statement is BEGIN:
        block = conn.transaction()
        await block.start()
        open_blocks.append(block)
    elif statement is COMMIT:
        await open_blocks.pop().commit()
    elif statement is ROLLBACK:
        await open_blocks.pop().rollback()
    elif statement.data is not None:
        await _copy(conn, statement.query.text, statement.data)
    else:
        records = await conn.fetch(
            _as_text(statement.query.text), *[_text(value) for value in statement.values]
        )
        if records:
            return Rows([tuple(record) for record in records], tuple(records[0].keys()))
    return Rows()


async def _copy(conn: Any, text: str, data: Iterable[str]) -> None:
    found = _COPY.match(text)
    assert found is not None, text
    schema, table, columns = found.groups()

    async def blocks() -> AsyncIterator[bytes]:
        for block in data:
            yield block.encode()

    await conn.copy_to_table(
        table,
        schema_name=schema,
        columns=[column.strip() for column in columns.split(",")],
        source=blocks(),
    )


@cache
def _as_text(text: str) -> str:
    return _PARAM.sub(r"$\1::text::", text)


def _text(value: Any) -> str | None:
    """Return a parameter as text for PostgreSQL."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "t" if value else "f"
    if isinstance(value, list | tuple):
        return pgtext.nullable_array([_text(one) for one in value])
    if isinstance(value, bytes):
        return "\\x" + value.hex()
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _lost(conn: Any) -> bool:
    import asyncpg

    try:
        return bool(conn.is_closed())
    except asyncpg.InterfaceError:  # it was given back to its pool
        return True


def _translate(error: Exception, conn: Any) -> AwaError:
    if isinstance(error, UnicodeError):
        return translate(error)
    return explain(
        getattr(error, "message", None) or str(error),
        getattr(error, "sqlstate", None),
        constraint=getattr(error, "constraint_name", None),
        detail=getattr(error, "detail", None),
        hint=getattr(error, "hint", None),
        context=getattr(error, "context", None),
        broken=_lost(conn) or isinstance(error, OSError),
    )
