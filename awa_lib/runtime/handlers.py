"""Handlers by kind, as ``client.task`` registers them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol, TypedDict, TypeVar, overload

from awa_lib.codec.decode import decoder
from awa_lib.enqueue.kinds import kind_of_type
from awa_lib.errors import ValidationError
from awa_lib.runtime.callables import is_async_callable, yields
from awa_lib.runtime.middleware import within
from awa_lib.validation import did_you_mean, takes

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
    from typing import TypeAlias

    from awa_lib.codec.job_results import ResultOptions
    from awa_lib.enqueue.unique import Unique
    from awa_lib.models import Job
    from awa_lib.results import Cancel, RetryAfter, Snooze, WaitForCallback
    from awa_lib.retries import Backoff, RetryPolicy
    from awa_lib.runtime.middleware import Middleware

    Result: TypeAlias = RetryAfter | Snooze | Cancel | WaitForCallback | None

__all__ = ["Handler", "Handlers", "Register", "RegisterKept", "TaskOptions"]

T = TypeVar("T")
R = TypeVar("R", bound="Result")
V = TypeVar("V")


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
    capture_logs: bool | None


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
    results: Mapping[str, ResultOptions]
    """How results of kinds are kept, as declared so far."""
    policy: RetryPolicy | None = None
    capture_logs: bool | None = None
    """Whether what it logs is kept; None is the setting of the queue."""

    @property
    def keep(self) -> ResultOptions | None:
        """How its results are kept; None if they are not."""
        return self.results.get(self.kind)


class Handlers(dict[str, Handler]):
    """Kind to handler; a later registration of a kind replaces the earlier one.

    ``call`` of a handler is the function inside its middleware.  ``results`` says how the results
    of kinds are kept.
    """

    def __init__(self, results: Mapping[str, ResultOptions] = MappingProxyType({})) -> None:
        super().__init__()
        self.results = results
        self.queue_backoffs: dict[str, Backoff | Callable[[int, BaseException], float] | None] = {}
        """The backoffs of queues that are declared beside the handlers."""
        self.declared: dict[str, Handler] = {}
        self.middleware: list[Middleware] = []
        """In the order of declaration: the first is outermost."""

    def add(
        self,
        args_type: type[Any],
        call: Callable[..., Any],
        kind: str | None,
        queue: str,
        *,
        policy: RetryPolicy | None = None,
        capture_logs: bool | None = None,
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
        is_async = is_async_callable(call)
        handler = Handler(name, queue, call, is_async, decode, self.results, policy, capture_logs)
        self[name] = self._within(handler, self.middleware)
        self.declared[name] = handler

    def surround(self, middleware: Middleware) -> None:
        """Register a middleware.  Raises TypeError if it names the kind of another type."""
        layers = [*self.middleware, middleware]
        wrapped = {name: self._within(handler, layers) for name, handler in self.declared.items()}
        self.update(wrapped)
        self.middleware = layers

    def check_middleware(self) -> None:
        """Raise ValidationError if a middleware names a kind that has no handler."""
        for middleware in self.middleware:
            for kind in sorted(middleware.kinds - self.keys()):
                raise ValidationError(
                    f"the middleware {middleware.name} is for kind {kind!r}, which has no handler",
                    hint=did_you_mean(kind, self) or f"kinds with a handler: {', '.join(self)}",
                )

    def only(self, kind: str) -> Handlers:
        """Return the handler of one kind, without the others."""
        one = Handlers(self.results)
        one[kind] = self[kind]
        one.queue_backoffs = self.queue_backoffs
        return one

    def _within(self, handler: Handler, middleware: list[Middleware]) -> Handler:
        kind, is_async = handler.kind, handler.is_async
        layers = [one for one in middleware if one.surrounds(kind, is_async=is_async)]
        return replace(handler, call=within(handler.call, layers)) if layers else handler

    @property
    def queues(self) -> list[str]:
        """The queues that handlers were declared for, in order, without repeats."""
        return list(dict.fromkeys(handler.queue for handler in self.values()))
