"""Threads for blocking handlers."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import weakref
from collections import deque
from contextlib import suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["HandlerThreads"]

_Call: TypeAlias = (
    "tuple[asyncio.Future[Any], contextvars.Context, Callable[..., Any], tuple[Any, ...]]"
)


class HandlerThreads:
    """As many threads as there are calls, and at most ``most``; they stay until ``close``.

    The results of calls that end together wake the event loop once.  With a ThreadPoolExecutor and
    a wake-up for each call, a call takes twice as much processor time.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._loop = asyncio.get_running_loop()
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        self._results: deque[tuple[asyncio.Future[Any], Any]] = deque()
        # The event loop will take the results.
        self._told = False
        # Calls whose result was not taken.
        self._open = 0
        # Held to start a thread and to close.
        self._lock = threading.Lock()
        self._started = 0
        self._closed = False

    def run(self, call: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        """Call a function, which must not raise, in a thread and in a copy of this context.

        Raises RuntimeError after ``close`` or the end of the main thread.
        """
        if self._started < min(self._open + 1, self._most):
            self._start()
        if self._closed:
            raise RuntimeError("a handler cannot begin: the worker or its interpreter ends")
        future = self._loop.create_future()
        self._open += 1
        self._calls.put((future, contextvars.copy_context(), call, args))
        return future

    def _start(self) -> None:
        _at_exit.close(self)
        with self._lock:
            if not self._closed:
                # Not a daemon: the interpreter waits for handlers that run.
                threading.Thread(target=self._work, name="awa handler").start()
                self._started += 1

    def _work(self) -> None:
        while (item := self._calls.get()) is not None:
            future, context, call, args = item
            self._results.append((future, context.run(call, *args)))
            del item, future, context, call, args
            if not self._told:
                self._told = True
                with suppress(RuntimeError):  # the loop is closed: nobody waits
                    self._loop.call_soon_threadsafe(self._take_results)

    def _take_results(self) -> None:
        # First: a result that comes from now on tells the loop again.
        self._told = False
        while self._results:
            future, result = self._results.popleft()
            self._open -= 1
            if not future.done():
                future.set_result(result)

    def close(self) -> None:
        """End the idle threads, and the others after their call."""
        with self._lock:
            self._closed = True
            for _ in range(self._started):
                self._calls.put(None)
            self._started = 0


class _AtExit:
    """Closes what a program has left open when its main thread ends: idle threads would stay."""

    def __init__(self) -> None:
        self._open: weakref.WeakSet[HandlerThreads] = weakref.WeakSet()
        self._thread: threading.Thread | None = None

    def close(self, threads: HandlerThreads) -> None:
        self._open.add(threads)
        # A child of a fork has none of its parent's threads.
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._wait, name="awa exit")
            self._thread.start()

    def _wait(self) -> None:
        threading.main_thread().join()
        for threads in list(self._open):
            threads.close()


_at_exit: Final = _AtExit()
