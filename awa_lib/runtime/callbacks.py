"""Callbacks of running attempts: register them and wait for their answers."""

from __future__ import annotations

import asyncio
import math
import uuid
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from awa_lib._json import loads
from awa_lib.callbacks import cel
from awa_lib.errors import AwaError, Transient, Unavailable, ValidationError
from awa_lib.logs import Logger
from awa_lib.ops import callbacks as ops
from awa_lib.results import CallbackToken
from awa_lib.runtime.context import LOST, OVER
from awa_lib.runtime.links import pause
from awa_lib.runtime.supervisor import Duty
from awa_lib.states import IN_ATTEMPT

if TYPE_CHECKING:
    from collections.abc import Callable

    from awa_lib._sql import Op
    from awa_lib.callbacks.cel import Expressions
    from awa_lib.ops.callbacks import WaitStatus
    from awa_lib.runtime.context import Attempt

__all__ = ["Callbacks", "OpRunner"]

logger = Logger(__name__)
R = TypeVar("R")

# Workers and commands of awa 0.5 resume without a notification; one query checks all waits.
_CHECK_SECONDS: Final = 1.0
# A stopping process tries for this long to note that its handler no longer waits.
_ABANDON_SECONDS: Final = 5.0
_ANSWER_KEY: Final = "_awa_callback_result"


class OpRunner(Protocol):
    """A connection that is re-made after a loss."""

    async def run(self, op: Op[R]) -> R:
        """Drive an op.  Raises Unavailable after a loss."""
        ...


@dataclass(slots=True, eq=False)
class _Wait:
    attempt: Attempt
    token: CallbackToken
    answered: asyncio.Future[None]
    until: float
    """When it gives up its slot, by the clock of the loop."""


