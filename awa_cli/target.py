"""Which database a command works on, and the one connection to it.

``--database-url`` wins over ``DATABASE_URL``.  Nothing is ever used in their stead: a deployment
step with a forgotten variable must fail, not migrate some empty local database.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from awa_cli.options import common
from awa_cli.output import say

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg
    import typer

    from awa_lib._sql import Op

__all__ = ["Session", "Target", "connect", "describe", "dial", "find_target", "open_session"]

R = TypeVar("R")

_CONNECT_SECONDS: Final = 5
_WAYS: Final = (
    "pass --database-url postgresql://USER@HOST/NAME, or set DATABASE_URL; "
    "without a server: --database-url embedded:"
)


@dataclass(frozen=True, slots=True)
class Target:
    """A database.  ``label`` names it without the password; ``secret`` is that password."""

    url: str
    label: str
    secret: str | None = None

    def scrub(self, text: str) -> str:
        """Take the password out of a text."""
        return text.replace(self.secret, "***") if self.secret else text


@dataclass(frozen=True, slots=True)
class Session:
    """One open connection to the target."""

    conn: psycopg.Connection[Any]

    def run(self, op: Op[R]) -> R:
        """Run one operation or read and return its result."""
        from awa_lib._drive import run

        return run(self.conn, op)


def find_target(ctx: typer.Context) -> Target:
    """Return the database that was named.  Raises InvalidInput when none was."""
    from awa_lib.errors import InvalidInput

    url = common(ctx).database_url or os.environ.get("DATABASE_URL", "")
    if not url.strip():
        raise InvalidInput(
            "no database was named",
            why="neither --database-url nor DATABASE_URL is set",
            hint=_WAYS,
        )
    return describe(url.strip())


def describe(url: str) -> Target:
    """Read a database URL.  Raises InvalidInput, without a word of the URL."""
    import psycopg
    from psycopg.conninfo import conninfo_to_dict

    from awa_lib.errors import InvalidInput

    if url.startswith("embedded:"):
        return Target(url, url)
    try:
        parts = conninfo_to_dict(url)
    except psycopg.Error:
        # libpq quotes what it could not read, which may be the password: its message is dropped.
        raise InvalidInput(
            "the database URL cannot be read",
            why="it is neither postgresql://… nor key=value pairs nor embedded:",
            hint=_WAYS,
        ) from None
    host = str(parts.get("host") or os.environ.get("PGHOST") or "local socket")
    port = str(parts.get("port") or os.environ.get("PGPORT") or "5432")
    user = str(parts.get("user") or os.environ.get("PGUSER") or "")
    name = str(parts.get("dbname") or os.environ.get("PGDATABASE") or user)
    where = f"{host}:{port}" if not host.startswith("/") and host != "local socket" else host
    password = parts.get("password")
    label = f"{user}@{where}/{name}" if user else f"{where}/{name}"
    return Target(url, label, str(password) if password else None)


@contextmanager
def connect(ctx: typer.Context, *, changing: bool = False) -> Iterator[psycopg.Connection[Any]]:
    """Open the one connection of a command; say which database it is when it will change it."""
    target = find_target(ctx)
    with served(target) as url:
        if changing:
            say(f"database: {target.label}")
        conn = dial(target, url)
        try:
            yield conn
        finally:
            conn.close()


@contextmanager
def open_session(ctx: typer.Context, *, changing: bool = False) -> Iterator[Session]:
    """Do what ``connect`` does, and give what runs operations."""
    with connect(ctx, changing=changing) as conn:
        yield Session(conn)


@contextmanager
def served(target: Target) -> Iterator[str]:
    """Give the URL of a server: an embedded one is started first, and kept while in use."""
    if not target.url.startswith("embedded:"):
        yield target.url
        return
    from awa_lib.embedded import acquire

    with acquire(target.url) as server:
        yield server.url


def dial(target: Target, url: str | None = None) -> psycopg.Connection[Any]:
    """Open an autocommit connection in UTC within five seconds.  Raises Unavailable."""
    import psycopg
    from psycopg.conninfo import conninfo_to_dict

    from awa_lib.errors import Unavailable

    address = url or target.url
    arguments: dict[str, Any] = {
        "autocommit": True,
        "application_name": "awa",
        "options": "-c timezone=UTC -c datestyle=ISO",
        "connect_timeout": _CONNECT_SECONDS,
    }
    given = conninfo_to_dict(address)
    if given.get("options"):
        arguments["options"] = f"{given['options']} {arguments['options']}"
    if given.get("connect_timeout"):
        del arguments["connect_timeout"]
    try:
        try:
            return psycopg.Connection.connect(address, **arguments)
        except psycopg.OperationalError as error:
            if "startup parameter" not in str(error):
                raise
        # A pooler that passes no start-up parameters on.
        del arguments["options"]
        return psycopg.Connection.connect(address, **arguments, prepare_threshold=None)
    except psycopg.Error as error:
        cause = target.scrub(_cause(str(error)))
        raise Unavailable(
            f"cannot connect to {target.label}", why=cause, hint=_advice(cause)
        ) from None


def _cause(message: str) -> str:
    """Keep the last clause of libpq's message, which names the cause."""
    first = message.strip().partition("\n")[0]
    return first.rpartition(" failed: ")[2].removeprefix("FATAL:").strip().rstrip(".")


def _advice(cause: str) -> str:
    if "does not exist" in cause and cause.startswith("database"):
        return "create it (createdb NAME), or correct the name in the URL"
    if "password" in cause or "role" in cause or "authentication" in cause:
        return "check user and password in the URL, PGPASSWORD or ~/.pgpass"
    if "too many" in cause or "slots" in cause:
        return "wait, or close other connections; see pg_stat_activity"
    return "check that the server runs and that host and port are right: pg_isready -h HOST -p PORT"
