"""The connections of a worker process, each with the bounds of its duty."""

from __future__ import annotations

from typing import Final

from awa_lib.runtime.connections import Bounds, Link, Outage
from awa_lib.runtime.flushes import Flushes

__all__ = ["HEARTBEAT", "Links"]

# Losing a claim in a server crash only leaves the job available, and the lease guard drops the
# end of an attempt whose claim was lost, so claims need not wait for the disk.
_CLAIMS: Final = Bounds(
    lock_ms=250, statement_seconds=30, hot=True, settings=(("synchronous_commit", "off"),)
)
_ENDS: Final = Bounds(lock_ms=250, statement_seconds=30, hot=True)
# All waits of a process share it: one whose row is held must not keep the others waiting.
_CALLBACKS: Final = Bounds(lock_ms=250, statement_seconds=10)
_HEALTH: Final = Bounds(lock_ms=500, statement_seconds=2)
HEARTBEAT: Final = Bounds(lock_ms=250, statement_seconds=10)


class Links:
    """Opened when they are first used; the listener, the heartbeat and the leader have their own.

    Claims and ends have one each, so that neither waits for the other.
    """

    def __init__(self, dsn: str) -> None:
        self.outage = Outage()
        self.claims = Link("claims", dsn, self.outage, _CLAIMS)
        self.ends = Link("completions", dsn, self.outage, _ENDS)
        self.callbacks = Link("callbacks", dsn, self.outage, _CALLBACKS)
        self.flushes = Flushes(self.callbacks)
        self.health = Link("health", dsn, self.outage, _HEALTH)
        self.publisher = Link("publisher", dsn, self.outage)
