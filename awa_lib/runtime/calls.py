"""Call the handler of a claimed job and return the outcome, however the call ends."""

from __future__ import annotations

import asyncio
import contextvars
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Final

from awa_lib._json import loads
from awa_lib.errors import AwaError
from awa_lib.models import Job
from awa_lib.runtime.callables import settle
from awa_lib.runtime.context import LOST, OVER, Attempt, Outcome
from awa_lib.runtime.handlers import Handler
from awa_lib.runtime.outcomes import describe_briefly, of_error, of_failure, of_result
from awa_lib.runtime.progress import Progress
from awa_lib.runtime.threads import HandlerThreads

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Executor

    from awa_lib.retries import Backoff
    from awa_lib.runtime.context import AttemptServices

__all__ = ["DROPPED", "HANDED_BACK", "attempt_of", "of_raised", "outcome_of", "stand_in"]

DROPPED: Final = Outcome("dropped")
"""The job no longer belongs to this attempt: nothing is written."""
HANDED_BACK: Final = Outcome("available", attempt_back=1)
"""Another process runs the job; the attempt does not count."""


def attempt_of(
    row: tuple[Any, ...],
    handlers: Mapping[str, Handler],
    services: AttemptServices,
    began: float,
    queue_backoff: Backoff | Callable[[int, BaseException], float] | None = None,
) -> Attempt:
    """Return the attempt of a claimed row; ``began`` is a time of ``time.perf_counter``."""
    job = Job(*row)
    attempt = Attempt(job, handlers[job.kind], services, began, queue_backoff)
    job._attempt = attempt  # noqa: SLF001 - the job is bound to its attempt here only
    return attempt


def stand_in(row: tuple[Any, ...], services: AttemptServices, began: float) -> Attempt:
    """Return an attempt that can only be ended, for a row that ``attempt_of`` cannot read."""
    job_id, kind, queue, _, _, number, max_attempts, lease, *_ = row
    job = Job(
        job_id,
        kind,
        queue,
        state="running",
        priority=2,
        attempt=number,
        max_attempts=max_attempts,
        run_lease=lease,
        args="{}",
        metadata=None,
        tags=None,
        errors=None,
        progress=None,
        run_at=row[13],
        created_at=row[14],
    )
    attempt = Attempt(
        job, Handler(kind, queue, _nothing, False, _nothing, {}), services, began, None
    )
    attempt.noted = Progress.of_text(row[12])
    return attempt


def _nothing(_: Any) -> None: ...


async def outcome_of(
    attempt: Attempt,
    threads: HandlerThreads | Executor | None,
    errors: list[BaseException] | None = None,
) -> Outcome | None:
    """Decode the args, call the handler, and return the outcome; None means completed.

    Raises nothing: SystemExit, GeneratorExit and the like from a handler are failed attempts too.
    Errors are added to ``errors``.
    """
    job, handler = attempt.job, attempt.handler
    try:
        if attempt.over_limit:
            return Outcome("failed", f"not begun: {job.kind} has {attempt.max_attempts} attempts")
        job._args = handler.decode(loads(job._raw_args))  # noqa: SLF001 - see attempt_of
    except BaseException as error:  # noqa: BLE001 - any model may raise anything
        _note(errors, error)
        return of_unreadable(error)
    try:
        if handler.is_async:
            result = handler.call(job)
            if type(result) is CoroutineType:
                result = await result
        else:
            result = await _in_thread(attempt, threads)
        if result is not None:
            result = await settle(result)
        if attempt.stop_reason == "cancelled":
            return DROPPED
        if result is None and handler.keep is None:
            return None
        return of_result(attempt, result)
    except BaseException as error:  # noqa: BLE001 - see above
        _note(errors, error)
        return of_raised(attempt, error)


async def _in_thread(attempt: Attempt, threads: HandlerThreads | Executor | None) -> object:
    """Call a plain function in a thread; a coroutine that it returns is left to the caller."""
    call = _call, attempt.handler, attempt.job
    attempt.blocking = True
    try:
        if isinstance(threads, HandlerThreads):
            result, error = await threads.run(*call)
        else:
            context = contextvars.copy_context()
            loop = asyncio.get_running_loop()
            result, error = await loop.run_in_executor(threads, context.run, *call)
    finally:
        attempt.blocking = False
    if error is not None:
        raise error
    if attempt.interrupted and type(result) is CoroutineType:
        # CancelledError became due while the function was in its thread.
        result.close()
        raise asyncio.CancelledError
    return result


def _call(handler: Handler, job: Job) -> tuple[object, BaseException | None]:
    """Return what the handler returned or raised: a future cannot hold every exception."""
    try:
        return handler.call(job), None
    except StopIteration as error:
        # Raised in a coroutine it would become a RuntimeError with a misleading text.
        wrapped = RuntimeError("the handler raised StopIteration")
        wrapped.__cause__ = error
        return None, wrapped
    except BaseException as error:  # noqa: BLE001 - see outcome_of
        return None, error


def _note(errors: list[BaseException] | None, error: BaseException) -> None:
    if errors is not None and not isinstance(error, asyncio.CancelledError):
        errors.append(error)


def of_unreadable(error: BaseException, shown: str | None = None) -> Outcome:
    """Return the outcome of a row or args that cannot be read; a retry would not help."""
    text = describe_briefly(error)
    if shown is None and not isinstance(error, AwaError):
        # The text of a model's exception quotes the args, so the log has neither it nor its trace.
        shown = f"its args cannot be read ({type(error).__qualname__}); awa job show has the error"
    return Outcome("failed", text, terminal=True, shown=shown)


def of_raised(attempt: Attempt, error: BaseException) -> Outcome:
    """Return the outcome of an exception that the handler or a stop raised."""
    if isinstance(error, asyncio.CancelledError) or attempt.stop_reason in OVER:
        return _of_stop(attempt, error)
    return of_error(attempt, error)


def _of_stop(attempt: Attempt, error: BaseException) -> Outcome:
    """Return the outcome of a stopped handler."""
    if attempt.stop_reason == "deadline":
        return of_failure(attempt, "hard deadline exceeded", cause=error)
    if attempt.stop_reason in LOST:
        return DROPPED
    if attempt.stop_reason == "handed back":
        return HANDED_BACK
    return of_error(attempt, error)
