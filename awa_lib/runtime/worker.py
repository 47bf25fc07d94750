"""The worker half of AsyncClient: declare, start, shut down, report health."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from awa_lib.config.workers import WorkerOptions
from awa_lib.errors import AwaError, ValidationError
from awa_lib.ops.dead_letters import set_dead_letters
from awa_lib.ops.schema import check
from awa_lib.reads.health import ping, takes_changes
from awa_lib.runtime.announcements import log_start
from awa_lib.runtime.app import Runtime
from awa_lib.runtime.declarations import Declarations
from awa_lib.runtime.status import idle_health

if TYPE_CHECKING:
    import asyncio
    from typing import Unpack

    from awa_lib._sql import Op
    from awa_lib.config.workers import QueuesArgument, StartOptions
    from awa_lib.runtime.context import Attempt
    from awa_lib.runtime.health import HealthCheck

__all__ = ["Worker"]

R = TypeVar("R")


class Worker(Declarations):
    """Base class of AsyncClient, which provides the names below."""

    async def _dsn(self) -> str:
        raise NotImplementedError

    async def _run(self, op: Op[R], /) -> R:
        raise NotImplementedError

    async def close(self) -> None:
        """Stop working and close the connections."""
        raise NotImplementedError

    async def start(
        self,
        queues: QueuesArgument | None = None,
        *,
        partial: bool = False,
        **options: Unpack[StartOptions],
    ) -> None:
        """Start working; return when every loop runs.

        By default the queues of ``queue()`` and those of handlers are worked, the latter with 10
        slots each.  ``queues``, (name, max_workers) tuples or dicts, name those to work instead: a
        declared queue keeps its options but for those given here.  With ``partial`` queues of
        handlers may be left out, for fleets split by queue.  Options are the fields of
        ``awa_lib.config.workers.WorkerOptions``; the name of each time ends in its unit.
        Raises AwaError (no handlers, already running, unknown descriptor), ValidationError (a
        middleware for a kind without a handler), ValueError or TypeError (bad options),
        SchemaNotMigrated or SchemaUnsupported, Unavailable (also on a standby).
        """
        if self._runtime is not None:
            raise AwaError("worker runtime is already running")
        if not self._handlers:
            raise AwaError("register at least one worker before starting the runtime")
        resolved = WorkerOptions.build(
            queues, self._handlers.queues, declared=self._queues, partial=partial, **options
        )
        self._check_declared({queue.name for queue in resolved.queues})
        await self._run(check())
        await self._run(takes_changes())
        for queue in resolved.queues:
            if queue.dead_letters is not None:
                await self._run(set_dead_letters(queue.name, queue.dead_letters))
        dsn = await self._dsn()
        runtime = Runtime(
            dsn,
            handlers=self._handlers,
            options=resolved,
            queue_descriptors=self._queue_descriptors,
            kind_descriptors=self._kind_descriptors,
            schedules=self._declared_schedules(),
            registry=self._registry,
        )
        self._runtime = runtime
        try:
            await runtime.start()
        except BaseException:
            self._runtime = None
            await runtime.stop(0)
            raise
        log_start(dsn, resolved, self._handlers)

    def _check_declared(self, queues: set[str]) -> None:
        self._handlers.check_middleware()
        if unknown := [name for name in self._queue_descriptors if name not in queues]:
            raise AwaError(f"queue descriptor declared for unknown queue {unknown[0]!r}")

    async def shutdown(self, timeout_ms: float = 2000) -> None:
        """Stop claiming, wait at most ``timeout_ms`` for handlers to end, write their ends.

        ``job.is_cancelled()`` returns True at once.  Async handlers that still run at the time-out
        are cancelled and their jobs made available again; the attempt does not count.  Returns
        within two seconds after the time-out, whatever hangs.  Does nothing when not started;
        start() works again afterwards.  Raises ValidationError.
        """
        if isinstance(timeout_ms, bool) or not isinstance(timeout_ms, int | float):
            raise ValidationError(f"timeout_ms must be a number of milliseconds: {timeout_ms!r}")
        await self._shutdown(max(0.0, timeout_ms / 1000))

    async def _shutdown(self, seconds: float, *, exiting: bool = False) -> list[Attempt]:
        runtime, self._runtime = self._runtime, None
        return [] if runtime is None else await runtime.stop(seconds, exiting=exiting)

    def _hopeless(self) -> asyncio.Event:
        """Return the event that is set when only a new process may help."""
        assert self._runtime is not None
        return self._runtime.hopeless

    def _broken(self) -> list[str]:
        """Return the duties that a new process may repair; may be called from any thread."""
        runtime = self._runtime
        return [] if runtime is None else runtime.broken

    async def health_check(self) -> HealthCheck:
        """Return the state of this process's runtime; counts of available jobs are live.

        A database that does not answer is reported in the result and raises nothing.
        """
        if self._runtime is not None:
            return await self._runtime.health()
        return idle_health(connected=await self._reachable())

    async def _reachable(self) -> bool:
        try:
            await self._run(ping())
        except AwaError:
            return False
        return True
