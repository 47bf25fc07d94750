"""Write the ends of attempts in batches, each guarded by its lease."""

from __future__ import annotations

import asyncio
import logging
import time
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from awa_lib import telemetry, tracing
from awa_lib._sql import atomic
from awa_lib.errors import AwaError, DatabaseError, Unavailable, UniqueConflict
from awa_lib.new_jobs import NewJobs
from awa_lib.ops import claims
from awa_lib.ops.inserts import insert_free
from awa_lib.runtime.connections import pause
from awa_lib.runtime.outcomes import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from awa_lib._sql import Op
    from awa_lib.ops.claims import Missed
    from awa_lib.runtime.connections import Link
    from awa_lib.runtime.context import Attempt
    from awa_lib.runtime.events import Events

__all__ = ["Completer", "finish"]

logger = logging.getLogger(__name__)
T = TypeVar("T")

_BATCH: Final = 1_000
# Ends not yet written; past this the dispatchers claim no more, so memory stays flat.
_MOST_PENDING: Final = 4_000
# Deadlock and serialization failure: the statement changed nothing and may be sent again.
_TRANSIENT: Final = frozenset({"40P01", "40001"})


class Completer:
    """One loop that flushes whatever has ended since its last statement.

    While a statement is under way the next batch gathers, so batches grow with the load and a
    lone job is written at once.
    """

    def __init__(self, link: Link, events: Events, on_done: Callable[[Attempt], None]) -> None:
        self._link = link
        self._events = events
        self._on_done = on_done
        self._completed: list[Attempt] = []
        self._ended: list[tuple[Attempt, Outcome]] = []
        self._writing = 0
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._task: asyncio.Task[None] | None = None
        self.stale = 0

    @property
    def pending(self) -> int:
        """Return how many ends are not durable yet."""
        return len(self._completed) + len(self._ended) + self._writing

    @property
    def has_room(self) -> bool:
        """Return False while claims should wait for the database to catch up."""
        return self.pending < _MOST_PENDING

    @property
    def alive(self) -> bool:
        """Return True while the loop runs."""
        return self._task is not None and not self._task.done()

    def complete(self, attempt: Attempt) -> None:
        """Queue an attempt as completed."""
        self._completed.append(attempt)
        self._notify()

    def end(self, attempt: Attempt, outcome: Outcome) -> None:
        """Queue an attempt with another outcome."""
        self._ended.append((attempt, outcome))
        self._notify()

    def _notify(self) -> None:
        self._idle.clear()
        self._wake.set()

    def start(self) -> None:
        """Start the loop."""
        self._task = asyncio.create_task(self._run(), name="awa completer")

    async def drain(self) -> None:
        """Wait until everything queued so far is durable."""
        await self._idle.wait()

    async def stop(self) -> None:
        """Stop the loop; what is not written yet is dropped (its jobs will be rescued)."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        await self._link.close()

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._completed or self._ended:
                await self._flush()
            self._idle.set()

    async def _flush(self) -> None:
        completed, self._completed = self._completed[:_BATCH], self._completed[_BATCH:]
        ended, self._ended = self._ended[:_BATCH], self._ended[_BATCH:]
        self._writing = len(completed) + len(ended)
        lost: set[int] = set()
        began = time.perf_counter()
        if completed:
            completed.sort(key=_by_id)
            lost |= await self._write(
                claims.finish_completed, completed, lambda attempt: finish(attempt, None), _itself
            )
        if ended:
            ended.sort(key=_by_first_id)
            lost |= await self._write(
                claims.finish_attempts, ended, lambda member: finish(*member), _first
            )
        ends: list[tuple[Attempt, Outcome | None]] = [(attempt, None) for attempt in completed]
        ends += ended
        written = [end for end in ends if end[0].job.id not in lost] if lost else ends
        telemetry.ended(written, time.perf_counter() - began)
        if (spans := tracing.tracing()) is not None:
            spans.ended(written)
        self._events.ended(written)
        for attempt, _ in ends:
            if attempt.job.id in lost:
                telemetry.dropped(attempt.job.queue)
            self._on_done(attempt)
        self._writing = 0

    async def _write(
        self,
        op: Callable[[list[T]], Op[Missed]],
        batch: list[T],
        one: Callable[[T], Op[Missed]],
        attempt_of: Callable[[T], Attempt],
    ) -> set[int]:
        """Write a batch; after an error of the data, each member by itself.

        Follow-ups are part of the same transaction.  Return the ids that were not written.
        """
        attempts = [attempt_of(member) for member in batch]
        try:
            missed = await self._insist(lambda: _with_follow_ups(op(batch), attempts))
            return set(missed.stale)
        except AwaError:
            lost: set[int] = set()
            for member, attempt in zip(batch, attempts, strict=True):
                lost |= await self._write_one(partial(one, member), attempt)
            return lost

    async def _write_one(self, make: Callable[[], Op[Missed]], attempt: Attempt) -> set[int]:
        try:
            missed = await self._insist(lambda: _with_follow_ups(make(), [attempt]))
            return set(missed.stale)
        except AwaError:
            logger.exception(
                "could not record the end of a job; it will be rescued",
                extra={"job_id": attempt.job.id},
            )
            return {attempt.job.id}

    async def _insist(self, make: Callable[[], Op[Missed]]) -> Missed:
        """Run an op until the database has answered; return the stale ids."""
        while True:
            try:
                missed = await self._link.run(make())
            except Unavailable:
                await pause(self._link.failures)
            except DatabaseError as error:
                if error.sqlstate not in _TRANSIENT:
                    raise
            else:
                if missed.stale:
                    self.stale += len(missed.stale)
                    logger.warning(
                        "dropped the end of attempts that no longer own their job",
                        extra={"job_ids": missed.stale},
                    )
                return missed


def _with_follow_ups(op: Op[Missed], attempts: Sequence[Attempt]) -> Op[Missed]:
    """Enqueue what follows from the ends that were not stale, in their transaction."""
    if not any(attempt.after for attempt in attempts):
        return op
    return _follow(op, attempts)


@atomic
def _follow(op: Op[Missed], attempts: Sequence[Attempt]) -> Op[Missed]:
    missed = yield from op
    after = [a.after for a in attempts if a.after is not None and a.job.id not in missed.stale]
    if after:
        yield from insert_free(NewJobs.merge(after))
    return missed


def finish(attempt: Attempt, outcome: Outcome | None) -> Op[Missed]:
    """End one attempt; tell when it was stale.

    The job fails when another one holds the unique key its next state needs.
    """
    try:
        return (yield from _end(attempt, outcome))
    except UniqueConflict as error:
        reason = f"the job ended, but {error}"
        return (yield from claims.finish_attempts([(attempt, Outcome("failed", reason))]))


@atomic  # a savepoint, so that a transaction with follow-ups goes on after a conflict
def _end(attempt: Attempt, outcome: Outcome | None) -> Op[Missed]:
    if outcome is None:
        return (yield from claims.finish_completed([attempt]))
    return (yield from claims.finish_attempts([(attempt, outcome)]))


def _by_id(attempt: Attempt) -> int:
    return attempt.job.id


def _by_first_id(member: tuple[Attempt, Outcome]) -> int:
    return member[0].job.id


def _itself(attempt: Attempt) -> Attempt:
    return attempt


def _first(member: tuple[Attempt, Outcome]) -> Attempt:
    return member[0]
