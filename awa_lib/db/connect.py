"""Open connections; no other module of the project does.

A setting may come from several places.  The first of these wins:

1. Required: UTF-8, time zone UTC, ISO dates, postgres intervals and standard strings.  Neither the
   URL nor the environment (``PGCLIENTENCODING``, ``PGDATESTYLE`` …) nor the role changes them.
2. The ``options`` of the URL.
3. The settings of the purpose, then our defaults: read committed, and keepalives and time-outs
   with which both ends notice a silent peer within half a minute.
4. The role and the database.

Start-up parameters may not arrive: a pooler refuses or drops them.  So the settings are read after
connecting.  Behind a pooler (another process answers than the one that accepted the connection)
nothing is prepared, and settings go with each transaction: see ``settings_for``.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary, WeakSet

import psycopg

from awa_lib._sql import sql
from awa_lib.db.cursors import keep_cursor
from awa_lib.db.urls import read_address

if TYPE_CHECKING:
    from collections.abc import Iterable

    from awa_lib._sql import Statement

__all__ = [
    "Purpose",
    "as_options",
    "connect",
    "connect_async",
    "cut",
    "hang_up",
    "opened",
    "plan",
    "settings_for",
]

AnyConn = psycopg.Connection[Any] | psycopg.AsyncConnection[Any]

# The server reports these, so that checking them costs no round trip.  Environment variables of
# libpq override the options of the same name.
_MUST_BE: Final = {
    "client_encoding": "UTF8",
    "TimeZone": "UTC",
    "DateStyle": "ISO",
    "IntervalStyle": "postgres",
    "standard_conforming_strings": "on",
}
# Both ends: 10 s of silence, then three probes 5 s apart.
_KEEPALIVES: Final = {"idle": 10, "interval": 5, "count": 3}
_UNANSWERED_MS: Final = 20_000
_OPTIONS: Final = (
    "-c timezone=UTC -c datestyle=ISO -c intervalstyle=postgres "
    "-c default_transaction_isolation=read\\ committed "
    f"-c tcp_user_timeout={_UNANSWERED_MS} "
    + " ".join(f"-c tcp_keepalives_{name}={value}" for name, value in _KEEPALIVES.items())
)
_CONNECT_SECONDS: Final = 10
# How long a cancelled task waits for the connection that it was making, so that it can close it.
_HANG_UP_SECONDS: Final = 0.5
_SOCKETS: Final = 4096
_refusing: Final[WeakSet[asyncio.AbstractEventLoop]] = WeakSet()
# At most one host takes such sessions, whatever their order.
_ONE_HOST: Final = ("read-write", "primary")
# With several hosts, for each of them.
_CONNECT_SECONDS_EACH: Final = 4


@dataclass(frozen=True, slots=True)
class Purpose:
    """The purpose of a connection, and its settings."""

    name: str = "awa"
    """The application_name, unless the URL has one."""
    settings: tuple[tuple[str, str], ...] = field(default=())
    """Further server settings by name; values as the server writes them."""
    connect_seconds: float | None = None
    """The time-out of connecting; None for that of the URL, by default 10 s."""
    checked: bool = True
    """Read which settings arrived, in one round trip."""


# Which of several hosts took the last connection to an address; it is asked first.  A host that is
# silent costs each connection its whole time-out when it comes before.
_found: dict[str, int] = {}
_OF_HOSTS: Final = ("host", "hostaddr", "port")

# A forked child of a worker must not keep these open: see awa_lib.runtime.forks.
opened: WeakSet[AnyConn] = WeakSet()
_pooled: WeakKeyDictionary[AnyConn, tuple[tuple[str, str], ...]] = WeakKeyDictionary()


def settings_for(conn: AnyConn) -> tuple[tuple[str, str], ...]:
    """Return the settings that each transaction on this connection has to set.

    Empty, except behind a pooler, where the session may be another one's.
    """
    return _pooled.get(conn, ())


async def connect_async(
    dsn: str, purpose: Purpose, **arguments: Any
) -> psycopg.AsyncConnection[tuple[Any, ...]]:
    """Open an async autocommit connection; further arguments go to libpq.

    Raises psycopg.Error, ValidationError for an address that cannot be read.
    """
    planned = plan(dsn, purpose) | arguments
    try:
        conn = await _dial(dsn, planned)
    except psycopg.OperationalError as error:
        if not _refused_options(error):
            raise
        del planned["options"]
        conn = await _dial(dsn, planned)
    opened.add(conn)
    keep_cursor(conn)
    _remember(dsn, conn)
    # A pooler accepts connections even if its server does not answer.
    late = asyncio.get_running_loop().call_later(_patience(dsn, planned), cut, conn)
    try:
        async with psycopg.AsyncRawCursor(conn) as cursor:
            for statement in _first_statements(conn, purpose):
                await cursor.execute(statement.query.text, statement.values)
            if purpose.checked:
                _judge(conn, dsn, purpose, await cursor.fetchone())
    except BaseException:
        await conn.close()
        raise
    finally:
        late.cancel()
    return conn


async def _dial(dsn: str, planned: dict[str, Any]) -> psycopg.AsyncConnection[Any]:
    """Connect; after a cancellation, close the connection as soon as it is open.

    psycopg leaves it open until its memory is freed, which may be never.
    """
    if (loop := asyncio.get_running_loop()) in _refusing:
        _refusing.discard(loop)
        _forget_polls(loop)
    dialling = asyncio.ensure_future(psycopg.AsyncConnection.connect(dsn, **planned))
    try:
        return await asyncio.shield(dialling)
    except asyncio.CancelledError:
        try:
            # The event loop may end next; it would cancel this task, and nobody would hang up.
            await asyncio.wait([dialling], timeout=_HANG_UP_SECONDS)
        finally:
            dialling.add_done_callback(hang_up)
        raise
    except RuntimeError as error:
        if "the handler is closed" not in str(error):
            raise
        # The frames hold the socket, which must be closed before its poll can be forgotten.
        error.__traceback__ = None
        _refusing.add(asyncio.get_running_loop())
        raise psycopg.OperationalError("the event loop refused the socket") from None


def _forget_polls(loop: asyncio.AbstractEventLoop) -> None:
    """Make uvloop forget the polls of sockets that are closed.

    It may keep that of a socket whose connection has failed, and then refuses each later socket
    with the same number: a worker did not connect for a minute (uvloop 0.23, a host cut off).
    """
    for number in range(_SOCKETS):
        try:
            os.fstat(number)
        except OSError:
            loop.remove_reader(number)
            loop.remove_writer(number)


def hang_up(dialling: asyncio.Future[psycopg.AsyncConnection[Any]]) -> None:
    """Close a connection that nobody waits for any more, if it was opened."""
    if not dialling.cancelled() and dialling.exception() is None:
        dialling.result().pgconn.finish()


def connect(dsn: str, purpose: Purpose, **arguments: Any) -> psycopg.Connection[tuple[Any, ...]]:
    """Open a blocking autocommit connection.  See ``connect_async``."""
    planned = plan(dsn, purpose) | arguments
    try:
        conn = psycopg.Connection.connect(dsn, **planned)
    except psycopg.OperationalError as error:
        if not _refused_options(error):
            raise
        del planned["options"]
        conn = psycopg.Connection.connect(dsn, **planned)
    opened.add(conn)
    keep_cursor(conn)
    _remember(dsn, conn)
    late = threading.Timer(_patience(dsn, planned), cut, [conn])
    late.daemon = True
    late.start()
    try:
        with psycopg.RawCursor(conn) as cursor:
            for statement in _first_statements(conn, purpose):
                cursor.execute(statement.query.text, statement.values)
            if purpose.checked:
                _judge(conn, dsn, purpose, cursor.fetchone())
    except BaseException:
        conn.close()
        raise
    finally:
        late.cancel()
    return conn


def cut(conn: AnyConn) -> None:
    """Shut down the socket of a connection, from any thread: a waiting caller gets an error.

    Closing the connection during a statement would free memory that libpq still reads.
    """
    try:
        twin = socket.socket(fileno=os.dup(conn.pgconn.socket))
    except (OSError, psycopg.Error):
        return  # closed already
    try:
        twin.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # the peer has closed it already
    finally:
        twin.close()


@lru_cache(maxsize=64)
def _read(dsn: str) -> dict[str, Any]:
    return read_address(dsn)


def plan(dsn: str, purpose: Purpose) -> dict[str, Any]:
    """Return the arguments with which a connection is opened, beside the address."""
    given = _read(dsn)
    several = "," in str(given.get("host") or given.get("hostaddr") or "")
    ours: dict[str, Any] = {
        "application_name": purpose.name,
        "connect_timeout": _CONNECT_SECONDS_EACH if several else _CONNECT_SECONDS,
        "tcp_user_timeout": _UNANSWERED_MS,
        **{f"keepalives_{name}": value for name, value in _KEEPALIVES.items()},
    }
    if several and "PGTARGETSESSIONATTRS" not in os.environ:
        ours["target_session_attrs"] = "read-write"
    if "PGAPPNAME" in os.environ:
        del ours["application_name"]
    planned = {key: value for key, value in ours.items() if key not in given}
    if several and (given | planned).get("target_session_attrs") in _ONE_HOST:
        planned |= _found_first(dsn, given)
    if purpose.connect_seconds is not None:
        planned["connect_timeout"] = max(1, round(purpose.connect_seconds))
    options = f"{_OPTIONS} {as_options(purpose.settings)} {given.get('options') or ''}".strip()
    return {**planned, "client_encoding": "UTF8", "autocommit": True, "options": options}


def _split(given: dict[str, Any]) -> dict[str, list[str]]:
    """Return what a URL gives for each of several hosts."""
    return {key: str(given[key]).split(",") for key in _OF_HOSTS if "," in str(given.get(key))}


def _found_first(dsn: str, given: dict[str, Any]) -> dict[str, str]:
    """Return the hosts in their order, from the one on that took the last connection."""
    at = _found.get(dsn, 0)
    return {key: ",".join(words[at:] + words[:at]) for key, words in _split(given).items()}


def _remember(dsn: str, conn: AnyConn) -> None:
    took = {"host": conn.pgconn.host, "port": conn.pgconn.port, "hostaddr": conn.pgconn.hostaddr}
    several = _split(_read(dsn))
    for at, of_host in enumerate(zip(*several.values(), strict=False)):
        if all(word.encode() == took[key] for key, word in zip(several, of_host, strict=True)):
            _found[dsn] = at
            return


def _patience(dsn: str, planned: dict[str, Any]) -> float:
    """Return the time-out of the first answers: that of connecting."""
    seconds = float((_read(dsn) | planned).get("connect_timeout") or 0)
    return seconds if seconds > 0 else _CONNECT_SECONDS


def as_options(settings: Iterable[tuple[str, str]]) -> str:
    """Return settings in the form of libpq's ``options``."""
    return " ".join(f"-c {name}={_quoted(value)}" for name, value in settings)


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace(" ", "\\ ")


