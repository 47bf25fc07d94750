"""What ``awa bench`` reads from the database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from awa_lib._sql import sql

if TYPE_CHECKING:
    from awa_lib._sql import Op

__all__ = ["newest_id", "server_settings", "unfinished"]

# Settings that decide the cost of a commit and the background work of the server.
_SETTINGS: Final = (
    "server_version",
    "fsync",
    "synchronous_commit",
    "synchronous_standby_names",
    "full_page_writes",
    "wal_level",
    "commit_delay",
    "shared_buffers",
    "max_wal_size",
    "checkpoint_timeout",
    "max_connections",
)


def server_settings() -> Op[dict[str, str | None]]:
    """Return version and settings of the server by name; None for a setting it does not have."""
    return dict((yield sql.bench("server_settings", names=list(_SETTINGS))))


def newest_id() -> Op[int]:
    """Return the largest id of a job, or 0."""
    return int((yield sql.bench("newest_id")).scalar())


def unfinished(queue: str) -> Op[bool]:
    """Return whether the queue has jobs that are available or running."""
    return bool((yield sql.bench("unfinished", queue=queue)).scalar())
