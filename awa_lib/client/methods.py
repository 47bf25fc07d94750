"""Turn the library's ops into methods of a client."""

from __future__ import annotations

import inspect
from functools import update_wrapper
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from awa_lib._sql import Op
    from awa_lib.enqueue.kinds import Kinds

__all__ = ["ainserting", "averb", "inserting", "verb"]

P = ParamSpec("P")
R = TypeVar("R")
M = TypeVar("M", bound="Callable[..., Any]")


class _Runs(Protocol):
    kinds: Kinds

    def _run(self, op: Op[R], /) -> R: ...


class _RunsAsync(Protocol):
    kinds: Kinds

    async def _run(self, op: Op[R], /) -> R: ...


def verb(op: Callable[P, Op[R]]) -> Callable[Concatenate[_Runs, P], R]:
    """Make a blocking client method of an op, with its signature and docstring."""

    def method(self: _Runs, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return self._run(op(*args, **kwargs))

    return _dress(method, op)


def averb(op: Callable[P, Op[R]]) -> Callable[Concatenate[_RunsAsync, P], Coroutine[Any, Any, R]]:
    """Make an awaitable client method of an op, with its signature and docstring."""

    async def method(self: _RunsAsync, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return await self._run(op(*args, **kwargs))

    return _dress(method, op)


def inserting(op: Callable[P, Op[R]]) -> Callable[Concatenate[_Runs, P], R]:
    """Do as ``verb`` for an op that takes the kinds that the client knows."""

    def method(self: _Runs, /, *args: P.args, **kwargs: P.kwargs) -> R:
        kwargs["kinds"] = self.kinds
        return self._run(op(*args, **kwargs))

    return _dress(method, op)


def ainserting(
    op: Callable[P, Op[R]],
) -> Callable[Concatenate[_RunsAsync, P], Coroutine[Any, Any, R]]:
    """Do as ``averb`` for an op that takes the kinds that the client knows."""

    async def method(self: _RunsAsync, /, *args: P.args, **kwargs: P.kwargs) -> R:
        kwargs["kinds"] = self.kinds
        return await self._run(op(*args, **kwargs))

    return _dress(method, op)


def _dress(method: M, op: Callable[..., Any]) -> M:
    signature = inspect.signature(op)
    update_wrapper(method, op)
    owner = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    taken = [one for one in signature.parameters.values() if one.name != "kinds"]
    parameters = [owner, *taken]
    result = str(signature.return_annotation).removeprefix("Op[").removesuffix("]")
    method.__signature__ = signature.replace(  # type: ignore[attr-defined] # inspect reads it
        parameters=parameters, return_annotation=result
    )
    return method
