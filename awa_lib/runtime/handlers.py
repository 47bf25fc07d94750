"""Handlers by kind: what ``client.task`` registers."""

from __future__ import annotations

import functools
import inspect
from dataclasses import dataclass
from types import AsyncGeneratorType, GeneratorType
from typing import TYPE_CHECKING, Any, Final

from awa_lib.codec.decode import decoder
from awa_lib.enqueue.kinds import kind_of_type
from awa_lib.errors import TerminalError
from awa_lib.validation import takes

if TYPE_CHECKING:
    from collections.abc import Callable

    from awa_lib.retries import RetryPolicy

__all__ = ["Handler", "Handlers", "settle", "yields"]

# Awaitables that give awaitables, and wrappers inside wrappers, are followed no deeper.
_DEEPEST: Final = 32


@dataclass(frozen=True, slots=True)
class Handler:
    """One registered handler."""

    kind: str
    queue: str
    call: Callable[..., Any]
    is_async: bool
    decode: Callable[[Any], Any]
    policy: RetryPolicy | None = None


def is_async_callable(call: Callable[..., Any]) -> bool:
    """Return True for coroutine functions, behind partials and callable objects too."""
    while isinstance(call, functools.partial):
        call = call.func
    return inspect.iscoroutinefunction(call) or inspect.iscoroutinefunction(
        getattr(call, "__call__", None)  # noqa: B004 - its kind matters, not that it is there
    )


async def settle(result: Any) -> Any:
    """Return what a handler or hook gave; what can be awaited is awaited.

    A plain function, a lambda or a wrapper may give a coroutine, which no declaration shows.
    Raises TerminalError for a generator, of whose body nothing has run.
    """
    for _ in range(_DEEPEST):
        if not inspect.isawaitable(result):
            break
        result = await result
    if isinstance(result, GeneratorType | AsyncGeneratorType):
        raise TerminalError(
            "the handler returned a generator: nothing of its body ran",
            hint="do the work in a plain or an async function without yield",
        )
    return result


def yields(call: Any) -> bool:
    """Return True for generator functions, behind partials, callable objects and wrappers too."""
    for _ in range(_DEEPEST):
        if isinstance(call, functools.partial):
            call = call.func
        elif inspect.isgeneratorfunction(call) or inspect.isasyncgenfunction(call):
            return True
        elif inspect.iscoroutinefunction(call):
            return False  # it may wrap a generator, but drives it
        elif callable(inner := getattr(call, "__wrapped__", None)):
            call = inner
        elif not inspect.isroutine(call) and not isinstance(call, type):
            call = getattr(type(call), "__call__", None)  # noqa: B004 - its kind matters, not that it is there
        else:
            return False
    return False


class Handlers(dict[str, Handler]):
    """Kind to handler; a later registration of a kind replaces the earlier one."""

    def add(
        self,
        args_type: type[Any],
        call: Callable[..., Any],
        kind: str | None,
        queue: str,
        policy: RetryPolicy | None = None,
    ) -> None:
        """Register a handler.  Raises ValidationError for a bad kind, TypeError otherwise."""
        if not callable(call):
            raise TypeError(f"a handler must be callable, got {call!r}")
        if yields(call):
            name = getattr(call, "__name__", None) or repr(call)
            raise TypeError(f"a handler must not yield: none of {name} would run")
        if not takes(call, 1):
            raise TypeError(f"a handler is called with the job, which {call!r} does not take")
        name = kind_of_type(args_type, kind)
        decode = decoder(args_type)
        self[name] = Handler(name, queue, call, is_async_callable(call), decode, policy)

    @property
    def queues(self) -> list[str]:
        """The queues that handlers were declared for, in order, without repeats."""
        return list(dict.fromkeys(handler.queue for handler in self.values()))
