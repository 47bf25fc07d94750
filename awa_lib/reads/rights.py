"""What a session may change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from awa_lib._sql import sql

if TYPE_CHECKING:
    from awa_lib._sql import Op

__all__ = ["Rights", "rights"]


@dataclass(frozen=True, slots=True)
class Rights:
    """Whether things of each noun may be changed; on a ``standby`` nothing can be."""

    standby: bool
    job: bool
    queue: bool
    cron: bool
    dlq: bool
    batch: bool
    storage: bool

    def allow(self, noun: str) -> bool:
        """Say whether things of a noun may be changed; callbacks are changes of jobs."""
        name = "job" if noun in {"jobs", "callback"} else noun
        return not self.standby and bool(getattr(self, name))


def rights() -> Op[Rights]:
    """Return what this session may change."""
    rows = yield sql.read_rights("rights")
    return rows.into(Rights)[0]
