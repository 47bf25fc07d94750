"""How an attempt ended, as the row it becomes."""

from __future__ import annotations

import math
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from awa_lib.errors import TerminalError
from awa_lib.results import Cancel, RetryAfter, Snooze, WaitForCallback

if TYPE_CHECKING:
    from awa_lib.models import Job

__all__ = ["Outcome", "of_error", "of_result"]

_TRACE_LINES: Final = 10
_TEXT_LIMIT: Final = 16_000
# A hundred years: beyond any real delay, and well inside what timestamptz can hold.
_LONGEST_SECONDS: Final = 3.15e9


@dataclass(frozen=True, slots=True)
class Outcome:
    """The target state of an attempt that did not simply complete."""

    target: str
    error: str | None = None
    terminal: bool = False
    delay: float | None = None
    """Seconds until the next run; None means the published backoff."""
    attempt_back: int = 0
    """1 where the attempt shall not count."""


def of_result(job: Job, result: object) -> Outcome | None:
    """Return the outcome a handler asked for, or None for a plain completion."""
    if isinstance(result, RetryAfter):
        if job.attempt >= job.max_attempts:
            return Outcome("failed", f"RetryAfter on the last of {job.max_attempts} attempts")
        return Outcome("retryable", delay=_seconds(result.seconds))
    if isinstance(result, Snooze):
        return Outcome("scheduled", delay=_seconds(result.seconds), attempt_back=1)
    if isinstance(result, Cancel):
        return Outcome("cancelled", clean(f"cancelled: {result.reason}"))
    if isinstance(result, WaitForCallback):
        # The error is what it fails with when its row has no callback.
        return Outcome(
            "waiting_external",
            "WaitForCallback returned without calling register_callback",
            terminal=True,
        )
    return None


def of_error(job: Job, error: BaseException) -> Outcome:
    """Return the outcome of an exception that left the handler."""
    if isinstance(error, TerminalError):
        return Outcome("failed", describe(error), terminal=True)
    return of_failure(job, describe(error))


def of_failure(job: Job, message: str) -> Outcome:
    """Return a retry with backoff, or the end when no attempt is left."""
    target = "retryable" if job.attempt < job.max_attempts else "failed"
    return Outcome(target, message)


def describe(error: BaseException) -> str:
    """Return ``QualName: message`` and the last lines of the traceback."""
    head = f"{type(error).__qualname__}: {error}"
    lines = traceback.format_tb(error.__traceback__)
    text = "".join(lines).rstrip("\n").splitlines()
    if len(text) > _TRACE_LINES:
        tail = text[-_TRACE_LINES:]
        cut = len(lines) - sum(line.lstrip().startswith("File ") for line in tail)
        text = [f"... ({cut} frames truncated, full trace in logs)", *tail]
    return clean("\n".join([head, *text]) if text else head)


def clean(text: str) -> str:
    """Make text that Postgres can store: no NUL, no lone surrogate, bounded."""
    text = text.replace("\x00", "\N{REPLACEMENT CHARACTER}")[:_TEXT_LIMIT]
    return text.encode("utf-8", "replace").decode("utf-8")


def _seconds(value: Any) -> float:
    seconds = float(value)
    if math.isnan(seconds):
        raise ValueError("a delay must be a number of seconds, got nan")
    return min(max(seconds, 0.0), _LONGEST_SECONDS)
