"""Run a worker until a signal: the one line of a plain script."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from typing import TYPE_CHECKING

from awa_lib.errors import AwaError
from awa_lib.ops import claims
from awa_lib.runtime import forks
from awa_lib.runtime.outcomes import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Unpack

    from awa_lib.client import AsyncClient
    from awa_lib.config import QueuesArgument, StartOptions
    from awa_lib.runtime.context import Attempt

__all__ = ["run", "serve"]

logger = logging.getLogger(__name__)

_HANDED_BACK = Outcome("available", attempt_back=1)


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
    installed.  A second signal ends the process at once; its running jobs are rescued by another
    worker.  Blocking handlers that outlive the drain are handed back, and the process ends
    without waiting for their threads.  ``on_ready`` is called when the worker has started.
    Closes the client.
    """
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        left = runner.run(
            serve(
                client,
                queues,
                drain_timeout=drain_timeout,
                partial=partial,
                on_ready=on_ready,
                **options,
            )
        )
    if left:
        # Python would wait for the threads of handlers whose jobs are already given away.
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


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
    """Do what ``run`` does inside a running loop; return blocking attempts that did not end."""
    stop = asyncio.Event()
    signals = _install(stop)
    try:
        with forks.guard(*signals):
            await client.start(queues, partial=partial, **options)
            if on_ready is not None:
                on_ready()
            await stop.wait()
            left = await client._shutdown(drain_timeout)  # noqa: SLF001 - half of one class
            if left:
                await _hand_back(client, left)
            return left
    finally:
        loop = asyncio.get_running_loop()
        for number in signals:
            loop.remove_signal_handler(number)
        await client.close()


def _install(stop: asyncio.Event) -> list[signal.Signals]:
    loop = asyncio.get_running_loop()
    signals = [signal.SIGTERM, signal.SIGINT]

    def on_signal(number: signal.Signals) -> None:
        if stop.is_set():
            os._exit(128 + number)
        logger.info("stopping: draining running jobs; signal again to stop at once")
        stop.set()

    for number in signals:
        loop.add_signal_handler(number, on_signal, number)
    return signals


async def _hand_back(client: AsyncClient, left: list[Attempt]) -> None:
    ended = sorted(((a, _HANDED_BACK) for a in left), key=lambda pair: pair[0].job.id)
    try:
        await client._run(claims.finish_attempts(ended))  # noqa: SLF001 - see serve
    except AwaError as error:
        logger.warning(
            "could not hand jobs back; they will be rescued", extra={"error": str(error)}
        )
