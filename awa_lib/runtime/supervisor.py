"""Every loop of a worker process runs here: it survives all errors, and its health is looked up.

A duty is a loop of rounds.  An exception of any class ends its round only: it is logged once, with
its traceback, and the next round comes after a back-off.  Health is never a flag that somebody
has to reset: it is read from when rounds ended well, failed, or began without an end.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from awa_lib.errors import AwaError, Transient, Unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

__all__ = ["Duty", "DutyState", "Supervisor"]

logger = logging.getLogger(__name__)

_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 5.0
# Others write as soon as a lock is free, and so should we.
_LONGEST_HELD: Final = 1.0
# A duty that is due once a minute too: it is in trouble until it has succeeded, so this is how long
# a process says that it is unhealthy after an outage.
_LONGEST_AWAY: Final = 3.0
# A lock that somebody holds for a moment is not worth a line.
_HELD_UP_SECONDS: Final = 10.0
# A duty that fails, or is in one round, for longer is unhealthy.
_FAILING_SECONDS: Final = 5.0
# One that does so for longer, while the database answers, ends the process.
GIVE_UP_SECONDS: Final = 300.0


class DutyState:
    """What really happened to a duty; written by its loop or thread, read from anywhere."""

    def __init__(self, name: str, *, round_seconds: float = 60.0) -> None:
        self.name = name
        self.failures = 0
        """Failures of all its life."""
        self._round_seconds = round_seconds
        self._failing_since: float | None = None
        self._busy_since: float | None = None
        self._ours = False
        self._logged = False

    def begin(self) -> None:
        """Note that a round begins."""
        self._busy_since = time.monotonic()

    def rest(self) -> None:
        """Note that nothing is to be done now: waiting is no sign of trouble."""
        self._busy_since = None

    def succeed(self) -> None:
        """Note that a round ended well."""
        self._busy_since = self._failing_since = None
        self._ours = False
        if self._logged:
            self._logged = False
            self._say(logging.INFO, "a duty works again")

    def fail(self, error: BaseException) -> None:
        """Note that a round failed; logged once, a passing error only when it lasts."""
        self.failures += 1
        self._busy_since = None
        if self._failing_since is None:
            self._failing_since = time.monotonic()
        if isinstance(error, Unavailable):
            return  # the connection's own line says it
        self._ours = not isinstance(error, Transient)
        if not self._logged and (self._ours or self.trouble_seconds > _HELD_UP_SECONDS):
            self._logged = True
            if self._ours:
                hint = error.hint if isinstance(error, AwaError) else None
                self._say(
                    logging.ERROR, "a duty of the worker fails; it is tried again",
                    error=error, hint=hint,
                )  # fmt: skip
            else:
                self._say(
                    logging.WARNING,
                    "a duty of the worker is held up (%s); it is tried again",
                    error,
                )

    def end(self) -> None:
        """Note that the loop has ended though nobody stopped it: it never works again."""
        self._failing_since = time.monotonic()
        self._ours = True

    def _say(
        self, level: int, message: str, *values: object, error: BaseException | None = None,
        **extra: object,
    ) -> None:  # fmt: skip
        # A log handler or filter of the program may raise anything; the loop goes on.
        with suppress(Exception):
            logger.log(level, message, *values, exc_info=error, extra={"duty": self.name, **extra})

    @property
    def trouble_seconds(self) -> float:
        """Return how long it has failed, or been in a round beyond its bound; else 0."""
        now, failing, busy = time.monotonic(), self._failing_since, self._busy_since
        late = 0.0 if busy is None else now - busy - self._round_seconds
        return max(0.0, late, 0.0 if failing is None else now - failing)

    @property
    def healthy(self) -> bool:
        """Return True unless it has been in trouble for more than 5 s."""
        return self.trouble_seconds <= _FAILING_SECONDS

    @property
    def broken(self) -> bool:
        """Return True when it is in trouble by a fault of this process: no outage, no lock."""
        return not self.healthy and self._by_fault

    @property
    def hopeless(self) -> bool:
        """Return True when trying again has not helped for 5 minutes."""
        return self._by_fault and self.trouble_seconds > GIVE_UP_SECONDS

    @property
    def _by_fault(self) -> bool:
        return self._failing_since is None or self._ours


class Duty:
    """A loop of rounds, each ``seconds`` after the last, jittered by a tenth; the first at once.

    A round that returns a number asks for another pause.  One that waits for work does so inside
    ``resting``.
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
        """Return True while it runs, and does not fail."""
        return self._task is not None and not self._task.done() and self.state.healthy

    def poke(self) -> None:
        """Begin the next round now."""
        self._poke.set()

    @contextmanager
    def resting(self) -> Iterator[None]:
        """Wait for work: as long as it takes, without being in trouble."""
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
        """End after the round under way, or after so long in the middle of it."""
        self._stopping = True
        self._poke.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=seconds)
        await self.stop()

    async def stop(self) -> None:
        """End now, in the middle of a round if need be; at most a second is waited."""
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
                # One that nobody asked this task for came out of the round: a failure like others.
                task = asyncio.current_task()
                if self._stopping or (task is not None and task.cancelling()):
                    raise
                await self._failed(error)
                continue
            except BaseException as error:  # noqa: BLE001 - a loop that ends is never missed
                await self._failed(error)
                continue
            self._in_a_row = 0
            self.state.succeed()
            pause = self._seconds if wait is None else wait
            if pause and not self._stopping:
                await self._sleep(pause * random.uniform(0.9, 1.1))

    async def _failed(self, error: BaseException) -> None:
        self.state.fail(error)
        self._in_a_row += 1
        if self._pause is not None and isinstance(error, Unavailable):
            await self._pause(self._in_a_row)
            return
        backoff = _FIRST_PAUSE * 2.0 ** min(self._in_a_row, 10)
        if isinstance(error, Transient):
            away = isinstance(error, Unavailable)
            longest = min(backoff, _LONGEST_AWAY if away else _LONGEST_HELD)
            await self._sleep(longest * random.uniform(0.7, 1.0))
        else:
            await self._sleep(min(backoff, max(_LONGEST_PAUSE, self._seconds)))

    async def _sleep(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._poke.wait(), seconds)


class Supervisor:
    """The duties of one process."""

    def __init__(self) -> None:
        # By identity: two duties may have the same name.
        self._states: dict[int, DutyState] = {}
        self.hopeless = asyncio.Event()
        """Set when the process had better be replaced by a new one."""

    def watch(self, state: DutyState) -> None:
        """Look after a duty from now on."""
        self._states[id(state)] = state

    def forget(self, state: DutyState) -> None:
        """Look after it no more."""
        self._states.pop(id(state), None)

    @property
    def troubled(self) -> list[str]:
        """Return the names of duties that fail or hang, sorted."""
        return sorted({s.name for s in list(self._states.values()) if not s.healthy})

    @property
    def broken(self) -> list[str]:
        """Return the names of those that a new process may mend, sorted."""
        return sorted({s.name for s in list(self._states.values()) if s.broken})

    async def look(self) -> None:
        """Give the process up when one of its duties is beyond hope."""
        lost = sorted({state.name for state in self._states.values() if state.hopeless})
        if lost and not self.hopeless.is_set():
            logger.critical(
                "%s has not worked for %d minutes; this process stops and wants to be restarted",
                " and ".join(lost),
                GIVE_UP_SECONDS // 60,
                extra={"duties": lost},
            )
            self.hopeless.set()
