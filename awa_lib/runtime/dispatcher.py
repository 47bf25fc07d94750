"""Claim jobs of one queue whenever slots are free and work may be there."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

from awa_lib.errors import (
    AwaError,
    DatabaseError,
    SerializationError,
    Transient,
    Unavailable,
)
from awa_lib.ops import claims
from awa_lib.policies import QueuePolicy
from awa_lib.runtime.connections import within
from awa_lib.runtime.limits import Slots, TokenBucket
from awa_lib.runtime.supervisor import Duty
from awa_lib.telemetry import metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from awa_lib._sql import Op
    from awa_lib.config import QueueOptions, WorkerOptions
    from awa_lib.runtime.completer import Completer
    from awa_lib.runtime.connections import Link
    from awa_lib.runtime.executor import Executor
    from awa_lib.runtime.limits import Overflow

__all__ = ["Dispatcher"]

logger = logging.getLogger(__name__)
R = TypeVar("R")

# A job that could not be claimed is passed over for a second, then twice as long each time.
_FIRST_PASS_SECONDS: Final = 1.0
_LONGEST_PASS_SECONDS: Final = 60.0
# A claim whose answer was lost may still be carried out by a server that has not noticed the loss:
# it is looked for so many seconds after.
_LOOKS: Final = (0.0, 1.0, 3.0, 10.0, 30.0, 60.0)


class Dispatcher:
    """The claim loop of one queue.

    A slot is reserved before its job is claimed, so no row becomes running without a place to
    run.  After a notification or a poll it claims until a claim comes back short.  The policy
    stored about the queue goes over what the process was started with.

    Each claim has a lease of its own.  Where its answer is lost on the way, its rows are found by
    the lease and given back, uncounted.
    """

    def __init__(
        self,
        queue: QueueOptions,
        *,
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
        self._stopping = False
        # Jobs that a claim stumbled over: until when they are passed over, and for how long.
        self._passing: dict[int, tuple[float, float]] = {}
        # Leases of claims without an answer, with the times of the looks that are left.
        self._unanswered: dict[int, list[float]] = {}
        # The lease of the next claim, made while nobody waits for it.
        self._lease: int | None = None
        executor.on_claimable.append(self._freed.set)
        self.duty = Duty(f"claims of {queue.name}", self._round, pause=link.pause_after)

    @property
    def alive(self) -> bool:
        """Return True while the loop works."""
        return self.duty.alive

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

    async def start(self) -> None:
        """Start the loop."""
        await self.duty.start()

    async def stop(self, seconds: float) -> None:
        """Claim no more; a claim under way has so long to end, so that no claimed job is lost."""
        self._stopping = True
        self._wake.set()
        self._freed.set()
        await self.duty.finish(seconds)
        if self._unanswered:
            with suppress(AwaError, TimeoutError):
                await within(seconds, self._give_back(everything=True))

    async def _round(self) -> None:
        self._wake.clear()
        if not await self._claim_all() and not self._stopping:
            with self.duty.resting():
                await self._wait_for_work()

    async def _claim_all(self) -> bool:
        """Claim until the queue is empty; return True when only slots or tokens ran out."""
        while not self._stopping:
            wanted = await self._room()
            if not wanted:
                continue
            rows = await self._claim(wanted)
            # Several kinds: another worker may have taken the same candidates, so short is not
            # empty.  Claims within limits wait for each other, so theirs is.
            sure = len(self._kinds) == 1 or self.policy.limited
            if not rows or (rows < wanted and sure):
                self.slots.clear_demand()
                return False
        return True

    async def _claim(self, wanted: int) -> int:
        """Claim and start up to so many jobs; return how many."""
        asked = time.perf_counter()
        rows: Sequence[tuple[Any, ...]] = ()
        try:
            if self._unanswered:
                await self._give_back()
            rows = await self._ask(wanted)
        except BaseException:
            # A queue that cannot claim shall not lessen the share of the others.
            self.slots.clear_demand()
            raise
        finally:
            self.slots.take(len(rows))
        if rows:
            self._executor.spawn(rows, self.slots, self.queue, self._freed.set)
            if self._bucket:
                self._bucket.take(len(rows))
        metrics.claimed(self.queue.name, rows, time.perf_counter() - asked)
        self.duty.state.succeed()
        return len(rows)

    async def _ask(self, wanted: int) -> Sequence[tuple[Any, ...]]:
        """Return claimed rows; when one job stands in the way of all, claim them one by one."""
        given = (self.queue.name, self._kinds, wanted, self.queue.deadline_seconds)
        limited, passing = self.policy.limited, self._passed_over()
        try:
            return await self._leased(
                lambda lease: claims.claim(*given, lease=lease, limited=limited, passing=passing)
            )
        except Unavailable:
            raise
        except AwaError:
            rows, refused = await self._leased(
                lambda lease: claims.claim_each(
                    *given, lease=lease, limited=limited, passing=passing
                )
            )
            if not refused and not rows:
                # Nothing of a single job: the whole queue is locked, or the statement is at fault.
                raise
            self._pass_over(refused)
            return rows

    async def _leased(self, make: Callable[[int], Op[R]]) -> R:
        """Run a claim with a lease of its own, which is kept when its answer is lost."""
        lease, self._lease = self._lease or claims.new_lease(), None
        try:
            return await self._link.run(make(lease))
        except BaseException as error:
            if not _is_refused(error):
                now = time.monotonic()
                self._unanswered[lease] = [now + seconds for seconds in _LOOKS]
            raise

    def _passed_over(self) -> list[int]:
        if not self._passing:
            return []
        now = time.monotonic()
        for job_id, (until, seconds) in list(self._passing.items()):
            if until + seconds < now:  # its last try was long ago
                del self._passing[job_id]
        return sorted(job_id for job_id, (until, _) in self._passing.items() if until > now)

    def _pass_over(self, refused: dict[int, AwaError]) -> None:
        new = [
            job_id
            for job_id, error in refused.items()
            if job_id not in self._passing and not isinstance(error, Transient)
        ]
        if new:
            logger.warning(
                "jobs cannot be claimed (%s); they are passed over, and tried again later",
                refused[new[0]],
                extra={"job_ids": new, "queue": self.queue.name},
            )
        for job_id in refused:
            known = self._passing.get(job_id)
            seconds = min(known[1] * 2, _LONGEST_PASS_SECONDS) if known else _FIRST_PASS_SECONDS
            self._passing[job_id] = (time.monotonic() + seconds, seconds)

    async def _give_back(self, *, everything: bool = False) -> None:
        """Give back what claims without an answer have taken."""
        now = time.monotonic()
        for lease, looks in list(self._unanswered.items()):
            if not everything and looks[0] > now:
                continue
            found = await self._link.run(claims.hand_back_claim(self.queue.name, lease))
            if found:
                logger.info(
                    "gave back jobs of a claim whose answer was lost",
                    extra={"job_ids": found, "queue": self.queue.name},
                )
            # Others may be locked by somebody at this moment, or not be committed yet.
            rest = [at for at in looks if at > now]
            if rest:
                self._unanswered[lease] = rest
            else:
                del self._unanswered[lease]

    async def _room(self) -> int:
        """Wait until something may be claimed; return how many, or 0 to look again."""
        if not self._completer.has_room:
            with self.duty.resting():
                await self._completer.wait_for_room()
        if self._bucket is not None and self._bucket.available() < 1:
            with self.duty.resting():
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
        with suppress(TimeoutError), self.duty.resting():
            await asyncio.wait_for(self._freed.wait(), timeout)
        # Let every handler that is about to return do so: one claim then fills all their slots.
        await asyncio.sleep(0)
        return 0

    async def _wait_for_work(self) -> None:
        self._lease = claims.new_lease()
        milliseconds = self.poll_interval_ms
        # Nobody tells of jobs that ended elsewhere and made room within a limit.
        exact = self.policy.limited or self.policy.poll_interval_ms is not None
        if not exact and self._listening(self.queue.name):
            milliseconds = max(milliseconds, self._options.quiet_poll_interval_ms)
        seconds = milliseconds / 1000 * random.uniform(0.9, 1.1)
        if self._unanswered:
            seconds = min(seconds, 1.0)
        with suppress(TimeoutError):
            # wait_for would make a task: one more pass of the loop before every claim.
            async with asyncio.timeout(seconds):
                await self._wake.wait()


def _is_refused(error: BaseException) -> bool:
    """Return whether the server itself says that it has changed nothing."""
    if isinstance(error, DatabaseError):
        return error.sqlstate is not None and not isinstance(error, Unavailable)
    return isinstance(error, AwaError) and not isinstance(error, SerializationError)
