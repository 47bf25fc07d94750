"""The polls of a worker with several queues: one statement looks for the jobs of all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from awa_lib.db.jitter import RANDOM
from awa_lib.errors import AwaError, Unavailable
from awa_lib.ops.claims import queues_with_jobs
from awa_lib.runtime.supervisor import Duty

if TYPE_CHECKING:
    from collections.abc import Collection

    from awa_lib.runtime.dispatcher import Dispatcher
    from awa_lib.runtime.links import Link

__all__ = ["Polls"]

# While all queues are busy.
_SECONDS: Final = 1.0


class Polls:
    """Looks for jobs of idle queues in their interval, and wakes those that have some.

    A queue by itself polls by its claims.  So do queues with an interval of their own, with
    limits, or with marks.
    """

    def __init__(self, link: Link, dispatchers: Collection[Dispatcher]) -> None:
        self._link = link
        self._dispatchers = dispatchers if len(dispatchers) > 1 else ()
        for dispatcher in self._dispatchers:
            dispatcher.share_polls()
        self.duty = Duty("polls", self._look, pause=link.pause_after)

    async def start(self) -> None:
        """Start the loop, if there is more than one queue."""
        if self._dispatchers:
            await self.duty.start()

    async def stop(self, seconds: float) -> None:
        """End the loop; a running look may take ``seconds``."""
        await self.duty.finish(seconds)

    async def _look(self) -> float:
        idle = {one.queue.name: one for one in self._dispatchers if one.polled_with_others}
        if idle:
            kinds = next(iter(idle.values())).kinds  # the same for all
            try:
                found = await self._link.run(queues_with_jobs(idle, kinds))
            except Unavailable:
                raise
            except AwaError:
                # Not because the database is away: each of them looks by itself.
                for one in idle.values():
                    one.wake()
                raise
            for name in found:
                idle[name].wake()
        seconds = min((one.poll_seconds for one in idle.values()), default=_SECONDS)
        return seconds * RANDOM.uniform(0.9, 1.1)
