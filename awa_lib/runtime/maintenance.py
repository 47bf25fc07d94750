"""The leader's duties and how often each is due."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Final, TypeVar

from awa_lib import telemetry
from awa_lib.config import Retention
from awa_lib.errors import AwaError, Transient, Unavailable
from awa_lib.ops import bulk, dead_letters, queues
from awa_lib.ops import maintenance as ops
from awa_lib.ops.apart import Aside
from awa_lib.ops.audit import forget_audit
from awa_lib.reads.overviews import declared_kinds, list_queues
from awa_lib.reads.policies import list_queue_policies
from awa_lib.retention import MOST_HOURS, bounded
from awa_lib.runtime.rescues import Contact, Rescues, longest_break
from awa_lib.runtime.scheduler import Scheduler
from awa_lib.runtime.service import Periodic

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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
# Cleaning rests for this part of the time that a batch took.
_REST: Final = 0.25
_BLOCKS: Final[tuple[Block, ...]] = ("promote_scheduled", "promote_retryable")
_ENDS: Final[tuple[Ended, ...]] = ("completed", "unsuccessful")


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
        self._complained: set[str] = set()
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
        for duty in self.duties:
            await duty.stop()

    async def _promote(self) -> None:
        # In turns: a flood of one sort never makes the other wait.
        full = set(_BLOCKS)
        for _ in range(_PROMOTE_BATCHES):
            for block in [block for block in _BLOCKS if block in full]:
                began = time.perf_counter()
                count = await self._contact.run(ops.promote(block, aside=self._aside[block]))
                seconds = time.perf_counter() - began
                telemetry.promoted(block.removeprefix("promote_"), count, seconds)
                if count < ops.PROMOTE_BATCH:
                    full.discard(block)

    async def _age(self) -> None:
        await self._slow.run(ops.age(_AGING_SECONDS))

    async def _clean_up(self) -> None:
        options = self._options
        kept = {q.name: q.retention for q in options.queues if q.retention is not None}
        for policy in await self._slow.run(list_queue_policies()):
            own = kept.get(policy.queue, Retention())
            kept[policy.queue] = policy.kept(own)
        completed, failed = options.completed_retention_hours, options.failed_retention_hours
        await self._delete(completed, failed, None, list(kept))
        for queue, retention in kept.items():
            own_completed, own_failed = retention.completed_hours, retention.failed_hours
            await self._delete(
                completed if own_completed is None else own_completed,
                failed if own_failed is None else own_failed,
                queue,
                [],
            )
        await self._try(
            "descriptors", ops.briefly(ops.forget(options.descriptor_retention_days * _DAY))
        )
        await self._try("signatures", ops.briefly(ops.forget_signatures()))
        if options.audit_retention_days:
            days = round(bounded(options.audit_retention_days * _DAY) / _DAY)
            await self._try("audit log", ops.briefly(forget_audit(days)))

    async def _delete(
        self, completed: float, failed: float, queue: str | None, except_queues: Sequence[str]
    ) -> None:
        for ended, hours in zip(_ENDS, (completed, failed), strict=True):
            await self._delete_all(ended, bounded(hours, MOST_HOURS) * _HOUR, queue, except_queues)

    async def _delete_all(
        self, ended: Ended, seconds: float, queue: str | None, except_queues: Sequence[str]
    ) -> None:
        """Go on while there is a full batch; each commits, and the database gets its rest."""
        batch = self._options.cleanup_batch_size
        aside = self._aside[ended]
        while True:
            began = time.perf_counter()
            found = await self._try(
                f"retention of {'other queues' if queue is None else queue}",
                ops.delete_old(ended, seconds, batch, queue, except_queues, aside),
            )
            if found is None or found[0] < batch:
                break
            await asyncio.sleep((time.perf_counter() - began) * _REST)

    async def _try(self, what: str, op: Op[R]) -> R | None:
        """Do one part of the cleaning; its failure never stops the others, and is said once."""
        try:
            result = await self._slow.run(op)
        except Unavailable:
            raise
        except AwaError as error:
            if what not in self._complained and not isinstance(error, Transient):
                self._complained.add(what)
                logger.warning(
                    "a part of the cleaning fails; it is tried again each minute",
                    extra={"part": what, "error": str(error)},
                )
            return None
        self._complained.discard(what)
        return result

    async def _move_failed(self) -> None:
        for _ in range(_MOVE_BATCHES):
            moved = await self._slow.run(dead_letters.move_failed(self._aside["dead letters"]))
            if moved < dead_letters.MOVE_BATCH:
                break

    async def _advance_bulk(self) -> None:
        # Between two batches the other duties get their turn on the connection.
        while await self._slow.run(bulk.advance_next()):
            pass

    async def _count(self) -> None:
        await self._slow.run(ops.recount())

    async def _describe(self) -> None:
        if telemetry.measuring():
            telemetry.described(
                await self._slow.run(list_queues()), await self._slow.run(declared_kinds())
            )

    async def _refresh(self) -> None:
        await self._slow.run(ops.briefly(queues.flush_admin_metadata()))
