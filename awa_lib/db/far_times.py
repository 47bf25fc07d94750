"""Times that PostgreSQL holds and Python does not: before the year 1, after 9999, infinity.

Another program may have written one, and its row must not keep the others from being read.  The
nearest day that has a local time everywhere stands for it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, cast

import psycopg
from psycopg.adapt import AdaptersMap, Transformer
from psycopg.types.datetime import TimestamptzLoader

if TYPE_CHECKING:
    from psycopg.abc import Buffer

__all__ = ["read_again"]

_FIRST: Final = datetime(1, 1, 2, tzinfo=UTC)
_LAST: Final = datetime(9999, 12, 30, tzinfo=UTC)


class _Loader(TimestamptzLoader):
    def load(self, data: Buffer) -> datetime:
        try:
            return super().load(data)
        except psycopg.DataError:
            text = bytes(data)
            return _FIRST if text.endswith(b"BC") or text.startswith(b"-") else _LAST


_ADAPTERS: Final = AdaptersMap(psycopg.adapters)
_ADAPTERS.register_loader("timestamptz", _Loader)


class _Context:
    """What a transformer takes its loaders from."""

    adapters = _ADAPTERS

    def __init__(self, connection: Any) -> None:
        self.connection = connection


def read_again(cursor: psycopg.Cursor[Any] | psycopg.AsyncCursor[Any]) -> list[tuple[Any, ...]]:
    """Return the rows of a result that psycopg could not read.  Raises psycopg.DataError."""
    result = cursor.pgresult
    assert result is not None
    reader = Transformer(cast("Any", _Context(cursor.connection)))
    reader.set_pgresult(result)
    return list(reader.load_rows(0, result.ntuples, tuple))
