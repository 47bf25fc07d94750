"""Read existing names, for completion and for hints after a typing error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from awa_lib._sql import sql

if TYPE_CHECKING:
    from awa_lib._sql import Op

__all__ = [
    "dead_ids",
    "failure_ids",
    "kind_names",
    "operation_ids",
    "queue_names",
    "recent_ids",
    "schedule_names",
    "tag_names",
]

_NAMES_LIMIT: Final = 1_000


def queue_names(prefix: str = "", limit: int = _NAMES_LIMIT) -> Op[list[str]]:
    """Return the names of queues with a prefix, sorted."""
    rows = yield sql.read_names("queue_names", prefix=prefix, limit=limit)
    return [name for (name,) in rows]


def kind_names(prefix: str = "", limit: int = _NAMES_LIMIT) -> Op[list[str]]:
    """Return the names of kinds with a prefix, sorted.

    A kind whose jobs are old, and that no leader has counted, may be missing.
    """
    rows = yield sql.read_names("kind_names", prefix=prefix, limit=limit)
    return [name for (name,) in rows]


def schedule_names(prefix: str = "", limit: int = _NAMES_LIMIT) -> Op[list[str]]:
    """Return the names of schedules with a prefix, sorted."""
    rows = yield sql.read_names("schedule_names", prefix=prefix, limit=limit)
    return [name for (name,) in rows]


def tag_names(prefix: str = "", limit: int = _NAMES_LIMIT) -> Op[list[str]]:
    """Return the tags of the newest jobs with a prefix, sorted."""
    rows = yield sql.read_names("tag_names", prefix=prefix, limit=limit)
    return [name for (name,) in rows]


def recent_ids(prefix: str = "", limit: int = 50) -> Op[list[tuple[int, str, str]]]:
    """Return (id, kind, state) of the newest jobs whose id has a prefix, newest first."""
    rows = yield sql.read_names("recent_ids", prefix=prefix, limit=limit)
    return [(job_id, kind, state) for job_id, kind, state in rows]


def dead_ids(prefix: str = "", limit: int = 50) -> Op[list[tuple[int, str, str]]]:
    """Return (id, kind, reason) of the newest dead letters whose id has a prefix, newest first."""
    rows = yield sql.read_names("dead_ids", prefix=prefix, limit=limit)
    return [(job_id, kind, reason) for job_id, kind, reason in rows]


def failure_ids(prefix: str = "", limit: int = 50) -> Op[list[tuple[str, str, str]]]:
    """Return (id, kind, message) of the failures whose id has a prefix, the latest first."""
    rows = yield sql.read_names("failure_ids", prefix=prefix, limit=limit)
    return [(failure_id, kind, message) for failure_id, kind, message in rows]


def operation_ids(prefix: str = "", limit: int = 50) -> Op[list[tuple[str, str, str]]]:
    """Return (id, operation, state) of bulk operations whose id has a prefix, newest first."""
    rows = yield sql.read_names("operation_ids", prefix=prefix, limit=limit)
    return [(operation_id, name, state) for operation_id, name, state in rows]
