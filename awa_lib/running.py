"""What a handler does with its running job."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from awa_lib.errors import AwaError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping
    from datetime import timedelta

    from awa_lib.results import Attempt, CallbackToken

__all__ = ["RunningJob"]


class RunningJob:
    """The methods of a job that work while its handler runs; elsewhere they raise RuntimeError."""

    __slots__ = ()
    _attempt: Attempt | None

    def _running(self, verb: str) -> Attempt:
        if self._attempt is None:
            raise RuntimeError(f"{verb} is only available during job execution")
        return self._attempt

    def _awaited(self, verb: str) -> Attempt:
        """Refuse what is to be awaited in a thread of a blocking handler: nobody would run it."""
        run = self._running(verb)
        if run.blocking and not _has_loop():
            raise AwaError(
                f"{verb} was called in a blocking handler",
                why="it is to be awaited, and a blocking handler has no event loop",
                hint=f"job.{verb}_sync(...) instead, or make the handler async",
            )
        return run

    def set_progress(self, percent: int, message: str | None = None) -> None:
        """Set the progress in memory: ``percent`` is clamped to 0..100, ``message`` is replaced.

        The next heartbeat, ``flush_progress`` and the end of the attempt write it to the database.
        Raises TypeError or ValueError for a bad percent, RuntimeError outside a run.
        """
        self._running("set_progress").set_progress(percent, message)

    def update_metadata(self, updates: Mapping[str, Any]) -> None:
        """Merge keys into ``progress["metadata"]``, the checkpoint of this job.

        The merge is in memory, as with ``set_progress``; the next attempt starts with the result.
        Values are copied at the call and encoded as args are.  Raises ValueError for anything but
        a dict, SerializationError that names the key, RuntimeError outside a run.
        """
        self._running("update_metadata").update_metadata(updates)

    async def flush_progress(self) -> None:
        """Write progress now, in one statement.

        Does nothing when the attempt no longer owns the job.  Raises Unavailable, RuntimeError
        outside a run.
        """
        await self._running("flush_progress").flush_progress()

    def flush_progress_sync(self) -> None:
        """Write progress now, from a blocking handler.

        Raises as ``flush_progress``, AwaError when it takes more than 30 s or on the event loop.
        """
        self._running("flush_progress_sync").flush_progress_sync()

    async def register_callback(
        self,
        timeout_seconds: float = 3_600.0,
        filter: str | None = None,  # noqa: A002 - the published name
        on_complete: str | None = None,
        on_fail: str | None = None,
        transform: str | None = None,
    ) -> CallbackToken:
        """Register a callback, for an outside system to answer; replaces an earlier one.

        Written at once; ``timeout_seconds`` counts from now.  The expressions are CEL over
        ``payload`` and are used by ``resolve_callback``.
        An attempt that replaces one whose worker died gets the same ids again, in the order of
        the calls.  Raises ValidationError for a bad time-out or expression, or when the attempt no
        longer owns the job; RuntimeError outside a run.
        """
        return await self._running("register_callback").register_callback(
            timeout_seconds,
            filter=filter,
            on_complete=on_complete,
            on_fail=on_fail,
            transform=transform,
        )

    def register_callback_sync(
        self,
        timeout_seconds: float = 3_600.0,
        filter: str | None = None,  # noqa: A002 - the published name
        on_complete: str | None = None,
        on_fail: str | None = None,
        transform: str | None = None,
    ) -> CallbackToken:
        """Register a callback from a blocking handler.  See ``register_callback``.

        Also raises AwaError when it takes more than 30 s or is called on the event loop.
        """
        return self._running("register_callback_sync").from_thread(
            self.register_callback(timeout_seconds, filter, on_complete, on_fail, transform)
        )

    async def wait_for_callback(self, token: CallbackToken, *, hold: bool = False) -> Any:
        """Wait until ``resume_external`` answers a callback, and return its payload.

        The job is waiting_external during the wait, without heartbeat or deadline.  The deadline
        starts again with the answer.  If the worker stops during the wait, or it lasts for longer
        than ``callback_hold_ms``, the handler ends with CancelledError and frees its slot, and the
        answer starts a new attempt, whose handler gets it from this call.  ``hold`` keeps the slot
        for the whole wait; so does a wait in a task of the handler's own.  Raises ValidationError
        when the token was replaced or the job was resolved another way; RuntimeError outside a
        run.
        """
        return await self._running("wait_for_callback").wait_for_callback(token, hold=hold)

    def wait_for_callback_sync(self, token: CallbackToken, *, hold: bool = False) -> Any:
        """Wait for a callback from a blocking handler, whose thread waits.

        Raises as ``wait_for_callback``, and AwaError on the event loop.
        """
        return self._running("wait_for_callback_sync").from_thread(
            self.wait_for_callback(token, hold=hold), bounded=False
        )

    async def cancel_callback(self, token: CallbackToken) -> bool:
        """Withdraw a callback before waiting for it; return False if it no longer exists.

        Raises Unavailable, RuntimeError outside a run.
        """
        return await self._running("cancel_callback").cancel_callback(token)

    # No coroutine functions: a call that nobody awaits would be passed over in silence.
    def step(
        self,
        name: str,
        call: Callable[..., Any],
        *args: Any,
        key: object = None,
        into: type[Any] | None = None,
        **kwargs: Any,
    ) -> Coroutine[Any, Any, Any]:
        """Call a function once per job, and return what it returned, also in later attempts.

        The value is durable before the step returns: it is written as JSON, with the lease as the
        guard, and read back, so every attempt gets the same.  ``into`` is the type that it is
        decoded into; by default it stays JSON data.  A function that is no coroutine function runs
        in a thread, and what it returns is awaited if it can be.  When it raises, nothing is kept,
        and a later attempt calls it again; so does one after a crash between its return and the
        write.  ``key`` tells steps of one name apart.

        Raises what the function raises, and can be tried again then; ValidationError for a name
        that this attempt has used, and for a key without a text of its own;
        ResultTooLarge (1 MiB), ResultNotStorable; StaleAttempt when the attempt no longer owns the
        job, RuntimeError outside a run, AwaError in a blocking handler.
        """
        return self._awaited("step").step(name, key, into, partial(call, *args, **kwargs))

    def step_sync(
        self,
        name: str,
        call: Callable[..., Any],
        *args: Any,
        key: object = None,
        into: type[Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Call a plain function once per job, from a blocking handler.  See ``step``."""
        run = self._running("step_sync")
        return run.step_sync(name, key, into, partial(call, *args, **kwargs))

    def sleep(
        self,
        name: str,
        duration: float | str | timedelta | None = None,
        *,
        seconds: float | None = None,
        minutes: float | None = None,
        hours: float | None = None,
        days: float | None = None,
    ) -> Coroutine[Any, Any, None]:
        """Park the job for a time, without holding a slot; do nothing once it is over.

        The sleep is a durable step with this name.  The attempt ends here, by an exception that is
        no Exception, and does not count; the handler starts anew when the time has passed, and
        finished steps are not done again.  Raises ValidationError, RuntimeError outside a run,
        AwaError in a blocking handler.
        """
        parts = {"seconds": seconds, "minutes": minutes, "hours": hours, "days": days}
        return self._awaited("sleep").sleep(name, duration, parts)

    def sleep_sync(
        self,
        name: str,
        duration: float | str | timedelta | None = None,
        *,
        seconds: float | None = None,
        minutes: float | None = None,
        hours: float | None = None,
        days: float | None = None,
    ) -> None:
        """Park the job for a time, from a blocking handler.  See ``sleep``."""
        run = self._running("sleep_sync")
        parts = {"seconds": seconds, "minutes": minutes, "hours": hours, "days": days}
        run.from_thread(run.sleep(name, duration, parts), bounded=False)

    def is_cancelled(self) -> bool:
        """Return True once this attempt should stop: cancelled, rescued, late or shutting down."""
        return self._attempt is not None and self._attempt.is_cancelled()


def _has_loop() -> bool:
    # Deferred: commands that need no database import this module, and load no asyncio.
    from asyncio import get_running_loop

    try:
        get_running_loop()
    except RuntimeError:
        return False
    return True
