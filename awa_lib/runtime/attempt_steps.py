"""The durable steps of an attempt: what it knows of them, their names, how long it sleeps."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any, Final, Protocol

from awa_lib.errors import ValidationError
from awa_lib.validation import name_of, seconds_of

if TYPE_CHECKING:
    from datetime import timedelta
    from functools import partial

    from awa_lib.reads.job_steps import Step

__all__ = ["AttemptSteps", "DurableSteps", "lasting", "named"]

_ADDRESS: Final = re.compile(r" at 0x[0-9a-fA-F]+>")


class DurableSteps(Protocol):
    """Durable steps of running attempts, see ``runtime.steps``."""

    async def run(self, attempt: Any, name: str, into: Any, call: partial[Any]) -> Any:
        """Run a step, or return the value of one that an earlier attempt has run."""

    def run_in_thread(self, attempt: Any, name: str, into: Any, call: partial[Any]) -> Any:
        """Do the same in the thread of a blocking handler."""

    async def sleep(self, attempt: Any, name: str, seconds: float) -> None:
        """Return when a sleep is over, else end the attempt."""


class AttemptSteps:
    """The steps of a job as an attempt knows them."""

    def __init__(self) -> None:
        self.known: dict[str, Step] | None = None
        self.asked: set[str] = set()
        self.number = 0
        self.reading = asyncio.Lock()


def named(name: str, key: object) -> str:
    """Return the name under which a step is kept.  Raises ValidationError."""
    text = name if key is None else f"{name}:{key}"
    if key is not None and not isinstance(key, str) and _ADDRESS.search(text):
        raise ValidationError(
            f"the key of the step {name!r} has no text of its own: {type(key).__qualname__}",
            why="its text is an address in memory, so a later attempt would not find the step",
            hint="give what identifies it, for example key=item.id",
        )
    return name_of("name of a step", text)


def lasting(duration: float | str | timedelta | None, parts: dict[str, float | None]) -> float:
    """Return how long a sleep lasts, in seconds.  Raises ValidationError."""
    units = {"seconds": 1.0, "minutes": 60.0, "hours": 3600.0, "days": 86_400.0}
    given = {unit: value for unit, value in parts.items() if value is not None}
    if (duration is None) == (not given):
        raise ValidationError(
            "say how long the sleep lasts, in one way", hint="job.sleep('cool-off', hours=1)"
        )
    if duration is not None:
        return seconds_of("duration", duration)
    total = sum(seconds_of(unit, value) * units[unit] for unit, value in given.items())
    return seconds_of("the sleep", total)
