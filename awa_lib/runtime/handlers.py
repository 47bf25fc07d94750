"""Handlers by kind, as ``client.task`` registers them."""

from __future__ import annotations

import functools
import inspect
from dataclasses import dataclass
from types import AsyncGeneratorType, GeneratorType
from typing import TYPE_CHECKING, Any, Final, Protocol, TypedDict, TypeVar, overload

from awa_lib.codec.decode import decoder
from awa_lib.enqueue.kinds import kind_of_type
from awa_lib.errors import TerminalError
from awa_lib.validation import takes

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
    from typing import TypeAlias

    from awa_lib.codec.job_results import ResultOptions
    from awa_lib.enqueue.unique import Unique
    from awa_lib.models import Job
    from awa_lib.results import Cancel, RetryAfter, Snooze, WaitForCallback
    from awa_lib.retries import Backoff, RetryPolicy

    Result: TypeAlias = RetryAfter | Snooze | Cancel | WaitForCallback | None

__all__ = ["Handler", "Handlers", "Register", "RegisterKept", "TaskOptions", "settle", "yields"]

T = TypeVar("T")
R = TypeVar("R", bound="Result")
V = TypeVar("V")

# Awaitables that return awaitables, and nested wrappers, are followed to this depth.
_DEEPEST_NESTING: Final = 32


class TaskOptions(TypedDict, total=False):
    """The options of ``task`` that do not change what its handler may return."""

    kind: str | None
    queue: str | None
    priority: int | None
    max_attempts: int | None
    tags: Sequence[str] | None
    unique: Unique | None
    unique_opts: Mapping[str, Any] | None
    backoff: Backoff | Callable[[int, BaseException], float] | None
    retry_on: type[BaseException] | Collection[type[BaseException]]
    discard_on: type[BaseException] | Collection[type[BaseException]]


class Register(Protocol[T]):
    """The decorator that ``task`` returns: it takes handlers of jobs with these args."""

    @overload
    def __call__(
        self, handler: Callable[[Job[T]], Coroutine[Any, Any, R]], /
    ) -> Callable[[Job[T]], Coroutine[Any, Any, R]]: ...

    @overload
    def __call__(self, handler: Callable[[Job[T]], R], /) -> Callable[[Job[T]], R]: ...


class RegisterKept(Protocol[T]):
    """The decorator of a kind that keeps results: handlers may return any value."""

    @overload
    def __call__(
        self, handler: Callable[[Job[T]], Coroutine[Any, Any, V]], /
    ) -> Callable[[Job[T]], Coroutine[Any, Any, V]]: ...

    @overload
    def __call__(self, handler: Callable[[Job[T]], V], /) -> Callable[[Job[T]], V]: ...


@dataclass(frozen=True, slots=True)
class Handler:
    """A registered handler."""

    kind: str
    queue: str
    call: Callable[..., Any]
    is_async: bool
    decode: Callable[[Any], Any]
    policy: RetryPolicy | None = None
    keep: ResultOptions | None = None
    """How its results are kept; None if they are not."""


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


class Handlers(dict[str, Handler]):
    """Kind to handler; a later registration of a kind replaces the earlier one."""

    def add(
        self,
        args_type: type[Any],
        call: Callable[..., Any],
        kind: str | None,
        queue: str,
        *,
        policy: RetryPolicy | None = None,
        keep: ResultOptions | None = None,
    ) -> None:
        """Register a handler.  Raises ValidationError for a bad kind, TypeError otherwise."""
        if not callable(call):
            raise TypeError(f"a handler must be callable, got {call!r}")
        if yields(call):
            name = getattr(call, "__name__", None) or repr(call)
            raise TypeError(f"a handler must not be a generator: the body of {name} would not run")
        if not takes(call, 1):
            raise TypeError(f"a handler must take the job as its argument, which {call!r} does not")
        name = kind_of_type(args_type, kind)
        decode = decoder(args_type)
        self[name] = Handler(name, queue, call, is_async_callable(call), decode, policy, keep)

    @property
    def queues(self) -> list[str]:
        """The queues that handlers were declared for, in order, without repeats."""
        return list(dict.fromkeys(handler.queue for handler in self.values()))