def _refused_options(error: psycopg.Error) -> bool:
    # The text of PgBouncer, which is never translated; errors of connecting have no code.
    return "startup parameter" in str(error)


def _first_statements(conn: AnyConn, purpose: Purpose) -> list[Statement]:
    """Return the statements that correct required settings and read what arrived."""
    bad = {
        name: value
        for name, value in _MUST_BE.items()
        if (said := _reported(conn, name)) is not None and not said.startswith(value)
    }
    statements = []
    if bad:
        statements.append(
            sql.connections("set_session", names=list(bad), values=list(bad.values()))
        )
    if purpose.checked:
        statements.append(sql.connections("arrived", names=[name for name, _ in purpose.settings]))
    return statements


def _reported(conn: AnyConn, name: str) -> str | None:
    said = conn.pgconn.parameter_status(name.encode())
    return None if said is None else said.decode("ascii", "replace")


def _judge(conn: AnyConn, dsn: str, purpose: Purpose, row: tuple[Any, ...] | None) -> None:
    """Detect a pooler: another process answers, or settings did not arrive."""
    assert row is not None
    own = str(_read(dsn).get("options") or "")
    lost = [
        name
        for (name, asked), got in zip(purpose.settings, row[1], strict=True)
        if asked != got and name not in own
    ]
    if lost or row[0] != conn.pgconn.backend_pid:
        conn.prepare_threshold = None
        _pooled[conn] = purpose.settings
