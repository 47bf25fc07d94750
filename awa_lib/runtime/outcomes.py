"""Turn what a handler returned or raised into the outcome of its attempt."""

from __future__ import annotations

import math
import traceback
from typing import TYPE_CHECKING, Any, Final, TypedDict

from awa_lib.db.jitter import RANDOM
from awa_lib.errors import AwaError, ResultError, TerminalError
from awa_lib.logs import Logger
from awa_lib.results import Cancel, RetryAfter, Snooze, WaitForCallback, asleep
from awa_lib.retries import Backoff, bounded
from awa_lib.runtime.context import CANCELLED, Outcome
from awa_lib.telemetry.failures import group_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from awa_lib.runtime.context import Attempt
    from awa_lib.telemetry.failures import Group

__all__ = ["describe_briefly", "from_the_handler", "of_error", "of_failure", "of_result"]

logger = Logger(__name__)

_TRACE_LINES: Final = 10
# Packages whose frames lie between the worker and a handler.
_CALLERS: Final = frozenset({"awa_lib", "asyncio", "concurrent", "threading"})
_TEXT_LIMIT: Final = 16_000
_RESULTS: Final = (RetryAfter, Snooze, Cancel, WaitForCallback)


class _Said(TypedDict):
    error_type: str | None
    group: Group | None
    cause: BaseException | None
    limit: int | None


def of_result(attempt: Attempt, result: object) -> Outcome | None:
    """Return the outcome a handler asked for, or None for a completion, which keeps the result.

    Raises ResultError for a result that cannot be kept.
    """
    if isinstance(result, RetryAfter):
        if attempt.is_last:
            return Outcome("failed", f"RetryAfter on the last of {attempt.max_attempts} attempts")
        return Outcome("retryable", delay=_seconds(result.seconds))
    if isinstance(result, Snooze):
        return Outcome("scheduled", delay=_seconds(result.seconds), attempt_back=1)
    if isinstance(result, Cancel):
        return Outcome("cancelled", clean(f"{CANCELLED}{_text_of(result.reason)}"))
    if isinstance(result, WaitForCallback):
        # The error that it fails with when its row has no callback.
        return Outcome(
            "waiting_external",
            "WaitForCallback returned without calling register_callback",
            terminal=True,
        )
    outcome = _of_class(result)
    if outcome is None and attempt.handler.keep is not None:
        attempt.result = attempt.handler.keep.encode(result)
    return outcome


def _of_class(result: object) -> Outcome | None:
    """Return the failure of a handler that returned a result class, else None."""
    if not isinstance(result, type) or result not in _RESULTS:
        return None
    name = result.__name__
    return Outcome("failed", f"TypeError: return {name}(...), not the class {name}", terminal=True)


def of_error(attempt: Attempt, error: BaseException) -> Outcome:
    """Return the outcome of an exception of the handler; raises nothing itself."""
    try:
        return _of_error(attempt, error)
    except BaseException:
        # isinstance() runs code of the exception's class, which may fail.
        logger.exception(
            "an exception of a handler cannot be classified; its job is retried as after any error",
            extra={"job_id": attempt.job.id},
        )
        return of_failure(attempt, describe(error), error)


def _of_error(attempt: Attempt, error: BaseException) -> Outcome:
    if (sleep := asleep(error)) is not None:
        return Outcome("scheduled", delay=_seconds(sleep.seconds), attempt_back=1)
    policy = attempt.handler.policy
    text, name = describe(error), _name(error)
    group = _group(error, name)
    if policy is not None and isinstance(error, policy.discard_on):
        return Outcome("cancelled", clean(f"discarded: {text}"), error_type=name, group=group)
    unwanted = policy is not None and policy.retry_on and not isinstance(error, policy.retry_on)
    if isinstance(error, TerminalError) or unwanted:
        return Outcome("failed", text, terminal=True, error_type=name, group=group, cause=error)
    return of_failure(attempt, text, error)


