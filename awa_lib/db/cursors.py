"""The cursors that read rows; each connection of ours keeps one.

To make a cursor for each statement takes a sixth of the client's time for the insert of one job.  A
kept cursor and its connection refer to each other, so a caller's connection keeps none: it would
stay open after its last use until garbage is collected.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg.pq import ExecStatus
from psycopg.rows import tuple_row

from awa_lib._sql import Rows
from awa_lib.db.far_times import read_again

if TYPE_CHECKING:
    from psycopg.adapt import AdaptersMap

__all__ = ["acursor_of", "arows_of", "cursor_of", "keep_cursor", "rows_of"]

# In the namespace of a connection of ours: a cursor that is not in use, or None.
_KEPT: Final = "_awa_cursor"
# A kept cursor holds its last result.
_MOST_ROWS: Final = 1_000


class _Cursor(psycopg.RawCursor[Any]):
    """Reads rows with psycopg's own types, whatever the caller's connection has registered."""

    @property
    def adapters(self) -> AdaptersMap:
        return psycopg.adapters


class _AsyncCursor(psycopg.AsyncRawCursor[Any]):
    @property
    def adapters(self) -> AdaptersMap:
        return psycopg.adapters


def keep_cursor(conn: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> None:
    """Let a connection of ours keep a cursor."""
    vars(conn)[_KEPT] = None


def cursor_of(conn: psycopg.Connection[Any]) -> psycopg.RawCursor[Any]:
    """Return a cursor that nobody uses."""
    own = vars(conn)
    if (kept := own.get(_KEPT)) is None:
        return _Cursor(conn, row_factory=tuple_row)
    own[_KEPT] = None
    return kept  # type: ignore[no-any-return] # kept below


def acursor_of(conn: psycopg.AsyncConnection[Any]) -> psycopg.AsyncRawCursor[Any]:
    """Return a cursor that nobody uses."""
    own = vars(conn)
    if (kept := own.get(_KEPT)) is None:
        return _AsyncCursor(conn, row_factory=tuple_row)
    own[_KEPT] = None
    return kept  # type: ignore[no-any-return] # kept below


def rows_of(cursor: psycopg.RawCursor[Any]) -> Rows:
    """Return all rows of a statement that has succeeded; the cursor may be used again."""
    if (columns := _columns(cursor)) is None:
        found = Rows()
    else:
        try:
            found = Rows(cursor.fetchall(), columns)
        except psycopg.DataError:
            found = Rows(read_again(cursor), columns)
    _keep(cursor, found)
    return found


async def arows_of(cursor: psycopg.AsyncRawCursor[Any]) -> Rows:
    """Return all rows of a statement that has succeeded; the cursor may be used again."""
    if (columns := _columns(cursor)) is None:
        found = Rows()
    else:
        try:
            found = Rows(await cursor.fetchall(), columns)
        except psycopg.DataError:
            found = Rows(read_again(cursor), columns)
    _keep(cursor, found)
    return found


def _keep(cursor: psycopg.RawCursor[Any] | psycopg.AsyncRawCursor[Any], found: Rows) -> None:
    own = vars(cursor.connection)
    if _KEPT in own and len(found) <= _MOST_ROWS:
        own[_KEPT] = cursor


def _columns(
    cursor: psycopg.RawCursor[Any] | psycopg.AsyncRawCursor[Any],
) -> tuple[str, ...] | None:
    """Return the names of a result's columns, None if it has no rows.

    ``cursor.description`` builds an object for each column.
    """
    result = cursor.pgresult
    if result is None or result.status != ExecStatus.TUPLES_OK:
        return None
    return tuple([result.fname(n).decode() for n in range(result.nfields)])  # type: ignore[union-attr] # every column has a name
