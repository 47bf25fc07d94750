"""Connect a command to its database, with its remarks and questions at the terminal."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from awa_cli.database.session import Session, dial, served
from awa_cli.database.target import find_target
from awa_cli.invocation import common
from awa_cli.terminal.output import say
from awa_cli.terminal.prompts import permit

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg
    import typer

    from awa_lib._sql import Statement

__all__ = ["connect", "open_session"]


@contextmanager
def connect(ctx: typer.Context, *, changing: bool = False) -> Iterator[psycopg.Connection[Any]]:
    """Open the connection of a command; before a change, name the database and ask if needed."""
    options = common(ctx)
    target = find_target(options)
    if changing:
        say(f"database: {target.title(color=options.color(sys.stderr))}")
        permit(ctx, target)
    with served(target) as url:
        conn = dial(target, url, seconds=options.connect_timeout)
        try:
            yield conn
        finally:
            conn.close()


@contextmanager
def open_session(ctx: typer.Context, *, changing: bool = False) -> Iterator[Session]:
    """Connect as ``connect`` does, and return the session that runs operations."""
    with connect(ctx, changing=changing) as conn:
        yield Session(conn, _show_statement if common(ctx).verbose else None)


def _show_statement(statement: Statement, seconds: float) -> None:
    text = " ".join((statement.query.text or statement.query.name).split())
    sys.stderr.write(f"sql: {1000 * seconds:.1f} ms  {text}\n")
