"""Handlers by kind: what ``client.task`` registers."""

from __future__ import annotations

import functools
import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from awa_lib.decode import decoder
from awa_lib.fields import takes
from awa_lib.kinds import kind_of_type

if TYPE_CHECKING:
    from collections.abc import Callable

    from awa_lib.retries import RetryPolicy

__all__ = ["Handler", "Handlers"]


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
        if inspect.isgeneratorfunction(call) or inspect.isasyncgenfunction(call):
            raise TypeError(f"a handler must not yield: none of {call.__name__} would run")
        if not takes(call, 1):
            raise TypeError(f"a handler is called with the job, which {call!r} does not take")
        name = kind_of_type(args_type, kind)
        decode = decoder(args_type)
        self[name] = Handler(name, queue, call, is_async_callable(call), decode, policy)

    @property
    def queues(self) -> list[str]:
        """The queues that handlers were declared for, in order, without repeats."""
        return list(dict.fromkeys(handler.queue for handler in self.values()))
