"""Where a client connects: a database URL or the caller's connection."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final, TypeVar
from weakref import WeakSet

from awa_lib.db.urls import read_address
from awa_lib.enqueue.kinds import Kinds
from awa_lib.errors import AwaError, DatabaseError, ValidationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import timedelta

    from awa_lib.client.borrow import AsyncBorrowed, Borrowed
    from awa_lib.embedded import Server
    from awa_lib.enqueue.options import InsertMiddleware
    from awa_lib.enqueue.unique import Unique

__all__ = ["BOUND", "Target", "in_child", "no_migration", "own"]

C = TypeVar("C")
F = TypeVar("F", bound="InsertMiddleware")

BOUND: Final = "bound:"


def own(bound: Borrowed | AsyncBorrowed, kind: type[C]) -> C:
    """Return the caller's connection if it is a psycopg connection.  Raises AwaError."""
    if not isinstance(bound.conn, kind):
        raise AwaError(
            f"this does not work on {type(bound.conn).__qualname__}",
            hint="begin and end transactions there, and use the verbs of client.using(conn) inside",
        )
    return bound.conn


def no_migration(conn: object) -> AwaError:
    """Return the error of migrate() on the caller's connection."""
    return AwaError(
        f"migrate() does not work on {type(conn).__module__}.{type(conn).__qualname__}",
        why="migrations begin and end transactions of their own",
        hint="use a client with a URL: awa_lib.Client(url).migrate(), or run: awa migrate",
    )


class Target:
    """A database URL or the caller's connection; starts an embedded server if the URL asks."""

    def __init__(self, database_url: str, max_connections: int, kinds: Kinds | None) -> None:
        if not isinstance(database_url, str) or not database_url:
            raise ValidationError(
                "a database URL is needed",
                hint="postgresql://user@host/database, or embedded: for a local server",
            )
        if not isinstance(max_connections, int) or max_connections < 1:
            raise ValidationError(f"max_connections must be 1 or more, got {max_connections!r}")
        self.kinds = Kinds() if kinds is None else kinds
        self._database_url = database_url
        self._max_connections = max_connections
        self._server: Server | None = None
        self._closed = False
        self._starting = threading.Lock()
        _targets.add(self)

    def insert_middleware(self, function: F) -> F:
        """Register a function that the jobs of each insert go through.

        See ``Kinds.insert_middleware``: it holds for all clients that share these kinds.
        """
        return self.kinds.insert_middleware(function)

    def _forked(self) -> None:
        """Forget the connections of the parent process, without closing them."""
        self._starting = threading.Lock()

    def kind(
        self,
        args_type: type[Any],
        *,
        kind: str | None = None,
        queue: str | None = None,
        priority: int | None = None,
        max_attempts: int | None = None,
        tags: Sequence[str] | None = None,
        unique: Unique | None = None,
        unique_opts: Mapping[str, Any] | None = None,
        result: Any = None,
        result_ttl: float | str | timedelta | None = None,
        result_max_bytes: int | None = None,
    ) -> None:
        """Declare how jobs of a kind are inserted, for programs that do not handle them.

        ``task`` declares the same where the handler is.  Insert options win over what is declared;
        a later declaration is added to an earlier one.  The kind is derived from ``args_type``
        unless given.  ``result`` is True, or the type of the results, for a kind that keeps them;
        see ``task``.  Raises ValidationError, TypeError.
        """
        self.kinds.declare(
            args_type,
            kind,
            queue=queue,
            priority=priority,
            max_attempts=max_attempts,
            tags=tags,
            unique=unique,
            unique_opts=unique_opts,
            result=result,
            result_ttl=result_ttl,
            result_max_bytes=result_max_bytes,
        )

    def _resolve(self) -> str:
        """Return a connection string for psycopg.  Blocks while an embedded server starts."""
        with self._starting:
            if self._closed:
                raise DatabaseError("the client is closed", hint="make a new client")
            if self._database_url == BOUND:
                raise AwaError(
                    "a client bound to a connection cannot open others",
                    hint="call this on the client itself, not on client.using(conn)",
                )
            if self._database_url.startswith("embedded:"):
                if self._server is None:
                    from awa_lib.embedded import acquire

                    self._server = acquire(self._database_url)
                return self._server.url
        read_address(self._database_url)
        return self._database_url

    def _release(self) -> None:
        server, self._server = self._server, None
        self._closed = True
        if server is not None:
            server.release()


_targets: Final[WeakSet[Target]] = WeakSet()


def in_child() -> None:
    """Let every client forget the connections of the parent process."""
    for target in list(_targets):
        target._forked()  # noqa: SLF001 - of this module
