"""Callbacks of running attempts: register them, and wait for their answers."""

from __future__ import annotations

import asyncio
import logging
import uuid
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from awa_lib import cel
from awa_lib._json import loads
from awa_lib.errors import AwaError, Unavailable, ValidationError
from awa_lib.ops import callbacks as ops
from awa_lib.results import CallbackToken
from awa_lib.runtime.connections import pause

if TYPE_CHECKING:
    from collections.abc import Callable

    from awa_lib._sql import Op
    from awa_lib.cel import Expressions
    from awa_lib.runtime.context import Attempt

__all__ = ["Callbacks", "Runs"]

logger = logging.getLogger(__name__)
R = TypeVar("R")

# Workers and commands of awa 0.5 resume without a notification; one look serves all waits.
_LOOK_SECONDS: Final = 1.0


class Runs(Protocol):
    """A connection that is re-made after a loss."""

    failures: int

    async def run(self, op: Op[R]) -> R:
        """Drive an op.  Raises Unavailable after a loss."""
        ...


@dataclass(slots=True)
class _Wait:
    attempt: Attempt
    token: CallbackToken
    answered: asyncio.Future[Any]


class Callbacks:
    """One loop looks after every handler of this process that waits for an answer.

    It looks when a notification names one of its jobs, and once a second: one query for all.
    """

    def __init__(
        self,
        link: Runs,
        deadline_of: Callable[[str], float | None],
        on_waiting: Callable[[Attempt], None],
        on_resumed: Callable[[Attempt], None],
    ) -> None:
        self._link = link
        self._deadline_of = deadline_of
        self._on_waiting = on_waiting
        self._on_resumed = on_resumed
        self._waits: dict[int, _Wait] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def register(
        self, attempt: Attempt, timeout_seconds: float, expressions: Expressions
    ) -> CallbackToken:
        """Register the next callback of an attempt; see ``Job.register_callback``."""
        if expressions.any:
            await asyncio.to_thread(cel.check, expressions)
        journal = _journal(attempt)
        place = attempt.asked
        known = journal[place] if place < len(journal) else {"id": str(uuid.uuid4())}
        token = CallbackToken(known["id"])
        if "result" not in known and not _has_answer(attempt, place):
            entries = [*journal[:place], known]
            op = ops.register_callback(
                attempt.job.id, attempt.lease, token.id, timeout_seconds, expressions, entries
            )
            if not await asyncio.shield(self._link.run(op)):
                raise ValidationError("job is not in running state", why=_why(attempt))
            attempt.journal = entries
        attempt.asked += 1
        return token

    async def cancel(self, attempt: Attempt, token: CallbackToken) -> bool:
        """Withdraw a callback that nobody has answered."""
        op = ops.cancel_callback(attempt.job.id, attempt.lease, token.id)
        return await asyncio.shield(self._link.run(op))

    async def wait(self, attempt: Attempt, token: CallbackToken) -> Any:
        """Return the answer to a callback; see ``Job.wait_for_callback``."""
        for entry in _journal(attempt):
            if entry["id"] == token.id and "result" in entry:
                return entry["result"]
        # From here on neither the heartbeat nor the deadline looks after this attempt.
        attempt.waiting = True
        attempt.waits += 1
        try:
            return await self._wait(attempt, token)
        finally:
            attempt.waiting = False

    async def _wait(self, attempt: Attempt, token: CallbackToken) -> Any:
        job = attempt.job
        noted, text = attempt.noted, attempt.progress_text
        if await self._insist(lambda: ops.enter_wait(job.id, attempt.lease, token.id, text)):
            attempt.mark_written(noted)
            self._on_waiting(attempt)
        future = asyncio.get_running_loop().create_future()
        self._waits[job.id] = _Wait(attempt, token, future)
        self._start()
        self._wake.set()
        try:
            await future
            answer = await self._insist(
                lambda: ops.take_answer(job.id, attempt.lease, self._deadline_of(job.queue))
            )
        except asyncio.CancelledError:
            if attempt.stop_reason == "handed back":
                await asyncio.shield(self._abandon(attempt))
                attempt.stop_reason = "lost"
            raise
        finally:
            del self._waits[job.id]
        if answer is None:
            raise ValidationError("the job was taken away while its callback was answered")
        result = loads(answer)
        entries = _journal(attempt)
        attempt.journal = [*entries[:-1], {"id": token.id, "result": result}]
        self._on_resumed(attempt)
        return result

    async def _abandon(self, attempt: Attempt) -> None:
        """Make the answer start a new attempt; without this note a rescue does so, later."""
        try:
            await self._link.run(ops.abandon_wait(attempt.job.id, attempt.lease))
        except AwaError:
            logger.warning(
                "could not note that a handler stopped waiting; its job is rescued once answered",
                extra={"job_id": attempt.job.id},
            )

    async def _insist(self, make: Callable[[], Op[R]]) -> R:
        """Run an op until the database has answered; a cancelled handler does not cut it off."""
        while True:
            try:
                return await asyncio.shield(self._link.run(make()))
            except Unavailable:
                await pause(self._link.failures)

    def release(self) -> None:
        """Give up every wait, so that answers start new attempts in other processes."""
        for wait in self._waits.values():
            wait.attempt.stop_reason = "handed back"
            wait.answered.cancel()

    def heard(self, job_id: int) -> None:
        """Look at once when one of our jobs was answered."""
        if job_id in self._waits:
            self._wake.set()

    def _start(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="awa callbacks")

    async def stop(self) -> None:
        """Stop looking."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while self._waits:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), _LOOK_SECONDS)
            self._wake.clear()
            waits = dict(self._waits)
            try:
                seen = await self._link.run(ops.look_at_waits(sorted(waits)))
            except Unavailable:
                await pause(self._link.failures)
                continue
            for job_id, wait in waits.items():
                _settle(wait, seen.get(job_id))


def _settle(wait: _Wait, seen: tuple[str, int, str | None, bool] | None) -> None:
    """End a wait when its row says that it is over."""
    if wait.answered.done():
        return
    problem = None
    if seen is None:
        problem = "the job does not exist any more"
    else:
        state, lease, callback_id, answered = seen
        if state == "waiting_external" and lease == wait.attempt.lease:
            if callback_id == wait.token.id:
                return
            problem = "the callback was replaced by a newer one"
        elif state == "running" and lease == wait.attempt.lease and callback_id is not None:
            problem = "another callback is registered"
        elif state != "running" or lease != wait.attempt.lease:
            problem = f"the job is {state}"
        elif not answered:
            problem = "the callback was withdrawn"
    if problem is None:
        wait.answered.set_result(None)
    else:
        wait.answered.set_exception(
            ValidationError(f"waiting for callback {wait.token.id} ended: {problem}")
        )


def _journal(attempt: Attempt) -> list[dict[str, Any]]:
    if attempt.journal is None:
        kept = attempt.job.metadata.get("_awa_callbacks")
        attempt.journal = kept if isinstance(kept, list) else []
    return attempt.journal


def _has_answer(attempt: Attempt, place: int) -> bool:
    """Return whether the answer came after the attempt that asked had died."""
    journal = _journal(attempt)
    return place == len(journal) - 1 and "_awa_callback_result" in attempt.job.metadata


def _why(attempt: Attempt) -> str:
    return f"attempt {attempt.job.attempt} of job {attempt.job.id} does not own it any more"
