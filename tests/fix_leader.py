"""Rescues and the cleanup of the leader, each as a single op."""

from __future__ import annotations

from awa_lib._sql import Op
from awa_lib.ops import maintenance as ops
from awa_lib.ops.apart import Aside
from awa_lib.ops.maintenance import Pulse, Rescued


def rescue_stale(staleness_seconds: float, aside: Aside | None = None) -> Op[list[Rescued]]:
    """Rescue running jobs whose last heartbeat is older; they run again at once."""
    undeclared = Pulse(staleness_seconds / 3, staleness_seconds)
    found = yield from ops.stale_ids(undeclared)
    return (yield from ops.rescue(sorted(found), "heartbeat", undeclared, aside=aside))


def rescue_deadline(aside: Aside | None = None) -> Op[list[Rescued]]:
    """Rescue running jobs past their deadline; they run again after the backoff."""
    ids = yield from ops.overdue_ids()
    return (yield from ops.rescue(ids, "deadline", aside=aside))


def rescue_callbacks(aside: Aside | None = None) -> Op[list[Rescued]]:
    """Rescue waiting jobs whose callback timed out; they run again after the backoff."""
    aside = Aside() if aside is None else aside
    ids = yield from ops.expired_callback_ids(aside)
    return (yield from ops.rescue(ids, "callback", aside=aside))


def delete_finished(
    completed_seconds: float,
    failed_seconds: float,
    limit: int,
    queue: str | None = None,
    except_queues: tuple[str, ...] = (),
) -> Op[int]:
    """Delete a batch of old completed jobs and a batch of old others; return how many."""
    deleted = 0
    for ended, seconds in (("completed", completed_seconds), ("unsuccessful", failed_seconds)):
        batch = yield from ops.delete_old(
            ended, seconds, limit, queue=queue, except_queues=except_queues
        )
        deleted += batch.deleted
    return deleted
