"""Count how attempts end, and write the counts about once a second."""

from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING, Final

from awa_lib.errors import AwaError
from awa_lib.logs import Logger
from awa_lib.ops.failures import EndCount, Sighting, count_ends
from awa_lib.runtime import identity
from awa_lib.runtime.links import within
from awa_lib.runtime.supervisor import Duty
from awa_lib.runtime.suspects import crashes_of
from awa_lib.telemetry.failures import OTHERS, Group, group_of_text

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from awa_lib.models import Job
    from awa_lib.ops.maintenance import Rescued
    from awa_lib.runtime.ends import End
    from awa_lib.runtime.links import Link

__all__ = ["EndCounts"]

logger = Logger(__name__)

_SECONDS: Final = 1.0
# While the database is away few attempts end: their ends are not written either.
_MOST_COUNTS: Final = 5_000
_MOST_FAILURES: Final = 500
# The outcome of each target state of an attempt; in other states it has not ended.
_OUTCOMES: Final = {
    "retryable": "retried",
    "failed": "failed",
    "cancelled": "cancelled",
    "scheduled": "snoozed",
}
_OTHERS: Final = Group(OTHERS, "", "failures beyond the number that is kept")

# Minute (of the monotonic clock), queue, kind, outcome, failure.
_Key = tuple[int, str, str, str, str]


class EndCounts:
    """The ends of attempts that this process has counted and not yet written.

    A statement adds them to the tables about once a second, at the end of the worker, and at once
    when an attempt fails after a second without a statement.  A process that dies loses what it has
    not written; a statement without an answer may be counted twice.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._ends: dict[_Key, int] = {}
        self._seen: dict[str, Sighting] = {}
        self._dropped = 0
        self._written_at = -math.inf
        self._version = identity.app_version()
        self.duty = Duty("end counts", self._write, seconds=_SECONDS, pause=link.pause_after)

    def ended(self, done: Sequence[End]) -> None:
        """Count ends that were written; an end of an attempt without its job does not count."""
        minute = _minute()
        completed: dict[tuple[str, str], int] = {}
        for end in done:
            if end.refused:
                continue
            job = end.attempt.job
            outcome = end.outcome
            if outcome is None:
                key = (job.queue, job.kind)
                completed[key] = completed.get(key, 0) + 1
            elif (name := _OUTCOMES.get(outcome.target)) is not None:
                self._count((minute, job.queue, job.kind, name), outcome.failure, job.id)
            # The text: most jobs have none, and to decode it costs more than the rest.
            if job._errors and job.attempt == 1 and (outcome is None or not outcome.attempt_back):  # noqa: SLF001 - as above
                self._requeued(minute, job)
        for (queue, kind), count in completed.items():
            self._add((minute, queue, kind, "completed", ""), count)

    def rescued(self, rescued: Sequence[Rescued]) -> None:
        """Count attempts that the leader ended."""
        minute = _minute()
        for row in rescued:
            outcome = "failed" if row.state == "failed" else "retried"
            group = group_of_text(row.error)
            self._count((minute, row.queue, row.kind, outcome), group, row.id)

    def _count(self, end: tuple[int, str, str, str], group: Group | None, job_id: int) -> None:
        """Count an end by minute, queue, kind and outcome, and its failure."""
        if group is None:
            self._add((*end, ""), 1)
            return
        seen = self._seen
        if group.id not in seen and len(seen) >= _MOST_FAILURES:
            group = _OTHERS
        kind = OTHERS if group is _OTHERS else end[2]
        seen[group.id] = Sighting(group, seen[group.id].kind if group.id in seen else kind, job_id)
        self._add((*end, group.id), 1)
        if time.monotonic() - self._written_at > _SECONDS:
            self.duty.poke()

    def _requeued(self, minute: int, job: Job) -> None:
        """Count a job whose attempts someone set back after it had failed.

        The crashes in its metadata are those since then: they did not count as attempts.  What kept
        a job from becoming available had no attempt.
        """
        crashes = crashes_of(job)
        for entry in reversed(job.errors):
            if "crash" in entry and crashes > 0:
                crashes -= 1
            else:
                number, failure = entry.get("attempt"), entry.get("failure")
                if isinstance(number, int) and number > 0:
                    known = failure if isinstance(failure, str) else ""
                    self._add((minute, job.queue, job.kind, "requeued", known), 1)
                return

    def _add(self, key: _Key, count: int) -> None:
        ends = self._ends
        if key in ends or len(ends) < _MOST_COUNTS:
            ends[key] = ends.get(key, 0) + count
            return
        if not self._dropped:
            logger.warning(
                "counts of ended attempts cannot be written and are dropped; jobs are not affected"
            )
        self._dropped += count

    async def start(self) -> None:
        """Start the loop."""
        await self.duty.start()

    async def stop(self, seconds: float, *, after: Awaitable[None]) -> None:
        """Write what is left ``after`` the ends are written, within ``seconds``."""
        try:
            async with asyncio.timeout(seconds / 2):
                await after
        except TimeoutError:
            pass  # their jobs will be rescued, and counted then
        await self.duty.finish(seconds / 4)
        try:
            await within(seconds / 4, self._write())
        except (AwaError, TimeoutError) as error:
            logger.debug("the last counts of ends were not written", extra={"error": str(error)})

    async def _write(self) -> None:
        ends, seen = self._ends, self._seen
        if not ends:
            return
        self._ends, self._seen = {}, {}
        self._written_at = time.monotonic()
        now = _minute()
        rows = [
            EndCount(now - minute, queue, kind, outcome, failure, count)
            for (minute, queue, kind, outcome, failure), count in ends.items()
        ]
        try:
            await self._link.run(count_ends(rows, seen.values(), version=self._version))
        except BaseException:
            self._keep(ends, seen)
            raise
        self._dropped = 0

    def _keep(self, ends: dict[_Key, int], seen: dict[str, Sighting]) -> None:
        """Put back what was not written."""
        newer, self._ends = self._ends, ends
        for key, count in newer.items():
            self._add(key, count)
        self._seen = seen | self._seen


def _minute() -> int:
    return int(time.monotonic() // 60)
