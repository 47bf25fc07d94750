"""Read what a session may change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from awa_lib._sql import sql

if TYPE_CHECKING:
    from awa_lib._sql import Op

__all__ = ["Rights", "rights"]


@dataclass(frozen=True, slots=True)
class Rights:
    """Whether a session may change each noun; on a ``standby`` it may change nothing."""

    standby: bool
    job: bool
    queue: bool
    cron: bool
    dlq: bool
    batch: bool
    storage: bool
    workflow: bool

    def allow(self, noun: str) -> bool:
        """Return whether the session may change a noun.

        Callbacks change jobs, and who may change jobs may mute failures.
        """
        name = "job" if noun in {"jobs", "callback", "failure"} else noun
        return not self.standby and bool(getattr(self, name))


def rights() -> Op[Rights]:
    """Return what this session may change."""
    rows = yield sql.read_rights("rights")
    return rows.into(Rights)[0]
