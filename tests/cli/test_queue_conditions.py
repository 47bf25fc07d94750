"""``awa queue stats --fail-if``: conditions on the numbers of queues."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from awa_cli.commands.queue._conditions import read_condition
from awa_lib.errors import InvalidInput
from awa_lib.reads.queues import QueueStat


@pytest.mark.parametrize(
    ("condition", "status"),
    [
        ("lag>60s", 6),
        ("lag > 1d", 6),
        ("lag<1m", 0),
        ("other.lag>60s", 0),
        ("failed>=1", 6),
        ("failed>1", 0),
        ("email.failed=1", 6),
        ("available==1", 6),
        ("running!=0", 0),
        ("paused=true", 0),
        ("lag_seconds>=60", 6),
    ],
)
def test_conditions(cli, add, condition, status) -> None:
    add(run_at="2020-01-01T00:00Z")
    add("failed")
    ran = cli("queue", "stats", "--fail-if", condition, "-o", "json")
    assert ran.status == status
    assert len(ran.data) == 1
    assert (f"email: {condition} holds; the value is " in ran.err) == (status == 6)


@pytest.mark.parametrize(
    ("condition", "says"),
    [
        ("lagg>60s", "did you mean: lag"),
        ("lag", "is not valid"),
        ("", "is not valid"),
        ("lag>soon", "is not a duration"),
        ("failed>many", "has no number to compare with"),
        ("queue>1", "unknown field"),
    ],
)
def test_bad_conditions(cli, condition, says) -> None:
    ran = cli("queue", "stats", "--fail-if", condition)
    assert (ran.status, ran.out) == (2, "")
    assert says in ran.err


@given(st.text(max_size=30))
def test_any_condition_is_read_or_refused(text: str) -> None:
    try:
        condition = read_condition(text, QueueStat, "queue")
    except InvalidInput:
        return
    assert condition.text == text
