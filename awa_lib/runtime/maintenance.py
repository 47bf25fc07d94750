"""The duties of the fleet's leader and their intervals."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from awa_lib.config.queues import Retention
from awa_lib.errors import AwaError, Transient, Unavailable
from awa_lib.logs import Logger
from awa_lib.ops import bulk, dead_letters, queues
from awa_lib.ops import maintenance as ops
from awa_lib.ops.apart import Aside
from awa_lib.ops.audit import forget_audit
from awa_lib.ops.callbacks import ANSWERS_BATCH, forget_answers
from awa_lib.ops.failures import (
    FORGET_BATCH,
    OUTSIDE_BATCH,
    count_outside_ends,
    forget_ends,
    forget_failures,
)
from awa_lib.ops.job_logs import FIRST, forget_job_logs
from awa_lib.ops.processes import forget_processes
from awa_lib.ops.results import FORGET_BATCH as RESULTS_BATCH
from awa_lib.ops.results import forget_results
from awa_lib.ops.steps import FORGET_BATCH as STEPS_BATCH
from awa_lib.ops.steps import forget_steps
from awa_lib.ops.workflows import forget_workflow
from awa_lib.reads.metrics import workflow_counts
from awa_lib.reads.overviews import declared_kinds, list_queues
from awa_lib.reads.policies import list_queue_policies
from awa_lib.runtime.looks import pause_after, timed
from awa_lib.runtime.news import News
from awa_lib.runtime.promotion import Promotion
from awa_lib.runtime.rescues import Contact, Rescues
from awa_lib.runtime.scheduler import SCHEDULES_SECONDS, Scheduler
from awa_lib.runtime.supervisor import Duty
from awa_lib.telemetry import metrics
from awa_lib.validation import LONGEST_HOURS, bounded

if TYPE_CHECKING:
    from collections.abc import Callable

    from awa_lib._sql import Op
    from awa_lib.config.workers import WorkerOptions
    from awa_lib.ops.maintenance import Ended, Rescued
    from awa_lib.runtime.links import Link

__all__ = ["Maintenance"]

logger = Logger(__name__)
R = TypeVar("R")

_MOVE_BATCHES: Final = 100
_AGING_SECONDS: Final = 60.0
_CLEANUP_SECONDS: Final = 60.0
_COUNT_SECONDS: Final = 2.0
_REFRESH_SECONDS: Final = 60.0
_HOUR: Final = 3600.0
_DEAD_LETTER_SECONDS: Final = 2.0
_BULK_SECONDS: Final = 1.0
_TELEMETRY_SECONDS: Final = 30.0
_DAY: Final = 86_400.0
# After this long a round of long work stops and goes on in the next round.
_ROUND_SECONDS: Final = 20.0
# Transient errors of a step are logged only when they last longer.
_TRANSIENT_SECONDS: Final = 60.0
# The cleanup rests for this part of the time that a batch took.
_REST_PART: Final = 0.25


@dataclass(frozen=True, slots=True)
class _Retention:
    """How long completed or unsuccessful jobs are kept: of a queue, or of all other queues."""

    queue: str | None
    ended: Ended
    seconds: float
    except_queues: tuple[str, ...]


class Maintenance:
    """The leader's duties, each with a loop of its own.

    Short work (promotion, rescues, schedules) and long work have a connection each, so that a
    cleanup or a recount never delays a due job.
    """

    def __init__(
        self,
        options: WorkerOptions,
        *,
        short: Link,
        long: Link,
        on_rescued: Callable[[list[Rescued]], None],
    ) -> None:
        self._contact = Contact(short)
        self._long = long
        self._options = options
        self._aside: defaultdict[str, Aside] = defaultdict(Aside)
        self._logs_after = FIRST
        # Steps that fail: since when, and which of them were logged.
        self._failing: dict[str, float] = {}
        self._logged: set[str] = set()
        self._news = news = News()
        rescues = Rescues(self._contact, options, on_rescued=on_rescued)
        promotion = Promotion(self._contact, news)
        work = {
            "promotion": (promotion.round, options.promote_interval_ms / 1000),
            "heartbeat rescue": (rescues.stale, options.heartbeat_rescue_interval_ms / 1000),
            "deadline rescue": (rescues.deadline, options.deadline_rescue_interval_ms / 1000),
            "callback rescue": (rescues.callback, options.callback_rescue_interval_ms / 1000),
            "schedules": (Scheduler(short, news).evaluate, SCHEDULES_SECONDS),
            "aging": (self._age, _AGING_SECONDS),
            "cleanup": (self._clean_up, _CLEANUP_SECONDS),
            "dead letters": (self._move_failed, _DEAD_LETTER_SECONDS),
            "bulk operations": (self._advance_bulk, _BULK_SECONDS),
            "counters": (self._count, _COUNT_SECONDS),
            "telemetry": (self._measure, _TELEMETRY_SECONDS),
            "counter refresh": (self._refresh, _REFRESH_SECONDS),
        }
        duties = {name: Duty(name, call, seconds=each) for name, (call, each) in work.items()}
        news.on_bulk = duties["bulk operations"].poke
        news.on_schedules = duties["schedules"].poke
        self.duties = list(duties.values())

    async def start(self) -> None:
        """Start every duty; the first rounds begin at once."""
        for duty in self.duties:
            await duty.start()

    async def stop(self) -> None:
        """Stop every duty."""
        await asyncio.gather(*(duty.stop() for duty in self.duties))

    async def _age(self) -> None:
        await self._long.run(ops.age(_AGING_SECONDS))

    async def _clean_up(self) -> float | None:
        if await self._delete(await self._retentions()):
            return 0.0
        options = self._options
        unseen = options.descriptor_retention_days * _DAY
        await self._step("descriptors", ops.briefly(ops.forget(unseen)))
        await self._step("signatures", ops.briefly(ops.forget_signatures()))
        await self._step("worker processes", ops.briefly(forget_processes()))
        if options.audit_retention_days:
            days = round(bounded(options.audit_retention_days * _DAY) / _DAY)
            await self._step("audit log", ops.briefly(forget_audit(days)))
        more = await self._in_batches("callbacks", forget_answers, ANSWERS_BATCH)
        more |= await self._in_batches("results", forget_results, RESULTS_BATCH)
        more |= await self._in_batches("steps", forget_steps, STEPS_BATCH)
        more |= await self._forget_workflows()
        more |= await self._forget_logs()
        return 0.0 if await self._forget_ends() or more else None

    async def _in_batches(self, name: str, forget: Callable[[], Op[int]], batch: int) -> bool:
        """Delete old rows in batches; return True when time is up and more are left.

        Each batch commits, and is followed by a rest for the database.
        """
        until = time.monotonic() + _ROUND_SECONDS
        began = time.perf_counter()
        while await self._step(name, ops.briefly(forget())) == batch:
            if time.monotonic() >= until:
                return True
            await asyncio.sleep((time.perf_counter() - began) * _REST_PART)
            began = time.perf_counter()
        return False

    async def _forget_workflows(self) -> bool:
        """Delete what is left of old workflows; return True when time is up and more are left.

        They are kept as long as the jobs that are kept longest.
        """
        options = self._options
        hours = max(options.completed_retention_hours, options.failed_retention_hours)
        seconds = bounded(hours, LONGEST_HOURS) * _HOUR
        until = time.monotonic() + _ROUND_SECONDS
        while await self._step("workflows", ops.briefly(forget_workflow(seconds))):
            if time.monotonic() >= until:
                return True
        return False

    async def _forget_logs(self) -> bool:
        """Delete logs of jobs that are gone; return True when time is up and more are left.

        Most go with their jobs; these are of jobs that other programs have deleted.  Goes through
        all logs in batches, and on where the last round ended.
        """
        until = time.monotonic() + _ROUND_SECONDS
        while after := await self._step("logs", ops.briefly(forget_job_logs(self._logs_after))):
            self._logs_after = after
            if time.monotonic() >= until:
                return True
        self._logs_after = FIRST
        return False

    async def _forget_ends(self) -> bool:
        """Delete old counts of ends in batches; return True when time is up and more are left."""
        days = self._options.ends_retention_days
        until = time.monotonic() + _ROUND_SECONDS
        while await self._step("counts of ends", ops.briefly(forget_ends(days))) == FORGET_BATCH:
            if time.monotonic() >= until:
                return True
        await self._step("failures", ops.briefly(forget_failures(days)))
        return False

    async def _retentions(self) -> list[_Retention]:
        """Return the retention of each queue that has its own, then that of all others."""
        options = self._options
        kept = {q.name: q.retention for q in options.queues if q.retention is not None}
        for policy in await self._long.run(list_queue_policies()):
            own = kept.get(policy.queue, Retention())
            kept[policy.queue] = policy.kept(own)
        found: list[_Retention] = []
        for queue, own in [*kept.items(), (None, Retention())]:
            hours: dict[Ended, tuple[float | None, float]] = {
                "completed": (own.completed_hours, options.completed_retention_hours),
                "unsuccessful": (own.failed_hours, options.failed_retention_hours),
            }
            for ended, (of_queue, default) in hours.items():
                chosen = default if of_queue is None else of_queue
                seconds = bounded(chosen, LONGEST_HOURS) * _HOUR
                found.append(_Retention(queue, ended, seconds, () if queue else tuple(kept)))
        return found

    async def _delete(self, kept: list[_Retention]) -> bool:
        """Delete old jobs in batches; return True when time is up and more are left.

        Each batch commits and is followed by a rest for the database.
        """
        batch = self._options.cleanup_batch_size
        last: dict[_Retention, str] = {}
        until = time.monotonic() + _ROUND_SECONDS
        while kept:
            for retention in list(kept):
                began = time.perf_counter()
                found = await self._step(
                    f"retention of {retention.queue or 'the other queues'}",
                    ops.delete_old(
                        retention.ended,
                        retention.seconds,
                        batch,
                        queue=retention.queue,
                        except_queues=retention.except_queues,
                        **({"ended_after": last[retention]} if retention in last else {}),
                        aside=self._aside[retention.ended],
                    ),
                )
                if found is None or found.found < batch:
                    kept.remove(retention)
                else:
                    last[retention] = found.last
                if time.monotonic() >= until:
                    return bool(kept)
                if found is not None and found.found:
                    await asyncio.sleep((time.perf_counter() - began) * _REST_PART)
        return False

    async def _step(self, name: str, op: Op[R]) -> R | None:
        """Run a step of the work; its failure does not stop the others and is logged once.

        A transient error is logged only when it lasts.
        """
        try:
            result = await self._long.run(op)
        except Unavailable:
            raise
        except AwaError as error:
            now = time.monotonic()
            since = self._failing.setdefault(name, now)
            lasts = now - since >= _TRANSIENT_SECONDS or not isinstance(error, Transient)
            if lasts and name not in self._logged:
                self._logged.add(name)
                logger.warning(
                    "a step of the maintenance fails; it is tried again",
                    extra={"part": name, "error": str(error)},
                )
            return None
        self._failing.pop(name, None)
        self._logged.discard(name)
        return result

    async def _move_failed(self) -> float | None:
        if (seen := self._news.fresh) is not None and not seen.dead_letters:
            return None
        for _ in range(_MOVE_BATCHES):
            op = timed(dead_letters.move_failed(self._aside["dead letters"]))
            moved, seconds = await self._long.run(op)
            if moved < dead_letters.MOVE_BATCH:
                return pause_after(seconds, _DEAD_LETTER_SECONDS)
        return 0.0

    async def _advance_bulk(self) -> float | None:
        if (seen := self._news.fresh) is not None and not seen.bulk:
            return None
        # Between two batches other duties may use the connection.
        until = time.monotonic() + _ROUND_SECONDS
        while await self._long.run(bulk.advance_next()):
            if time.monotonic() >= until:
                return 0.0
        return None

    async def _count(self) -> float | None:
        await self._step("counters", ops.recount())
        while counted := await self._step("ends", timed(count_outside_ends())):
            taken, seconds = counted
            if taken < OUTSIDE_BATCH:
                return pause_after(seconds, _COUNT_SECONDS)
        return None

    async def _measure(self) -> None:
        if metrics.measuring():
            metrics.described(
                await self._long.run(list_queues()), await self._long.run(declared_kinds())
            )
            counts = await self._long.run(workflow_counts())
            metrics.workflows(counts.open, counts.tasks)

    async def _refresh(self) -> None:
        await self._step("counters", ops.briefly(queues.flush_admin_metadata()))
