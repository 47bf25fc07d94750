"""The slots of queues: how many the live workers have, and what holds them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from awa_lib.reads.runtime import RuntimeInstance

__all__ = ["QueueSlots", "queue_slots"]


@dataclass(slots=True)
class QueueSlots:
    """The slots of a queue over all live workers, as these last reported: at most 10 s ago.

    ``waiting`` of the ``used`` slots are held by handlers that wait for a callback.
    """

    queue: str
    workers: int = 0
    slots: int = 0
    used: int = 0
    waiting: int = 0

    @property
    def full(self) -> bool:
        """Return True when no slot is free."""
        return 0 < self.slots <= self.used

    @property
    def blocked(self) -> bool:
        """Return True when no slot is free and waits for callbacks hold half of them or more."""
        return self.full and 2 * self.waiting >= self.slots


def queue_slots(fleet: Iterable[RuntimeInstance]) -> dict[str, QueueSlots]:
    """Return the slots of each queue that a live worker works.

    Where slots are shared by weight, a queue has those that it uses and all that are free.
    """
    found: dict[str, QueueSlots] = {}
    for worker in fleet:
        if worker.stale or worker.shutting_down:
            continue
        shared = worker.global_max_workers
        free = (shared or 0) - worker.in_flight
        for row in worker.queues:
            one = found.setdefault(row["queue"], QueueSlots(row["queue"]))
            used = int(row.get("in_flight") or 0)
            own = (row.get("config") or {}).get("max_workers") or 0
            one.workers += 1
            one.used += used
            one.waiting += int(row.get("waiting") or 0)
            one.slots += used + max(free, 0) if shared else own
    return found
