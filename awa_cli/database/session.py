"""Connections of commands and of the monitor to their target."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from awa_cli import clock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import psycopg

    from awa_cli.database.target import Target
    from awa_lib._sql import Op, Rows, Statement
    from awa_lib.db.connect import Purpose
    from awa_lib.db.refusals import Refusal
    from awa_lib.errors import Unavailable

__all__ = ["Session", "adial", "dial", "served"]

R = TypeVar("R")

_CONNECT_SECONDS: Final = 5.0
_UNKNOWN: Final = "check that the server runs, and its host and port: pg_isready -h HOST -p PORT"


@dataclass(frozen=True, slots=True)
class Session:
    """An open connection; ``log`` is called with each statement and its duration in seconds."""

    conn: psycopg.Connection[Any]
    log: Callable[[Statement, float], None] | None = None

    def run(self, op: Op[R]) -> R:
        """Run an operation or a read and return its result."""
        from awa_lib.db.drive import run

        return run(self.conn, op if self.log is None else _timed(op, self.log))

    def noted(
        self,
        action_id: str,
        target: object,
        op: Op[R],
        outcome: Callable[[R], dict[str, Any] | None] | None = None,
        **detail: Any,
    ) -> Op[R]:
        """Return the op of a change together with its entry in the audit log."""
        from awa_cli.views.actions import operator, recorded

        return recorded(
            action_id, target, op, via="cli", actor=operator(), outcome=outcome, **detail
        )

    def change(
        self,
        action_id: str,
        target: object,
        op: Op[R],
        outcome: Callable[[R], dict[str, Any] | None] | None = None,
        **detail: Any,
    ) -> R:
        """Run a change together with its entry in the audit log."""
        return self.run(self.noted(action_id, target, op, outcome, **detail))


def _timed(op: Op[R], log: Callable[[Statement, float], None]) -> Op[R]:
    """Run an op and log each statement with its duration."""
    answer: Rows | None = None
    failure: Exception | None = None
    while True:
        try:
            statement = op.throw(failure) if failure is not None else op.send(answer)  # type: ignore[arg-type] # a generator starts with None
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return] # a StopIteration is not generic
        began, failure = time.perf_counter(), None
        try:
            answer = yield statement
        except Exception as error:  # noqa: BLE001 - the op handles it
            failure = error
        log(statement, time.perf_counter() - began)


@contextmanager
def served(target: Target) -> Iterator[str]:
    """Yield the URL of a server; an embedded server is started first, and kept while in use."""
    if not target.url.startswith("embedded:"):
        yield target.url
        return
    from awa_lib.embedded import acquire

    with acquire(target.url) as server:
        yield server.url


def dial(
    target: Target, url: str | None = None, *, seconds: float | None = None
) -> psycopg.Connection[Any]:
    """Open an autocommit connection in UTC.  Raises Unavailable.

    ``seconds`` is the connect timeout, by default that of the URL, else 5.
    """
    import psycopg

    from awa_lib.db.connect import connect
    from awa_lib.db.drive import run
    from awa_lib.db.refusals import ask_why
    from awa_lib.reads.health import server_time

    dialled = url or target.url
    purpose, password = _purpose(target, url, seconds), _password(target)
    try:
        conn = connect(dialled, purpose, **password)
    except psycopg.Error as error:
        refusal = ask_why(error, dialled, purpose, **password)
        raise _unavailable(target, error, refusal) from None
    try:
        clock.follow(run(conn, server_time()))
    except BaseException:
        conn.close()
        raise
    return conn


async def adial(
    target: Target,
    url: str | None = None,
    *,
    seconds: float | None = None,
    settings: tuple[tuple[str, str], ...] = (),
) -> psycopg.AsyncConnection[Any]:
    """Open an asynchronous connection as ``dial`` does, with more session settings."""
    import asyncio

    import psycopg

    from awa_lib.db.connect import connect_async
    from awa_lib.db.refusals import ask_why

    dialled = url or target.url
    purpose, password = _purpose(target, url, seconds, settings), _password(target)
    try:
        return await connect_async(
            dialled,
            purpose,
            # A person is watching: a dead peer is detected within about ten seconds.
            keepalives_idle=5,
            keepalives_interval=2,
            keepalives_count=3,
            **password,
        )
    except psycopg.Error as error:
        refusal = await asyncio.to_thread(ask_why, error, dialled, purpose, **password)
        raise _unavailable(target, error, refusal) from None


def _purpose(
    target: Target,
    url: str | None,
    seconds: float | None,
    settings: tuple[tuple[str, str], ...] = (),
) -> Purpose:
    from psycopg.conninfo import conninfo_to_dict

    from awa_lib.db.connect import Purpose

    if seconds is None and not conninfo_to_dict(url or target.url).get("connect_timeout"):
        seconds = _CONNECT_SECONDS
    # A command sends too few statements for any to be prepared, so it also works with a pooler.
    return Purpose("awa", settings, connect_seconds=seconds, checked=bool(settings))


def _password(target: Target) -> dict[str, str]:
    return {} if target.password is None else {"password": target.password}


def _unavailable(target: Target, error: Exception, refusal: Refusal | None) -> Unavailable:
    from awa_lib.db.refusals import advice
    from awa_lib.errors import Unavailable

    cause = target.scrub(_cause(str(error), refused=refusal is not None))
    hint = advice(cause, refusal) or _UNKNOWN
    return Unavailable(
        f"cannot connect to {target.label}",
        sqlstate=refusal and refusal.sqlstate,
        why=cause,
        hint=hint,
    )


def _cause(message: str, *, refused: bool) -> str:
    """Return the last clause of libpq's message, which names the cause."""
    cause = message.strip().partition("\n")[0].rpartition(" failed: ")[2].strip().rstrip(".")
    # The severity, in the server's language.
    return cause.partition(":")[2].strip() if refused else cause
