"""No input of a parser is worse than refused with a sentence, nor dear.

The short form; ``python -m tests.input`` feeds each for longer.
"""

from __future__ import annotations

import time
import tracemalloc

import pytest
from hypothesis import HealthCheck, given, settings
from input.long_form import LONGEST_SECONDS
from input.parsers import BOMB, PARSERS, Parser, feed

EXAMPLES = 40
SHAPES = [
    pytest.param(one, make, id=f"{name}-{number}")
    for name, one in PARSERS.items()
    for number, make in enumerate(one.grow)
]
SMALL, TIMES = 4_000, 4
# Four times the input may take nine times as long, on a busy machine too; the square would be 16.
MOST_TIMES = 9
# What is quicker than this is not compared.
QUICK_SECONDS = 0.1
BYTES_EACH, BYTES = 2_000, 20_000_000


# What was once a traceback, a hang or a sentence of two lines.
KNOWN = [
    ("ids", ["9" * 5_000]),
    ("database URL", "\ud800"),
    ("database URL", "postgresql://h/d?sslmode=require%80"),
    ("cron in words", "9" * 5_000 + " * * * *"),
    ("output format", "\ntable"),
    ("columns", "tags." + "9" * 5_000),
    ("redaction", "(" * 3_000 + ")" * 3_000),
    ("redaction", "a{99999999999}"),
    ("redaction", "[[a]"),
    ("address of probes", "9" * 5_000),
    ("saved state of the monitor", "[" * 3_000),
    ("saved state of the monitor", '{"": "\\uD800"}'),
    ("json option", '{"\\n": 1e400}'),
    ("json of a row", "[" * 1_500 + "]" * 1_500),
    ("json of a row", "[" * 300 + "]" * 300),
    ("json of a row", "1" * 5_000),
    ("json of a row", "1" * 400 + ".5"),
    ("schedules in YAML", BOMB),
    ("schedules in YAML", "schedules: &a [*a]"),
    ("schedules in YAML", "[" * 3_000),
]


@pytest.mark.parametrize(("name", "text"), KNOWN)
def test_a_fault_that_was_found(name, text) -> None:
    begin = time.thread_time()
    feed(PARSERS[name], text)

    assert time.thread_time() - begin < 1


@pytest.mark.parametrize("name", PARSERS)
@pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisWarning")
def test_a_value_or_a_sentence(name) -> None:
    one = PARSERS[name]

    @settings(
        max_examples=round(EXAMPLES / one.cost) + 5, deadline=None, derandomize=True, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(one.inputs)
    def check(value: object) -> None:
        begin = time.thread_time()
        feed(one, value)
        assert time.thread_time() - begin < LONGEST_SECONDS

    check()


def seconds(one: Parser, given: object, enough: float) -> float:
    """The shortest of a few times, of this thread's own, or the first that is short enough."""
    times = []
    for _ in range(3):
        begin = time.thread_time()
        feed(one, given)
        times.append(time.thread_time() - begin)
        if times[-1] < enough:
            break
    return min(times)


@pytest.mark.parametrize(("one", "make"), SHAPES)
@pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisWarning")
def test_no_square_of_time_and_no_heap_of_memory(one, make) -> None:
    feed(one, make(100))  # what the first call imports
    small = seconds(one, make(SMALL), QUICK_SECONDS)
    most_seconds = max(QUICK_SECONDS, MOST_TIMES * small)

    assert seconds(one, make(SMALL * TIMES), most_seconds) < most_seconds

    given = make(SMALL * TIMES)
    tracemalloc.start()
    try:
        feed(one, given)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < BYTES + BYTES_EACH * SMALL * TIMES
