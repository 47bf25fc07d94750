"""Wait for what becomes true, instead of sleeping and hoping."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest

T = TypeVar("T")

# The check is asked at once, then ever less often: short waits stay short, long ones cheap.
FIRST_PAUSE = 0.005
LONGEST_PAUSE = 0.1


def eventually(check: Callable[[], T], timeout: float = 30) -> T:
    """Ask until the answer is true and return it; fail with the last answer or error."""
    until = time.monotonic() + timeout
    pause = FIRST_PAUSE
    while True:
        try:
            answer: Any = check()
        except Exception as error:
            answer = error
        else:
            if answer:
                return answer
        if time.monotonic() >= until:
            _fail(answer, timeout)
        time.sleep(pause)
        pause = min(pause * 1.5, LONGEST_PAUSE)


async def aeventually(check: Callable[[], T | Awaitable[T]], timeout: float = 30) -> T:
    """Do the same with a check that may be a coroutine function, leaving the loop free."""
    until = time.monotonic() + timeout
    pause = FIRST_PAUSE
    while True:
        try:
            answer: Any = check()
            if inspect.isawaitable(answer):
                answer = await answer
        except Exception as error:
            answer = error
        else:
            if answer:
                return answer
        if time.monotonic() >= until:
            _fail(answer, timeout)
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, LONGEST_PAUSE)


def _fail(answer: Any, timeout: float) -> None:
    if isinstance(answer, AssertionError):
        raise answer
    cause = answer if isinstance(answer, Exception) else None
    message = f"not true after {timeout:g} s; the last answer was {answer!r}"
    raise pytest.fail.Exception(message) from cause
