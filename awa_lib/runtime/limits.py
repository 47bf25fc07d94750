"""Limits of running jobs: slots of a queue, overflow shared by weight, token buckets."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from awa_lib.config.queues import QueueOptions, RateLimit
    from awa_lib.config.workers import WorkerOptions

__all__ = ["Overflow", "Slots", "TokenBucket"]


class TokenBucket:
    """The rate limit of a queue in a process: starts full, refills by elapsed time."""

    def __init__(self, limit: RateLimit, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = limit.max_rate
        self._size = float(limit.burst)
        self._tokens = self._size
        self._clock = clock
        self._at = clock()

    def available(self) -> int:
        """Return how many jobs may be claimed now."""
        now = self._clock()
        self._tokens = min(self._size, self._tokens + (now - self._at) * self._rate)
        self._at = now
        return int(self._tokens)

    def take(self, count: int) -> None:
        """Use tokens for jobs that were claimed."""
        self._tokens -= count

    def wait_seconds(self) -> float:
        """Return how long until a token is available."""
        return max(0.0, (1 - self._tokens) / self._rate)


class Overflow:
    """The slots of weighted mode that no queue has reserved, shared by weight.

    Queues that want or hold overflow slots contend for them.  Each may hold up to
    ceil(pool * weight / sum of contending weights).
    """

    def __init__(self, options: WorkerOptions) -> None:
        reserved = sum(queue.min_workers for queue in options.queues)
        self._pool = (options.global_max_workers or 0) - reserved
        self._weights = {queue.name: queue.weight for queue in options.queues}
        self._held = dict.fromkeys(self._weights, 0)
        self._wanted = dict.fromkeys(self._weights, 0)

    def held(self, queue: str) -> int:
        """Return how many overflow slots a queue holds."""
        return self._held[queue]

    def grant(self, queue: str, wanted: int) -> int:
        """Return how many more slots the queue may take now; remember its demand."""
        self._wanted[queue] = wanted
        contending = sum(
            weight
            for name, weight in self._weights.items()
            if self._wanted[name] or self._held[name]
        )
        if not contending or not wanted:
            return 0
        share = math.ceil(self._pool * self._weights[queue] / contending)
        free = self._pool - sum(self._held.values())
        return max(0, min(wanted, free, share - self._held[queue]))

    def hold(self, queue: str, count: int) -> None:
        """Set how many overflow slots the queue holds."""
        self._held[queue] = count


class Slots:
    """The slots of a queue: how many are used, how many are free."""

    def __init__(self, queue: QueueOptions, overflow: Overflow | None) -> None:
        self._queue = queue
        self._overflow = overflow
        self.used = 0
        # Reserved for a running claim, so that no other queue is granted the same slots.
        self._promised = 0

    def free(self, demand: int) -> int:
        """Reserve slots for a claim of at most ``demand`` jobs; return how many."""
        own = self._queue.capacity - self.used
        if self._overflow is None:
            return min(own, demand)
        self._promise(0)
        own = max(own, 0)
        granted = self._overflow.grant(self._queue.name, max(0, demand - own))
        self._promise(min(own, demand) + granted)
        return self._promised

    def take(self, count: int) -> None:
        """Count claimed jobs as running and release the rest of the reservation."""
        self.used += count
        self._promise(0)

    def _promise(self, count: int) -> None:
        self._promised = count
        self._settle()

    def release(self) -> None:
        """Count one job as ended."""
        self.used -= 1
        if self._overflow is not None:
            self._settle()

    def _settle(self) -> None:
        if self._overflow is not None:
            over = self.used + self._promised - self._queue.capacity
            self._overflow.hold(self._queue.name, max(0, over))

    def clear_demand(self) -> None:
        """Stop contending for overflow: the queue is empty."""
        if self._overflow is not None:
            self._overflow.grant(self._queue.name, 0)
