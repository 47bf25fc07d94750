"""Read which workers of awa 0.5 the fleet has, or had lately."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from awa_lib._sql import sql

if TYPE_CHECKING:
    from awa_lib._sql import Op

__all__ = ["PublishedWorker", "published_workers"]


@dataclass(frozen=True, slots=True)
class PublishedWorker:
    """A worker of awa 0.5 that was seen within a day."""

    name: str
    version: str
    last_seen_at: datetime
    live: bool

    def __str__(self) -> str:
        seen = self.last_seen_at.astimezone(UTC)
        return f"{self.name} (awa {self.version}), last seen {seen:%Y-%m-%d %H:%M} UTC"


def published_workers() -> Op[list[PublishedWorker]]:
    """Return the workers of awa 0.5 that were seen within a day, the last one first."""
    return (yield sql.read_runtime("published_workers")).into(PublishedWorker)
