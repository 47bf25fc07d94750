"""The end of a worker: the last ends are written while every duty stops, within a bound."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from awa_lib.logs import Logger
from awa_lib.runtime.http_worker import HttpWorker
from awa_lib.runtime.links import within

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from awa_lib.runtime.callbacks import Callbacks
    from awa_lib.runtime.completer import Completer
    from awa_lib.runtime.events import Events
    from awa_lib.runtime.handlers import Handlers
    from awa_lib.runtime.heartbeat import Heartbeat
    from awa_lib.runtime.leader import Leader
    from awa_lib.runtime.links import Links
    from awa_lib.runtime.listener import Listener
    from awa_lib.runtime.policies import Policies
    from awa_lib.runtime.publisher import Publisher
    from awa_lib.runtime.scheduler import Declarer
    from awa_lib.runtime.status import Status
    from awa_lib.runtime.supervisor import Duty
    from awa_lib.runtime.workflows import Resolver, Sweep

__all__ = ["Ending"]

logger = Logger(__name__)


@dataclass(slots=True)
class Ending:
    """What is left of a worker when its claims and handlers have ended."""

    links: Links
    completer: Completer
    resolver: Resolver
    sweep: Sweep
    heartbeat: Heartbeat
    listener: Listener
    leader: Leader
    callbacks: Callbacks
    events: Events
    policies: Policies
    declarer: Declarer
    publisher: Publisher
    status: Status
    handlers: Handlers
    watch: Duty
    _running: list[asyncio.Task[None]] = field(default_factory=list)

    async def run(self, claims: Sequence[asyncio.Task[None]], until: float) -> None:
        """Write ends and stop every duty, until a time of the loop's clock, whatever hangs.

        ``claims`` are the tasks that stop the dispatchers.
        """
        now = asyncio.get_running_loop().time
        seconds = max(0.1, until - now() - 0.4)
        # Kept: a task that is still running after this must not be garbage.
        self._running = [asyncio.create_task(step) for step in self._steps(claims, seconds)]
        _, late = await asyncio.wait(self._running, timeout=max(0.1, until - now() - 0.1))
        if late:
            # A cancelled statement waits for its server, and an ending loop for its tasks.
            self.links.outage.cut()
            await asyncio.wait(late, timeout=0.1)

    def _steps(
        self, claims: Sequence[asyncio.Task[None]], seconds: float
    ) -> list[Coroutine[None, None, None]]:
        return [
            self._write_ends(seconds),
            self._resolve(seconds),
            self._end_claims(claims, seconds),
            self.watch.stop(),
            self.leader.stop(seconds),
            self.listener.stop(),
            self.callbacks.stop(),
            self.links.health.close(),
            self._publish(seconds),
            self._close_http(),
        ]

    async def _end_claims(self, claims: Sequence[asyncio.Task[None]], seconds: float) -> None:
        if claims:
            await asyncio.wait(claims, timeout=seconds)
        await self.links.claims.close()

    async def _write_ends(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self.completer.drain(), seconds)
        except TimeoutError:
            logger.error(  # noqa: TRY400 - the traceback of a time-out adds nothing
                "the ends of %d jobs could not be written in time: the database does not answer, "
                "or other transactions lock the rows; the jobs will be rescued and run again",
                self.completer.pending,
            )
            self.links.outage.cut()
        await asyncio.gather(
            self.heartbeat.stop(0.2), self.completer.stop(), self.links.callbacks.close()
        )

    async def _resolve(self, seconds: float) -> None:
        # A sweep of another process moves on what is left.
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.completer.drain()
                await self.resolver.drain()
        await self.resolver.stop()

    async def _publish(self, seconds: float) -> None:
        await self.sweep.duty.stop()
        await self.declarer.stop()
        await self.policies.stop()
        await self.events.stop(seconds / 2)
        await self.completer.counts.stop(seconds / 2, after=self.completer.drain())
        with suppress(TimeoutError):
            await within(seconds, self.publisher.stop())
        await self.links.publisher.close()

    async def _close_http(self) -> None:
        for handler in self.handlers.values():
            if isinstance(handler.call, HttpWorker):
                await handler.call.aclose()
