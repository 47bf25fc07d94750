"""Deliver events to hooks: beside each other, in bounds, whatever a hook does."""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
from collections import deque
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final

from awa_lib.runtime.handlers import is_async_callable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from awa_lib.events import Event

__all__ = ["Deliveries"]

logger = logging.getLogger(__name__)

# Events that are delivered at once; one whose hook hangs takes a place until its time is over.
_AT_ONCE: Final = 256
# Events that wait or are delivered; beyond this the process claims no jobs.
_MOST: Final = 4_000
_HOOK_SECONDS: Final = 300.0
_THREADS: Final = 64
_MOST_THREADS: Final = 256


class Deliveries:
    """Runs hooks of events: those of one job in order, those of others beside them.

    A hook that takes longer than five minutes is given up: an async one is cancelled, a plain one
    keeps its thread but nothing waits for it.
    """

    def __init__(self, deliver: Callable[[Event], Awaitable[None]]) -> None:
        self._deliver = deliver
        self._threads = _Threads(_THREADS)
        # By job: what waits while an event of the job is delivered.
        self._later: dict[int, deque[Event]] = {}
        self._ready: deque[Event] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._running = 0
        self._undelivered = 0
        self._closed = False

    @property
    def has_room(self) -> bool:
        """Return False while too many events wait."""
        return self._undelivered < _MOST

    def add(self, event: Event) -> None:
        """Deliver an event after those of its job."""
        if self._closed:
            return
        self._undelivered += 1
        if (later := self._later.get(event.job.id)) is not None:
            later.append(event)
            return
        self._later[event.job.id] = deque()
        self._ready.append(event)
        self._fill()

    def prepare(self, work: Coroutine[Any, Any, None], count: int) -> None:
        """Run what reads the jobs of ``count`` events and adds these."""
        if self._closed:
            work.close()
            return
        self._undelivered += count
        self._start(work, partial(self._prepared, count))

    def _prepared(self, count: int) -> None:
        self._undelivered -= count

    def _fill(self) -> None:
        while self._ready and self._running < _AT_ONCE and not self._closed:
            event = self._ready.popleft()
            self._running += 1
            self._start(self._one(event), partial(self._delivered, event))

    def _delivered(self, event: Event) -> None:
        self._running -= 1
        self._undelivered -= 1
        later = self._later[event.job.id]
        if later:
            self._ready.append(later.popleft())
        else:
            del self._later[event.job.id]
        self._fill()

    def _start(self, work: Coroutine[Any, Any, None], done: Callable[[], None]) -> None:
        task = asyncio.create_task(work, name="awa hooks")
        self._tasks.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            if not task.cancelled() and (error := task.exception()) is not None:
                logger.error("events were not delivered to hooks", exc_info=error)
            done()

        task.add_done_callback(ended)

    async def _one(self, event: Event) -> None:
        await self._deliver(event)

    async def call(self, hook: Callable[[Any], Any], event: Event) -> None:
        """Call one hook; whatever it raises is logged, whatever awaitable it returns awaited."""
        try:
            async with asyncio.timeout(_HOOK_SECONDS) as bound:
                if is_async_callable(hook):
                    result = hook(event)
                else:
                    result = await self._threads.run(hook, event)
                if inspect.isawaitable(result):
                    await result
        except BaseException as error:
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task and task.cancelling():
                raise
            if isinstance(error, TimeoutError) and bound.expired():
                logger.error(  # noqa: TRY400 - the time-out itself says nothing more
                    "a hook took longer than %g s and was given up; the job is not touched",
                    _HOOK_SECONDS,
                    extra={"job_id": event.job.id},
                )
                return
            logger.exception(
                "a hook failed; the job is not touched", extra={"job_id": event.job.id}
            )

    async def stop(self, seconds: float) -> None:
        """Give what waits so many seconds, then drop it and say so."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while self._tasks and (left := until - loop.time()) > 0:
            await asyncio.wait(set(self._tasks), timeout=left, return_when="FIRST_COMPLETED")
        self._closed = True
        if self._undelivered:
            logger.warning(
                "hooks did not end in time and are left alone", extra={"events": self._undelivered}
            )
        for task in self._tasks:
            task.cancel()
        self._threads.close()


class _Threads:
    """Threads for plain hooks.  Daemons: one that hangs does not keep the process alive.

    They are started as they are needed, and used again.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._started = 0

    async def run(self, call: Callable[[Any], Any], argument: Any) -> Any:
        """Return what the call returns.  Raises what it raises."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[tuple[Any, BaseException | None]] = loop.create_future()

        def tell(result: Any, error: BaseException | None) -> None:
            if not future.done():
                future.set_result((result, error))

        def work() -> None:
            result, error = None, None
            try:
                result = call(argument)
            except BaseException as raised:  # noqa: BLE001 - sys.exit() in a hook ends nothing
                error = raised
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(tell, result, error)

        self._work.put(work)
        if not self._idle.acquire(blocking=False) and self._started < self._most:
            self._started += 1
            threading.Thread(target=self._first, name="awa hook", daemon=True).start()
        try:
            result, error = await future
        except asyncio.CancelledError:
            # The thread may never come back: another one may take its place.
            self._most = min(self._most + 1, _MOST_THREADS)
            raise
        if error is not None:
            raise error
        return result

    def _first(self) -> None:
        work = self._work.get()
        if work is not None:
            work()
            del work
            self._serve()

    def _serve(self) -> None:
        while (work := self._next()) is not None:
            work()
            del work

    def _next(self) -> Callable[[], None] | None:
        try:
            return self._work.get_nowait()
        except Empty:
            self._idle.release()
            return self._work.get()

    def close(self) -> None:
        """Let idle threads end."""
        for _ in range(self._started):
            self._work.put(None)
