"""Move workflows on: at once after an end of this process, and by a sweep after any other.

The transaction of an end notes it in ``awa.workflow_events``.  Whoever moves the workflow on takes
the notes under the lock of its row, so a note is never lost: if this process dies in between, a
sweep finds it.
"""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import TYPE_CHECKING, Final

from awa_lib.errors import AwaError, DatabaseError, Transient, Unavailable
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
        # Those that another transaction has locked for long: the others do not wait for them.
        self._locked: set[int] = set()
        self._wake = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self.duty = Duty("workflows", self._round, pause=link.pause_after)

    def ended(self, jobs: Iterable[Job]) -> None:
        """Note that the ends of jobs are committed."""
        found = [workflow for job in jobs if (workflow := job.workflow_id) is not None]
        if found:
            self._waiting.update(dict.fromkeys(found))
            self._empty.clear()
            self._wake.set()
            self.duty.poke()

    async def drain(self) -> None:
        """Wait until every workflow has been moved on, but for those that others have locked."""
        await self._empty.wait()

    async def stop(self) -> None:
        """Stop; a sweep moves the rest on."""
        await self.duty.stop()
        await self._link.close()

    async def _round(self) -> float | None:
        """Move on those that have waited longest; the locked ones when no other waits."""
        if not self._waiting:
            with self.duty.resting():
                await self._wake.wait()
        self._wake.clear()
        fresh = list(islice((one for one in self._waiting if one not in self._locked), _MOST))
        batch = fresh or list(islice(self._waiting, _MOST))
        # What ends during the calls below waits for another.
        for workflow in batch:
            del self._waiting[workflow]
        left = batch
        try:
            moved, failed = await self._move(batch)
            left = [one for one in batch if moved.get(one, False) is not False]
            self._locked.difference_update(batch)
            self._locked.update(one for one in left if moved[one] is None)
        finally:
            self._waiting.update(dict.fromkeys(left))
        if self._waiting.keys() <= self._locked:
            self._empty.set()
        if failed is not None:
            raise failed
        return None if fresh else _LOCKED_SECONDS

    async def _move(self, batch: list[int]) -> tuple[dict[int, bool | None], AwaError | None]:
        """Move each on as ``resolve_free`` does, but wait for a lock once; return an error too."""
        moved, failed = await self._move_free(batch), None
        for workflow in batch:
            if moved.get(workflow, False) is None and workflow not in self._locked:
                try:
                    moved[workflow] = await self._move_one(workflow)
                except Unavailable:
                    raise
                except AwaError as error:
                    # The others go on; a sweep tries this one again.
                    failed, moved[workflow] = error, False
        return moved, failed

    async def _move_free(self, batch: list[int]) -> dict[int, bool | None]:
        """Move on those that nobody has locked, as ``resolve_free``; a single one is not tried."""
        if len(batch) > 1 or batch[0] in self._locked:
            try:
                return await self._link.run(ops.resolve_free(batch))
            except Unavailable:
                raise
            except DatabaseError:
                # One by one, so that it hits those alone that it is about.
                self._locked.difference_update(batch)
        return dict.fromkeys(batch)

    async def _move_one(self, workflow: int) -> bool | None:
        """Move one on; return None when another transaction keeps it locked.

        Another process holds the lock for milliseconds: waiting is quicker than asking again.
        """
        try:
            return await self._link.run(ops.resolve(workflow))
        except Unavailable:
            raise
        except Transient:
            return None


class Sweep:
    """A duty that notes ends that nobody has noted, and takes notes that were left.

    The leader does it for the fleet.  The others do it too, more seldom: a leader of awa 0.5 does
    not, and to move a workflow on twice does no harm.
    """

    def __init__(self, link: Link, leads: Callable[[], bool]) -> None:
        self._link = link
        self._leads = leads
        self._place = ops.BEGIN
        self._left_after = 0
        self.duty = Duty("workflow sweep", self._round, seconds=_SWEEP_SECONDS)

    async def _round(self) -> float | None:
        """Read a page of the tasks of open workflows; return the pause until the next."""
        look = ops.sweep(self._place, _LEFT_SECONDS, self._left_after)
        (found, left), seconds = await self._link.run(timed(look))
        self._place, self._left_after = found.place, found.left_after
        failed: AwaError | None = None
        for workflow in left:
            try:
                while await self._link.run(ops.resolve_left(workflow)):
                    pass
            except Unavailable:
                raise
            except AwaError as error:
                # Those behind it go on.
                failed = failed or error
        if failed is not None:
            raise failed
        rest = _SWEEP_SECONDS if self._leads() else _OTHERS_SECONDS
        if found.place != ops.BEGIN:
            rest /= 10
        elif not found.read:
            rest = max(rest, _IDLE_SWEEP_SECONDS)
        return pause_after(seconds, rest) or rest
