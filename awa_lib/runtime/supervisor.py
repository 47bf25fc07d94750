"""The loops of a worker process: they survive every error, and their health is derived.

A duty is a loop of rounds.  An exception of any class ends its round only: it is logged once, with
its traceback, and the next round follows after a back-off.  Health is not a flag that code must
reset: it is computed from the times when rounds began, succeeded and failed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from awa_lib.db.jitter import RANDOM
from awa_lib.errors import AwaError, Transient, Unavailable
from awa_lib.logs import Logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

__all__ = ["Duty", "DutyState", "Supervisor"]

logger = Logger(__name__)

_FIRST_PAUSE_SECONDS: Final = 0.1
_LONGEST_PAUSE_SECONDS: Final = 5.0
# After a transient error such as a lock: retry soon after it is gone.
_LONGEST_LOCKED_PAUSE_SECONDS: Final = 1.0
# After a lost connection, for duties with a long interval too: a process reports itself unhealthy
# for at most this long after an outage.
_LONGEST_OUTAGE_PAUSE_SECONDS: Final = 3.0
# Transient errors are logged only when they last longer.
_TRANSIENT_SECONDS: Final = 10.0
# A duty that fails, or exceeds the bound of a round, for longer is unhealthy.
_UNHEALTHY_SECONDS: Final = 5.0
# If it does so for longer while the database answers, the process ends.
GIVE_UP_SECONDS: Final = 300.0


class DutyState:
    """The record of a duty's rounds; written by its loop or thread, read from any thread."""

    def __init__(self, name: str, *, round_seconds: float = 60.0) -> None:
        self.name = name
        self.failures = 0
        """Failures since the duty was made."""
        self._round_seconds = round_seconds
        self._failing_since: float | None = None
        self._busy_since: float | None = None
        self._by_us = False
        self._logged = False

    def begin(self) -> None:
        """Note that a round begins."""
        self._busy_since = time.monotonic()

    def rest(self) -> None:
        """Note that there is nothing to do: waiting for work is no trouble."""
        self._busy_since = None

    def succeed(self) -> None:
        """Note that a round succeeded."""
        self._busy_since = self._failing_since = None
        self._by_us = False
        if self._logged:
            self._logged = False
            self._log(logging.INFO, "a duty of the worker works again")

    def fail(self, error: BaseException) -> None:
        """Note that a round failed; logged once, a transient error only when it lasts."""
        self.failures += 1
        self._busy_since = None
        if self._failing_since is None:
            self._failing_since = time.monotonic()
        if isinstance(error, Unavailable):
            return  # the outage is logged where the connection is lost
        self._by_us = not isinstance(error, Transient)
        if not self._logged and (self._by_us or self.trouble_seconds > _TRANSIENT_SECONDS):
            self._logged = True
            if self._by_us:
                hint = error.hint if isinstance(error, AwaError) else None
                message = "a duty of the worker fails; it is tried again"
                self._log(logging.ERROR, message, error=error, hint=hint)
            else:
                message = "a duty of the worker is held up (%s); it is tried again"
                self._log(logging.WARNING, message, error)

    def end(self) -> None:
        """Note that the loop ended without being stopped: it never runs again."""
        self._failing_since = time.monotonic()
        self._by_us = True

    def _log(
        self,
        level: int,
        message: str,
        *values: object,
        error: BaseException | None = None,
        **extra: object,
    ) -> None:
        logger.log(level, message, *values, exc_info=error, extra={"duty": self.name, **extra})

    @property
    def trouble_seconds(self) -> float:
        """Return for how long it has failed, or exceeded the bound of a round; otherwise 0."""
        failing, busy = self._failing_since, self._busy_since
        if failing is None and busy is None:
            return 0.0  # nearly always, and asked of every queue each second
        now = time.monotonic()
        late = 0.0 if busy is None else now - busy - self._round_seconds
        return max(0.0, late, 0.0 if failing is None else now - failing)

    @property
    def healthy(self) -> bool:
        """Return True unless it has been in trouble for more than 5 s."""
        return self.trouble_seconds <= _UNHEALTHY_SECONDS

    @property
    def broken(self) -> bool:
        """Return True when it is in trouble and neither an outage nor a lock is the cause."""
        return not self.healthy and self._by_fault

    @property
    def hopeless(self) -> bool:
        """Return True when retries have not helped for 5 minutes."""
        return self._by_fault and self.trouble_seconds > GIVE_UP_SECONDS

    @property
    def _by_fault(self) -> bool:
        return self._failing_since is None or self._by_us


