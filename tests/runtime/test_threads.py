"""Threads of blocking handlers: one for each call, a wake-up for many results, an end of their own."""

from __future__ import annotations

import asyncio
import contextvars
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from fix_wait import aeventually

from awa_lib.runtime.threads import HandlerThreads

MOST = 8


@pytest.fixture
def names() -> Callable[[], int]:
    """How many threads of handlers there are, beside those of other tests."""
    before = set(threading.enumerate())  # not their numbers, which new threads get again
    return lambda: sum(
        one.name == "awa handler" and one not in before for one in threading.enumerate()
    )


@pytest.fixture
async def threads() -> Any:
    made = HandlerThreads(MOST)
    yield made
    made.close()


async def test_each_call_has_a_thread(threads: HandlerThreads, names: Callable[[], int]) -> None:
    """Also those that wait for one that comes later."""
    last = threading.Event()
    waiting = [threads.run(last.wait, 10) for _ in range(MOST - 1)]
    threads.run(last.set)

    assert await asyncio.wait_for(asyncio.gather(*waiting), 20) == [True] * (MOST - 1)
    for _ in range(50):
        await threads.run(int)
    assert names() <= MOST


async def test_results_that_come_together_wake_the_loop_once(
    threads: HandlerThreads, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, told = asyncio.get_running_loop(), []
    tell = loop.call_soon_threadsafe
    monkeypatch.setattr(
        threads, "_loop", type("Loop", (), {
            "create_future": loop.create_future,
            "call_soon_threadsafe": lambda _, call: (told.append(call), tell(call)),
        })(),
    )  # fmt: skip
    ended = threading.Barrier(MOST + 1)
    calls = [threads.run(ended.wait, 10) for _ in range(MOST)]
    # The loop is busy meanwhile.
    ended.wait(10)
    time.sleep(0.2)

    assert len(await asyncio.gather(*calls)) == MOST
    assert len(told) == 1


async def test_a_call_has_the_context_of_its_caller(threads: HandlerThreads) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")
    variable.set("of the caller")

    def change() -> str:
        before = variable.get("")
        variable.set("changed")
        return before

    found = [await threads.run(change) for _ in range(2)]

    assert (found, variable.get()) == (["of the caller"] * 2, "of the caller")


async def test_threads_stay_for_the_next_calls(
    threads: HandlerThreads, names: Callable[[], int]
) -> None:
    """What a handler keeps for its thread, such as a connection, is used again."""
    first = {await threads.run(threading.get_ident) for _ in range(20)}

    assert (len(first), names()) == (1, 1)


async def test_nothing_begins_after_the_close(names: Callable[[], int]) -> None:
    threads = HandlerThreads(MOST)
    threads.close()
    with pytest.raises(RuntimeError, match="cannot begin"):
        threads.run(int)

    assert names() == 0


async def test_close_ends_threads_after_their_call(names: Callable[[], int]) -> None:
    threads = HandlerThreads(MOST)
    end = threading.Event()
    running = threads.run(end.wait, 10)
    await threads.run(int)
    threads.close()
    await aeventually(lambda: names() == 1, 1)
    end.set()

    assert await running
    await aeventually(lambda: not names(), 1)


async def test_a_result_that_nobody_awaits_any_longer_is_dropped(threads: HandlerThreads) -> None:
    end = threading.Event()
    given_up = threads.run(end.wait, 10)
    given_up.cancel()
    end.set()

    assert await threads.run(int) == 0


PROGRAM = """
import asyncio, sys, time
from awa_lib.runtime.threads import HandlerThreads

async def main():
    threads = HandlerThreads(4)
    await threads.run(int)
    threads.run(lambda: (time.sleep(1), print("done", flush=True)))

asyncio.run(main())
"""


def test_an_interpreter_waits_for_calls_and_not_for_idle_threads() -> None:
    """Although nobody has closed them, and the loop is closed."""
    began = time.monotonic()
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=30
    )

    assert (ended.stdout, ended.stderr, ended.returncode) == ("done\n", "", 0)
    assert time.monotonic() - began < 15
