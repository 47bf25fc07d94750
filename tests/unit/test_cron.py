"""Cron expressions: what is read, what is refused, and clock changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from awa_lib.cron import CronExpression
from awa_lib.errors import ValidationError

AUCKLAND = ZoneInfo("Pacific/Auckland")


def fires(expression: str, day: tuple[int, int, int]) -> list[str]:
    """Return the local times at which an expression fires on one day in Auckland."""
    cron = CronExpression(expression, "Pacific/Auckland")
    moment = datetime(*day, tzinfo=AUCKLAND).astimezone(UTC) - timedelta(seconds=1)
    found = []
    while (moment := cron.next_after(moment)).astimezone(AUCKLAND).date() == datetime(*day).date():
        found.append(moment.astimezone(AUCKLAND).strftime("%H:%M%z"))
    return found


@pytest.mark.parametrize(
    ("expression", "spring", "autumn"),
    [
        ("30 2 * * *", ["03:00+1300"], ["02:30+1300"]),
        ("0 2 * * *", ["03:00+1300"], ["02:00+1300"]),
        ("0 3 * * *", ["03:00+1300"], ["03:00+1200"]),
        ("0 0 * * *", ["00:00+1200"], ["00:00+1300"]),
        ("@daily", ["00:00+1200"], ["00:00+1300"]),
        ("15 30 2 * * *", ["03:00+1300"], ["02:30+1300"]),
        ("30 1-3 * * *", ["01:30+1200", "03:00+1300", "03:30+1300"],
         ["01:30+1300", "02:30+1300", "03:30+1200"]),
        ("*/30 2 * * *", ["03:00+1300"],
         ["02:00+1300", "02:30+1300", "02:00+1200", "02:30+1200"]),
        ("0 * * * *",
         [f"{h:02}:00+1200" for h in (0, 1)] + [f"{h:02}:00+1300" for h in range(3, 24)],
         [f"{h:02}:00+1300" for h in (0, 1, 2)] + [f"{h:02}:00+1200" for h in range(2, 24)]),
    ],
)  # fmt: skip
def test_clock_changes(expression: str, spring: list[str], autumn: list[str]) -> None:
    assert fires(expression, (2026, 9, 27)) == spring
    assert fires(expression, (2026, 4, 5)) == autumn


@pytest.mark.parametrize(
    ("expression", "following"),
    [
        ("* * * * *", "2026-11-24 12:01:00"),
        ("*/5 0 * * * *", "2026-11-24 12:00:05"),
        ("@hourly", "2026-11-24 13:00:00"),
        ("@weekly", "2026-11-29 00:00:00"),
        ("@yearly", "2027-01-01 00:00:00"),
        ("0 0 L * *", "2026-11-30 00:00:00"),
        ("0 0 * * 5L", "2026-11-27 00:00:00"),
        ("0 0 * * friL", "2026-11-27 00:00:00"),
        ("0 0 * * 5#2", "2026-12-11 00:00:00"),
        ("0 0 15W * *", "2026-12-15 00:00:00"),
        ("0 0 ? * 1", "2026-11-30 00:00:00"),
        ("5/15 * * * *", "2026-11-24 12:05:00"),
        ("0 0 * * 7", "2026-11-29 00:00:00"),
        ("0 0 * * 0", "2026-11-29 00:00:00"),
        ("0 0 13 * 5", "2026-11-27 00:00:00"),
        ("0 0 1 JAN mon-fri", "2027-01-01 00:00:00"),
        ("0 0 29 2 *", "2028-02-29 00:00:00"),
    ],
)
def test_dialect(expression: str, following: str) -> None:
    moment = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)

    found = CronExpression(expression, "UTC").next_after(moment)

    assert f"{found:%Y-%m-%d %H:%M:%S}" == following


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("* * * *", "has 4 fields, 5 or 6 are possible"),
        ("0 0 0 1 1 * 2027", "has 7 fields"),
        ("", "has 0 fields"),
        ("61 * * * *", "invalid cron expression: '61"),
        ("@every 5m", "invalid cron expression"),
        ("@reboot", "invalid cron expression"),
        ("H * * * *", "invalid cron expression"),
        ("R * * * *", "invalid cron expression"),
        ("0 0 30 2 *", "never fires"),
        (7, "7 is not text"),
        ("nonsense here is not cron", "invalid cron expression"),
    ],
)
def test_refused(expression, message: str) -> None:
    with pytest.raises(ValidationError, match=message) as raised:
        CronExpression(expression, "UTC")

    assert raised.value.hint or raised.value.why


@pytest.mark.parametrize("zone", ["Mars/Phobos", "", "utc", 7, "../etc/passwd", "Europe/"])
def test_refused_zone(zone) -> None:
    with pytest.raises(ValidationError, match="invalid timezone"):
        CronExpression("* * * * *", zone)


EXPRESSIONS = st.sampled_from(
    ["* * * * *", "*/7 * * * * *", "30 2 * * *", "0 0 1 * *", "15,45 */3 * * 1-5", "@hourly",
     "0 0 29 2 *", "59 59 23 31 12 *", "30 1-3 * * *"]
)  # fmt: skip
MOMENTS = st.datetimes(datetime(2025, 1, 1), datetime(2028, 1, 1)).map(
    lambda moment: moment.replace(tzinfo=UTC, microsecond=0)
)


@settings(deadline=None)
@given(
    EXPRESSIONS, st.sampled_from(["UTC", "Europe/Paris", "Pacific/Auckland"]), MOMENTS,
    st.integers(0, 200_000), st.integers(1, 5),
)  # fmt: skip
def test_latest_are_the_last_of_what_comes_forward(expression, zone, after, span, limit) -> None:
    cron = CronExpression.cached(expression, zone)
    until = after + timedelta(seconds=span)
    forward, moment = [], after
    while (moment := cron.next_after(moment)) is not None and moment <= until:
        forward.append(moment)
        if len(forward) > 5_000:
            return

    assert cron.latest(after, until, limit) == forward[-limit:]


def test_a_long_outage_costs_nothing() -> None:
    """Every second for six years: walking forward would take minutes."""
    now = datetime(2026, 11, 24, tzinfo=UTC)

    found = CronExpression("* * * * * *", "UTC").latest(datetime(2020, 1, 1, tzinfo=UTC), now, 3)

    assert found == [now - timedelta(seconds=s) for s in (2, 1, 0)]
