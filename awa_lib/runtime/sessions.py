"""Open a connection of the worker within the bounds of its duty, and run ops on it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

import psycopg

from awa_lib._sql import BEGIN, COMMIT, ROLLBACK, sql
from awa_lib.db.connect import Purpose, connect, connect_async, cut, settings_for
from awa_lib.db.translate import translate

if TYPE_CHECKING:
    from awa_lib._sql import Op

__all__ = ["HOT_PLANS", "AnswerTimeout", "Bounds", "open_async", "open_sync", "with_settings"]

R = TypeVar("R")

# The hot statements are all index lookups.  On a fresh, fast-growing table without statistics the
# planner otherwise picks bitmap scans and sorts over the whole backlog (measured: 7 times slower).
HOT_PLANS: Final = (
    ("enable_seqscan", "off"),
    ("enable_bitmapscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("plan_cache_mode", "force_generic_plan"),
)


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long the statements of a duty may take, and how they are planned."""

    lock_ms: int = 2_000
    """Longest wait for another transaction's lock."""
    statement_seconds: int = 15
    """Longest statement, by the server's clock."""
    hot: bool = False
    """Plan index look-ups only, whatever the statistics say."""
    settings: tuple[tuple[str, str], ...] = ()

    @property
    def answer_seconds(self) -> float:
        """Return after how long without an answer the connection of an op is cut.

        An op may hold several statements, and the server may be late.
        """
        return 2.0 * self.statement_seconds + 5.0

    def purpose(self, duty: str) -> Purpose:
        """Return the purpose that a connection of this duty is opened with."""
        settings = (
            ("lock_timeout", _time(self.lock_ms)),
            ("statement_timeout", _time(self.statement_seconds * 1000)),
            # A process that is stopped in a transaction must not hold its locks forever.
            ("idle_in_transaction_session_timeout", "30s"),
            ("jit", "off"),
            *(HOT_PLANS if self.hot else ()),
            *self.settings,
        )
        return Purpose(f"awa worker: {duty}", settings)


def _time(milliseconds: int) -> str:
    """Write a time as the server does: in the largest unit that divides it."""
    for unit, size in (("min", 60_000), ("s", 1_000)):
        if milliseconds % size == 0:
            return f"{milliseconds // size}{unit}"
    return f"{milliseconds}ms"


async def open_async(dsn: str, purpose: Purpose) -> psycopg.AsyncConnection[tuple[Any, ...]]:
    """Open an async connection.  Raises Unavailable or DatabaseError."""
    try:
        return await connect_async(dsn, purpose)
    except psycopg.Error as error:
        raise translate(error) from error


def open_sync(dsn: str, purpose: Purpose) -> psycopg.Connection[tuple[Any, ...]]:
    """Open a blocking connection.  Raises Unavailable or DatabaseError."""
    try:
        return connect(dsn, purpose)
    except psycopg.Error as error:
        raise translate(error) from error


def with_settings(conn: psycopg.Connection[Any] | psycopg.AsyncConnection[Any], op: Op[R]) -> Op[R]:
    """Return an op that sets the connection's settings if the session does not keep them."""
    settings = settings_for(conn)
    return _in_transaction(op, settings) if settings else op


def _in_transaction(op: Op[R], settings: tuple[tuple[str, str], ...]) -> Op[R]:
    yield BEGIN
    try:
        yield sql.connections(
            "set_local", names=[n for n, _ in settings], values=[v for _, v in settings]
        )
        result = yield from op
    except Exception:
        yield ROLLBACK
        raise
    yield COMMIT
    return result


class AnswerTimeout:
    """Cut a connection when the block lasts longer than ``seconds``.

    The cut comes half a second later, so that an event loop that was blocked first reads the
    answers that have arrived.  A cancel would not do: psycopg waits for the server's answer to it.
    """

    def __init__(self, conn: psycopg.AsyncConnection[Any], seconds: float) -> None:
        self._conn = conn
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(seconds, self._cut_soon)

    def __enter__(self) -> None:
        """Enter the block."""

    def __exit__(self, *_: object) -> None:
        """Leave the block: the answer is here."""
        self._timer.cancel()

    def _cut_soon(self) -> None:
        self._timer = self._loop.call_later(0.5, cut, self._conn)
