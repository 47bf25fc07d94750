"""Cron expressions in words: the common ones, and never a wrong word for the others."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from awa_cli.views.cron import in_words
from awa_lib.cron import CronExpression


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("* * * * *", "every minute"),
        ("*/15 * * * *", "every 15 minutes"),
        ("0 * * * *", "every hour"),
        ("7 * * * *", "every hour at minute 7"),
        ("0 */6 * * *", "every 6 hours"),
        ("15 */6 * * sun", "every 6 hours at minute 15, on Sunday"),
        ("0 2 * * *", "every day at 02:00"),
        ("30 8,12 * * *", "every day at 08:30 and 12:30"),
        ("0 2 * * mon-fri", "Monday to Friday at 02:00"),
        ("0 2 * * 1,3,7", "every Monday, Wednesday and Sunday at 02:00"),
        ("*/5 9-17 * * 1-5", "every 5 minutes from 09:00 to 17:59, Monday to Friday"),
        ("30 9-17 * * *", "every hour from 09:30 to 17:30"),
        ("5 4 1,15 * *", "on the 1st and 15th of each month at 04:05"),
        ("0 0 L * *", "on the last day of each month at 00:00"),
        ("0 0 31 DEC *", "every year on 31 December at 00:00"),
        ("* * 1 1 *", "every minute, on 1 January"),
        ("* * * * * *", "every second"),
        ("*/10 * * * * *", "every 10 seconds"),
        ("0 0 3 * * *", "every day at 03:00"),
        ("00 30 02 * * *", "every day at 02:30"),
        ("@daily", "every day at 00:00"),
        ("@Hourly", "every hour"),
    ],
)
def test_common_forms_have_words(expression: str, words: str) -> None:
    assert words == in_words(expression)


@pytest.mark.parametrize(
    "expression",
    [
        "*/7 * * * *",  # the last step of an hour is a shorter one
        "0 0 13 * fri",  # either day suffices
        "0 0 29 2 *",  # not every year
        "0 0 * * 5L",
        "1-5 * * * *",
        "0 */5 * * *",
        "0 0 1 */3 *",
        "30 0 0 * * *",
        "nonsense",
        "",
        "61 25 40 13 9",
    ],
)
def test_others_stay_as_they_are(expression: str) -> None:
    assert expression == in_words(expression)


@given(st.text(max_size=30) | st.from_regex(r"([*0-9/,L-]{1,5} ){4,5}[a-z0-9*-]{1,5}"))
def test_anything_has_some_words(text: str) -> None:
    assert isinstance(in_words(text), str)


@given(
    minute=st.integers(0, 59),
    hours=st.lists(st.integers(0, 23), min_size=1, max_size=4, unique=True),
)
def test_the_times_in_words_are_those_it_fires_at(minute: int, hours: list[int]) -> None:
    expression = f"{minute} {','.join(map(str, hours))} * * *"
    fires = CronExpression(expression, "UTC").upcoming(datetime(2026, 3, 1, tzinfo=UTC), len(hours))

    assert sorted(f"{one:%H:%M}" for one in fires) == re.findall(r"\d\d:\d\d", in_words(expression))