class Duty:
    """A loop of rounds, ``seconds`` apart and jittered by a tenth; the first begins at once.

    A round that returns a number sets the pause after it.  A round that waits for work does so
    inside ``resting``.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[], Awaitable[float | None]],
        *,
        seconds: float = 0.0,
        round_seconds: float = 60.0,
        pause: Callable[[int], Awaitable[None]] | None = None,
    ) -> None:
        self.state = DutyState(name, round_seconds=round_seconds)
        self._work = work
        self._seconds = seconds
        self._pause = pause
        self._poke = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self._in_a_row = 0

    @property
    def name(self) -> str:
        """Return its name."""
        return self.state.name

    @property
    def alive(self) -> bool:
        """Return True while it runs and is healthy."""
        return self._task is not None and not self._task.done() and self.state.healthy

    def poke(self) -> None:
        """Start the next round now."""
        self._poke.set()

    @contextmanager
    def resting(self) -> Iterator[None]:
        """Mark the block as waiting for work, which may last without being trouble."""
        self.state.rest()
        try:
            yield
        finally:
            self.state.begin()

    async def start(self) -> None:
        """Start the loop."""
        self._stopping = False
        self._task = asyncio.create_task(self._run(), name=f"awa {self.name}")

    async def finish(self, seconds: float) -> None:
        """End after the running round, or in the middle of it after ``seconds``."""
        self._stopping = True
        self._poke.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=seconds)
        await self.stop()

    async def stop(self) -> None:
        """End now, in the middle of a round too; wait at most a second."""
        self._stopping = True
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task}, timeout=1.0)

    async def _run(self) -> None:
        try:
            await self._rounds()
        finally:
            if not self._stopping:
                self.state.end()

    async def _rounds(self) -> None:
        while not self._stopping:
            self._poke.clear()
            self.state.begin()
            wait: float | None = None
            try:
                wait = await self._work()
            except asyncio.CancelledError as error:
                # Raised inside the round without a cancel of this task: a failure like others.
                task = asyncio.current_task()
                if self._stopping or (task is not None and task.cancelling()):
                    raise
                await self._failed(error)
                continue
            except BaseException as error:  # noqa: BLE001 - nothing would notice a loop that ended
                await self._failed(error)
                continue
            self._in_a_row = 0
            self.state.succeed()
            pause = self._seconds if wait is None else wait
            if pause and not self._stopping:
                await self._sleep(pause * RANDOM.uniform(0.9, 1.1))

    async def _failed(self, error: BaseException) -> None:
        self.state.fail(error)
        self._in_a_row += 1
        if self._pause is not None and isinstance(error, Unavailable):
            await self._pause(self._in_a_row)
            return
        backoff = _FIRST_PAUSE_SECONDS * 2.0 ** min(self._in_a_row, 10)
        if not isinstance(error, Transient):
            await self._sleep(min(backoff, max(_LONGEST_PAUSE_SECONDS, self._seconds)))
            return
        longest = _LONGEST_LOCKED_PAUSE_SECONDS
        if isinstance(error, Unavailable):
            longest = _LONGEST_OUTAGE_PAUSE_SECONDS
        await self._sleep(min(backoff, longest) * RANDOM.uniform(0.7, 1.0))

    async def _sleep(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._poke.wait()


class Supervisor:
    """The duties of a process."""

    def __init__(self) -> None:
        # By identity: two duties may have the same name.
        self._states: dict[int, DutyState] = {}
        self.hopeless = asyncio.Event()
        """Set when only a new process may help."""

    def watch(self, state: DutyState) -> None:
        """Add a duty."""
        self._states[id(state)] = state

    def forget(self, state: DutyState) -> None:
        """Remove a duty."""
        self._states.pop(id(state), None)

    @property
    def troubled(self) -> list[str]:
        """Return the names of duties that fail or hang, sorted."""
        return sorted({s.name for s in list(self._states.values()) if not s.healthy})

    @property
    def broken(self) -> list[str]:
        """Return the names of duties that a new process may repair, sorted."""
        return sorted({s.name for s in list(self._states.values()) if s.broken})

    def check(self) -> None:
        """Set ``hopeless`` when retries no longer help one of the duties."""
        lost = sorted({state.name for state in self._states.values() if state.hopeless})
        if lost and not self.hopeless.is_set():
            logger.critical(
                "%s has not worked for %d minutes although the database answers; this process "
                "stops and must be restarted",
                " and ".join(lost),
                GIVE_UP_SECONDS // 60,
                extra={"duties": lost},
            )
            self.hopeless.set()
