"""Deliver events to hooks: concurrently, within bounds, whatever a hook does."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections import deque
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final

from awa_lib.logs import Logger
from awa_lib.runtime.callables import is_async_callable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from awa_lib.events import Event

__all__ = ["Deliveries"]

logger = Logger(__name__)

# Events delivered concurrently; a hook that hangs occupies a place until its time is over.
_CONCURRENT_EVENTS: Final = 256
# Events that wait or are being delivered; from here on the process claims no jobs.
_UNDELIVERED_EVENTS: Final = 4_000
_HOOK_SECONDS: Final = 300.0
_FIRST_THREAD_LIMIT: Final = 64
_LAST_THREAD_LIMIT: Final = 256


class Deliveries:
    """Run the hooks of events: of a job in order, of different jobs concurrently.

    A hook that takes longer than five minutes is given up: an async hook is cancelled, a plain
    hook keeps its thread, but nothing waits for it.
    """

    def __init__(self, deliver: Callable[[Event], Awaitable[None]]) -> None:
        self._deliver = deliver
        self._threads = _Threads(_FIRST_THREAD_LIMIT)
        # By job: events that wait while another event of the job is delivered.
        self._later: dict[int, deque[Event]] = {}
        self._ready: deque[Event] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._running = 0
        self._undelivered = 0
        self._closed = False

    @property
    def has_room(self) -> bool:
        """Return False while too many events wait."""
        return self._undelivered < _UNDELIVERED_EVENTS

    def add(self, event: Event) -> None:
        """Deliver an event after earlier events of its job."""
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
        """Run a coroutine that reads the jobs of ``count`` events and adds the events."""
        if self._closed:
            work.close()
            return
        self._undelivered += count
        self._start(work, partial(self._prepared, count))

    def _prepared(self, count: int) -> None:
        self._undelivered -= count

    def _fill(self) -> None:
        while self._ready and self._running < _CONCURRENT_EVENTS and not self._closed:
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
        """Call a hook and await an awaitable result; log whatever is raised."""
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
                logger.error(  # noqa: TRY400 - the traceback of a time-out adds nothing
                    "a hook took longer than %g s and was given up; its job is not affected",
                    _HOOK_SECONDS,
                    extra={"job_id": event.job.id},
                )
                return
            logger.exception(
                "a hook failed; its job is not affected", extra={"job_id": event.job.id}
            )

    async def stop(self, seconds: float) -> None:
        """Deliver waiting events for ``seconds``, then drop the rest and log that."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while self._tasks and (left := until - loop.time()) > 0:
            await asyncio.wait(set(self._tasks), timeout=left, return_when="FIRST_COMPLETED")
        self._closed = True
        if self._undelivered:
            logger.warning(
                "hooks did not end in time; events that were not delivered are dropped",
                extra={"events": self._undelivered},
            )
        for task in self._tasks:
            task.cancel()
        self._threads.close()


class _Threads:
    """Threads for plain hooks, started on demand and reused.

    They are daemons: a hook that hangs does not keep the process alive.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._started = 0

    async def run(self, call: Callable[[Any], Any], argument: Any) -> Any:
        """Return what the call returns; raise what it raises."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[tuple[Any, BaseException | None]] = loop.create_future()

        def finish(result: Any, error: BaseException | None) -> None:
            if not future.done():
                future.set_result((result, error))

        def work() -> None:
            result, error = None, None
            try:
                result = call(argument)
            except BaseException as raised:  # noqa: BLE001 - sys.exit() in a hook must not end the thread
                error = raised
            with suppress(RuntimeError):  # the loop is closed: nothing waits
                loop.call_soon_threadsafe(finish, result, error)

        self._work.put(work)
        if not self._idle.acquire(blocking=False) and self._started < self._limit:
            self._started += 1
            threading.Thread(target=self._first, name="awa hook", daemon=True).start()
        try:
            result, error = await future
        except asyncio.CancelledError:
            # The thread may never return: another thread may take its place.
            self._limit = min(self._limit + 1, _LAST_THREAD_LIMIT)
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
