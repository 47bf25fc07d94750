"""Move workflows on: at once after an end of this process, and by a sweep after any other.

The transaction of an end notes it in ``awa.workflow_events``.  Whoever moves the workflow on takes
the notes under the lock of its row, so a note is never lost: if this process dies in between, a
sweep finds it.
"""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import TYPE_CHECKING, Final

from awa_lib.errors import DatabaseError, Transient, Unavailable
from awa_lib.ops import workflows as ops
from awa_lib.runtime.looks import pause_after, timed
from awa_lib.runtime.supervisor import Duty

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from awa_lib.models import Job
    from awa_lib.runtime.links import Link

__all__ = ["Resolver", "Sweep"]

_LOCKED_SECONDS: Final = 0.1
# In a transaction: a small workflow costs a tenth of a commit, a large one 50 ms.
_MOST: Final = 20
_SWEEP_SECONDS: Final = 2.0
# Of a process that does not lead.
_OTHERS_SECONDS: Final = 10.0
# Without an open workflow.
_IDLE_SWEEP_SECONDS: Final = 5.0
# A note that is younger is left to the process that has written it.
_LEFT_SECONDS: Final = 1.0


class Resolver:
    """A duty that moves the workflows of ended jobs on, many in a transaction."""

    def __init__(self, link: Link) -> None:
        self._link = link
        # In the order in which they came.
        self._waiting: dict[int, None] = {}
        self._wake = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self.duty = Duty("workflows", self._round, pause=link.pause_after)

    def ended(self, jobs: Iterable[Job]) -> None:
        """Note that the ends of jobs are committed."""
        self._wait_for(workflow for job in jobs if (workflow := job.workflow_id) is not None)

    async def drain(self) -> None:
        """Wait until every workflow has been moved on."""
        await self._empty.wait()

    async def stop(self) -> None:
        """Stop; a sweep moves the rest on."""
        await self.duty.stop()
        await self._link.close()

    def _wait_for(self, workflows: Iterable[int]) -> None:
        self._waiting.update(dict.fromkeys(workflows))
        if self._waiting:
            self._empty.clear()
            self._wake.set()

    async def _round(self) -> float | None:
        if not self._waiting:
            self._empty.set()
            with self.duty.resting():
                await self._wake.wait()
        self._wake.clear()
        batch = list(islice(self._waiting, _MOST))
        for workflow in batch:
            del self._waiting[workflow]
        left = list(batch)
        try:
            if len(batch) > 1:
                left = await self._move_free(batch)
                if len(left) < len(batch):
                    return None
            # One by one: waits for a lock, and shows which of them fails.
            for workflow in tuple(left):
                left.remove(workflow)
                try:
                    if await self._link.run(ops.resolve(workflow)):
                        left.append(workflow)
                except Transient as error:
                    left.append(workflow)
                    if isinstance(error, Unavailable):
                        raise
                    return _LOCKED_SECONDS
            return None
        finally:
            self._wait_for(left)

    async def _move_free(self, batch: list[int]) -> list[int]:
        """Move on those that nobody has locked; return those that need another call."""
        try:
            return await self._link.run(ops.resolve_free(batch))
        except Unavailable:
            raise
        except DatabaseError:
            return batch


class Sweep:
    """A duty that notes ends that nobody has noted, and takes notes that were left.

    The leader does it for the fleet.  The others do it too, more seldom: a leader of awa 0.5 does
    not, and to move a workflow on twice does no harm.
    """

    def __init__(self, link: Link, leads: Callable[[], bool]) -> None:
        self._link = link
        self._leads = leads
        self._place = ops.BEGIN
        self.duty = Duty("workflow sweep", self._round, seconds=_SWEEP_SECONDS)

    async def _round(self) -> float | None:
        """Read a page of the tasks of open workflows; return the pause until the next."""
        (found, left), seconds = await self._link.run(timed(ops.sweep(self._place, _LEFT_SECONDS)))
        self._place = found.place
        for workflow in left:
            while await self._link.run(ops.resolve(workflow)):
                pass
        rest = _SWEEP_SECONDS if self._leads() else _OTHERS_SECONDS
        if found.place != ops.BEGIN:
            rest /= 10
        elif not found.read:
            rest = max(rest, _IDLE_SWEEP_SECONDS)
        return pause_after(seconds, rest) or rest
