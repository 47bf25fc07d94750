"""Read what a health check needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from awa_lib._sql import sql
from awa_lib.errors import FIND_PRIMARY, Unavailable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from awa_lib._sql import Op

__all__ = [
    "MayChange",
    "available_counts",
    "is_at_work",
    "is_read_only",
    "may_change",
    "ping",
    "server_time",
    "takes_changes",
]


@dataclass(frozen=True, slots=True)
class MayChange:
    """Whether a session can write (not on a standby), and whether its role is allowed to."""

    writable: bool
    allowed: bool

    @property
    def read_only(self) -> bool:
        """Return True for a session that can change nothing."""
        return not (self.writable and self.allowed)


def ping() -> Op[None]:
    """Make one round trip.  Raises Unavailable."""
    yield sql.read_health("ping")


def server_time() -> Op[datetime]:
    """Return the time by the clock of the server."""
    rows = yield sql.read_health("server_time")
    return rows.scalar()  # type: ignore[no-any-return] # a column of the server


def is_at_work(pid: int) -> Op[bool]:
    """Return whether the session of this server process is executing a statement."""
    rows = yield sql.read_health("is_at_work", pid=pid)
    return bool(rows[0][0])


def available_counts(queues: Sequence[str]) -> Op[dict[str, int]]:
    """Return the number of available jobs by queue; queues without any are left out."""
    rows = yield sql.read_health("available_counts", queues=list(queues))
    return dict(rows)


def is_read_only() -> Op[bool]:
    """Return whether this session cannot write: on a standby, or by a setting."""
    rows = yield sql.read_health("is_read_only")
    return bool(rows.scalar())


def may_change() -> Op[MayChange]:
    """Return whether this session can change anything."""
    rows = yield sql.read_health("may_change")
    return rows.into(MayChange)[0]


def takes_changes() -> Op[None]:
    """Raise Unavailable when this session cannot write, with the code of the server's refusal."""
    if (yield from is_read_only()):
        raise Unavailable(
            "the database takes no changes",
            sqlstate="25006",
            why="the server is a standby, or read-only by a setting",
            hint=FIND_PRIMARY,
        )
