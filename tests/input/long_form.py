"""Feed parsers for a time, and say what was found: ``python -m tests.input``."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from input.parsers import Parser, feed
from input.wild import plain

# Of a processor: longer than any input of this size may take.
LONGEST_SECONDS = 5.0


@dataclass
class Found:
    """What feeding a parser came to."""

    name: str
    examples: int = 0
    refused: int = 0
    seconds: float = 0
    slowest: float = 0
    faults: list[str] = field(default_factory=list)


def run(one: Parser, seconds: float, *, examples: int = 500) -> Found:
    """Feed a parser until the time is over or it has failed."""
    found = Found(one.name)
    began = time.monotonic()
    while not found.faults and time.monotonic() - began < seconds:
        _round(one, found, examples)
    found.seconds = time.monotonic() - began
    return found


def _round(one: Parser, found: Found, examples: int) -> None:
    last: list[Any] = []

    @seeded(random.randrange(2**32))
    @settings(
        max_examples=examples, deadline=None, database=None,
        suppress_health_check=list(HealthCheck), phases=(Phase.generate, Phase.shrink),
    )  # fmt: skip
    @given(one.inputs)
    def check(value: Any) -> None:
        last[:] = [value]
        begin = time.thread_time()
        found.refused += feed(one, value)
        found.examples += 1
        took = time.thread_time() - begin
        found.slowest = max(found.slowest, took)
        assert took < LONGEST_SECONDS, f"it took {took:.1f} s"

    try:
        check()
    except Exception as error:
        cause = error.exceptions[0] if isinstance(error, ExceptionGroup) else error
        found.faults.append(f"{type(cause).__name__}: {plain(str(cause))} for {plain(*last)}")
