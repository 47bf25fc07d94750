"""Backoffs and retry policies: the numbers, and what is refused."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

import awa_lib as awa
from awa_lib.config.workers import WorkerOptions
from awa_lib.retries import RetryPolicy

SOURCE = random.Random(7)


def delays(backoff, count: int = 5) -> list[float]:
    return [backoff.seconds(n, SOURCE) for n in range(1, count + 1)]


def test_shapes() -> None:
    assert delays(awa.fixed(3)) == [3] * 5
    assert delays(awa.linear(2)) == [2, 4, 6, 8, 10]
    assert delays(awa.linear(1, step=0.5, most=2)) == [1, 1.5, 2, 2, 2]
    assert delays(awa.exponential(jitter=0)) == [2, 4, 8, 16, 32]
    assert delays(awa.exponential(1, factor=10, most=50, jitter=0)) == [1, 10, 50, 50, 50]


@given(
    st.floats(0, 1e6), st.floats(1, 1e6), st.floats(0, 1e9), st.floats(0, 10), st.integers(1, 32_767)
)  # fmt: skip
def test_delay_is_always_between_nought_and_the_limit(first, factor, most, jitter, attempt) -> None:
    seconds = awa.exponential(first, factor=factor, most=most, jitter=jitter).seconds(
        attempt, SOURCE
    )

    assert 0 <= seconds <= most


@given(st.integers(1, 16))
def test_default_is_the_published_one(attempt: int) -> None:
    seconds = awa.exponential().seconds(attempt, SOURCE)

    assert 2**attempt <= seconds <= 1.25 * 2**attempt


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: awa.fixed(-1), "first of a backoff must be a number >= 0, got -1"),
        (lambda: awa.fixed("1"), "first of a backoff must be a number >= 0, got '1'"),
        (lambda: awa.fixed(True), "first of a backoff must be a number"),
        (lambda: awa.exponential(factor=0.5), "factor of a backoff must be a number >= 1"),
        (lambda: awa.linear(1, most=float("nan")), "most of a backoff must be a number >= 0"),
        (lambda: RetryPolicy.build(7, None, (), ()), "backoff must be fixed"),
        (lambda: RetryPolicy.build(None, 0, (), ()), "max_attempts must be a whole number from 1"),
        (lambda: RetryPolicy.build(None, True, (), ()), "max_attempts must be a whole number"),
        (lambda: RetryPolicy.build(None, None, "x", ()), "retry_on must be exception classes"),
        (lambda: RetryPolicy.build(None, None, (), [7]), "discard_on must be exception classes"),
        (
            lambda: WorkerOptions.build([{"name": "q", "max_workers": 1, "backoff": 5}], []),
            "backoff must be fixed",
        ),
    ],
)
def test_refused(call, message: str) -> None:
    with pytest.raises(awa.ValidationError, match=message):
        call()


@pytest.mark.parametrize(
    "make",
    [
        lambda: awa.exponential(1, factor=10, most=float("inf")),
        lambda: awa.exponential(float("inf"), factor=float("inf"), most=float("inf"), jitter=1e308),
        lambda: awa.exponential(0, factor=float("inf")),
        lambda: awa.linear(1, step=float("inf")),
        lambda: awa.linear(0, step=0, jitter=float("inf")),
        lambda: awa.fixed(10**400),
        lambda: awa.fixed(1e308, jitter=10**400),
        lambda: awa.linear(10**400, step=10**400, most=10**400),
    ],
)  # fmt: skip
@pytest.mark.parametrize("attempt", [1, 2, 3, 1000, 32_767])
def test_every_delay_fits_the_database(make, attempt: int) -> None:
    for _ in range(20):
        assert 0 <= make().seconds(attempt, SOURCE) <= 3.15e9


class Nought(random.Random):
    def random(self) -> float:
        return 0.0


def test_no_jitter_of_an_endless_one_is_none() -> None:
    assert awa.fixed(1, jitter=float("inf")).seconds(1, Nought()) == 1
