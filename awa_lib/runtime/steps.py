"""Durable steps: what a handler has done is kept, and later attempts do not do it again."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from inspect import isawaitable, iscoroutine
from typing import TYPE_CHECKING, Any, Final

from awa_lib._json import as_data
from awa_lib.codec.job_results import ResultOptions
from awa_lib.errors import StaleAttempt, Transient, ValidationError
from awa_lib.ops.steps import NewStep
from awa_lib.reads.job_steps import steps_of
from awa_lib.results import Asleep
from awa_lib.runtime.attempt_steps import AttemptSteps
from awa_lib.runtime.callables import is_async_callable

if TYPE_CHECKING:
    from functools import partial

    from awa_lib.runtime.context import Attempt
    from awa_lib.runtime.flushes import Sender, StepWrites

__all__ = ["Steps", "Value"]

_RESULTS: Final = ResultOptions()
_SLEEP: Final = '{"sleep": true}'


class Value:
    """What a finished step has returned, as JSON text."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def decoded(self, into: Any) -> Any:
        """Return the value, of the type ``into`` if that is given.  Raises ValidationError."""
        data = as_data(self.text)
        return data if into is None else _RESULTS.of_type(into).decode(data)


class Steps:
    """The steps of a process's attempts."""

    def __init__(self, link: Sender, writes: StepWrites) -> None:
        self._link = link
        self._writes = writes

    async def run(self, attempt: Attempt, name: str, into: Any, call: partial[Any]) -> Any:
        """Run a step, or return the value of one that an earlier attempt has run."""
        value = await self.begin(attempt, name)
        if value is None:
            began = time.perf_counter()
            try:
                if is_async_callable(call):
                    returned = await call()
                else:
                    returned = await asyncio.to_thread(call)
                    if isawaitable(returned):  # as of a lambda
                        returned = await returned
            except Exception:
                _forget(attempt, name)
                raise
            value = await self.end(attempt, name, returned, began)
        return value.decoded(into)

    def run_in_thread(self, attempt: Attempt, name: str, into: Any, call: partial[Any]) -> Any:
        """Do the same in the thread of a blocking handler."""

        async def step() -> Value | None:  # its errors name the verb by it
            return await self.begin(attempt, name)

        value = attempt.from_thread(step(), bounded=False)
        if value is None:
            began = time.perf_counter()
            try:
                returned = call()
            except Exception:
                _forget(attempt, name)
                raise
            if isawaitable(returned):
                raise _awaitable(name, returned)
            value = attempt.from_thread(self.end(attempt, name, returned, began), bounded=False)
        return value.decoded(into)

    async def begin(self, attempt: Attempt, name: str) -> Value | None:
        """Return the value of a finished step, or None when it is to be run.

        Raises ValidationError when the attempt has asked for it before.
        """
        steps = await self._known(attempt, name)
        assert steps.known is not None
        found = steps.known.get(name)
        return None if found is None else Value(found.value)

    async def end(self, attempt: Attempt, name: str, value: object, began: float) -> Value:
        """Write a step that has ended, and return its value.

        Raises StaleAttempt when the attempt no longer owns the job; ResultTooLarge,
        ResultNotStorable.
        """
        text = _RESULTS.encode(value, step=name).text
        await self._write(attempt, name, text, time.perf_counter() - began, 0.0)
        return Value(text)

    async def sleep(self, attempt: Attempt, name: str, seconds: float) -> None:
        """Return when a sleep is over; otherwise end the attempt until then, by Asleep."""
        steps = await self._known(attempt, name)
        assert steps.known is not None
        found = steps.known.get(name)
        if found is None:
            await self._write(attempt, name, _SLEEP, 0.0, seconds)
            left = seconds
        else:
            left = found.seconds_left
        if left > 0:
            raise Asleep(left)

    async def _known(self, attempt: Attempt, name: str) -> AttemptSteps:
        """Read the steps of earlier attempts, once."""
        if attempt.steps is None:
            attempt.steps = AttemptSteps()
        steps = attempt.steps
        if name in steps.asked:
            raise ValidationError(
                f"the step {name!r} was asked for twice in an attempt",
                why="its name is what a later attempt finds it by",
                hint="tell repeated steps apart: job.step(name, function, key=...)",
            )
        steps.asked.add(name)
        async with steps.reading:
            failures = 0
            while steps.known is None:
                with suppress(Transient):
                    found = await self._link.run(steps_of(attempt.job.id))
                    steps.known = {step.name: step for step in found}
                    steps.number = max((step.number for step in found), default=0)
                    break
                if attempt.is_cancelled():
                    raise _stopped(name)
                failures += 1
                await self._link.pause_after(failures)
        return steps

    async def _write(
        self, attempt: Attempt, name: str, text: str, lasted: float, left: float
    ) -> None:
        steps = attempt.steps
        assert steps is not None
        steps.number += 1
        job = attempt.job
        step = NewStep(job.id, attempt.lease, steps.number, name, text, lasted, left)
        if not await self._writes.write(attempt, step):
            attempt.stop("lost")
            raise _stopped(name)


def _forget(attempt: Attempt, name: str) -> None:
    """Let the handler try a step again whose function has raised: nothing was kept of it."""
    if attempt.steps is not None:
        attempt.steps.asked.discard(name)


def _awaitable(name: str, returned: object) -> ValidationError:
    if iscoroutine(returned):
        returned.close()  # or it complains that nobody awaits it
    return ValidationError(
        f"the function of the step {name!r} is async",
        why="a blocking handler has no event loop",
        hint="make the handler async and use: await job.step(…)",
    )


def _stopped(name: str) -> StaleAttempt:
    return StaleAttempt(f"the attempt no longer owns its job; its step {name!r} was not kept")
