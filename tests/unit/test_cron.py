"""Cron expressions: what is read, what is refused, and clock changes."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise
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


@pytest.mark.parametrize(
    ("moment", "step"),
    [(datetime(4, 1, 1, tzinfo=UTC), -1), (datetime(9999, 12, 31, tzinfo=UTC), 1)],
)
def test_the_calendar_of_python_ends(moment, step) -> None:
    cron = CronExpression("0 0 29 2 *", "UTC")

    assert list(cron.back_from(moment) if step < 0 else cron.upcoming(moment, 3)) == []


def test_a_long_outage_costs_nothing() -> None:
    """Every second for six years: walking forward would take minutes."""
    now = datetime(2026, 11, 24, tzinfo=UTC)

    found = CronExpression("* * * * * *", "UTC").latest(datetime(2020, 1, 1, tzinfo=UTC), now, 3)

    assert found == [now - timedelta(seconds=s) for s in (2, 1, 0)]


ZONES = (
    "Atlantic/Azores", "America/Havana", "Europe/Paris", "Australia/Lord_Howe", "Africa/Cairo",
    "Africa/Casablanca", "America/Santiago", "Asia/Beirut", "UTC", "Pacific/Auckland",
)  # fmt: skip
MINUTE = timedelta(minutes=1)


def named(texts: tuple[str, ...], most: int):
    """Return a field of an expression with the values that it takes."""
    number = st.integers(0, most).map(lambda n: (str(n), {n}))
    some = st.sampled_from(texts).map(
        lambda text: (text, set(range(0, most + 1, int(text.removeprefix("*/") or 1)))
        if text != "*" else set(range(most + 1)))
    )  # fmt: skip
    few = st.lists(st.integers(0, min(most, 4)), min_size=2, max_size=3, unique=True).map(
        lambda ns: (",".join(map(str, ns)), set(ns))
    )
    return number | some | few


def shown(zone: str, begin: datetime, end: datetime) -> list[tuple[datetime, datetime]]:
    """Return each minute in UTC with what the clock of a zone shows then."""
    info, found = ZoneInfo(zone), []
    while begin <= end:
        found.append((begin, begin.astimezone(info).replace(tzinfo=None)))
        begin += MINUTE
    return found


def by_the_rules(minute, hour, zone: str, begin: datetime, end: datetime) -> list[datetime]:
    """Say when an expression fires, by looking at the clock every minute: slow and simple."""
    minutes = shown(zone, begin - timedelta(days=1), end)
    fits = [(at, wall) for at, wall in minutes if wall.minute in minute[1] and wall.hour in hour[1]]
    if hour[0].startswith("*"):
        return [at for at, _ in fits if begin < at]
    fires, walls = set(), set()
    for at, wall in fits:
        if minute[0].startswith("*") or wall not in walls:
            fires.add(at)
        walls.add(wall)
    for (_, before), (at, after) in pairwise(minutes):
        skipped = before + MINUTE
        while skipped < after:
            if skipped.minute in minute[1] and skipped.hour in hour[1]:
                fires.add(at)
            skipped += MINUTE
    return sorted(at for at in fires if begin < at)


def changes(zone: str, year: int) -> list[datetime]:
    """Return the days of a year at whose end a clock shows another offset than at its start."""
    info = ZoneInfo(zone)
    days = [datetime(year, 1, 1, tzinfo=UTC) + timedelta(days=n) for n in range(365)]
    return [
        day
        for day in days
        if day.astimezone(info).utcoffset()
        != (day + timedelta(days=1)).astimezone(info).utcoffset()
    ]


@settings(deadline=None, max_examples=150)
@given(
    named(("*", "*/5", "*/30", "*/7"), 59), named(("*", "*/2", "*/3"), 23),
    st.sampled_from(ZONES), st.integers(2015, 2035), st.integers(0, 5),
    st.integers(-1500, 1500),
)  # fmt: skip
def test_around_changes_of_the_clock_fires_are_those_of_the_rules(
    minute, hour, zone, year, which, shift
) -> None:
    cron = CronExpression.cached(f"{minute[0]} {hour[0]} * * *", zone)
    days = changes(zone, year) or [datetime(year, 6, 1, tzinfo=UTC)]
    begin = days[which % len(days)] + timedelta(minutes=shift)
    end = begin + timedelta(days=2)
    wanted = by_the_rules(minute, hour, zone, begin, end)

    assert [at for at in cron.upcoming(begin, len(wanted) + 1) if at <= end] == wanted
    assert cron.latest(begin, end, 10_000) == wanted


@pytest.mark.parametrize("expression", ["@daily", "@midnight", "0 0 * * *", "0 0 0 * * *"])
@pytest.mark.parametrize(
    ("zone", "day"),
    [("Atlantic/Azores", "2026-10-24"), ("America/Havana", "2026-10-31"),
     ("Africa/Cairo", "2026-04-23"), ("Asia/Beirut", "2026-03-28")],
)  # fmt: skip
def test_a_day_has_one_midnight(expression: str, zone: str, day: str) -> None:
    """It comes twice, or not at all."""
    noon = datetime.fromisoformat(f"{day}T12:00:00").replace(tzinfo=ZoneInfo(zone))

    found = CronExpression(expression, zone).upcoming(noon, 3)

    dates = [fire.astimezone(ZoneInfo(zone)).date() for fire in found]
    assert dates == [noon.date() + timedelta(days=n) for n in (1, 2, 3)]


def test_a_month_begins_once() -> None:
    """Midnight of 1 November 2026 comes twice in Havana."""
    found = CronExpression("@monthly", "America/Havana").upcoming(
        datetime(2026, 10, 24, tzinfo=UTC), 2
    )

    assert [f"{fire:%m-%d %H:%M}" for fire in found] == ["11-01 04:00", "12-01 05:00"]


def test_a_day_that_a_zone_left_out_fires_once_with_the_next() -> None:
    """Samoa had no 30 December 2011."""
    found = CronExpression("@daily", "Pacific/Apia").upcoming(
        datetime(2011, 12, 29, 12, tzinfo=UTC), 3
    )

    assert [f"{fire:%m-%d %H:%M}" for fire in found] == [
        "12-30 10:00", "12-31 10:00", "01-01 10:00",
    ]  # fmt: skip


def test_looking_back_costs_what_it_finds_not_its_limit() -> None:
    now = datetime(2026, 11, 24, tzinfo=UTC)
    cron = CronExpression("* * * * * *", "Europe/Paris")
    began = time.process_time()

    for _ in range(20):
        assert len(cron.latest(now - timedelta(seconds=5), now, 10_000)) == 5

    # 20 times 10,000 steps take five seconds.
    assert time.process_time() - began < 0.5
