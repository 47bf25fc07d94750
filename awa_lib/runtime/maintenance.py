"""The leader's duties and how often each is due."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from awa_lib.config import Retention
from awa_lib.errors import AwaError, Transient, Unavailable
from awa_lib.ops import bulk, dead_letters, queues
from awa_lib.ops import maintenance as ops
from awa_lib.ops.apart import Aside
from awa_lib.ops.audit import forget_audit
from awa_lib.reads.overviews import declared_kinds, list_queues
from awa_lib.reads.policies import list_queue_policies
from awa_lib.runtime.periodic import Periodic
from awa_lib.runtime.rescues import Contact, Rescues, longest_break
from awa_lib.runtime.scheduler import Scheduler
from awa_lib.telemetry import metrics
from awa_lib.validation import LONGEST_HOURS, bounded

if TYPE_CHECKING:
    from collections.abc import Callable

    from awa_lib._sql import Op
    from awa_lib.config import WorkerOptions
    from awa_lib.ops.maintenance import Block, Ended, Rescued
    from awa_lib.runtime.connections import Link

__all__ = ["Maintenance"]

logger = logging.getLogger(__name__)
R = TypeVar("R")

_PROMOTE_BATCHES: Final = 32
_MOVE_BATCHES: Final = 100
_SCHEDULES_SECONDS: Final = 1.0
_AGING_SECONDS: Final = 60.0
_CLEANUP_SECONDS: Final = 60.0
_COUNT_SECONDS: Final = 2.0
_REFRESH_SECONDS: Final = 60.0
_HOUR: Final = 3600.0
_DEAD_LETTER_SECONDS: Final = 2.0
_BULK_SECONDS: Final = 1.0
_TELEMETRY_SECONDS: Final = 30.0
_DAY: Final = 86_400.0
# A round of long work goes on in the next after so long.
_ROUND_SECONDS: Final = 20.0
# A lock that is held for longer is worth a word.
_PASSING_SECONDS: Final = 60.0
# Cleaning rests for this part of the time that a batch took.
_REST: Final = 0.25
_BLOCKS: Final[tuple[Block, ...]] = ("promote_scheduled", "promote_retryable")


@dataclass(frozen=True, slots=True)
class _Kept:
    """How long ended jobs of one sort are kept: of a queue, or of all but some."""

    queue: str | None
    ended: Ended
    seconds: float
    except_queues: tuple[str, ...]


class Maintenance:
    """Each duty has its own loop.

    Short work (promotion, rescues, schedules) and long work have a connection each, so that a
    cleaning or a recount never makes a due job wait.
    """

    def __init__(
        self,
        link: Link,
        slow: Link,
        options: WorkerOptions,
        on_rescued: Callable[[list[Rescued]], None],
    ) -> None:
        self._contact = Contact(link, longest_break(options))
        self._slow = slow
        self._options = options
        self._aside: defaultdict[str, Aside] = defaultdict(Aside)
        # Parts of the maintenance that fail: since when, and which were said.
        self._failing: dict[str, float] = {}
        self._said: set[str] = set()
        rescues = Rescues(self._contact, options, on_rescued)
        seconds = {
            "promotion": options.promote_interval_ms / 1000,
            "heartbeat rescue": options.heartbeat_rescue_interval_ms / 1000,
            "deadline rescue": options.deadline_rescue_interval_ms / 1000,
            "callback rescue": options.callback_rescue_interval_ms / 1000,
        }
        self.duties = [
            Periodic("promotion", seconds["promotion"], self._promote),
            Periodic("heartbeat rescue", seconds["heartbeat rescue"], rescues.stale),
            Periodic("deadline rescue", seconds["deadline rescue"], rescues.deadline),
            Periodic("callback rescue", seconds["callback rescue"], rescues.callback),
            Periodic("schedules", _SCHEDULES_SECONDS, Scheduler(link).evaluate),
            Periodic("aging", _AGING_SECONDS, self._age),
            Periodic("cleanup", _CLEANUP_SECONDS, self._clean_up),
            Periodic("dead letters", _DEAD_LETTER_SECONDS, self._move_failed),
            Periodic("bulk operations", _BULK_SECONDS, self._advance_bulk),
            Periodic("counters", _COUNT_SECONDS, self._count),
            Periodic("telemetry", _TELEMETRY_SECONDS, self._describe),
            Periodic("counter refresh", _REFRESH_SECONDS, self._refresh),
        ]

    async def start(self) -> None:
        """Start every duty; each runs once at once."""
        for duty in self.duties:
            await duty.start()

    async def stop(self) -> None:
        """Stop every duty."""
        await asyncio.gather(*(duty.stop() for duty in self.duties))

    async def _promote(self) -> None:
        # In turns: a flood of one sort never makes the other wait.
        full = set(_BLOCKS)
        for _ in range(_PROMOTE_BATCHES):
            for block in [block for block in _BLOCKS if block in full]:
                began = time.perf_counter()
                count = await self._contact.run(ops.promote(block, aside=self._aside[block]))
                seconds = time.perf_counter() - began
                metrics.promoted(block.removeprefix("promote_"), count, seconds)
                if count < ops.PROMOTE_BATCH:
                    full.discard(block)

    async def _age(self) -> None:
        await self._slow.run(ops.age(_AGING_SECONDS))

    async def _clean_up(self) -> float | None:
        if await self._delete(await self._retentions()):
            return 0.0
        options = self._options
        unseen = options.descriptor_retention_days * _DAY
        await self._try("descriptors", ops.briefly(ops.forget(unseen)))
        await self._try("signatures", ops.briefly(ops.forget_signatures()))
        if options.audit_retention_days:
            days = round(bounded(options.audit_retention_days * _DAY) / _DAY)
            await self._try("audit log", ops.briefly(forget_audit(days)))
        return None

    async def _retentions(self) -> list[_Kept]:
        """Return what is deleted when: of the queues that have their own, then of all others."""
        options = self._options
        kept = {q.name: q.retention for q in options.queues if q.retention is not None}
        for policy in await self._slow.run(list_queue_policies()):
            own = kept.get(policy.queue, Retention())
            kept[policy.queue] = policy.kept(own)
        found: list[_Kept] = []
        for queue, own in [*kept.items(), (None, Retention())]:
            hours: dict[Ended, tuple[float | None, float]] = {
                "completed": (own.completed_hours, options.completed_retention_hours),
                "unsuccessful": (own.failed_hours, options.failed_retention_hours),
            }
            for ended, (theirs, ours) in hours.items():
                seconds = bounded(ours if theirs is None else theirs, LONGEST_HOURS) * _HOUR
                found.append(_Kept(queue, ended, seconds, () if queue else tuple(kept)))
        return found

    async def _delete(self, kept: list[_Kept]) -> bool:
        """Delete in turn, batch by batch; return True when time is up and there is more.

        Each batch commits, and the database gets its rest after it.
        """
        batch = self._options.cleanup_batch_size
        until = time.monotonic() + _ROUND_SECONDS
        while kept:
            for one in list(kept):
                began = time.perf_counter()
                found = await self._try(
                    f"retention of {one.queue or 'the other queues'}",
                    ops.delete_old(
                        one.ended, one.seconds, batch, one.queue, one.except_queues,
                        self._aside[one.ended],
                    ),
                )  # fmt: skip
                if found is None or found[0] < batch:
                    kept.remove(one)
                if time.monotonic() >= until:
                    return bool(kept)
                if found is not None and found[0]:
                    await asyncio.sleep((time.perf_counter() - began) * _REST)
        return False

    async def _try(self, what: str, op: Op[R]) -> R | None:
        """Do one part of the work; its failure never stops the others, and is said once.

        A passing trouble is worth a word only when it lasts.
        """
        try:
            result = await self._slow.run(op)
        except Unavailable:
            raise
        except AwaError as error:
            now = time.monotonic()
            since = self._failing.setdefault(what, now)
            lasts = now - since >= _PASSING_SECONDS or not isinstance(error, Transient)
            if lasts and what not in self._said:
                self._said.add(what)
                logger.warning(
                    "a part of the maintenance fails; it is tried again",
                    extra={"part": what, "error": str(error)},
                )
            return None
        self._failing.pop(what, None)
        self._said.discard(what)
        return result

    async def _move_failed(self) -> float | None:
        for _ in range(_MOVE_BATCHES):
            moved = await self._slow.run(dead_letters.move_failed(self._aside["dead letters"]))
            if moved < dead_letters.MOVE_BATCH:
                return None
        return 0.0

    async def _advance_bulk(self) -> float | None:
        # Between two batches the other duties get their turn on the connection.
        until = time.monotonic() + _ROUND_SECONDS
        while await self._slow.run(bulk.advance_next()):
            if time.monotonic() >= until:
                return 0.0
        return None

    async def _count(self) -> None:
        await self._try("counters", ops.recount())

    async def _describe(self) -> None:
        if metrics.measuring():
            metrics.described(
                await self._slow.run(list_queues()), await self._slow.run(declared_kinds())
            )

    async def _refresh(self) -> None:
        await self._try("counters", ops.briefly(queues.flush_admin_metadata()))
