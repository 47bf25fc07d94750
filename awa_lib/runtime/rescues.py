"""Rescue jobs whose attempt cannot end them, and decide when it is too early for that.

After an outage every lease looks stale although its worker is alive: it could not write.  So at
the start of a term, and whenever the database comes back, the first rescue waits until live workers
had time to write; likewise after the server was read-only or the whole table locked.  The same
holds for a row that was locked: the heartbeat of its owner waited for the same lock.

How long that is, and when a lease is stale, each process declares for its own jobs.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, TypeVar

from awa_lib.errors import AwaError, Unavailable
from awa_lib.ops import maintenance as ops
from awa_lib.ops.apart import Aside
from awa_lib.ops.maintenance import Pulse
from awa_lib.runtime.looks import pause_after, timed
from awa_lib.telemetry import metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from collections.abc import Set as AbstractSet

    from awa_lib._sql import Op
    from awa_lib.config.workers import WorkerOptions
    from awa_lib.ops.maintenance import Cause, Rescued
    from awa_lib.runtime.links import Link

__all__ = ["Contact", "Rescues"]

R = TypeVar("R")

_DEADLINE_GRACE_SECONDS: Final = 5.0
# Breaks that no staleness is short enough to notice.
_SHORT_BREAK_SECONDS: Final = 0.1
_BATCHES_PER_ROUND: Final = 20


class Contact:
    """A connection, since when it has answered, and the breaks between its answers."""

    def __init__(self, link: Link, clock: Callable[[], float] = time.monotonic) -> None:
        self._link = link
        self._clock = clock
        self._since = self._answered = clock()
        # When each ended and how long it was, each longer than all after it.
        self._breaks: list[tuple[float, float]] = []
        self._lost = False

    async def run(self, op: Op[R]) -> R:
        """Drive an op."""
        try:
            result = await self._link.run(op)
        except Unavailable:
            self._lost = True
            raise
        now = self._clock()
        if self._lost:
            self._since, self._lost = now, False
            self._breaks.clear()
        # A server that was stopped and resumed answers late, without an error.
        elif (seconds := now - self._answered) > _SHORT_BREAK_SECONDS:
            while self._breaks and self._breaks[-1][1] <= seconds:
                self._breaks.pop()
            self._breaks.append((now, seconds))
        self._answered = now
        return result

    def seconds(self, longest_break: float) -> float:
        """Return for how long it has answered without a longer break."""
        if self._lost:
            return 0.0
        ended = (end for end, seconds in self._breaks if seconds > longest_break)
        return self._clock() - max([self._since, *ended])


class Rescues:
    """The three rescues of the fleet's leader: stale leases, deadlines, callbacks."""

    def __init__(
        self,
        contact: Contact,
        options: WorkerOptions,
        *,
        on_rescued: Callable[[list[Rescued]], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._contact = contact
        self._on_rescued = on_rescued
        self._clock = clock
        self._pulse = Pulse(
            options.heartbeat_interval_ms / 1000, options.heartbeat_staleness_ms / 1000
        )
        # Of workers that declare none.
        self._undeclared = Pulse(
            options.undeclared_interval_ms / 1000, options.undeclared_staleness_ms / 1000
        )
        self._intervals: dict[Cause, float] = {
            "heartbeat": options.heartbeat_rescue_interval_ms / 1000,
            "deadline": options.deadline_rescue_interval_ms / 1000,
            "callback": options.callback_rescue_interval_ms / 1000,
        }
        # Since when every check of the leases has succeeded and heartbeats could be written.
        self._writable_since: float | None = clock()
        self._aside: dict[Cause, Aside] = {
            "heartbeat": Aside(clock),
            "deadline": Aside(clock),
            "callback": Aside(clock),
        }
        # Stale jobs whose row was locked: since when it is free, None while it is locked.
        self._freed_at: dict[int, float | None] = {}

    async def stale(self) -> float | None:
        """Rescue jobs whose worker is presumed dead; return the pause after a look that is dear."""
        try:
            look = timed(ops.stale_ids(self._undeclared), self._clock)
            found, seconds = await self._contact.run(ops.while_writable(look))
        except AwaError:
            self._writable_since = None
            raise
        # Only now: the queries themselves may have waited for the database.
        if self._writable_since is None:
            self._writable_since = self._clock()
        stale = {
            job_id: pulse.grace_seconds
            for job_id, pulse in found.items()
            if self._answered_for(pulse) >= pulse.grace_seconds
        }
        await self._note_freed(stale.keys())
        now = self._clock()
        waiting = {
            job_id
            for job_id, freed in self._freed_at.items()
            if freed is None or now - freed < stale[job_id]
        }
        # A row that was locked for a moment only is put aside, to be tried again without a grace.
        self._aside["heartbeat"].drop(sorted(waiting))
        chosen = sorted(stale.keys() - waiting)
        await self._rescue(chosen, "heartbeat", self._aside["heartbeat"])
        await self._note_locked(chosen)
        return pause_after(seconds, self._intervals["heartbeat"])

    def _answered_for(self, pulse: Pulse) -> float:
        """Return for how long workers with this pulse could write heartbeats in time."""
        return min(self._contact.seconds(pulse.longest_break_seconds), self._writable_seconds)

    @property
    def _writable_seconds(self) -> float:
        since = self._writable_since
        return 0.0 if since is None else self._clock() - since

    async def _note_freed(self, stale: AbstractSet[int]) -> None:
        """Note which rows that were locked are free now."""
        self._freed_at = {id_: freed for id_, freed in self._freed_at.items() if id_ in stale}
        if new := stale - self._freed_at.keys():
            # Also a lock that was gone before this look: its end may be a moment ago.
            self._freed_at |= dict.fromkeys(await self._contact.run(ops.once_locked_ids(new)))
        locked = [job_id for job_id, freed in self._freed_at.items() if freed is None]
        if locked:
            now = self._clock()
            for job_id in await self._contact.run(ops.free_ids(locked)):
                self._freed_at[job_id] = now

    async def _note_locked(self, chosen: Sequence[int]) -> None:
        """Note which rows were not rescued because they are locked."""
        for job_id in chosen:
            self._freed_at.pop(job_id, None)
        left = [job_id for job_id in chosen if job_id in self._aside["heartbeat"]]
        if left:
            free = await self._contact.run(ops.free_ids(left))
            locked = [job_id for job_id in left if job_id not in free]
            self._freed_at.update(dict.fromkeys(locked))
            self._aside["heartbeat"].drop(locked)

    async def deadline(self) -> float | None:
        """Rescue jobs past their deadline; after an outage only once workers had time to write.

        A job whose worker also missed its heartbeats was not too slow: that counts as a crash.
        """
        found, seconds = await self._contact.run(timed(ops.overdue_ids(), self._clock))
        if self._answered_for(self._pulse) >= min(
            self._pulse.grace_seconds, _DEADLINE_GRACE_SECONDS
        ):
            # Those whose worker lives stay, and must not be put aside for that.
            passed_over = Aside(self._clock)
            crashed = await self._rescue(found, "heartbeat", passed_over, silent=True)
            left = [job_id for job_id in found if job_id not in crashed]
            await self._rescue(left, "deadline", self._aside["deadline"])
        return pause_after(seconds, self._intervals["deadline"])

    async def callback(self) -> float | None:
        """Rescue waiting jobs whose callback timed out."""
        for _ in range(_BATCHES_PER_ROUND):
            aside = self._aside["callback"]
            look = timed(ops.expired_callback_ids(aside), self._clock)
            ids, seconds = await self._contact.run(look)
            await self._rescue(ids, "callback", aside)
            if len(ids) < ops.RESCUE_BATCH:
                return pause_after(seconds, self._intervals["callback"])
        return 0.0

    async def _rescue(
        self, ids: Sequence[int], cause: Cause, aside: Aside, *, silent: bool = False
    ) -> set[int]:
        """Rescue in batches, and return which; other duties use the connection between them."""
        all_rescued: set[int] = set()
        # Those aside are tried again also when no others are found.
        for start in range(0, max(len(ids), bool(len(aside))), ops.RESCUE_BATCH):
            batch = ids[start : start + ops.RESCUE_BATCH]
            rescued = await self._contact.run(
                ops.rescue(batch, cause, self._undeclared, silent=silent, aside=aside)
            )
            metrics.rescued("callback_timeout" if cause == "callback" else cause, len(rescued))
            if rescued:
                all_rescued.update(job.id for job in rescued)
                self._on_rescued(rescued)
        return all_rescued
