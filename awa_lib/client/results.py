"""``result``: wait for a job to end and return what its handler returned."""

from __future__ import annotations

import asyncio
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, TypeVar, overload

from awa_lib import logs
from awa_lib.codec.decode import value_decoder
from awa_lib.codec.job_results import type_of
from awa_lib.errors import AwaError, StaleAttempt, WaitTimeout
from awa_lib.models import Job
from awa_lib.reads.job_results import JobResult, job_result
from awa_lib.runtime.context import OVER
from awa_lib.validation import int64_of, seconds_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from awa_lib._sql import Op
    from awa_lib.client.waits import ThreadWaits, Waits
    from awa_lib.enqueue.kinds import Kinds
    from awa_lib.reads.job_results import End
    from awa_lib.results import Attempt

    Seconds = float | str | None

__all__ = ["AsyncResults", "Results"]

R = TypeVar("R")
V = TypeVar("V")


class Results:
    """Blocking; needs ``_run(op)``, ``kinds``, ``_bound`` and ``_open_waits``."""

    kinds: Kinds

    def _run(self, op: Op[R], /) -> R:
        raise NotImplementedError

    def _open_waits(self) -> ThreadWaits:
        raise NotImplementedError

    @overload
    def result(self, job: int | Job[Any], *, into: type[V], timeout: Seconds = 60.0) -> V: ...

    @overload
    def result(self, job: int | Job[Any], *, into: None = None, timeout: Seconds = 60.0) -> Any: ...

    def result(
        self, job: int | Job[Any], *, into: type[Any] | None = None, timeout: Seconds = 60.0
    ) -> Any:
        """Wait until a job has ended, and return what its handler returned.

        The value has the type ``into``, or the one that this client's kinds declare; otherwise it
        is JSON data.  Waits at most ``timeout`` (seconds, or text like ``'10m'``), by default 60 s;
        0 looks once, None waits for ever.  All waits of a client share a connection, beside
        ``max_connections``; the server notifies it when a job ends.  A client that is bound to a
        connection does not wait, because its transaction may hide the end: it returns the result of
        a job that has ended for it, and raises AwaError otherwise.

        Raises JobFailed when the job failed for good or was cancelled, WaitTimeout, NoResult,
        ResultExpired, JobNotFound, and WouldDeadlock in a handler that would hold the last slot
        that the job needs; ValidationError for a result that does not fit the type.
        """
        job_id, seconds = _given(job, timeout, into)
        end = self._run(job_result(job_id, kinds=self.kinds))
        if end.result is None:
            attempt = _attempt()
            with _slot(attempt, job_id, end):
                end = self._wait(job_id, seconds, attempt)
        return _decoded(job, end, into, self.kinds)

    def _wait(self, job_id: int, seconds: float | None, attempt: Attempt | None) -> End:
        until = None if seconds is None else time.monotonic() + seconds
        waits = self._open_waits()
        stopped = None if attempt is None else _stopped(attempt)
        while True:
            rest = None if until is None else until - time.monotonic()
            if (rest is not None and rest <= 0) or not waits.ended(job_id, rest, stopped):
                if stopped is not None and stopped():
                    raise StaleAttempt(f"the attempt was stopped while it waited for job {job_id}")
                raise WaitTimeout(job_id, seconds or 0, why=waits.trouble)
            # A job that has ended may have been retried since.
            end = self._run(job_result(job_id, kinds=self.kinds))
            if end.result is not None:
                return end


class AsyncResults:
    """Awaited; needs ``_run(op)``, ``kinds``, ``_bound`` and ``_open_waits``."""

    kinds: Kinds

    async def _run(self, op: Op[R], /) -> R:
        raise NotImplementedError

    async def _open_waits(self) -> Waits:
        raise NotImplementedError

    @overload
    async def result(
        self,
        job: int | Job[Any],
        *,
        into: type[V],
        timeout: Seconds = 60.0,  # noqa: ASYNC109 - as the blocking twin
    ) -> V: ...

    @overload
    async def result(
        self,
        job: int | Job[Any],
        *,
        into: None = None,
        timeout: Seconds = 60.0,  # noqa: ASYNC109 - as above
    ) -> Any: ...

    async def result(
        self,
        job: int | Job[Any],
        *,
        into: type[Any] | None = None,
        timeout: Seconds = 60.0,  # noqa: ASYNC109 - as above
    ) -> Any:
        """Wait until a job has ended, and return what its handler returned.

        See ``Client.result``, also for what it raises.
        """
        job_id, seconds = _given(job, timeout, into)
        end = await self._run(job_result(job_id, kinds=self.kinds))
        if end.result is None:
            with _slot(_attempt(), job_id, end):
                end = await self._wait(job_id, seconds)
        return _decoded(job, end, into, self.kinds)

    async def _wait(self, job_id: int, seconds: float | None) -> End:
        until = None if seconds is None else time.monotonic() + seconds
        waits = await self._open_waits()
        while True:
            rest = None if until is None else until - time.monotonic()
            if rest is not None and rest <= 0:
                raise WaitTimeout(job_id, seconds or 0, why=waits.trouble)
            waiting = asyncio.ensure_future(waits.ended(job_id))
            try:
                done, _ = await asyncio.wait([waiting], timeout=rest)
            finally:
                waiting.cancel()
            if not done:
                continue
            waiting.result()
            # A job that has ended may have been retried since.
            end = await self._run(job_result(job_id, kinds=self.kinds))
            if end.result is not None:
                return end


def bound() -> AwaError:
    """Return the error of a wait on the caller's connection."""
    return AwaError(
        "the job has not ended, and a client bound to a connection does not wait",
        why="the transaction of the connection may hide the end of the job",
        hint="call result() on the client itself, after the commit",
    )


def _given(job: int | Job[Any], timeout: Seconds, into: object) -> tuple[int, float | None]:
    if into is not None:
        type_of("into", into)
    job_id = job.id if isinstance(job, Job) else int64_of("job", job)
    return job_id, None if timeout is None else seconds_of("timeout", timeout)


def _decoded(job: object, end: End, into: type[Any] | None, kinds: Kinds) -> Any:
    assert isinstance(end.result, JobResult)
    if into is not None:
        return value_decoder(into, "result")(end.result.value)
    kind = end.kind or (job.kind if isinstance(job, Job) else "")
    options = kinds.results.get(kind)
    return end.result.value if options is None else options.decode(end.result.value)


def _attempt() -> Attempt | None:
    """Return the attempt whose handler runs here, unless that has returned."""
    job = logs.current_job()
    return None if job is None else job._attempt  # noqa: SLF001 - the job is bound to it


def _slot(attempt: Attempt | None, job_id: int, end: End) -> AbstractContextManager[None]:
    if attempt is None or end.queue is None:
        return nullcontext()
    return attempt.waits_for(job_id, end.queue)


def _stopped(attempt: Attempt) -> Callable[[], bool]:
    return lambda: attempt.stop_reason in OVER
