"""The leader's duties and how often each is due."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from awa_lib import telemetry
from awa_lib.config import Retention
from awa_lib.ops import bulk, dead_letters, queues
from awa_lib.ops import maintenance as ops
from awa_lib.ops.audit import forget_audit
from awa_lib.reads.overviews import declared_kinds, list_queues
from awa_lib.reads.policies import list_queue_policies
from awa_lib.runtime.scheduler import Scheduler
from awa_lib.runtime.service import Periodic

if TYPE_CHECKING:
    from collections.abc import Callable

    from awa_lib.config import WorkerOptions
    from awa_lib.ops.maintenance import Block, Rescued
    from awa_lib.runtime.connections import Link

__all__ = ["Maintenance"]

_PROMOTE_BATCHES: Final = 32
_CLEANUP_BATCHES: Final = 100
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


class Maintenance:
    """Each duty has its own loop; the connection serves them in turn."""

    def __init__(
        self,
        link: Link,
        slow: Link,
        options: WorkerOptions,
        on_rescued: Callable[[list[Rescued]], None],
    ) -> None:
        self._link = link
        self._slow = slow
        self._options = options
        self._on_rescued = on_rescued
        seconds = {
            "promotion": options.promote_interval_ms / 1000,
            "heartbeat rescue": options.heartbeat_rescue_interval_ms / 1000,
            "deadline rescue": options.deadline_rescue_interval_ms / 1000,
            "callback rescue": options.callback_rescue_interval_ms / 1000,
        }
        self.duties = [
            Periodic("promotion", seconds["promotion"], self._promote),
            Periodic("heartbeat rescue", seconds["heartbeat rescue"], self._rescue_stale),
            Periodic("deadline rescue", seconds["deadline rescue"], self._rescue_deadline),
            Periodic("callback rescue", seconds["callback rescue"], self._rescue_callbacks),
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
        blocks: tuple[Block, ...] = ("promote_scheduled", "promote_retryable")
        for block in blocks:
            for _ in range(_PROMOTE_BATCHES):
                began = time.perf_counter()
                count = await self._link.run(ops.promote(block))
                seconds = time.perf_counter() - began
                telemetry.promoted(block.removeprefix("promote_"), count, seconds)
                if count < ops.PROMOTE_BATCH:
                    break

    async def _rescue_stale(self) -> None:
        staleness = self._options.heartbeat_staleness_ms / 1000
        self._told("heartbeat", await self._link.run(ops.rescue_stale(staleness)))

    async def _rescue_deadline(self) -> None:
        self._told("deadline", await self._link.run(ops.rescue_deadline()))

    async def _rescue_callbacks(self) -> None:
        self._told("callback_timeout", await self._link.run(ops.rescue_callbacks()))

    def _told(self, why: str, rescued: list[Rescued]) -> None:
        telemetry.rescued(why, len(rescued))
        if rescued:
            self._on_rescued(rescued)

    async def _age(self) -> None:
        await self._link.run(ops.age(_AGING_SECONDS))

    async def _clean_up(self) -> None:
        options = self._options
        kept = {q.name: q.retention for q in options.queues if q.retention is not None}
        for policy in await self._link.run(list_queue_policies()):
            own = kept.get(policy.queue, Retention())
            kept[policy.queue] = policy.kept(own)
        completed = options.completed_retention_hours * _HOUR
        failed = options.failed_retention_hours * _HOUR
        await self._delete(completed, failed, None, list(kept))
        for queue, retention in kept.items():
            own_completed = retention.completed_hours
            own_failed = retention.failed_hours
            await self._delete(
                completed if own_completed is None else own_completed * _HOUR,
                failed if own_failed is None else own_failed * _HOUR,
                queue,
                [],
            )
        await self._link.run(ops.forget(options.descriptor_retention_days * _DAY))
        await self._link.run(ops.forget_signatures())
        if options.audit_retention_days:
            await self._link.run(forget_audit(round(options.audit_retention_days)))

    async def _delete(
        self, completed: float, failed: float, queue: str | None, except_queues: list[str]
    ) -> None:
        batch = self._options.cleanup_batch_size
        for _ in range(_CLEANUP_BATCHES):
            deleted = await self._link.run(
                ops.delete_finished(completed, failed, batch, queue, except_queues)
            )
            if deleted < batch:
                break

    async def _move_failed(self) -> None:
        for _ in range(_CLEANUP_BATCHES):
            if await self._link.run(dead_letters.move_failed()) < dead_letters.MOVE_BATCH:
                break

    async def _advance_bulk(self) -> None:
        # Between two batches the other duties get their turn on the connection.
        while await self._link.run(bulk.advance_next()):
            pass

    async def _count(self) -> None:
        await self._link.run(ops.recount())

    async def _describe(self) -> None:
        if telemetry.measuring():
            telemetry.described(
                await self._link.run(list_queues()), await self._link.run(declared_kinds())
            )

    async def _refresh(self) -> None:
        await self._link.run(queues.flush_admin_metadata())
