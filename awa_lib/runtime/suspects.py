"""Run jobs alone that were running in processes that died, so that no other job dies with them."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from awa_lib.db.jitter import RANDOM
from awa_lib.logs import Logger
from awa_lib.runtime.calls import DROPPED, HANDED_BACK
from awa_lib.runtime.context import LOST, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from awa_lib.models import Job
    from awa_lib.runtime.context import Attempt

__all__ = ["Suspects", "crashes_of"]

logger = Logger(__name__)

CRASHES: Final = "_awa_crashes"
"""The key in a job's metadata: how many processes died while they ran it."""
_CRASHES_OF_SUSPECT: Final = 2
# A suspect waits at most this long for the other jobs of its process to end.
_LONGEST_WAIT_SECONDS: Final = 30.0
# After that no suspect waits in this process for this long.
_NO_WAIT_SECONDS: Final = 270.0
# Delay of a suspect that was handed back for an idle process.
_HANDED_BACK_SECONDS: Final = 10.0
# After this long other jobs run next to it: a job that kills its process does so sooner.
_ALONE_SECONDS: Final = 60.0
# When suspects have run alone for this long, other jobs get as much time.  After two crashes of a
# worker all that it ran are suspects; without this a hundred of them stop a fleet for minutes.
_SERIES_SECONDS: Final = 5.0
_CHECK_SECONDS: Final = 1.0


def is_suspect(job: Job) -> bool:
    """Return True when the job was running in two processes that died."""
    return crashes_of(job) >= _CRASHES_OF_SUSPECT


def crashes_of(job: Job) -> int:
    """Return how many processes died while they ran the job, since the last retry by hand."""
    # Search the text first: few jobs have metadata, and fewer this key.
    if not job._metadata or CRASHES not in job._metadata:  # noqa: SLF001 - spares a decode
        return 0
    with suppress(Exception):
        crashes = job.metadata.get(CRASHES)
        return crashes if isinstance(crashes, int) else 0
    return 0


class Suspects:
    """The suspects of a process: those that wait, and the suspect that runs alone.

    While there is a suspect the process claims nothing.  It begins when nothing else runs; if that
    takes too long it is handed back, for an idle process.  Suspects get at most about half of the
    time of a process that has other jobs.
    """

    def __init__(self, *, is_quiet: Callable[[], bool], wake: Callable[[], None]) -> None:
        self._is_quiet = is_quiet
        self._wake = wake
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Attempt] = deque()
        self._alone: Attempt | None = None
        self._alone_until = 0.0
        self._no_wait_until = 0.0
        self._rest_until = 0.0
        self._spent = 0.0
        """Seconds that suspects have run alone since the last rest."""
        self._checking = False
        self.held = 0
        """How many attempts count as running but have not begun."""

    @property
    def may_claim(self) -> bool:
        """Return False while the process must claim nothing."""
        return not self._waiting and not self.runs_alone

    @property
    def runs_alone(self) -> bool:
        """Return True when a suspect has begun and other jobs must not begin."""
        alone = self._alone
        # A handler that waits for a callback is not at work.
        return alone is not None and not alone.waiting and self._loop.time() < self._alone_until

    def hold_back(self, attempt: Attempt, running: int) -> None:
        """Hold back a suspect, and any attempt that was claimed while a suspect runs alone.

        ``running`` counts attempts, including those held here.
        """
        suspect = is_suspect(attempt.job)
        if not suspect and not self.runs_alone:
            return
        others = running - self.held
        attempt.turn = self._loop.create_future()
        self.held += 1
        if not suspect:
            attempt.turn.set_result("stopped")
        elif self._loop.time() < (self._no_wait_until if others else self._rest_until):
            attempt.turn.set_result("late")
        else:
            self._waiting.append(attempt)

    def next(self) -> None:
        """Let the next suspect begin; nothing else runs."""
        while self._waiting:
            attempt = self._waiting.popleft()
            if attempt.turn is not None and not attempt.turn.done():
                self.held -= 1
                self._alone = attempt
                self._alone_until = self._loop.time() + _ALONE_SECONDS
                attempt.turn.set_result("begin")
                return

    async def wait(self, attempt: Attempt) -> Outcome | None:
        """Wait for the turn of a suspect; return None when it may begin, otherwise its outcome."""
        try:
            answer = await self._wait(attempt)
        except asyncio.CancelledError:
            answer = "stopped"
        finally:
            if attempt is not self._alone:
                self.held -= 1
                with suppress(ValueError):
                    self._waiting.remove(attempt)
        if answer == "begin":
            self._begin(attempt)
            return None
        if answer == "late":
            now = self._loop.time()
            if now >= self._rest_until:
                if now >= self._no_wait_until:
                    self._no_wait_until = now + _NO_WAIT_SECONDS
                logger.info(
                    "a job that was running in processes that died is left to an idle worker: "
                    "other jobs of this worker did not end in time",
                    extra=_names(attempt),
                )
            delay = _HANDED_BACK_SECONDS * RANDOM.uniform(0.8, 1.2)
            return Outcome("scheduled", delay=delay, attempt_back=1)
        return DROPPED if attempt.stop_reason in LOST else HANDED_BACK

    async def _wait(self, attempt: Attempt) -> str:
        turn = attempt.turn
        assert turn is not None
        until = self._loop.time() + self._longest_wait(attempt)
        while not turn.done():
            # Nothing notifies when a handler begins to wait for a callback: check now and then.
            if self._waiting and self._waiting[0] is attempt and self._is_quiet():
                self.next()
            elif (left := until - self._loop.time()) > 0:
                await asyncio.wait([turn], timeout=min(left, _CHECK_SECONDS))
            else:
                turn.set_result("late")
        return turn.result()

    def _longest_wait(self, attempt: Attempt) -> float:
        if attempt.deadline is None:
            return _LONGEST_WAIT_SECONDS
        # Before a rescue for its deadline, which would count the attempt.
        return min(_LONGEST_WAIT_SECONDS, max(0.0, attempt.deadline - self._loop.time()) / 2)

    def _begin(self, attempt: Attempt) -> None:
        logger.info(
            "a job that was running in processes that died runs alone", extra=_names(attempt)
        )
        if not self._checking:
            self._checking = True
            self._check()

    def _check(self) -> None:
        """Wake the dispatchers when claims are possible before the suspect has ended."""
        if self._alone is None:
            self._checking = False
            return
        if self.may_claim:
            self._wake()
        self._loop.call_later(_CHECK_SECONDS, self._check)

    def over(self, attempt: Attempt) -> None:
        """Note that a suspect has ended."""
        if self._alone is attempt:
            self._alone = None
            self._spent += min(self._loop.time() - self._alone_until, 0.0) + _ALONE_SECONDS
            if self._spent >= _SERIES_SECONDS:
                self._rest()
        if not self._waiting:
            self._wake()

    def _rest(self) -> None:
        """Hand suspects back for as long as they have run alone here, so that others can run."""
        self._rest_until = self._loop.time() + self._spent
        self._no_wait_until = max(self._no_wait_until, self._rest_until)
        self._spent = 0.0
        waiting, self._waiting = self._waiting, deque()
        for attempt in waiting:
            if attempt.turn is not None and not attempt.turn.done():
                attempt.turn.set_result("late")


def _names(attempt: Attempt) -> dict[str, object]:
    return {"job_id": attempt.job.id, "kind": attempt.job.kind}
