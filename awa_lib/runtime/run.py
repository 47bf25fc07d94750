"""Run a worker until a signal: the one line of a plain script."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NoReturn

from awa_lib.runtime import forks

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Unpack

    from awa_lib.client.clients import AsyncClient
    from awa_lib.config import QueuesArgument, StartOptions
    from awa_lib.runtime.context import Attempt

__all__ = ["run", "serve"]

logger = logging.getLogger(__name__)

# The drain's own two seconds, and a little for the client's connections and the interpreter.
_AFTER_DRAIN_SECONDS: Final = 2.5
_CLOSE_SECONDS: Final = 1.0
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
# "Internal software error" of sysexits.h: systemd and Kubernetes start the worker anew.
_EX_SOFTWARE: Final = 70


def run(
    client: AsyncClient,
    queues: QueuesArgument | None = None,
    *,
    drain_timeout: float = 30.0,
    partial: bool = False,
    on_ready: Callable[[], None] | None = None,
    **options: Unpack[StartOptions],
) -> None:
    """Work until SIGTERM or SIGINT, then drain for ``drain_timeout`` seconds and return.

    Takes the options of ``AsyncClient.start`` and raises as it does.  Uses uvloop when it is
    installed.  Two seconds after the drain the process ends, whatever hangs; a second signal ends
    it at once.  Jobs whose handlers outlive the drain are handed back, and the process ends
    without waiting for their threads.  A worker one of whose duties keeps failing for minutes
    though the database answers stops itself the same way, with exit status 70.  ``on_ready`` is
    called when the worker has started.  Closes the client.
    """
    ending = _Ending(drain_timeout)
    try:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            left = runner.run(
                _work(client, queues, ending, drain_timeout, partial, on_ready, **options)
            )
            if left or ending.status:
                # Python would wait for the threads of handlers whose jobs are already given away.
                _leave(ending.status)
    finally:
        ending.done()


def _leave(status: int) -> NoReturn:
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(status)


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return uvloop's factory when it is installed (a quarter more jobs a second)."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


async def serve(
    client: AsyncClient,
    queues: QueuesArgument | None = None,
    *,
    drain_timeout: float = 30.0,
    partial: bool = False,
    on_ready: Callable[[], None] | None = None,
    **options: Unpack[StartOptions],
) -> list[Attempt]:
    """Do what ``run`` does inside a running loop; return attempts that did not end.

    Signals arrive in the main thread only: in any other, cancel the task that awaits this.  A
    cancelled one stops the worker within two seconds, without a drain.
    """
    ending = _Ending(drain_timeout)
    try:
        return await _work(client, queues, ending, drain_timeout, partial, on_ready, **options)
    finally:
        ending.done()


async def _work(
    client: AsyncClient,
    queues: QueuesArgument | None,
    ending: _Ending,
    drain_timeout: float,
    partial: bool,
    on_ready: Callable[[], None] | None,
    **options: Unpack[StartOptions],
) -> list[Attempt]:
    ending.listen()
    try:
        with forks.guard(*ending.signals):
            return await _start_and_wait(
                client, queues, ending, drain_timeout, partial, on_ready, **options
            )
    finally:
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await client.close()
        ending.stopped = True


async def _start_and_wait(
    client: AsyncClient,
    queues: QueuesArgument | None,
    ending: _Ending,
    drain_timeout: float,
    partial: bool,
    on_ready: Callable[[], None] | None,
    **options: Unpack[StartOptions],
) -> list[Attempt]:
    # A signal that comes while the worker starts stops the start.
    starting = asyncio.ensure_future(client.start(queues, partial=partial, **options))
    stopping = asyncio.ensure_future(ending.asked.wait())
    try:
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        if not starting.done():
            starting.cancel()
            await asyncio.wait({starting})
    if ending.asked.is_set() and starting.cancelled():
        return []
    await starting
    try:
        if on_ready is not None:
            on_ready()
        await _until_asked(client, ending)
    except BaseException:
        await _shut_down(client, 0.0)
        raise
    return await _shut_down(client, drain_timeout)


async def _shut_down(client: AsyncClient, seconds: float) -> list[Attempt]:
    return await client._shutdown(seconds, exiting=True)  # noqa: SLF001 - the worker half of one class


async def _until_asked(client: AsyncClient, ending: _Ending) -> None:
    """Return when a signal came, or when the worker has given itself up."""
    hopeless = asyncio.ensure_future(client._hopeless().wait())  # noqa: SLF001 - as above
    asked = asyncio.ensure_future(ending.asked.wait())
    try:
        await asyncio.wait({hopeless, asked}, return_when=asyncio.FIRST_COMPLETED)
        if hopeless.done():
            ending.give_up()
    finally:
        for waiting in (hopeless, asked):
            waiting.cancel()


class _Ending:
    """The end of a worker process: asked for by a signal, and certain.

    Signal handlers run in the main thread even while its event loop is blocked by a handler, so
    the clock that ends the process starts with the signal itself.
    """

    def __init__(self, drain_timeout: float) -> None:
        self._seconds = drain_timeout + _AFTER_DRAIN_SECONDS
        in_main = threading.current_thread() is threading.main_thread()
        self.signals = _SIGNALS if in_main else ()
        """Those that are taken: Python lets no other thread do so."""
        # Before the event loop's own handlers; None is a handler that is not Python's.
        self._before = {n: signal.getsignal(n) or signal.SIG_DFL for n in self.signals}
        self._clock: threading.Timer | None = None
        self.asked = asyncio.Event()
        self.status = 0
        self.stopped = False
        """The worker has: what may still go on is the program's own."""

    def listen(self) -> None:
        """Take SIGTERM and SIGINT."""
        self._loop = asyncio.get_running_loop()
        self.asked = asyncio.Event()
        for number in self.signals:
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, _frame: object) -> None:
        if self._clock is not None:
            os._exit(128 + number)
        self._start_clock()
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._ask)

    def _ask(self) -> None:
        logger.info("stopping: draining running jobs; signal again to stop at once")
        self.asked.set()

    def give_up(self) -> None:
        """End with a status that says: start this worker anew."""
        self.status = _EX_SOFTWARE
        self._start_clock()

    def _start_clock(self) -> None:
        self._clock = threading.Timer(self._seconds, self._end)
        self._clock.daemon = True
        self._clock.start()

    def _end(self) -> None:
        if self.stopped:
            logger.warning("a task of the program does not end: the process ends now")
            _leave(self.status)
        logger.error(
            "the worker did not stop within %.0f s: the process ends now; jobs that are still "
            "running will be rescued by another worker",
            self._seconds,
        )
        _leave(self.status or 1)

    def done(self) -> None:
        """Stop the clock and give the signals back."""
        if self._clock is not None:
            self._clock.cancel()
        for number, before in self._before.items():
            signal.signal(number, before)
