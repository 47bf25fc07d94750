"""Log records of failed attempts: a few per second and kind, then how many were left out."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
import traceback
from typing import TYPE_CHECKING, Any, Final

from awa_lib.logs import Logger
from awa_lib.runtime.outcomes import from_the_handler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from awa_lib.ops.maintenance import Rescued
    from awa_lib.runtime.context import Attempt, Outcome

    _Trace = tuple[type[BaseException], BaseException, TracebackType | None]

__all__ = ["Failures"]

logger = Logger(__name__)

# One record with its traceback costs about as much as an empty job.
_RECORDS_PER_SECOND: Final = 5
_SUMMARY_SECONDS: Final = 10.0
# Kinds come from the database.  Beyond this many at once they share one entry.
_MOST_KINDS: Final = 1_000
_LONGEST_TEXT: Final = 200
_LONGEST_TRACE: Final = 32_000
_LONGEST_BACKOFF: Final = 86_400.0
_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"))
_RETRIED: Final = (
    "job %(job_id)s (kind %(job_kind)s, queue %(job_queue)s) failed in attempt %(attempt)s; "
    "it runs again in about %(retry_in)s: %(error)s"
)
# Of an attempt that the leader ended: its worker was gone, late, or no callback came.
_RESCUED: Final = (
    "job %(job_id)s (kind %(job_kind)s, queue %(job_queue)s) was taken from its worker and "
    "%(became)s; awa job show %(job_id)s has the reason"
)
_BECAME: Final = {"retryable": "is retried", "failed": "failed for good"}
_ENDED: Final = (
    "job %(job_id)s (kind %(job_kind)s, queue %(job_queue)s) failed for good in attempt "
    "%(attempt)s: %(error)s"
)


class _Kind:
    """What was logged of a kind in this second, and what was left out since the last summary."""

    __slots__ = ("ended", "left_out", "left_out_since", "logged", "second")

    def __init__(self) -> None:
        self.second = 0
        self.logged = 0
        self.left_out = 0
        self.ended = 0
        self.left_out_since = 0.0


class Failures:
    """Log each attempt that fails: a WARNING if it is retried, an ERROR if the job has failed.

    At most five records a second are written for a kind.  One line says how many others there
    were, ten seconds after the first of them.  A record holds no args of the job; its traceback is
    that of the handler's exception.  Used on the event loop only; raises nothing.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kinds: dict[str | None, _Kind] = {}
        self._timer: asyncio.TimerHandle | None = None

    def report(self, attempt: Attempt, outcome: Outcome) -> None:
        """Log an outcome, if it is a failure; a handler that asked for a retry has not failed."""
        retried = outcome.target == "retryable"
        if outcome.error is None or not (retried or outcome.target == "failed"):
            return
        if not self._may_log(attempt.job.kind, ended=not retried):
            return
        job = attempt.job
        fields: dict[str, Any] = {
            "job_id": job.id,
            "job_kind": _one_line(job.kind),
            "job_queue": _one_line(job.queue),
            "job_attempt": job.attempt,
            "attempt": f"{job.attempt} of {attempt.max_attempts}",
            "error": _one_line(outcome.shown or outcome.error.partition("\n")[0]),
        }
        if retried:
            seconds = outcome.delay if outcome.delay is not None else _default_backoff(job.attempt)
            fields["retry_in_seconds"] = round(seconds, 3)
            fields["retry_in"] = _span(seconds)
        _log(
            logging.WARNING if retried else logging.ERROR,
            _RETRIED if retried else _ENDED,
            fields,
            outcome.cause,
        )

    def rescued(self, jobs: Iterable[Rescued]) -> None:
        """Log the attempts that the leader ended, if they count as failures."""
        for job in jobs:
            failed = job.state == "failed"
            if job.state in _BECAME and self._may_log(job.kind, ended=failed):
                fields = {
                    "job_id": job.id,
                    "job_kind": _one_line(job.kind),
                    "job_queue": _one_line(job.queue),
                    "became": _BECAME[job.state],
                }
                _log(logging.ERROR if failed else logging.WARNING, _RESCUED, fields, None)

    def _may_log(self, kind: str, *, ended: bool) -> bool:
        """Count a failure of a kind; return False when it must be left out."""
        name = kind if kind in self._kinds or len(self._kinds) < _MOST_KINDS else None
        seen = self._kinds.setdefault(name, _Kind())
        now = self._clock()
        if seen.second != int(now):
            seen.second, seen.logged = int(now), 0
        self._start_timer()
        if seen.logged < _RECORDS_PER_SECOND:
            seen.logged += 1
            return True
        if not seen.left_out:
            seen.left_out_since = now
        seen.left_out += 1
        seen.ended += ended
        return False

    def _start_timer(self) -> None:
        if self._timer is None:
            # In an empty context: records of the timer belong to no job.
            self._timer = asyncio.get_running_loop().call_later(
                _SUMMARY_SECONDS, self.summarize, context=contextvars.Context()
            )

    def summarize(self) -> None:
        """Log how many failures were left out, and forget kinds that no longer fail."""
        self.close()
        now = self._clock()
        for kind, seen in self._kinds.items():
            if seen.left_out:
                self._log_left_out(kind, seen, now - seen.left_out_since)
        # The count of this second stays.
        self._kinds = {k: seen for k, seen in self._kinds.items() if seen.second == int(now)}
        for seen in self._kinds.values():
            seen.left_out = seen.ended = 0
        if self._kinds:
            self._start_timer()

    def _log_left_out(self, kind: str | None, seen: _Kind, seconds: float) -> None:
        which = "other kinds" if kind is None else f"kind {_one_line(kind)}"
        text = f"{seen.left_out:,} more failed attempts of {which} in the last {seconds:.0f} s"
        if seen.ended:
            text += f"; {seen.ended:,} of them failed for good"
        logger.log(
            logging.ERROR if seen.ended else logging.WARNING,
            "… %s",
            text,
            extra={"left_out": seen.left_out, "failed_for_good": seen.ended},
        )

    def close(self) -> None:
        """Stop the timer; call ``summarize`` before, so that nothing goes untold."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _log(level: int, message: str, fields: dict[str, Any], cause: BaseException | None) -> None:
    trace = None
    if cause is not None:
        trace = type(cause), cause, from_the_handler(cause.__traceback__)
    try:
        if trace and (text := _readable(trace)) is not None:
            message, trace = message + "\n%(exception)s", None
            fields = {**fields, "exception": text}
        logger.log(level, message, fields, exc_info=trace, extra=fields)
    except BaseException:  # noqa: BLE001 - code of the exception's class, or a log handler, fails
        logger.log(level, message, fields, extra=fields)


def _readable(trace: _Trace) -> str | None:
    """Return the text of a traceback that no log should get as it is, else None.

    The text of an exception may have megabytes, or half characters that a file cannot hold.
    """
    text = "".join(traceback.format_exception(*trace))
    clean = text.encode("utf-8", "backslashreplace").decode()
    if len(clean) <= _LONGEST_TRACE:
        return None if clean == text else clean
    half = _LONGEST_TRACE // 2
    return f"{clean[:half]}\n… {len(clean) - 2 * half:,} characters …\n{clean[-half:]}"


def _default_backoff(attempt: int) -> float:
    """Return the middle of the default backoff; the database adds up to a quarter at random."""
    return min(1.125 * 2.0 ** min(attempt, 17), _LONGEST_BACKOFF)


def _span(seconds: float) -> str:
    for size, unit in _UNITS:
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"  # noqa: PLR2004 - 2 digits


def _one_line(text: str) -> str:
    """Return text that cannot end the line, bounded; names come from the database."""
    text = text[:_LONGEST_TEXT]
    return text if text.isprintable() else text.encode("unicode_escape").decode()
