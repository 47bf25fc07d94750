"""Read what a session may change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from awa_lib._sql import sql

if TYPE_CHECKING:
    from awa_lib._sql import Op

__all__ = ["MayChange", "Rights", "may_change", "rights"]


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

    def allow(self, noun: str) -> bool:
        """Return whether the session may change a noun.

        Callbacks change jobs, and who may change jobs may mute failures.
        """
        name = "job" if noun in {"jobs", "callback", "failure"} else noun
        return not self.standby and bool(getattr(self, name))


@dataclass(frozen=True, slots=True)
class MayChange:
    """Whether a session can write (not on a standby), and whether its role is allowed to."""

    writable: bool
    allowed: bool

    @property
    def read_only(self) -> bool:
        """Return True for a session that can change nothing."""
        return not (self.writable and self.allowed)


def may_change() -> Op[MayChange]:
    """Return whether this session can change anything."""
    rows = yield sql.read_rights("may_change")
    return rows.into(MayChange)[0]


def rights() -> Op[Rights]:
    """Return what this session may change."""
    rows = yield sql.read_rights("rights")
    return rows.into(Rights)[0]
