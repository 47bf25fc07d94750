"""Run a worker until a signal stops it."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import signal
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NoReturn

from awa_lib.db.jitter import RANDOM
from awa_lib.db.sqlstates import READ_ONLY
from awa_lib.errors import Unavailable
from awa_lib.logs import Logger, configure
from awa_lib.runtime import forks

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any, Unpack

    from awa_lib.config.workers import QueuesArgument, StartOptions
    from awa_lib.runtime.context import Attempt
    from awa_lib.runtime.worker import Worker

__all__ = ["run", "serve"]

logger = Logger(__name__)

# Two seconds to stop the runtime, and some time for the client's connections and the interpreter.
_AFTER_DRAIN_SECONDS: Final = 2.5
_CLOSE_SECONDS: Final = 1.0
_STANDBY_SECONDS: Final = 1.0
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
# "Internal software error" of sysexits.h: systemd and Kubernetes restart the worker.
_EX_SOFTWARE: Final = 70


def run(
    client: Worker,
    queues: QueuesArgument | None = None,
    *,
    drain_timeout: float = 30.0,
    partial: bool = False,
    on_ready: Callable[[], None] | None = None,
    **options: Unpack[StartOptions],
) -> None:
    """Work until SIGTERM or SIGINT, then drain for ``drain_timeout`` seconds and return.

    Takes the options of ``AsyncClient.start`` and raises as it does.  Logs to stderr unless the
    program has configured logging: see ``awa_lib.logs.configure``.  Uses uvloop when it is
    installed.  Two seconds after the drain the process ends, whatever hangs; a second signal ends
    it at once.  Jobs whose handlers outlive the drain are handed back, and the process ends
    without waiting for their threads.  When a duty of the worker fails for minutes although the
    database answers, the worker stops itself the same way, with exit status 70.  On a standby it
    waits until that is the primary.  ``on_ready`` is called when the worker has started.  Closes
    the client.
    """
    configure()
    ending = _Ending(drain_timeout)
    try:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            starting = functools.partial(client.start, queues, partial=partial, **options)
            left = runner.run(_work(client, starting, ending, on_ready))
            if left or ending.status:
                # Python would wait for the threads of handlers whose jobs were handed back.
                _exit(ending.status)
    finally:
        ending.done()


def _exit(status: int) -> NoReturn:
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(status)


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return the factory of uvloop when it is installed (25 % more jobs a second)."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


async def serve(
    client: Worker,
    queues: QueuesArgument | None = None,
    *,
    drain_timeout: float = 30.0,
    partial: bool = False,
    on_ready: Callable[[], None] | None = None,
    **options: Unpack[StartOptions],
) -> list[Attempt]:
    """Do as ``run`` inside a running loop; return the attempts that did not end.

    Signals arrive in the main thread only: in any other thread cancel the task that awaits this.
    When it is cancelled it stops the worker within two seconds, without a drain.
    """
    ending = _Ending(drain_timeout)
    try:
        starting = functools.partial(client.start, queues, partial=partial, **options)
        return await _work(client, starting, ending, on_ready)
    finally:
        ending.done()


async def _work(
    client: Worker,
    start: Callable[[], Coroutine[Any, Any, None]],
    ending: _Ending,
    on_ready: Callable[[], None] | None,
) -> list[Attempt]:
    ending.take_signals()
    try:
        with forks.guard(*ending.signals):
            if not await _started(lambda: _start_on_primary(start), ending):
                return []
            try:
                if on_ready is not None:
                    on_ready()
                await _until_asked(client, ending)
            except BaseException:
                await _shut_down(client, 0.0)
                raise
            return await _shut_down(client, ending.drain_timeout)
    finally:
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await client.close()
        ending.stopped = True


async def _start_on_primary(start: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Start the worker; on a standby, wait until the server at its address takes changes."""
    told = False
    while True:
        try:
            return await start()
        except Unavailable as error:
            if not told and error.sqlstate != READ_ONLY:
                raise
            if not told:
                said = "%s (%s); the worker starts as soon as it does: %s"
                logger.warning(said, error, error.why, error.hint)
            told = True
        await asyncio.sleep(_STANDBY_SECONDS * RANDOM.uniform(0.7, 1.0))


async def _started(start: Callable[[], Coroutine[Any, Any, None]], ending: _Ending) -> bool:
    """Start the worker; return False when a signal stopped the start."""
    starting = asyncio.ensure_future(start())
    stopping = asyncio.ensure_future(ending.asked.wait())
    try:
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        if not starting.done():
            starting.cancel()
            await asyncio.wait({starting})
    if ending.asked.is_set() and starting.cancelled():
        return False
    await starting
    return True


async def _shut_down(client: Worker, seconds: float) -> list[Attempt]:
    return await client._shutdown(seconds, exiting=True)  # noqa: SLF001 - for this module only


async def _until_asked(client: Worker, ending: _Ending) -> None:
    """Wait for a signal, or until only a new process may help."""
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
    """The end of a worker process: a signal asks for it, and a timer enforces it.

    Signal handlers run in the main thread even while a handler blocks its event loop, so the timer
    starts with the signal itself.
    """

    def __init__(self, drain_timeout: float) -> None:
        self.drain_timeout = drain_timeout
        self._seconds = drain_timeout + _AFTER_DRAIN_SECONDS
        in_main = threading.current_thread() is threading.main_thread()
        self.signals = _SIGNALS if in_main else ()
        """The signals that are handled: Python allows it in the main thread only."""
        # Read before the event loop sets its own; None is a handler that is not Python's.
        self._before = {n: signal.getsignal(n) or signal.SIG_DFL for n in self.signals}
        self._timer: threading.Timer | None = None
        self.asked = asyncio.Event()
        self.status = 0
        self.stopped = False
        """The worker has stopped: only tasks of the program itself may still run."""

    def take_signals(self) -> None:
        """Handle SIGTERM and SIGINT."""
        self._loop = asyncio.get_running_loop()
        self.asked = asyncio.Event()
        for number in self.signals:
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, _frame: object) -> None:
        if self._timer is not None:
            os._exit(128 + number)
        self._start_timer()
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._ask)

    def _ask(self) -> None:
        logger.info("the worker stops and drains its running jobs; a second signal ends it at once")
        self.asked.set()

    def give_up(self) -> None:
        """End with the exit status that asks for a restart."""
        self.status = _EX_SOFTWARE
        self._start_timer()

    def _start_timer(self) -> None:
        self._timer = threading.Timer(self._seconds, self._end)
        self._timer.daemon = True
        self._timer.start()

    def _end(self) -> None:
        if self.stopped:
            logger.warning("a task of the program does not end; the process ends now")
            _exit(self.status)
        logger.error(
            "the worker did not stop within %.0f s; the process ends now, and other workers rescue "
            "the jobs that it was running",
            self._seconds,
        )
        _exit(self.status or 1)

    def done(self) -> None:
        """Stop the timer and restore the signal handlers."""
        if self._timer is not None:
            self._timer.cancel()
        for number, before in self._before.items():
            signal.signal(number, before)