class Callbacks:
    """Register callbacks, and wait for their answers in one loop for all handlers of a process.

    The loop checks all waits with one query: once a second, and when a notification names one of
    the jobs.  A wait belongs to an attempt: the process may run a job again while the handler of
    the attempt that lost it still waits.
    """

    def __init__(
        self,
        link: OpRunner,
        *,
        deadline_of: Callable[[str], float | None],
        on_waiting: Callable[[Attempt], None],
        on_resumed: Callable[[Attempt], None],
        hold_seconds: float,
    ) -> None:
        self._link = link
        self._deadline_of = deadline_of
        self._on_waiting = on_waiting
        self._on_resumed = on_resumed
        self._hold_seconds = hold_seconds
        self._waits: dict[int, set[_Wait]] = {}
        self._wake = asyncio.Event()
        self._started = False
        self._released = False
        # Retries at most 3 s apart, so that checks resume soon after an outage.
        self.duty = Duty("callbacks", self._round, pause=pause)

    async def register(
        self, attempt: Attempt, timeout_seconds: float, expressions: Expressions
    ) -> CallbackToken:
        """Register the next callback of an attempt; see ``Job.register_callback``."""
        seconds = ops.check_timeout(timeout_seconds)
        if expressions.any:
            await asyncio.to_thread(cel.check, expressions)
        journal, place = _journal(attempt), attempt.journal_used
        attempt.journal_used += 1
        if place >= len(journal):
            journal.append({"id": str(uuid.uuid4())})
        known = journal[place]
        if "result" in known:
            return CallbackToken(known["id"], answered=True)
        job_id, lease = attempt.job.id, attempt.lease
        try:
            owned = await self._until_answered(
                attempt,
                lambda _: ops.register_callback(job_id, lease, known["id"], seconds, expressions),
            )
        except BaseException:
            # The next call gets the same id: it may be in the row already.
            attempt.journal_used = min(attempt.journal_used, place)
            raise
        if not owned:
            raise ValidationError(
                "job is not in running state", why=await self._why_refused(attempt)
            )
        return CallbackToken(known["id"])

    async def _why_refused(self, attempt: Attempt) -> str:
        """Return why a callback was refused, and note when the attempt has lost its job."""
        job_id = attempt.job.id
        seen = await self._until_answered(attempt, lambda _: ops.look_at_waits([job_id]))
        if (row := seen.get(job_id)) is not None and _owns(attempt, row):
            return "its handler waits for a callback"
        _lose(attempt)
        return f"attempt {attempt.job.attempt} of job {job_id} no longer owns it"

    async def cancel(self, attempt: Attempt, token: CallbackToken) -> bool:
        """Withdraw a callback that has no answer."""
        job_id, lease = attempt.job.id, attempt.lease
        return await self._until_answered(
            attempt, lambda unsure: ops.cancel_callback(job_id, lease, token.id, again=unsure)
        )

    async def wait(self, attempt: Attempt, token: CallbackToken, *, hold: bool = False) -> Any:
        """Return the answer to a callback; see ``Job.wait_for_callback``."""
        for entry in _journal(attempt):
            if entry["id"] == token.id and "result" in entry:
                return entry["result"]
        # From here on neither the heartbeat nor the deadline applies to this attempt.
        attempt.waiting = True
        attempt.waits += 1
        try:
            answer = await self._wait(attempt, token, self._until(attempt, hold=hold))
        except (asyncio.CancelledError, Transient):
            await asyncio.shield(self._leave(attempt, token))
            raise
        finally:
            attempt.waiting = False
        if answer is None:
            _lose(attempt)
            raise ValidationError("the job was taken away while its callback was answered")
        result = loads(answer)
        for entry in _journal(attempt):
            if entry["id"] == token.id:
                entry["result"] = result
        self._on_resumed(attempt)
        return result

    def _until(self, attempt: Attempt, *, hold: bool) -> float:
        """Return until when a wait keeps its slot.

        A wait in a task of the handler's own keeps it: beside it the handler may do other work, or
        have a time-out after which it goes on.
        """
        direct = attempt.blocking or asyncio.current_task() is attempt.task
        if hold or not direct or not self._hold_seconds:
            return math.inf
        return asyncio.get_running_loop().time() + self._hold_seconds

    async def _wait(self, attempt: Attempt, token: CallbackToken, until: float) -> str | None:
        job_id, lease = attempt.job.id, attempt.lease
        noted, text = attempt.noted, attempt.progress_text
        if await self._until_answered(
            attempt, lambda _: ops.enter_wait(job_id, lease, token.id, text)
        ):
            attempt.mark_written(noted)
            self._on_waiting(attempt)
        elif (answer := await self._take(attempt, token)) is not None:
            return answer
        wait = _Wait(attempt, token, asyncio.get_running_loop().create_future(), until)
        self._waits.setdefault(job_id, set()).add(wait)
        if not self._started:
            self._started = True
            await self.duty.start()
        self._wake.set()
        try:
            if self._released:
                _release(wait)
            await wait.answered
        finally:
            self._waits[job_id].discard(wait)
            if not self._waits[job_id]:
                del self._waits[job_id]
        return await self._take(attempt, token)

    async def _take(self, attempt: Attempt, token: CallbackToken) -> str | None:
        job_id, lease = attempt.job.id, attempt.lease
        seconds = self._deadline_of(attempt.job.queue)
        return await self._until_answered(
            attempt, lambda _: ops.take_answer(job_id, lease, token.id, seconds)
        )

    async def _leave(self, attempt: Attempt, token: CallbackToken) -> None:
        """Correct the row after a wait that was cancelled or failed."""
        if attempt.stop_reason == "handed back":
            await self._abandon(attempt)
            attempt.stop_reason = "lost"
        elif attempt.stop_reason not in LOST:
            # A time-out of the handler's own: it goes on, and may wait again.
            job_id, lease = attempt.job.id, attempt.lease
            seconds = self._deadline_of(attempt.job.queue)
            try:
                if await self._until_answered(
                    attempt, lambda _: ops.leave_wait(job_id, lease, token.id, seconds)
                ):
                    self._on_resumed(attempt)
            except AwaError:
                logger.exception(
                    "a handler could not leave its wait; an answer starts a new attempt",
                    extra={"job_id": job_id},
                )
                await self._abandon(attempt)
                attempt.stop_reason = "lost"

    async def _abandon(self, attempt: Attempt) -> None:
        """Make the answer start a new attempt; if this fails, a rescue does so later."""
        failures = 0
        try:
            async with asyncio.timeout(_ABANDON_SECONDS):
                while True:
                    try:
                        await self._link.run(ops.abandon_wait(attempt.job.id, attempt.lease))
                    except Transient:
                        await pause(failures)
                        failures += 1
                    else:
                        return
        except (AwaError, TimeoutError):
            logger.warning(
                "could not record that a handler no longer waits; an answer starts a new attempt "
                "only after a rescue",
                extra={"job_id": attempt.job.id},
            )

    async def _until_answered(self, attempt: Attempt, make: Callable[[bool], Op[R]]) -> R:
        """Run an op for a handler, again after transient errors, until the attempt is over.

        A cancelled handler does not cut its statement off.  ``make`` gets True after a try without
        an answer, which may have been carried out.  Raises Transient once the attempt is over.
        """
        failures, unsure = 0, False
        while True:
            try:
                return await asyncio.shield(self._link.run(make(unsure)))
            except Transient as error:
                if attempt.stop_reason in OVER:
                    raise
                unsure = unsure or isinstance(error, Unavailable)
            await pause(failures)
            failures += 1

    def release(self) -> None:
        """End every wait, so that answers start new attempts in other processes."""
        self._released = True
        for waits in self._waits.values():
            for wait in waits:
                _release(wait)

    def count(self, queue: str) -> int:
        """Return how many handlers of a queue wait."""
        waits = chain.from_iterable(self._waits.values())
        return sum(wait.attempt.job.queue == queue for wait in waits)

    def notice(self, job_id: int) -> None:
        """Check now when this job has a wait."""
        if job_id in self._waits:
            self._wake.set()

    async def stop(self) -> None:
        """Stop the checks."""
        await self.duty.stop()

    async def _round(self) -> None:
        with self.duty.resting(), suppress(TimeoutError):
            async with asyncio.timeout(_CHECK_SECONDS if self._waits else None):
                await self._wake.wait()
        self._wake.clear()
        await self._check()

    async def _check(self) -> None:
        """End the waits whose rows say that they are over.  Raises what the database raises."""
        waits = {job_id: tuple(waits) for job_id, waits in self._waits.items()}
        if waits:
            seen = await self._link.run(ops.look_at_waits(sorted(waits)))
            for job_id, of_job in waits.items():
                for wait in of_job:
                    _settle(wait, seen.get(job_id))


