"""Read existing names, for completion and for hints after a typing error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from awa_lib._sql import sql

if TYPE_CHECKING:
    from awa_lib._sql import Op

__all__ = [
    "dead_ids",
    "failure_ids",
    "group_names",
    "kind_names",
    "operation_ids",
    "queue_names",
    "recent_ids",
    "schedule_names",
    "signal_names",
    "tag_names",
    "task_names",
    "workflow_ids",
    "workflow_names",
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


def workflow_ids(prefix: str = "", limit: int = 50) -> Op[list[tuple[int, str, str]]]:
    """Return (id, name, state) of the newest workflows whose id has a prefix, newest first."""
    rows = yield sql.read_names("workflow_ids", prefix=prefix, limit=limit)
    return [(workflow_id, name, state) for workflow_id, name, state in rows]


def workflow_names(prefix: str = "", limit: int = _NAMES_LIMIT) -> Op[list[str]]:
    """Return the names of the newest workflows with a prefix, sorted."""
    rows = yield sql.read_names("workflow_names", prefix=prefix, limit=limit)
    return [name for (name,) in rows]


def task_names(workflow_id: int, prefix: str = "", limit: int = _NAMES_LIMIT) -> Op[list[str]]:
    """Return the names of tasks and groups of a workflow with a prefix, sorted."""
    return (yield from _node_names(workflow_id, ["task", "group"], prefix, limit))


def group_names(workflow_id: int, prefix: str = "", limit: int = _NAMES_LIMIT) -> Op[list[str]]:
    """Return the names of groups of a workflow with a prefix, sorted."""
    return (yield from _node_names(workflow_id, ["group"], prefix, limit))


def signal_names(workflow_id: int, prefix: str = "", limit: int = _NAMES_LIMIT) -> Op[list[str]]:
    """Return the names of signals that tasks of a workflow wait for, with a prefix, sorted."""
    return (yield from _node_names(workflow_id, ["signal"], prefix, limit))


def _node_names(workflow_id: int, types: list[str], prefix: str, limit: int) -> Op[list[str]]:
    rows = yield sql.read_names(
        "node_names", workflow=workflow_id, types=types, prefix=prefix, limit=limit
    )
    return [name for (name,) in rows]
