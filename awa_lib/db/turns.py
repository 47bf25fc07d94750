"""Locks of a connection that tasks or threads share.

psycopg's own lock admits one statement at a time.  That is not enough for an op of several
statements: a statement of another task between them would join its transaction or savepoint and be
rolled back with it.  So psycopg's lock is wrapped in a lock that its holder may take again.  An op
holds it from its first statement to its last; other users of the connection, the caller's own code
included, wait.
"""

from __future__ import annotations

import asyncio
import os
import threading
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from types import TracebackType

    import psycopg

__all__ = ["thread_turn", "turn"]


class _TaskTurn(asyncio.Lock):
    """psycopg's lock of an async connection, entered again by the task that holds it."""

    def __init__(self, inner: asyncio.Lock) -> None:
        super().__init__()
        # Wrapped, not replaced: other tasks may be waiting for it.
        self._inner = inner
        self._owner: asyncio.Task[Any] | None = None
        self._depth = 0

    def locked(self) -> bool:
        return self._inner.locked()

    async def acquire(self) -> bool:  # type: ignore[override]  # typed as Literal[True] there
        task = asyncio.current_task()
        if self._owner is None or self._owner is not task:
            await self._inner.acquire()
            self._owner = task
        self._depth += 1
        return True

    def release(self) -> None:
        self._depth -= 1
        if self._depth == 0:
            self._owner = None
            self._inner.release()

    async def __aenter__(self) -> None:
        # Not by acquire(): psycopg enters it again for each statement, and a call costs.
        task = asyncio.current_task()
        if self._owner is None or self._owner is not task:
            await self._inner.acquire()
            self._owner = task
        self._depth += 1

    async def __aexit__(self, *_: object) -> None:
        self.release()


class _ThreadTurn:
    """psycopg's lock of a blocking connection, entered again by the thread that holds it."""

    def __init__(self, inner: threading.Lock) -> None:
        self._inner = inner
        self._owner = 0
        self._depth = 0

    def locked(self) -> bool:
        return self._inner.locked()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        me = threading.get_ident()
        if self._owner != me:
            if not self._inner.acquire(blocking, timeout):
                return False
            self._owner = me
        self._depth += 1
        return True

    def release(self) -> None:
        self._depth -= 1
        if self._depth == 0:
            self._owner = 0
            self._inner.release()

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()


# Guards the first use of a connection.
_making: Final[list[threading.Lock]] = [threading.Lock()]


def _in_child() -> None:
    _making[0] = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


def turn(conn: psycopg.AsyncConnection[Any]) -> asyncio.Lock:
    """Return the lock that a task holds while it uses this connection.

    Take it also to close a shared connection: psycopg's generator of a running statement would
    read memory that the close has freed (a segmentation fault was seen).
    """
    lock = conn.lock
    if not isinstance(lock, _TaskTurn):
        lock = conn.lock = _TaskTurn(lock)
    return lock


def thread_turn(conn: psycopg.Connection[Any]) -> _ThreadTurn:
    """Return the lock that a thread holds while it uses this connection."""
    # psycopg enters its lock and does nothing else with it.
    owner: Any = conn
    if not isinstance(owner.lock, _ThreadTurn):
        with _making[0]:
            if not isinstance(owner.lock, _ThreadTurn):
                owner.lock = _ThreadTurn(owner.lock)
    lock: _ThreadTurn = owner.lock
    return lock
