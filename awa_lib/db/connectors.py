"""How the pools of a client connect.

Connecting pauses for a second at most between its tries; psycopg's own pauses grow.
"""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import psycopg

from awa_lib.db.connect import Purpose, connect, connect_async
from awa_lib.db.jitter import RANDOM
from awa_lib.db.refusals import advice, ask_why
from awa_lib.db.translate import translate
from awa_lib.db.urls import read_address
from awa_lib.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["WAIT_SECONDS", "AsyncConn", "AsyncConnect", "Conn", "Connect"]

AsyncConn: TypeAlias = psycopg.AsyncConnection[tuple[Any, ...]]
Conn: TypeAlias = psycopg.Connection[tuple[Any, ...]]

WAIT_SECONDS: Final = 10.0
# After this time without a connection the next caller makes the pool start again.
_RETRY_SECONDS: Final = WAIT_SECONDS
_FIRST_PAUSE_SECONDS: Final = 0.1
_LONGEST_PAUSE_SECONDS: Final = 1.0


class Connector:
    """The connecting part of both kinds of pool."""

    def __init__(self, dsn: str, purpose: Purpose) -> None:
        given = read_address(dsn)
        self.address = f"{given.get('host') or 'the local socket'}:{given.get('port') or 5432}"
        self.dsn = dsn
        self.purpose = purpose
        self.error: psycopg.Error | None = None

    def pauses(self) -> Iterator[float]:
        """Yield the pauses before further tries, while there is time for one."""
        until = time.monotonic() + _RETRY_SECONDS
        pause = _FIRST_PAUSE_SECONDS
        while time.monotonic() + pause < until:
            yield pause * RANDOM.uniform(0.7, 1.0)
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    def out_of_time(self, size: int, seconds: float = WAIT_SECONDS) -> Unavailable:
        """Return the error when no connection became free in time."""
        if self.error is not None:
            return Unavailable(
                f"no connection to the database at {self.address} within {seconds:.0f} s",
                why=str(translate(self.error)),
                hint="check that the server runs and the URL is right",
            )
        return Unavailable(
            f"no connection was free within {seconds:.0f} s",
            why=f"all {size} connections of this client are in use",
            hint="end transactions sooner, or give the client more max_connections",
        )

    def unreachable(self, error: psycopg.Error) -> Unavailable:
        """Return the error for a first connection that failed.  Connects again: see ``ask_why``."""
        refusal = ask_why(error, self.dsn, self.purpose)
        return Unavailable(
            f"cannot connect to the database at {self.address}",
            sqlstate=error.sqlstate or (refusal and refusal.sqlstate),
            why=str(error).strip().replace("\n", " "),
            hint=advice(str(error), refusal) or "check that the server runs and the URL is right",
        )


class Connect(Connector):
    """Takes the place of a pool's connection class; returns the first connection once."""

    def __init__(self, dsn: str, purpose: Purpose) -> None:
        super().__init__(dsn, purpose)
        self.ready: list[Conn] = []
        self.closed = threading.Event()

    def connect(self, conninfo: str = "", **_: Any) -> Conn:
        """Open a connection for the pool; try for some seconds."""
        if self.ready:
            return self.ready.pop()
        pauses = self.pauses()
        while True:
            try:
                return self.dial(conninfo)
            except psycopg.Error:
                pause = next(pauses, None)
                if pause is None or self.closed.wait(pause):
                    raise

    def dial(self, conninfo: str) -> Conn:
        """Open a connection, or fail at once."""
        try:
            conn = connect(conninfo, self.purpose)
        except psycopg.Error as error:
            self.error = error
            raise
        self.error = None
        return conn


class AsyncConnect(Connector):
    """The async form of ``Connect``."""

    def __init__(self, dsn: str, purpose: Purpose) -> None:
        super().__init__(dsn, purpose)
        self.ready: list[AsyncConn] = []
        self.closed = asyncio.Event()

    async def connect(self, conninfo: str = "", **_: Any) -> AsyncConn:
        """Open a connection for the pool; try for some seconds."""
        if self.ready:
            return self.ready.pop()
        pauses = self.pauses()
        while True:
            try:
                return await self.dial(conninfo)
            except psycopg.Error:
                pause = next(pauses, None)
                if pause is not None:
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self.closed.wait(), pause)
                if pause is None or self.closed.is_set():
                    raise

    async def dial(self, conninfo: str) -> AsyncConn:
        """Open a connection, or fail at once."""
        try:
            conn = await connect_async(conninfo, self.purpose)
        except psycopg.Error as error:
            self.error = error
            raise
        self.error = None
        return conn
