"""One implementation for both clients: a coroutine, which a blocking client runs to its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from awa_lib.client.clients import AsyncClient, Client
from awa_lib.client.transaction import AsyncTransaction, Transaction
from awa_lib.errors import ValidationError
from awa_lib.testing._home import Home, at_home

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from awa_lib._sql import Op
    from awa_lib.runtime.handlers import Handlers

__all__ = ["Door", "check_name", "either", "handlers_of", "perform"]

R = TypeVar("R")

Door = Client | AsyncClient | Transaction | AsyncTransaction


async def perform(door: Door, op: Op[R]) -> R:
    """Run an op on a client or a transaction of either kind."""
    if isinstance(door, Client | Transaction):
        return await at_home(door._run, op)  # noqa: SLF001 - what every verb calls
    return await door._run(op)  # noqa: SLF001 - as above


def either(door: object, work: Coroutine[Any, Any, R]) -> Coroutine[Any, Any, R] | R:
    """Return the coroutine for an async client or transaction; run it for a blocking one.

    Its event loop runs in a thread of its own, because the test's thread may have one; statements
    and plain handlers run in the test's thread.
    """
    if isinstance(door, AsyncClient | AsyncTransaction):
        return work
    if not isinstance(door, Client | Transaction):
        work.close()
        raise ValidationError(
            f"expected a Client or an AsyncClient, got {type(door).__name__}",
            hint="pass the client as the first argument: work_one(client)",
        )
    return Home().run(work)


def handlers_of(door: object, worker: AsyncClient | None) -> Handlers:
    """Return the handlers to run.  Raises ValidationError if there are none."""
    owner = door if worker is None else worker
    if not isinstance(owner, AsyncClient):
        raise ValidationError(
            f"{type(owner).__name__} has no handlers",
            why="handlers are registered on an AsyncClient",
            hint="pass it as worker: work_one(client, worker=app.client)",
        )
    if not owner._handlers:  # noqa: SLF001 - ours
        raise ValidationError(
            "no handler is registered on the client",
            hint="import the module with the handlers, or pass their client as worker: "
            "work_one(client, worker=app.client)",
        )
    return owner._handlers  # noqa: SLF001 - ours


def check_name(field: str, value: object) -> None:
    """Check that a queue or kind is text.  Raises ValidationError."""
    if value is not None and not isinstance(value, str):
        raise ValidationError(f"{field} must be text: {value!r}")
