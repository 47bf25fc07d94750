"""Election of the fleet's leader, by an advisory lock that a silent process loses."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from awa_lib.db.jitter import RANDOM
from awa_lib.errors import AwaError
from awa_lib.logs import Logger
from awa_lib.ops import runtime as ops
from awa_lib.ops.maintenance import INDEXES_ONLY
from awa_lib.reads.health import ping
from awa_lib.runtime.links import Link
from awa_lib.runtime.maintenance import Maintenance
from awa_lib.runtime.sessions import Bounds
from awa_lib.runtime.supervisor import Duty

if TYPE_CHECKING:
    from collections.abc import Callable

    from awa_lib.config.workers import WorkerOptions
    from awa_lib.ops.maintenance import Rescued
    from awa_lib.runtime.links import Outage
    from awa_lib.runtime.supervisor import Supervisor

__all__ = ["Leader"]

logger = Logger(__name__)

# A leader sends a query on the lock's session every 3 s.  The server ends a session that is silent
# for 8 s (a stopped process, a blocked event loop, a child that outlived it, a host that is gone),
# and candidates try at least every 5 s: another process leads within 15 s.
_PING_SECONDS: Final = 3.0
_SILENCE_MS: Final = 8_000
_LONGEST_RETRY_SECONDS: Final = 5.0
_LOCK: Final = Bounds(
    lock_ms=1_000, statement_seconds=3, settings=(("idle_session_timeout", "8s"),)
)
_SHORT: Final = Bounds(lock_ms=250, statement_seconds=30, settings=INDEXES_ONLY)
_LONG: Final = Bounds(lock_ms=1_000, statement_seconds=60)


class Leader:
    """A candidate for leadership, and the fleet's maintenance while it leads.

    A connection of its own holds the lock for the whole term; short and long work have a
    connection each, so that a statement that fails or hangs costs neither the lock nor a rescue.
    Two leaders at once (a lost connection noticed late) do no harm: every statement locks and
    checks the rows it changes.
    """

    def __init__(
        self,
        dsn: str,
        options: WorkerOptions,
        *,
        outage: Outage,
        supervisor: Supervisor,
        on_rescued: Callable[[list[Rescued]], None],
    ) -> None:
        self._lock = Link("leader", dsn=dsn, outage=outage, bounds=_LOCK)
        self._short = Link("maintenance", dsn=dsn, outage=outage, bounds=_SHORT)
        self._long = Link("cleaning", dsn=dsn, outage=outage, bounds=_LONG)
        self._supervisor = supervisor
        self._options = options
        self._on_rescued = on_rescued
        self._term: Maintenance | None = None
        self._stop = asyncio.Event()
        retry = min(options.leader_election_interval_ms / 1000, _LONGEST_RETRY_SECONDS)
        self.duty = Duty("leader election", self._round, seconds=retry)

    @property
    def is_leader(self) -> bool:
        """Return True while this process leads."""
        return self._term is not None

    @property
    def duties(self) -> list[Duty]:
        """Return the candidate's duty and, while this process leads, those of the maintenance."""
        return [self.duty, *(self._term.duties if self._term else ())]

    @property
    def alive(self) -> bool:
        """Return True while the candidate loop works."""
        return self.duty.alive

    async def start(self) -> None:
        """Start the candidate loop."""
        await self.duty.start()

    async def stop(self, seconds: float) -> None:
        """Stop every duty and release the lock, within ``seconds``."""
        self._stop.set()
        await self.duty.finish(seconds)
        await asyncio.gather(self._short.close(), self._long.close(), self._lock.close())

    async def _round(self) -> None:
        if self._options.leads and not self._stop.is_set() and await self._elected():
            await self._lead()

    async def _elected(self) -> bool:
        conn = await self._lock.connection()
        if not self._lock.pooled:
            return await self._lock.run(ops.try_lead())
        # The lock lasts as long as a transaction, for which a pooler reserves the server session.
        await conn.set_autocommit(False)
        leads = False
        try:
            leads = await self._lock.run(ops.try_lead_in_transaction(_SILENCE_MS))
        finally:
            # Also after an error, which leaves a failed transaction open.
            if not leads:
                await self._lock.close()
        return leads

    async def _lead(self) -> None:
        """Run the maintenance until stopped, or until the lock's connection is lost."""
        term = Maintenance(
            self._options, short=self._short, long=self._long, on_rescued=self._on_rescued
        )
        self._term = term
        logger.info("this process leads the fleet's maintenance")
        try:
            await term.start()
            for duty in term.duties:
                self._supervisor.watch(duty.state)
            while not self._stop.is_set():
                with self.duty.resting():
                    await self._wait(_PING_SECONDS * RANDOM.uniform(0.8, 1.0))
                await self._lock.run(ping())
                self.duty.state.succeed()
        finally:
            self._term = None
            logger.info("this process no longer leads the fleet's maintenance")
            for duty in term.duties:
                self._supervisor.forget(duty.state)
            await term.stop()
            with suppress(AwaError):
                if self._stop.is_set() and not self._lock.pooled:
                    await self._lock.run(ops.step_down())
            await self._lock.close()

    async def _wait(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stop.wait()
