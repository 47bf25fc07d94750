"""Run jobs in a test, with the statements and the handler call of the worker."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, TypeVar, overload

from awa_lib import logs
from awa_lib._sql import sql
from awa_lib.errors import ValidationError
from awa_lib.ops import claims
from awa_lib.ops.jobs import get_job
from awa_lib.ops.leases import new_lease
from awa_lib.runtime.callbacks import Callbacks
from awa_lib.runtime.calls import DROPPED, attempt_of, outcome_of
from awa_lib.runtime.context import wait_in_thread
from awa_lib.runtime.ends import finish
from awa_lib.runtime.flushes import StepWrites
from awa_lib.runtime.slot_waits import SlotWaits
from awa_lib.runtime.steps import Steps
from awa_lib.testing._clients import Door, check_name, either, handlers_of, perform
from awa_lib.testing._home import home
from awa_lib.testing._results import Drained, NoJob, WorkResult

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from awa_lib._sql import Op, Rows
    from awa_lib.client.clients import AsyncClient, Client
    from awa_lib.models import Job
    from awa_lib.runtime.context import Attempt
    from awa_lib.runtime.handlers import Handlers

__all__ = ["drain", "next_attempt", "run_claimed", "work_one"]

R = TypeVar("R")

DEADLINE_SECONDS: Final = 300.0
_EMPTY: Final = WorkResult(NoJob, "no_job")
_LIMIT: Final = 10_000
# Its place in a claimed row.
_QUEUE: Final = 2


@overload
def work_one(
    client: AsyncClient,
    *,
    queue: str | None = None,
    kind: str | None = None,
    worker: AsyncClient | None = None,
) -> Coroutine[Any, Any, WorkResult]: ...
@overload
def work_one(
    client: Client,
    *,
    queue: str | None = None,
    kind: str | None = None,
    worker: AsyncClient | None = None,
) -> WorkResult: ...
def work_one(
    client: AsyncClient | Client,
    *,
    queue: str | None = None,
    kind: str | None = None,
    worker: AsyncClient | None = None,
) -> Coroutine[Any, Any, WorkResult] | WorkResult:
    """Claim the next available job, run its handler and record its end, as a worker would.

    Handlers are those of the client, or of ``worker``.  Statements run on the client's connection;
    with a blocking client they and plain handlers run in this thread, async handlers on an event
    loop in another.  The deadline is not enforced.
    Raises ValidationError if there is no handler.
    """
    return either(client, _work_one(client, queue, kind, worker))


async def _work_one(
    client: Door, queue: str | None, kind: str | None, worker: AsyncClient | None
) -> WorkResult:
    handlers = chosen(handlers_of(client, worker), kind)
    return await next_attempt(client, handlers, queue, None)


@overload
def drain(
    client: AsyncClient,
    *,
    queue: str | None = None,
    limit: int = _LIMIT,
    raise_errors: bool = False,
    worker: AsyncClient | None = None,
) -> Coroutine[Any, Any, Drained]: ...
@overload
def drain(
    client: Client,
    *,
    queue: str | None = None,
    limit: int = _LIMIT,
    raise_errors: bool = False,
    worker: AsyncClient | None = None,
) -> Drained: ...
def drain(
    client: AsyncClient | Client,
    *,
    queue: str | None = None,
    limit: int = _LIMIT,
    raise_errors: bool = False,
    worker: AsyncClient | None = None,
) -> Coroutine[Any, Any, Drained] | Drained:
    """Run available jobs one by one, in claim order, until none is left.

    Jobs that handlers insert meanwhile are run too, at most ``limit`` runs in all; retryable and
    scheduled jobs wait (see ``travel``).  With ``raise_errors`` the first error of a handler is
    raised, after the end of its job is recorded.  Handlers and errors as in ``work_one``.
    """
    return either(client, _drain(client, queue, limit, worker, raise_errors=raise_errors))


async def _drain(
    client: Door, queue: str | None, limit: int, worker: AsyncClient | None, *, raise_errors: bool
) -> Drained:
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
        raise ValidationError(f"limit must be a whole number from 1 on: {limit!r}")
    handlers = handlers_of(client, worker)
    counts: Counter[str] = Counter()
    while counts.total() < limit:
        errors: list[BaseException] = []
        result = await next_attempt(client, handlers, queue, errors)
        if result.is_no_job():
            break
        counts[result.outcome] += 1
        if errors and raise_errors:
            raise errors[0]
    return Drained(**counts)


def chosen(handlers: Handlers, kind: str | None) -> Handlers:
    """Return the handler of one kind, or all.  Raises ValidationError for an unknown kind."""
    if kind is None:
        return handlers
    if kind not in handlers:
        raise ValidationError(
            f"no handler is registered for kind {kind!r}", hint=f"known: {', '.join(handlers)}"
        )
    return handlers.only(kind)


def _claim_next(kinds: Sequence[str], queue: str | None) -> Op[Rows]:
    """Find the next job over all queues, then claim in its queue and kind as a worker does."""
    lease = new_lease()
    while found := (yield sql.testing("next_job", kinds=list(kinds), queue=queue)):
        name, kind = found[0]
        # No row if a worker or another test was quicker: try the next job.
        if rows := (yield from claims.claim(name, [kind], 1, DEADLINE_SECONDS, lease=lease)):
            return rows
    return found


async def next_attempt(
    door: Door,
    handlers: Handlers,
    queue: str | None,
    errors: list[BaseException] | None,
) -> WorkResult:
    """Claim and run the next job; append the errors of its handler to ``errors``."""
    check_name("queue", queue)
    rows = await perform(door, _claim_next(list(handlers), queue))
    if not rows:
        return _EMPTY
    return WorkResult.of(await run_claimed(door, handlers, rows[0], errors))


async def run_claimed(
    door: Door,
    handlers: Handlers,
    row: tuple[Any, ...],
    errors: list[BaseException] | None,
) -> Job:
    """Run the handler of a claimed row, record the end, and return the job afterwards."""
    desk = _Desk(door)
    backoff = handlers.queue_backoffs.get(row[_QUEUE])
    attempt = attempt_of(row, handlers, desk, time.perf_counter(), backoff)
    task = asyncio.current_task()
    assert task is not None
    before = task.cancelling()
    bound = logs.running.set(attempt.job)
    try:
        outcome = await outcome_of(attempt, home.get(), errors)
    finally:
        logs.running.reset(bound)
        await desk.callbacks.stop()
    if outcome is not DROPPED:
        await perform(door, finish(attempt, outcome))
    if task.cancelling() > before:
        # The test itself was cancelled, not the job: the end of the handler must not hide that.
        raise asyncio.CancelledError
    return await perform(door, get_job(attempt.job.id))


def _nothing(_attempt: Attempt) -> None: ...


class _Desk:
    """Does what the runtime does for a running attempt, with the test's own client."""

    def __init__(self, door: Door) -> None:
        self._door = door
        there = home.get()
        self.wait = wait_in_thread if there is None else there.wait
        self.loop = asyncio.get_running_loop()
        # No other job runs while this one waits.
        self.slot_waits = SlotWaits(None, 1)
        self.steps = Steps(self, StepWrites(self))
        self.callbacks = Callbacks(
            self,
            deadline_of=lambda _: DEADLINE_SECONDS,
            on_waiting=_nothing,
            on_resumed=_nothing,
            # A test waits for the end of the attempt that it began.
            hold_seconds=0,
        )

    async def run(self, op: Op[R]) -> R:
        """Drive an op on the client."""
        return await perform(self._door, op)

    async def pause_after(self, failures: int) -> None:
        """Rest before a step is read or written again."""
        await asyncio.sleep(min(0.1 * failures, 1.0))

    async def flush(self, attempt: Attempt) -> None:
        """Write the attempt's progress."""
        noted, text = attempt.noted, attempt.progress_text
        lease = [(attempt.job.id, attempt.lease)]
        missed = await perform(self._door, claims.write_progress(lease, [text]))
        attempt.mark_written(noted)
        if missed.stale and not attempt.waiting:
            attempt.stop("lost")
