"""What kind of function a user's callable is, and how its result is awaited."""

from __future__ import annotations

import functools
import inspect
from types import AsyncGeneratorType, GeneratorType
from typing import TYPE_CHECKING, Any, Final

from awa_lib.errors import TerminalError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["is_async_callable", "settle", "yields"]

# Awaitables that return awaitables, and nested wrappers, are followed to this depth.
_DEEPEST_NESTING: Final = 32


def is_async_callable(call: Callable[..., Any]) -> bool:
    """Return True for coroutine functions, also in partials and callable objects."""
    while isinstance(call, functools.partial):
        call = call.func
    return inspect.iscoroutinefunction(call) or inspect.iscoroutinefunction(
        getattr(call, "__call__", None)  # noqa: B004 - its kind matters, not that it is there
    )


async def settle(result: Any) -> Any:
    """Return the result of a handler; await it while it is awaitable.

    A plain function, a lambda or a wrapper may return a coroutine, which its signature does not
    show.  Raises TerminalError for a generator, whose body has not run.
    """
    for _ in range(_DEEPEST_NESTING):
        if not inspect.isawaitable(result):
            break
        result = await result
    if isinstance(result, GeneratorType | AsyncGeneratorType):
        raise TerminalError(
            "the handler returned a generator, whose body did not run",
            hint="use a plain or an async function without yield",
        )
    return result


def yields(call: Any) -> bool:
    """Return True for generator functions, also in partials, callable objects and wrappers."""
    for _ in range(_DEEPEST_NESTING):
        if isinstance(call, functools.partial):
            call = call.func
        elif inspect.isgeneratorfunction(call) or inspect.isasyncgenfunction(call):
            return True
        elif inspect.iscoroutinefunction(call):
            return False  # it may wrap a generator, but runs it
        elif callable(inner := getattr(call, "__wrapped__", None)):
            call = inner
        elif not inspect.isroutine(call) and not isinstance(call, type):
            call = getattr(type(call), "__call__", None)  # noqa: B004 - its kind matters, not that it is there
        else:
            return False
    return False
