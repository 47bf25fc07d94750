"""Claim jobs of one queue whenever slots are free and work may be there."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from awa_lib import telemetry
from awa_lib.errors import AwaError, Unavailable
from awa_lib.ops import claims
from awa_lib.policies import QueuePolicy
from awa_lib.runtime.connections import pause
from awa_lib.runtime.limits import Slots, TokenBucket

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from awa_lib.config import QueueOptions, WorkerOptions
    from awa_lib.runtime.completer import Completer
    from awa_lib.runtime.connections import Link
    from awa_lib.runtime.executor import Executor
    from awa_lib.runtime.limits import Overflow

__all__ = ["Dispatcher"]

logger = logging.getLogger(__name__)


class Dispatcher:
    """The claim loop of one queue.

    A slot is reserved before its job is claimed, so no row becomes running without a place to
    run.  After a notification or a poll it claims until a claim comes back short.  The policy
    stored about the queue goes over what the process was started with.
    """

    def __init__(
        self,
        queue: QueueOptions,
        options: WorkerOptions,
        kinds: Sequence[str],
        link: Link,
        executor: Executor,
        completer: Completer,
        overflow: Overflow | None,
        listening: Callable[[str], bool],
    ) -> None:
        self.queue = queue
        self._own = queue
        self.policy = QueuePolicy(queue.name)
        self.slots = Slots(queue, overflow)
        self._options = options
        self._kinds = kinds
        self._link = link
        self._executor = executor
        self._completer = completer
        self._listening = listening
        self._bucket = TokenBucket(queue.rate_limit) if queue.rate_limit else None
        self._wake = asyncio.Event()
        self._freed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        executor.on_claimable.append(self._freed.set)

    @property
    def alive(self) -> bool:
        """Return True while the loop runs."""
        return self._task is not None and not self._task.done()

    def wake(self) -> None:
        """Look for work now."""
        self._wake.set()

    @property
    def poll_interval_ms(self) -> float:
        """Return how often an idle queue is looked at when notifications do not arrive."""
        return self.policy.poll_interval_ms or self._options.poll_interval_ms

    def follow(self, policy: QueuePolicy) -> bool:
        """Go by this policy from the next claim on; return whether it is another one."""
        if policy == self.policy:
            return False
        self.policy = policy
        before, self.queue = self.queue.rate_limit, policy.over(self._own)
        limit = self.queue.rate_limit
        if limit != before:
            self._bucket = TokenBucket(limit) if limit else None
        self.wake()
        return True

    def start(self) -> None:
        """Start the loop."""
        self._task = asyncio.create_task(self._run(), name=f"awa dispatcher {self.queue.name}")

    async def stop(self) -> None:
        """Claim no more; a claim under way is finished, so no claimed job is lost."""
        task, self._task = self._task, None
        if task is not None:
            self._stopping = True
            self._wake.set()
            self._freed.set()
            await asyncio.gather(task, return_exceptions=True)

    _stopping = False

    async def _run(self) -> None:
        while not self._stopping:
            self._wake.clear()
            try:
                more = await self._claim_all()
            except Unavailable:
                await self._sleep(pause(self._link.failures))
            except AwaError as error:
                logger.exception(
                    "claiming failed; trying again",
                    extra={"queue": self.queue.name, "hint": error.hint},
                )
                await self._sleep(pause(5))
            else:
                if not more:
                    await self._wait_for_work()

    async def _sleep(self, waiting: object) -> None:
        sleeping = asyncio.ensure_future(waiting)  # type: ignore[call-overload]
        waking = asyncio.ensure_future(self._wake.wait())
        await asyncio.wait({sleeping, waking}, return_when=asyncio.FIRST_COMPLETED)
        sleeping.cancel()
        waking.cancel()

    async def _claim_all(self) -> bool:
        """Claim until the queue is empty; return True when only slots or tokens ran out."""
        while not self._stopping:
            wanted = await self._room()
            if not wanted:
                continue
            asked = time.perf_counter()
            rows = await self._link.run(
                claims.claim(
                    self.queue.name,
                    self._kinds,
                    wanted,
                    self.queue.deadline_seconds,
                    limited=self.policy.limited,
                )
            )
            telemetry.claimed(self.queue.name, rows, time.perf_counter() - asked)
            self.slots.take(len(rows))
            if rows:
                if self._bucket:
                    self._bucket.take(len(rows))
                self._executor.spawn(rows, self.slots, self.queue, self._freed.set)
            # Several kinds: another worker may have taken the same candidates, so short is not
            # empty.  Claims within limits wait for each other, so theirs is.
            sure = len(self._kinds) == 1 or self.policy.limited
            if not rows or (len(rows) < wanted and sure):
                self.slots.clear_demand()
                return False
        return True

    async def _room(self) -> int:
        """Wait until something may be claimed; return how many, or 0 to look again."""
        if not self._completer.has_room:
            await self._completer.drain()
        if self._bucket is not None and self._bucket.available() < 1:
            await asyncio.sleep(min(self._bucket.wait_seconds(), 1.0))
            return 0
        wanted = 0
        if self._executor.may_claim:
            wanted = self.slots.free(self.policy.claim_batch or self._options.claim_batch)
        if self._bucket is not None:
            wanted = min(wanted, self._bucket.available())
        if wanted > 0:
            return wanted
        self._freed.clear()
        timeout = None if self._options.global_max_workers is None else 0.1
        with suppress(TimeoutError):
            await asyncio.wait_for(self._freed.wait(), timeout)
        # Let every handler that is about to return do so: one claim then fills all their slots.
        await asyncio.sleep(0)
        return 0

    async def _wait_for_work(self) -> None:
        milliseconds = self.poll_interval_ms
        # Nobody tells of jobs that ended elsewhere and made room within a limit.
        exact = self.policy.limited or self.policy.poll_interval_ms is not None
        if not exact and self._listening(self.queue.name):
            milliseconds = max(milliseconds, self._options.quiet_poll_interval_ms)
        seconds = milliseconds / 1000 * random.uniform(0.9, 1.1)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), seconds)
