"""Claim jobs of a queue whenever slots are free and jobs may be available."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

from awa_lib.db.jitter import RANDOM
from awa_lib.errors import AwaError, DatabaseError, SerializationError, Transient, Unavailable
from awa_lib.logs import Logger
from awa_lib.ops import claims
from awa_lib.policies import QueuePolicy
from awa_lib.runtime.limits import Slots, TokenBucket
from awa_lib.runtime.links import within
from awa_lib.runtime.looks import timed
from awa_lib.runtime.marks import Marks
from awa_lib.runtime.supervisor import Duty
from awa_lib.telemetry import metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from awa_lib._sql import Op
    from awa_lib.config.queues import QueueOptions
    from awa_lib.config.workers import WorkerOptions
    from awa_lib.ops.leases import Leases
    from awa_lib.runtime.completer import Completer
    from awa_lib.runtime.executor import Executor
    from awa_lib.runtime.limits import Overflow
    from awa_lib.runtime.links import Link

__all__ = ["Dispatcher"]

logger = Logger(__name__)
R = TypeVar("R")

# A job that could not be claimed is skipped for a second, then twice as long each time.
_FIRST_SKIP_SECONDS: Final = 1.0
_LONGEST_SKIP_SECONDS: Final = 60.0
# In a large fleet a notification must not make every idle worker claim the same job: this many
# claim at once, the others a little later, so that the fleet claims about 500 times a second.
_EAGER_WORKERS: Final = 8
_LOOKS_PER_SECOND: Final = 500.0
# How often a large fleet polls an idle queue while notifications arrive, and how seldom a worker.
_QUIET_LOOKS_PER_SECOND: Final = 50.0
_LONGEST_POLL_SECONDS: Final = 30.0
# While the look for all queues of the worker works, and should it hang.
_SHARED_POLL_SECONDS: Final = 300.0
# A server that has not noticed the loss may still carry out a claim whose answer was lost.  Its
# jobs are searched for at these seconds after the loss.
_SEARCH_SECONDS: Final = (0.0, 1.0, 3.0, 6.0, 10.0, 30.0, 60.0)


class Dispatcher:
    """The claim loop of a queue.

    A slot is reserved before its job is claimed, so no row becomes running without a slot.  After
    a notification or a poll it claims until a claim returns fewer jobs than asked for.  The stored
    policy of the queue overrides the options that the process was started with.  The more workers
    share the queue, the less of its polls and wake-ups is this one's part.

    Each claim has a lease of its own.  When its answer is lost, its rows are found by the lease and
    handed back; the attempts do not count.
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
        leases: Leases,
        listening: Callable[[str], bool],
    ) -> None:
        self.queue = queue
        self._own = queue
        self.policy = QueuePolicy(queue.name)
        self.slots = Slots(queue, overflow)
        self._options = options
        self.kinds = kinds
        self._link = link
        self._executor = executor
        self._completer = completer
        self._leases = leases
        self._listening = listening
        self._bucket = TokenBucket(queue.rate_limit) if queue.rate_limit else None
        self.workers = 1
        """How many live workers of the queue could run what this one can."""
        self._wake = asyncio.Event()
        self._later: asyncio.TimerHandle | None = None
        self._freed = asyncio.Event()
        self._stopping = False
        self._sealed = False
        # Jobs that could not be claimed: until when they are skipped, and for how long.
        self._skipped: dict[int, tuple[float, float]] = {}
        self.marks = Marks(kinds)
        self._idle = self._shares_polls = False
        # Leases of claims without an answer, with the times of the searches that are left.
        self._unanswered: dict[int, list[float]] = {}
        # The lease of the next claim, made while the loop is idle.
        self._lease: int | None = None
        executor.on_claimable.append(self._freed.set)
        self.duty = Duty(f"claims of {queue.name}", self._round, pause=link.pause_after)

    @property
    def alive(self) -> bool:
        """Return True while the loop works."""
        return self.duty.alive

    def wake(self) -> None:
        """Claim now."""
        self._wake.set()

    def notice(self) -> None:
        """Claim soon: there may be new jobs, and other workers know of them too."""
        if RANDOM.random() * self.workers < _EAGER_WORKERS:
            self._wake.set()
        elif self._later is None:
            delay = RANDOM.uniform(0.0, self.workers / _LOOKS_PER_SECOND)
            self._later = asyncio.get_running_loop().call_later(delay, self._wake.set)

    @property
    def poll_interval_ms(self) -> float:
        """Return the interval of claims from an idle queue when notifications do not arrive."""
        return self.policy.poll_interval_ms or self._options.poll_interval_ms

    def follow(self, policy: QueuePolicy) -> bool:
        """Apply this policy from the next claim on; return True when it has changed."""
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

    def seal(self) -> None:
        """Start no job any longer: an answer that comes from now on counts as lost."""
        self._sealed = True

    async def stop(self, seconds: float) -> None:
        """Stop claiming; a running claim may take ``seconds``, so that no claimed job is lost."""
        self._stopping = True
        self._wake.set()
        self._freed.set()
        await self.duty.finish(seconds)
        if self._unanswered:
            with suppress(AwaError, TimeoutError):
                await within(seconds, self._hand_back(everything=True))

    async def _round(self) -> None:
        self._wake.clear()
        if self._later is not None:
            self._later.cancel()  # this round sees what it would have looked for
            self._later = None
        if not await self._claim_all() and not self._stopping:
            with self.duty.resting():
                await self._wait_for_work()

    async def _claim_all(self) -> bool:
        """Claim until the queue is empty; return False then, True when stopped."""
        while not self._stopping:
            wanted = await self._room()
            if not wanted:
                continue
            rows = await self._claim(wanted)
            # With several kinds another worker may have taken the same candidates, so a short
            # claim does not mean an empty queue.  Claims within limits wait for each other.
            sure = len(self.kinds) == 1 or self.policy.limited
            late = self.has_marks and self.marks.has_late_jobs
            if not late and (not rows or (rows < wanted and sure)):
                self.slots.clear_demand()
                return False
        return True

    async def _claim(self, wanted: int) -> int:
        """Claim and start at most ``wanted`` jobs; return how many."""
        asked = time.perf_counter()
        rows: Sequence[tuple[Any, ...]] = ()
        try:
            if self._unanswered:
                await self._hand_back()
            rows = await self._claimed_rows(wanted)
        except BaseException:
            self.marks.forget()
            # A queue that cannot claim must not reduce the share of the others.
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

    async def _claimed_rows(self, wanted: int) -> Sequence[tuple[Any, ...]]:
        """Return claimed rows; when a job makes the claim fail, claim the jobs one by one."""
        given = (self.queue.name, self.kinds, wanted, self.queue.deadline_seconds)
        limited, passing = self.policy.limited, self.skipped_now()
        begins = None if limited else self.marks.begins(wanted)

        try:
            found, seconds = await self._leased(
                lambda lease: timed(
                    claims.claim(
                        *given, lease=lease, limited=limited, passing=passing, begins=begins
                    )
                )
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
                # Not because of a single job: the queue is locked, or the statement is wrong.
                raise
            self._skip(refused)
            return rows
        if not limited:
            self.marks.claimed(found, wanted=wanted, seconds=seconds, begins=begins)
        return found

    async def _leased(self, make: Callable[[int], Op[R]]) -> R:
        """Run a claim with a lease of its own; keep the lease when the answer is lost."""
        lease, self._lease = self._lease or self._leases.next(), None
        try:
            answer = await self._link.run(make(lease))
        except BaseException as error:
            if not _is_refused(error):
                self._search_for(lease)
            raise
        if self._sealed:
            self._search_for(lease)
            raise Unavailable("the answer to a claim came after the wait for it")
        return answer

    def _search_for(self, lease: int) -> None:
        now = time.monotonic()
        self._unanswered[lease] = [now + seconds for seconds in _SEARCH_SECONDS]

    def skipped_now(self) -> list[int]:
        """Return the jobs that are not tried now, because they could not be claimed."""
        if not self._skipped:
            return []
        now = time.monotonic()
        for job_id, (until, seconds) in list(self._skipped.items()):
            if until + seconds < now:  # its last try was long ago
                del self._skipped[job_id]
        return sorted(job_id for job_id, (until, _) in self._skipped.items() if until > now)

    def _skip(self, refused: dict[int, AwaError]) -> None:
        new = [
            job_id
            for job_id, error in refused.items()
            if job_id not in self._skipped and not isinstance(error, Transient)
        ]
        if new:
            logger.warning(
                "jobs cannot be claimed (%s); the worker skips them and tries again later",
                refused[new[0]],
                extra={"job_ids": new, "queue": self.queue.name},
            )
        for job_id in refused:
            known = self._skipped.get(job_id)
            seconds = min(known[1] * 2, _LONGEST_SKIP_SECONDS) if known else _FIRST_SKIP_SECONDS
            self._skipped[job_id] = (time.monotonic() + seconds, seconds)

    async def _hand_back(self, *, everything: bool = False) -> None:
        """Hand back the jobs of claims without an answer."""
        now = time.monotonic()
        for lease, searches in list(self._unanswered.items()):
            if not everything and searches[0] > now:
                continue
            found = await self._link.run(claims.hand_back_claim(self.queue.name, lease))
            if found:
                logger.info(
                    "jobs of a claim whose answer was lost were handed back",
                    extra={"job_ids": found, "queue": self.queue.name},
                )
            # More jobs may be locked now, or not be committed yet.
            rest = [at for at in searches if at > now]
            if rest:
                self._unanswered[lease] = rest
            else:
                del self._unanswered[lease]

    async def _room(self) -> int:
        """Wait until jobs may be claimed; return how many, or 0 to check again."""
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
            async with asyncio.timeout(timeout):
                await self._freed.wait()
        # Let every handler that is about to return do so: a single claim then fills their slots.
        await asyncio.sleep(0)
        return 0

    async def _wait_for_work(self) -> None:
        self._lease = self._leases.next()
        self._idle = True
        longest = _SHARED_POLL_SECONDS if self.polled_with_others else self.poll_seconds
        seconds = longest * RANDOM.uniform(0.9, 1.1)
        if self._unanswered:
            seconds = min(seconds, 1.0)
        try:
            # wait_for would make a task: another pass of the loop before every claim.
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            pass
        finally:
            self._idle = False

    def share_polls(self) -> None:
        """Let somebody else look for jobs while this queue is idle, and wake it."""
        self._shares_polls = True

    @property
    def has_marks(self) -> bool:
        """Return True while its claims begin at marks; those within limits have others."""
        return self.marks.used and not self.policy.limited

    @property
    def polled_with_others(self) -> bool:
        """Return True while the queue is idle and looks for no jobs itself."""
        return (
            self._shares_polls
            and self._idle
            and self.policy.poll_interval_ms is None
            and not self.policy.limited
            and not self.has_marks
        )

    @property
    def poll_seconds(self) -> float:
        """Return the interval of looks for jobs while the queue is idle."""
        seconds, looks = self.poll_interval_ms / 1000, _LOOKS_PER_SECOND
        if self.policy.poll_interval_ms is not None:
            return seconds
        # Jobs that end in other processes and make room within a limit send no notification.
        if not self.policy.limited and self._listening(self.queue.name):
            seconds = max(seconds, self._options.quiet_poll_interval_ms / 1000)
            looks = _QUIET_LOOKS_PER_SECOND
        return max(seconds, min(self.workers / looks, _LONGEST_POLL_SECONDS))


def _is_refused(error: BaseException) -> bool:
    """Return True when the server has answered that it changed nothing."""
    if isinstance(error, DatabaseError):
        return error.sqlstate is not None and not isinstance(error, Unavailable)
    return isinstance(error, AwaError) and not isinstance(error, SerializationError)
