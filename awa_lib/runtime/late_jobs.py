"""Look for late jobs beside the claims, so that no claim waits for a look from the start."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from awa_lib.ops.late_jobs import late_jobs
from awa_lib.runtime.looks import rest_after, timed
from awa_lib.runtime.supervisor import Duty

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from awa_lib.runtime.dispatcher import Dispatcher
    from awa_lib.runtime.links import Link

__all__ = ["LateJobs"]

# How soon it notices that a queue has marks.
_SECONDS: Final = 1.0
# How long the connection stays open after the last look.
_OPEN_SECONDS: Final = 60.0


class LateJobs:
    """The looks from the start of queues with marks, one at a time.

    All of them take at most a sixteenth of the time, or a fifth, as ``rest_after`` says.  After an
    error the next claim of the queue is a look from the start, and the duty tries again.
    """

    def __init__(
        self,
        link: Link,
        dispatchers: Collection[Dispatcher],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._link = link
        self._dispatchers = dispatchers
        self._clock = clock
        self._open_until = 0.0
        for dispatcher in dispatchers:
            dispatcher.marks.guarded = True
        seconds = link.bounds.answer_seconds
        self.duty = Duty("late jobs", self._round, round_seconds=seconds, pause=link.pause_after)

    async def start(self) -> None:
        """Start the loop."""
        await self.duty.start()

    async def stop(self) -> None:
        """End now: a look under way is cancelled."""
        await self.duty.stop()
        await self._link.close()

    async def _round(self) -> float:
        """Look where it has been due for longest; return the pause after it."""
        while marked := [one for one in self._dispatchers if one.has_marks]:
            queue = min(marked, key=lambda one: one.marks.due_at)
            if (seconds := queue.marks.due_at - self._clock()) <= 0:
                return await self._look(queue)
            # Within the round: after an error, only a look that succeeds ends the trouble.
            with self.duty.resting():
                await asyncio.sleep(min(seconds, _SECONDS))
        if self._clock() >= self._open_until:
            await self._link.close()
        return _SECONDS

    async def _look(self, queue: Dispatcher) -> float:
        look = late_jobs(queue.queue.name, queue.marks.ask(), queue.skipped_now())
        try:
            found, seconds = await self._link.run(timed(look, self._clock))
        except BaseException:
            queue.marks.forget()
            queue.wake()
            raise
        self._open_until = self._clock() + _OPEN_SECONDS
        queue.marks.looked(found, seconds)
        queue.wake()
        return rest_after(seconds)
