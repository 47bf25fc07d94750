"""Run statements and plain handlers of a blocking client in the thread of the test.

A connection of Django belongs to its thread: in another one ``django.db.connection`` is another
connection, which does not see the test's transaction.  So only the event loop of async handlers
runs in a second thread; it submits statements and plain functions to the first.
"""

from __future__ import annotations

import asyncio
import contextvars
import sys
import threading
from concurrent import futures
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

__all__ = ["Home", "at_home", "home"]

R = TypeVar("R")

_Call = tuple[Future[Any], "Callable[..., Any]", tuple[Any, ...], dict[str, Any]]


class Home(Executor):
    """Runs what is submitted in the thread that made it, while that thread serves."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        self._thread = threading.get_ident()
        self._stop: Callable[[], object] = lambda: None

    def submit(self, call: Callable[..., R], /, *args: Any, **options: Any) -> Future[R]:
        """Add a call; its future gets the result."""
        future: Future[R] = Future()
        self._calls.put((future, call, args, options))
        return future

    def wait(self, future: Future[Any], seconds: float | None) -> None:
        """Wait until the future is done, at most ``seconds``; serve in the home thread."""
        if threading.get_ident() != self._thread:
            futures.wait([future], seconds)
            return
        future.add_done_callback(lambda _: self._calls.put(None))
        while not future.done():
            try:
                call = self._calls.get(timeout=seconds)
            except Empty:
                return
            if call is not None:
                _do(*call)

    def run(self, work: Coroutine[Any, Any, R]) -> R:
        """Run a coroutine on an event loop in another thread, and serve it until it ends."""
        with ThreadPoolExecutor(1, thread_name_prefix="awa test") as thread:
            context = contextvars.copy_context()
            done = thread.submit(context.run, asyncio.run, self._main(work))
            try:
                self.wait(done, None)
            except BaseException:  # Ctrl-C: the coroutine may need this thread to end
                self._stop()
                self.wait(done, None)
                raise
            return done.result()

    async def _main(self, work: Coroutine[Any, Any, R]) -> R:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        self._stop = lambda: loop.call_soon_threadsafe(task.cancel)
        home.set(self)
        with _of_asgiref(loop, self):
            return await work


home: Final[contextvars.ContextVar[Home | None]] = contextvars.ContextVar("home", default=None)
"""Where the statements of a blocking client run; None outside of ``Home.run``."""


async def at_home(call: Callable[..., R], *args: Any) -> R:
    """Call a function in the home thread, or here without one."""
    there = home.get()
    if there is None:
        return call(*args)
    return await asyncio.get_running_loop().run_in_executor(there, call, *args)


def _do(
    future: Future[Any], call: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]
) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = call(*args, **options)
    except BaseException as error:  # noqa: BLE001 - raised where it is awaited
        future.set_exception(error)
    else:
        future.set_result(result)


@contextmanager
def _of_asgiref(loop: asyncio.AbstractEventLoop, there: Home) -> Iterator[None]:
    """Let Django's async ORM, in async handlers, use the connection of the home thread."""
    asgiref: Any = sys.modules.get("asgiref.sync")
    executors = getattr(getattr(asgiref, "AsyncToSync", None), "loop_thread_executors", None)
    if executors is None:
        yield
        return
    executors[loop] = there
    try:
        yield
    finally:
        executors.pop(loop, None)
