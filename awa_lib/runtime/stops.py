"""Stop running attempts: set the flag, wait for a grace, raise CancelledError, give up."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from awa_lib.logs import Logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from awa_lib.runtime.context import Attempt

__all__ = ["AFTER_CANCEL_SECONDS", "Stops", "log_survivor"]

logger = Logger(__name__)

AFTER_CANCEL_SECONDS: Final = 1.0
"""How long an async handler may run after CancelledError."""
# Interval of the deadline check: a sweep costs less than a timer for each attempt (4.5 µs each).
_SWEEP_SECONDS: Final = 0.25


class Stops:
    """Carry out ``Attempt.stop``.

    The handler sees the flag at once.  An async handler gets CancelledError after the grace, or at
    once at the end of a drain.  A handler that still runs is given up: ``on_give_up`` is called,
    and its slot stays taken until it ends.  Only stopped attempts have a timer.
    """

    def __init__(self, grace: float, on_give_up: Callable[[Attempt], None]) -> None:
        self._grace = grace
        self._on_give_up = on_give_up
        self._loop = asyncio.get_running_loop()
        self._sweep: asyncio.TimerHandle | None = None
        self.timed: set[Attempt] = set()

    def watch(self, attempt: Attempt, deadline: float) -> None:
        """Stop the attempt at this time of the event loop's clock."""
        attempt.deadline = deadline
        self.timed.add(attempt)
        self.start()

    def start(self) -> None:
        """Start the check of the attempts in ``timed``."""
        if self._sweep is None:
            self._sweep = self._loop.call_later(_SWEEP_SECONDS, self._check_deadlines)

    def close(self) -> None:
        """Stop the check."""
        if self._sweep is not None:
            self._sweep.cancel()

    def _check_deadlines(self) -> None:
        """Stop attempts past their deadline; the leader's rescue covers dead processes."""
        self._sweep = None
        now = self._loop.time()
        for attempt in [a for a in self.timed if a.deadline is not None and a.deadline <= now]:
            self.timed.discard(attempt)
            if not attempt.waiting:
                attempt.stop("deadline")
        if self.timed:
            self.start()

    def stopped(self, attempt: Attempt) -> None:
        """Start the grace of an attempt that was asked to stop."""
        if attempt.turn is not None and not attempt.turn.done():
            attempt.turn.set_result("stopped")
        elif attempt.stop_reason != "shutdown" and attempt.task and not attempt.task.done():
            if self._grace and attempt.stop_reason != "handed back":
                self._loop.call_later(self._grace, self.interrupt, attempt)
            else:
                self.interrupt(attempt)

    def interrupt(self, attempt: Attempt) -> None:
        """Raise CancelledError in an async handler; a handler in a thread has its flag."""
        task = attempt.task
        if attempt.interrupted or task is None or task.done():
            return
        if attempt.waiting and attempt.stop_reason == "deadline":
            # It has since begun to wait for a callback, where no deadline applies.
            attempt.stop_reason = None
            return
        attempt.interrupted = True
        if not attempt.blocking:
            task.cancel()
            if attempt.stop_reason != "handed back":
                self._loop.call_later(AFTER_CANCEL_SECONDS, self.give_up, attempt)

    def give_up(self, attempt: Attempt) -> None:
        """Stop waiting for this handler if it still runs."""
        task = attempt.task
        if attempt.given_up or task is None or task.done():
            return
        attempt.given_up = True
        log_survivor(attempt)
        self._on_give_up(attempt)


def log_survivor(attempt: Attempt) -> None:
    """Log a handler that CancelledError did not end."""
    logger.warning(
        "a handler goes on after CancelledError: the worker no longer waits for it; it keeps its "
        "slot until it ends",
        extra={"job_id": attempt.job.id, "kind": attempt.job.kind},
    )
