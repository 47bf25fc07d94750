"""Jobs that ran in processes that died run alone, so that they take nobody else along."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from awa_lib.runtime.calls import DROPPED, HANDED_BACK
from awa_lib.runtime.outcomes import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from awa_lib.models import Job
    from awa_lib.runtime.context import Attempt

__all__ = ["Suspects"]

logger = logging.getLogger(__name__)

CRASHES: Final = "_awa_crashes"
"""The key in a job's metadata: how many processes died while they ran it."""
_SUSPECT: Final = 2
# How long the others of this process may take to end.
_PATIENCE_SECONDS: Final = 30.0
# After they took longer: how long a suspect must not hold up this process again.
_REST_SECONDS: Final = 270.0
# When another process, or this one, may take a suspect that was handed back.
_DELAY_SECONDS: Final = 10.0
# The longest run alone: a job that kills its process does so sooner, and others wait.
_ALONE_SECONDS: Final = 300.0
_LOOK_SECONDS: Final = 1.0


def is_suspect(job: Job) -> bool:
    """Return whether the job was running in two processes that died."""
    # The text is looked at first: hardly any job has metadata, and fewer this key.
    if not job._metadata or CRASHES not in job._metadata:  # noqa: SLF001
        return False
    with suppress(Exception):
        crashes = job.metadata.get(CRASHES)
        return isinstance(crashes, int) and crashes >= _SUSPECT
    return False


class Suspects:
    """The suspects of a process: those that wait for their turn, and the one that runs alone.

    While there is one the process claims nothing.  It begins when nothing else runs; where that
    takes too long it is handed back, for an idle process.  All bounds are there so that a suspect
    cannot keep a process from its work for good.
    """

    def __init__(self, quiet: Callable[[], bool], wake: Callable[[], None]) -> None:
        self._quiet = quiet
        self._wake = wake
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Attempt] = deque()
        self._alone: Attempt | None = None
        self._alone_until = 0.0
        self._rests_until = 0.0
        self._looking = False
        self.held = 0
        """How many attempts count as running and have not begun."""

    @property
    def may_claim(self) -> bool:
        """Return False while the process should claim nothing."""
        return not self._waiting and not self.runs_alone

    @property
    def runs_alone(self) -> bool:
        """Return whether a suspect has begun and others should not."""
        alone = self._alone
        # A handler that waits for a callback does nothing meanwhile.
        return alone is not None and not alone.waiting and self._loop.time() < self._alone_until

    def look_at(self, attempt: Attempt, running: int) -> None:
        """Keep a suspect from beginning, and what was being claimed when one had begun.

        ``running`` counts attempts, also those held here.
        """
        suspect = is_suspect(attempt.job)
        if not suspect and not self.runs_alone:
            return
        others = running - self.held
        attempt.turn = self._loop.create_future()
        self.held += 1
        if not suspect:
            attempt.turn.set_result("stopped")
        elif others and self._loop.time() < self._rests_until:
            attempt.turn.set_result("late")
        else:
            self._waiting.append(attempt)

    def next(self) -> None:
        """Let the next one begin; nothing else runs."""
        while self._waiting:
            attempt = self._waiting.popleft()
            if attempt.turn is not None and not attempt.turn.done():
                self.held -= 1
                self._alone = attempt
                self._alone_until = self._loop.time() + _ALONE_SECONDS
                attempt.turn.set_result("begin")
                return

    async def wait(self, attempt: Attempt) -> Outcome | None:
        """Wait for the turn of a suspect; None when it may begin, else its end."""
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
            if now >= self._rests_until:
                self._rests_until = now + _REST_SECONDS
            logger.info("a suspect job is left for an idle worker", extra=_names(attempt))
            delay = _DELAY_SECONDS * random.uniform(0.8, 1.2)
            return Outcome("scheduled", delay=delay, attempt_back=1)
        return DROPPED if attempt.stop_reason in {"cancelled", "lost"} else HANDED_BACK

    async def _wait(self, attempt: Attempt) -> str:
        turn = attempt.turn
        assert turn is not None
        until = self._loop.time() + self._patience(attempt)
        while not turn.done():
            # Handlers that begin to wait for a callback tell nobody: look now and then.
            if self._waiting and self._waiting[0] is attempt and self._quiet():
                self.next()
            elif (left := until - self._loop.time()) > 0:
                await asyncio.wait([turn], timeout=min(left, _LOOK_SECONDS))
            else:
                turn.set_result("late")
        return turn.result()

    def _patience(self, attempt: Attempt) -> float:
        if attempt.deadline is None:
            return _PATIENCE_SECONDS
        # Before somebody rescues it for its deadline, which would count.
        return min(_PATIENCE_SECONDS, max(0.0, attempt.deadline - self._loop.time()) / 2)

    def _begin(self, attempt: Attempt) -> None:
        logger.info(
            "a job that was running in processes that died runs alone", extra=_names(attempt)
        )
        if not self._looking:
            self._looking = True
            self._look()

    def _look(self) -> None:
        """Notice that claims are possible again, though it has not ended."""
        if self._alone is None:
            self._looking = False
            return
        if self.may_claim:
            self._wake()
        self._loop.call_later(_LOOK_SECONDS, self._look)

    def over(self, attempt: Attempt) -> None:
        """Note that a suspect has ended."""
        if self._alone is attempt:
            self._alone = None
        if not self._waiting:
            self._wake()


def _names(attempt: Attempt) -> dict[str, object]:
    return {"job_id": attempt.job.id, "kind": attempt.job.kind}
