"""Turn the library's ops into methods of a client."""

from __future__ import annotations

import inspect
from functools import update_wrapper
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from awa_lib._sql import Op

__all__ = ["averb", "verb"]

P = ParamSpec("P")
R = TypeVar("R")
M = TypeVar("M", bound="Callable[..., Any]")


class _Runs(Protocol):
    def _run(self, op: Op[R], /) -> R: ...


class _RunsAsync(Protocol):
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


def _dress(method: M, op: Callable[..., Any]) -> M:
    signature = inspect.signature(op)
    update_wrapper(method, op)
    owner = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    parameters = [owner, *signature.parameters.values()]
    result = str(signature.return_annotation).removeprefix("Op[").removesuffix("]")
    method.__signature__ = signature.replace(  # type: ignore[attr-defined] # inspect reads it
        parameters=parameters, return_annotation=result
    )
    return method