def _release(wait: _Wait) -> None:
    # After an answer the handler goes on: it may end well in the time that is left.
    if wait.answered.cancel() and wait.attempt.stop_reason not in OVER:
        wait.attempt.stop_reason = "handed back"


def _settle(wait: _Wait, seen: WaitStatus | None) -> None:
    """End a wait when its row says that it is over, or when it has kept its slot for long."""
    if wait.answered.done():
        return
    if _goes_on(wait, seen):
        if asyncio.get_running_loop().time() >= wait.until:
            _release(wait)
        return
    attempt, problem = wait.attempt, _problem(wait, seen)
    if problem is None:
        wait.answered.set_result(None)
        return
    if seen is None or not _owns(attempt, seen):
        _lose(attempt)
    wait.answered.set_exception(
        ValidationError(f"waiting for callback {wait.token.id} ended: {problem}")
    )


def _lose(attempt: Attempt) -> None:
    """Note that the job is another's: whatever its handler does now, it neither ends nor fails."""
    if attempt.stop_reason not in OVER:
        attempt.stop_reason = "lost"


def _goes_on(wait: _Wait, seen: WaitStatus | None) -> bool:
    return (
        seen is not None
        and seen.state == "waiting_external"
        and seen.lease == wait.attempt.lease
        and seen.callback_id == wait.token.id
    )


def _owns(attempt: Attempt, seen: WaitStatus) -> bool:
    return seen.lease == attempt.lease and seen.state in IN_ATTEMPT


def _problem(wait: _Wait, seen: WaitStatus | None) -> str | None:
    """Return why there will be no answer; None when there is an answer."""
    if seen is None:
        return "the job no longer exists"
    if not _owns(wait.attempt, seen):
        again = seen.lease != wait.attempt.lease or seen.state == "available"
        return f"the job was retried and is {seen.state}" if again else f"the job is {seen.state}"
    if seen.state == "waiting_external":
        return "the callback was replaced by a newer one"
    return _problem_of_running(wait, seen)


def _problem_of_running(wait: _Wait, seen: WaitStatus) -> str | None:
    if wait.token.id in seen.answered:
        return None
    if seen.callback_id == wait.token.id:
        return "the handler left another wait for it"
    if seen.callback_id is not None:
        return "another callback is registered"
    return None if seen.pending else "the callback was replaced or withdrawn"


def _journal(attempt: Attempt) -> list[dict[str, Any]]:
    """Return the attempt's journal; an answer outside it is moved into the last entry."""
    if attempt.journal is None:
        metadata = attempt.job.metadata
        kept = metadata.get("_awa_callbacks")
        journal: list[dict[str, Any]] = []
        if isinstance(kept, list) and all(isinstance(e, dict) and "id" in e for e in kept):
            journal = [dict(entry) for entry in kept]
        if _ANSWER_KEY in metadata and journal and "result" not in journal[-1]:
            journal[-1]["result"] = metadata[_ANSWER_KEY]
        attempt.journal = journal
    return attempt.journal
