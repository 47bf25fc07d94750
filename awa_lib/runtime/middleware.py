"""Functions around handlers, as ``client.middleware`` registers them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from awa_lib.runtime.callables import is_async_callable, yields
from awa_lib.validation import takes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from awa_lib.models import Job

__all__ = ["Around", "Middleware", "within"]

Around = TypeVar("Around", bound="Callable[[Job[Any], Callable[[], Any]], Any]")


@dataclass(frozen=True, slots=True)
class Middleware:
    """A registered function; without ``kinds`` it is for every handler of its type."""

    call: Callable[..., Any]
    is_async: bool
    kinds: frozenset[str]

    @classmethod
    def of(cls, call: Callable[..., Any], kinds: frozenset[str]) -> Middleware:
        """Check a function.  Raises TypeError."""
        if not callable(call):
            raise TypeError(f"a middleware must be callable, got {call!r}")
        if yields(call):
            raise TypeError(
                f"a middleware must not be a generator, got {call!r}:"
                " write `return call_next()` instead of yield"
            )
        if not takes(call, 2):
            raise TypeError(
                f"a middleware must take the job and call_next as its arguments,"
                f" which {call!r} does not"
            )
        return cls(call, is_async_callable(call), kinds)

    @property
    def name(self) -> str:
        """The name of the function, for an error."""
        return getattr(self.call, "__name__", None) or repr(self.call)

    def surrounds(self, kind: str, *, is_async: bool) -> bool:
        """Return whether this is for a handler.

        Raises TypeError when it names the kind and the handler is of the other type.
        """
        if kind in self.kinds and self.is_async is not is_async:
            ours, theirs = ("async", "plain") if self.is_async else ("plain", "async")
            raise TypeError(
                f"the middleware {self.name} is {ours} and the handler of kind {kind!r} is {theirs}"
                f": write {'a plain' if self.is_async else 'an async'} function for this kind"
            )
        return self.is_async is is_async and (not self.kinds or kind in self.kinds)


def within(handler: Callable[[Any], Any], middleware: Sequence[Middleware]) -> Callable[..., Any]:
    """Return a handler inside functions, the first of them outermost."""
    layers = [one.call for one in reversed(middleware)]

    def call(job: Any) -> Any:
        # Partials, so that a traceback has no frame of ours between two functions.
        step = partial(handler, job)
        for layer in layers:
            step = partial(layer, job, step)
        return step()

    return call
