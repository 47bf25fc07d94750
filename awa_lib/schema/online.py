"""Run the scripts that build indexes online, without a time when a valid index is missing.

A script drops what an interrupted build left and builds the index again, so that psql can repeat
it.  If the index is in use, as when the toolkit's scripts are applied again, claims would be
without it while the build waits for old transactions.  So an index with the same definition stays;
any other is renamed and kept until the new index is complete.
"""

from __future__ import annotations

import json
import re
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from psycopg import RawCursor
from psycopg import sql as names
from psycopg.rows import tuple_row

from awa_lib._sql import Statement, folder, sql
from awa_lib.schema.scripts import load

if TYPE_CHECKING:
    from psycopg import Connection

    from awa_lib.schema.scripts import Migration

__all__ = ["execute", "index_definition", "run_online", "wanted_definition"]

_DROP: Final = re.compile(r"DROP INDEX CONCURRENTLY IF EXISTS awa\.(\w+)")
_CREATE: Final = re.compile(r"CREATE (?:UNIQUE )?INDEX CONCURRENTLY (\w+)\s")
_OLD: Final = "_before"


def run_online(conn: Connection[Any], migration: Migration) -> None:
    """Run a script without a transaction; the last of its statements records it."""
    *work, record = migration.statements()
    built = {match[1] for text in work if (match := _CREATE.match(text))}
    for text in work:
        if (match := _CREATE.match(text)) is not None:
            _build(conn, migration, match[1], text)
        elif (match := _DROP.match(text)) is None or match[1] not in built:
            conn.execute(text.encode())
    with conn.transaction():
        execute(conn, sql.schema("forget_mark", version=migration.version))
        conn.execute(record.encode())


def _build(conn: Connection[Any], migration: Migration, name: str, text: str) -> None:
    if name in _dropped_after(migration):
        # A later script replaces it: building it would be useless.
        return
    usable, definition = index_definition(conn, name) or (False, "")
    index, old = names.Identifier("awa", name), names.Identifier("awa", name + _OLD)
    if not (usable and definition == wanted_definition(name)):
        if usable:
            _run_named(conn, sql.schema("drop_index"), index=old)
            to = names.Identifier(name + _OLD)
            _run_named(conn, sql.schema("rename_index"), index=index, to=to)
        else:
            _run_named(conn, sql.schema("drop_index"), index=index)
        conn.execute(text.encode())
    # Also the index that a killed migrator left.
    _run_named(conn, sql.schema("drop_index"), index=old)


def _dropped_after(migration: Migration) -> set[str]:
    """Return the indexes that later scripts drop and do not build again."""
    scripts = load()
    later = [item for item in scripts[scripts.index(migration) + 1 :] if not item.transactional]
    texts = [text for item in later for text in item.statements()]
    dropped = {match[1] for text in texts if (match := _DROP.match(text))}
    return dropped - {match[1] for text in texts if (match := _CREATE.match(text))}


def index_definition(conn: Connection[Any], name: str) -> tuple[bool, str] | None:
    """Return whether an index is valid and its definition, or None if it does not exist."""
    found: tuple[bool, str] | None = execute(
        conn, sql.schema("index_definition", name=name)
    ).fetchone()
    return found


def execute(conn: Connection[Any], statement: Statement) -> RawCursor[Any]:
    """Run a named statement; errors of psycopg are not translated, as for the scripts."""
    cursor = RawCursor(conn, row_factory=tuple_row)
    cursor.execute(statement.query.text, statement.values)
    return cursor


def wanted_definition(name: str) -> str | None:
    """Return the definition of an index as the migrations make it."""
    return _wanted().get(name)


@cache
def _wanted() -> dict[str, str]:
    given = json.loads((folder() / "schema.json").read_text(encoding="utf-8"))
    wanted: dict[str, str] = given.get("index_definitions", {})
    return wanted


def _run_named(conn: Connection[Any], statement: Statement, **given: names.Composable) -> None:
    # Names cannot be parameters; these come from our own scripts.
    conn.execute(names.SQL(statement.query.text).format(**given))
