"""What jobs may do to the process that runs them, by name: ``poison`` of worker_of_faults plays it."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import awa_lib as awa


def released() -> bool:
    """Return whether the fault is over: what hangs ends now."""
    return Path(os.environ["LEDGER"], "released").exists()


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def exit_at_once() -> NoReturn:
    os._exit(0)


def segfault() -> None:
    ctypes.string_at(0)


def exhaust_the_stack() -> None:
    sys.setrecursionlimit(10**9)

    class Deep:
        def __repr__(self) -> str:
            return repr(self)

    repr(Deep())


def recurse() -> None:
    recurse()


def eat_memory() -> None:
    bytearray(1 << 46)


def fork() -> None:
    """Leave a child behind that has all files and sockets of its parent."""
    if os.fork() == 0:
        while not released():
            time.sleep(0.05)
        os._exit(0)


def block_the_loop() -> None:
    """Longer than the staleness."""
    time.sleep(5)


def close_files() -> None:
    os.closerange(3, 100)


def ignore_signals() -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


def leave() -> NoReturn:
    sys.exit(3)


def hang_in_a_thread() -> None:
    while not released():
        time.sleep(0.05)


async def hang() -> None:
    await asyncio.get_running_loop().create_future()


async def swallow_cancels() -> None:
    while not released():
        try:
            await asyncio.sleep(0.05)
        except asyncio.CancelledError:
            pass


async def stop_the_loop() -> None:
    asyncio.get_running_loop().stop()
    await asyncio.sleep(0)


# They end the process: with one attempt the first crash ends the job.
DEADLY: dict[str, Callable[[], object]] = {
    "kill": kill,
    "exit": exit_at_once,
    "segfault": segfault,
    "stack": exhaust_the_stack,
}
# The job fails, and the process goes on.
FAILING: dict[str, Callable[[], object]] = {
    "recursion": recurse,
    "memory": eat_memory,
    "leave": leave,
    "hang": hang,
    "swallow": swallow_cancels,
}
IN_THREADS = {"recursion": recurse, "memory": eat_memory, "leave": leave, "hang": hang_in_a_thread}
# The job completes, and the process goes on.
PASSING: dict[str, Callable[[], object]] = {"fork": fork, "block": block_the_loop}
# The process goes on or ends, but must not hang.
BREAKING: dict[str, Callable[[], object]] = {
    "files": close_files,
    "signals": ignore_signals,
    "loop": stop_the_loop,
}


async def play(how: str) -> None:
    result = (DEADLY | FAILING | PASSING | BREAKING)[how]()
    if asyncio.iscoroutine(result):
        await result


def play_in_a_thread(how: str) -> None:
    IN_THREADS[how]()


def promise(job: awa.Job) -> str:
    """Return how the job ends, if it does."""
    return "completed" if job.args["how"] in PASSING else "failed"
