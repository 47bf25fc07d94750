"""What a handler may return, and the interface of a running attempt."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping
    from contextlib import AbstractContextManager
    from datetime import timedelta
    from functools import partial

__all__ = [
    "Asleep",
    "Attempt",
    "CallbackToken",
    "Cancel",
    "RetryAfter",
    "Snooze",
    "WaitForCallback",
    "asleep",
]

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class RetryAfter:
    """Handler result: retry in ``seconds`` (may be a fraction); uses up an attempt."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Snooze:
    """Handler result: run again in ``seconds`` (may be a fraction); uses up no attempt."""

    seconds: float


class Asleep(BaseException):
    """Raised by ``job.sleep`` to end the attempt; it does not count, and the job goes on later."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the job sleeps for {seconds:.3f} s")
        self.seconds = seconds


def asleep(error: BaseException) -> Asleep | None:
    """Return the sleep that an exception stands for, or None.

    A TaskGroup raises a group of what its tasks have raised.  Of several sleeps it is the shortest:
    the job goes on then, and ends the attempt again for those that are not over.
    """
    if isinstance(error, Asleep):
        return error
    if not isinstance(error, BaseExceptionGroup):
        return None
    found = [asleep(one) for one in error.exceptions]
    sleeps = [one for one in found if one is not None]
    return min(sleeps, key=lambda one: one.seconds) if len(sleeps) == len(found) else None


@dataclass(frozen=True, slots=True)
class Cancel:
    """Handler result: cancel the job, with this reason in its errors."""

    reason: str = "cancelled by handler"


@dataclass(frozen=True, slots=True)
class CallbackToken:
    """A registered callback; ``id`` is the UUID that an outside system sends back.

    ``answered`` is True when an earlier attempt registered it and the answer has arrived.
    """

    id: str
    answered: bool = field(default=False, compare=False, repr=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class WaitForCallback:
    """Handler result: wait until the registered callback is resolved."""

    token: CallbackToken

    @property
    def callback_id(self) -> str:
        """Return the id of the awaited callback."""
        return self.token.id


class Attempt(Protocol):
    """What the runtime provides to a job while its handler runs."""

    blocking: bool
    """Whether the handler runs in a thread."""

    @property
    def progress(self) -> dict[str, Any] | None:
        """A copy of the present progress."""

    def set_progress(self, percent: int, message: str | None) -> None:
        """Set the progress in memory."""

    def update_metadata(self, updates: Mapping[str, Any]) -> None:
        """Merge into the checkpoint."""

    async def flush_progress(self) -> None:
        """Write progress now."""

    def flush_progress_sync(self) -> None:
        """Write progress now, from a thread."""

    def is_cancelled(self) -> bool:
        """Return True once the attempt should stop."""
        ...

    async def register_callback(
        self, timeout_seconds: float, **expressions: str | None
    ) -> CallbackToken:
        """Register a callback."""
        ...

    async def wait_for_callback(self, token: CallbackToken, *, hold: bool = False) -> Any:
        """Wait for the answer to a callback."""

    async def cancel_callback(self, token: CallbackToken) -> bool:
        """Withdraw a callback."""
        ...

    async def step(self, name: str, key: object, into: Any, call: partial[Any]) -> Any:
        """Run a durable step."""

    def step_sync(self, name: str, key: object, into: Any, call: partial[Any]) -> Any:
        """Run a durable step in a thread."""

    async def sleep(
        self,
        name: str,
        duration: float | str | timedelta | None,
        parts: dict[str, float | None],
    ) -> None:
        """Park the job."""

    @property
    def stop_reason(self) -> str | None:
        """Why the attempt should stop, or None."""

    def waits_for(self, job_id: int, queue: str) -> AbstractContextManager[None]:
        """Hold the slot while the handler waits for another job."""
        ...

    def from_thread(self, call: Coroutine[Any, Any, R], *, bounded: bool = True) -> R:
        """Run a coroutine on the event loop, from a blocking handler."""
        ...
