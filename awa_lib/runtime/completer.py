"""Write the ends of attempts in batches, each guarded by its lease; no end is dropped."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from contextlib import suppress
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from awa_lib.errors import AwaError, Transient, Unavailable
from awa_lib.logs import Logger
from awa_lib.ops import claims
from awa_lib.runtime.ends import (
    End,
    finish_all,
    finish_alone,
    is_of_data,
    is_written,
    portions,
    reduce,
)
from awa_lib.runtime.supervisor import Duty
from awa_lib.telemetry import metrics, tracing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from awa_lib._sql import Op
    from awa_lib.models import Job
    from awa_lib.ops.claims import Missed
    from awa_lib.runtime.context import Attempt, Outcome
    from awa_lib.runtime.counts import EndCounts
    from awa_lib.runtime.events import Events
    from awa_lib.runtime.job_logs import JobLogs
    from awa_lib.runtime.links import Link

__all__ = ["Completer"]

logger = Logger(__name__)

_ENDS_PER_ROUND: Final = 1_000
# Ends that are not written; from here on the dispatchers stop claiming, so memory stays flat.
_PENDING_ENDS: Final = 2_000
_PENDING_RESULT_BYTES: Final = 64 << 20
# An end whose row is locked is retried after 0.2 s, then after twice as long each time.
_FIRST_PAUSE_SECONDS: Final = 0.2
_LONGEST_PAUSE_SECONDS: Final = 1.0
# Ends that a round writes one by one, and how many of them may be blocked before it stops.
_SINGLE_ENDS_PER_ROUND: Final = 50
_BLOCKED_ENDS_PER_ROUND: Final = 10
_id: Final = attrgetter("id")


class Completer:
    """A duty that writes the ends that have come since its last statement.

    While a statement runs the next batch gathers, so batches grow with the load and a single job
    is written at once.  An end is kept until it is written or refused because of its lease.  An end
    that cannot be written now (its row, or the unique key of its follow-up, is locked) does not
    stop the others and is retried.
    """

    def __init__(
        self,
        link: Link,
        events: Events,
        counts: EndCounts,
        *,
        job_logs: JobLogs,
        on_done: Callable[[Attempt], None],
        on_written: Callable[[Iterable[Job]], None],
    ) -> None:
        self._link = link
        self._events = events
        self.counts = counts
        self._job_logs = job_logs
        self._on_done = on_done
        self._on_written = on_written
        self._fresh: deque[End] = deque()
        self._later: list[End] = []
        self._writing: list[End] = []
        self._wake = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self._room = asyncio.Event()
        self._room.set()
        self.duty = Duty("completions", self._round, pause=link.pause_after)
        self.stale = 0
        # Of the results that are not written.
        self._result_bytes = 0

    @property
    def pending(self) -> int:
        """Return how many ends are not durable."""
        return len(self._fresh) + len(self._later) + len(self._writing)

    @property
    def has_room(self) -> bool:
        """Return False while claims should wait for the database, or for hooks, to catch up."""
        roomy = self.pending < _PENDING_ENDS and self._result_bytes < _PENDING_RESULT_BYTES
        return roomy and self._events.has_room

    @property
    def alive(self) -> bool:
        """Return True while the loop works."""
        return self.duty.alive

    def complete(self, attempt: Attempt) -> None:
        """Queue an attempt as completed."""
        if attempt.result is not None:
            self._result_bytes += attempt.result.size_bytes
        self._fresh.append(End(attempt, None))
        self._empty.clear()
        self._wake.set()

    def end(self, attempt: Attempt, outcome: Outcome) -> None:
        """Queue an attempt with another outcome, which keeps no result."""
        attempt.result = None
        self._fresh.append(End(attempt, outcome))
        self._empty.clear()
        self._wake.set()

    async def start(self) -> None:
        """Start the loop."""
        await self.duty.start()

    async def wait_for_room(self) -> None:
        """Wait until ``has_room``; polled, because hooks send no signal."""
        while not self.has_room:
            self._room.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(0.1):
                    await self._room.wait()

    async def drain(self) -> None:
        """Wait until every queued end is durable."""
        await self._empty.wait()

    async def stop(self) -> None:
        """Stop the loop; ends that are not written are dropped, and their jobs will be rescued."""
        await self.duty.stop()
        await self._link.close()

    async def _round(self) -> None:
        if not self._fresh:
            with self.duty.resting():
                await self._wait()
        self._wake.clear()
        batch = self._next_batch()
        if not batch:
            return
        self._writing = batch
        began = time.perf_counter()
        try:
            await self._write(batch)
        finally:
            # Also when the round fails: ends without an answer are kept.
            self._settle(batch, began)

    async def _wait(self) -> None:
        """Wait for an end, or until a postponed end is due."""
        due = min((end.due for end in self._later), default=None)
        if due is None:
            await self._wake.wait()
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, due - time.monotonic())):
                await self._wake.wait()

    def _next_batch(self) -> list[End]:
        """Take the ends that are due; a second end of a job waits for the next round."""
        fresh = self._fresh
        if not self._later and len(fresh) <= _ENDS_PER_ROUND:
            batch = {end.id: end for end in fresh}
            if len(batch) == len(fresh):
                fresh.clear()
                return sorted(batch.values(), key=_id)
        now = time.monotonic()
        batch = {}
        rest: list[End] = []
        alone = 0
        for end in self._later:
            fits = end.due <= now and len(batch) < _ENDS_PER_ROUND and end.id not in batch
            if fits and not (end.alone and alone == _SINGLE_ENDS_PER_ROUND):
                batch[end.id] = end
                alone += end.alone
            else:
                rest.append(end)
        while fresh and len(batch) < _ENDS_PER_ROUND:
            end = fresh.popleft()
            if batch.setdefault(end.id, end) is not end:
                rest.append(end)
        self._later = rest
        return sorted(batch.values(), key=_id)

    async def _write(self, batch: list[End]) -> None:
        """Write a batch and mark each end that is done; the others are kept."""
        if self._job_logs.active:
            # Before the end: whoever sees it finds the whole log.
            await self._job_logs.write([end.attempt for end in batch], self._link)
        completed = [end for end in batch if end.outcome is None and not end.alone]
        ended = []
        if len(completed) < len(batch):
            ended = [end for end in batch if end.outcome is not None and not end.alone]
        parts = portions(completed) if self._result_bytes else (completed,)
        for part in (*parts, ended):
            if part:
                await self._write_part(part)
        if len(completed) + len(ended) == len(batch):
            return
        blocked = 0
        for end in batch:
            # Each may wait for a lock, and the next round waits for all of them.
            if end.alone and blocked < _BLOCKED_ENDS_PER_ROUND:
                blocked += not await self._write_one(end)

    async def _write_part(self, part: list[End]) -> None:
        """Write completions, or other ends, with their follow-ups in a transaction."""
        pooled = self._link.pooled
        try:
            try:
                missed = await self._send(part, partial(finish_all, part, skip_locked=pooled))
            except Unavailable:
                raise
            except Transient:
                # A row, or the unique key of a follow-up, is locked: write all others.
                for end in part:
                    end.alone = end.attempt.follow_ups is not None
                part = [end for end in part if not end.alone]
                if not part:
                    return
                missed = await self._send(part, partial(finish_all, part, skip_locked=True))
        except AwaError as error:
            if not is_of_data(error):
                raise
            for end in part:
                end.alone = True
        else:
            await self._mark(part, missed)

    async def _write_one(self, end: End) -> bool:
        """Write an end by itself; return False when it is blocked."""
        end.tries += 1
        try:
            missed = await self._send([end], partial(finish_alone, end.attempt, end.outcome))
        except Unavailable:
            raise
        except Transient:
            return False
        except AwaError as error:
            if not is_of_data(error):
                raise
            reduce(end, error)
            return True
        await self._mark([end], missed)
        return end.done

    async def _send(self, part: list[End], make: Callable[[], Op[Missed]]) -> Missed:
        """Run an op; mark its ends as unsure when the answer is lost."""
        try:
            return await self._link.run(make())
        except Unavailable:
            for end in part:
                end.unsure = True
            raise

    async def _mark(self, part: list[End], missed: Missed) -> None:
        """Mark ends as done or refused; ends of locked rows stay."""
        if not missed.stale and not missed.busy:
            for end in part:
                end.done = True
            return
        stale, busy = set(missed.stale), set(missed.busy)
        found = [end for end in part if end.id in stale and end.unsure]
        if found:
            stale -= await self._written_before(found)
        for end in part:
            if end.id in busy:
                end.tries += 1
            else:
                end.done = True
                end.refused = end.id in stale
        if stale:
            self.stale += len(stale)
            logger.warning(
                "the ends of attempts that no longer own their job were dropped",
                extra={"job_ids": sorted(stale)},
            )

    async def _written_before(self, ends: Sequence[End]) -> set[int]:
        """Return the ids of ends that a statement without an answer has written."""
        ended = sorted((e.id, e.attempt.lease, len(e.attempt.job.errors)) for e in ends)
        rows = {row.id: row for row in await self._link.run(claims.written_ends(ended))}
        return {end.id for end in ends if end.id in rows and is_written(end, rows[end.id])}

    def _settle(self, batch: list[End], began: float) -> None:
        self._writing = []
        done = [end for end in batch if end.done]
        if len(done) < len(batch):
            self._postpone([end for end in batch if not end.done])
        on_done = self._on_done
        for end in done:
            on_done(end.attempt)
            if end.attempt.result is not None:
                self._result_bytes -= end.attempt.result.size_bytes
        self._on_written(end.attempt.job for end in done)
        self.counts.ended(done)
        if not self._fresh and not self._later:
            self._empty.set()
        if self.has_room:
            self._room.set()
        if metrics.measuring() or tracing.tracing() is not None or self._events.hooked:
            self._report(done, began)

    def _postpone(self, ends: list[End]) -> None:
        now = time.monotonic()
        for end in ends:
            pause = _FIRST_PAUSE_SECONDS * 2 ** min(end.tries - 1, 10) if end.tries else 0.0
            end.due = now + min(pause, _LONGEST_PAUSE_SECONDS)
        self._later += ends

    def _report(self, done: Sequence[End], began: float) -> None:
        written = [(end.attempt, end.outcome) for end in done if not end.refused]
        if len(written) < len(done):
            for end in done:
                if end.refused:
                    metrics.dropped(end.attempt.job.queue)
        metrics.ended(written, time.perf_counter() - began)
        if (spans := tracing.tracing()) is not None:
            spans.ended(written)
        self._events.ended(written)