def of_failure(
    attempt: Attempt,
    message: str,
    error: BaseException | None = None,
    *,
    cause: BaseException | None = None,
) -> Outcome:
    """Return a retry after the backoff, or a failure when no attempt is left.

    ``cause`` is only logged: where a handler was when it was stopped.
    """
    name = None if error is None else _name(error)
    cause = error if cause is None else cause
    group = None if error is None or name is None else _group(error, name)
    limit = attempt.max_attempts if attempt.max_attempts < attempt.job.max_attempts else None
    said: _Said = {"error_type": name, "group": group, "cause": cause, "limit": limit}
    if attempt.is_last:
        return Outcome("failed", message, **said)
    return Outcome("retryable", message, delay=_delay(attempt, error), **said)


def _group(error: BaseException, name: str) -> Group:
    return group_of(error, name, _text_of(error))


def _delay(attempt: Attempt, error: BaseException | None) -> float | None:
    backoff = attempt.backoff
    if backoff is None:
        return None
    number = attempt.job.attempt
    if isinstance(backoff, Backoff):
        return backoff.seconds(number, RANDOM)
    return _custom_delay(backoff, number, error or TimeoutError("hard deadline exceeded"))


def _custom_delay(
    backoff: Callable[[int, BaseException], float], number: int, error: BaseException
) -> float | None:
    try:
        return _seconds(backoff(number, error))
    except BaseException:
        logger.exception("a backoff function failed; the job is retried after the default backoff")
        return None


def describe(error: BaseException) -> str:
    """Return ``QualName: message`` and the end of the traceback, beginning at the handler."""
    head = f"{type(error).__qualname__}: {_text_of(error)}"
    if isinstance(error, ResultError):
        return clean(head)  # the handler has returned: the frames are the worker's
    try:
        lines = traceback.format_tb(from_the_handler(error.__traceback__))
    except BaseException:
        # Names in frames and the loaders of source lines are the user's.
        logger.debug("a traceback cannot be formatted", exc_info=True)
        lines = []
    text = "".join(lines).rstrip("\n").splitlines()
    if len(text) > _TRACE_LINES:
        tail = text[-_TRACE_LINES:]
        cut = len(lines) - sum(line.lstrip().startswith("File ") for line in tail)
        text = [f"... ({cut} frames truncated, full trace in logs)", *tail]
    return clean("\n".join([head, *text]) if text else head)


def _text_of(value: object) -> str:
    """Return the text of a user's object, whose ``__str__`` may do anything."""
    try:
        # str(value) may return an instance of a subclass of str.
        return str.__str__(str(value))[:_TEXT_LIMIT]
    except BaseException as failure:  # noqa: BLE001 - see above
        return f"(its text cannot be shown: {type(failure).__qualname__} in __str__)"


def describe_briefly(error: BaseException) -> str:
    """Return ``QualName: message`` for awa's own errors, ``repr()`` for others."""
    if isinstance(error, AwaError):
        return clean(f"{type(error).__qualname__}: {_text_of(error)}")
    try:
        return clean(str.__str__(repr(error)))
    except BaseException:  # noqa: BLE001 - as ``__str__``
        return clean(f"{type(error).__qualname__}: {_text_of(error)}")


def from_the_handler(trace: TracebackType | None) -> TracebackType | None:
    """Return the part that begins at the handler; all of it for an error of the worker itself."""
    first = trace
    while first is not None:
        package = str(first.tb_frame.f_globals.get("__name__", "")).partition(".")[0]
        if package not in _CALLERS:
            return first
        first = first.tb_next
    return trace


def clean(text: str) -> str:
    """Return text that Postgres can store: no NUL, no lone surrogate, bounded."""
    text = text[:_TEXT_LIMIT].replace("\x00", "\N{REPLACEMENT CHARACTER}")
    return text.encode("utf-8", "replace").decode("utf-8")


def _name(error: BaseException) -> str:
    return clean(f"{type(error).__module__}.{type(error).__qualname__}")


def _seconds(value: Any) -> float:
    try:
        seconds = float(value)
    except OverflowError:  # an int that no float can hold
        return bounded(math.inf if value > 0 else 0.0)
    if math.isnan(seconds):
        raise ValueError("a delay must be a number of seconds, got nan")
    return bounded(seconds)
