"""Charts stay true when jobs are retried or deleted, and show no less than rows do."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from awa_cli.views.series import WINDOWS, Series
from awa_lib.db.drive import run
from awa_lib.ops.failures import EndCount, Sighting, count_ends
from awa_lib.reads.ends import ends_by_failure, ends_by_queue, ungrouped_failures
from awa_lib.reads.metrics import recent_ends
from awa_lib.telemetry.failures import Group

DOWN = Group.build("shop.MailDown", "mail server is down", ("shop/mail.py send",))
HOUR = next(one for one in WINDOWS if one.name == "1h")


@pytest.fixture
def conn(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


def rows(conn: psycopg.Connection[Any], state: str, count: int, minutes: int = 10) -> None:
    """Write jobs that ended some minutes ago."""
    conn.execute(
        "INSERT INTO awa.jobs_hot (kind, queue, state, attempt, args, errors, finalized_at)"
        " SELECT 'mail', 'mail', %s, 1, '{}', ARRAY['{\"error\": \"smtp 7 is away\"}'::jsonb],"
        " now() - make_interval(mins => %s) FROM generate_series(1, %s)",
        [state, minutes, count],
    )


def counts(conn: psycopg.Connection[Any], outcome: str, count: int, minutes: int = 10) -> None:
    """Write what a worker has counted some minutes ago."""
    failed = outcome in {"failed", "retried"}
    end = EndCount(minutes, "mail", "mail", outcome, DOWN.id if failed else "", count)
    run(conn, count_ends([end], [Sighting(DOWN, "mail", 7)] if failed else []))


def read(conn: psycopg.Connection[Any], series: Series | None = None, **of: str) -> Series:
    series = series or Series(HOUR, **of)
    run(conn, series.read(datetime.now(UTC)))
    return series


def total(values: list[float | None]) -> float:
    return sum(one or 0.0 for one in values)


def test_retried_and_deleted_jobs_stay_counted(conn: psycopg.Connection[Any]) -> None:
    counts(conn, "failed", 2_000)
    counts(conn, "completed", 300)
    counts(conn, "retried", 40)
    rows(conn, "completed", 20)

    series = read(conn)
    assert total(series.failed()) == 2_000
    assert total(series.retried()) == 40
    assert round(total(series.completed()) * 60) == 300


def test_what_only_rows_show_is_shown(conn: psycopg.Connection[Any]) -> None:
    """Workers of awa 0.5 count nothing."""
    rows(conn, "failed", 12)
    rows(conn, "completed", 30)
    counts(conn, "failed", 5)
    counts(conn, "completed", 4)

    series = read(conn)
    assert total(series.failed()) == 12
    assert round(total(series.completed()) * 60) == 30
    assert total(read(conn, queue="other").failed()) == 0


def test_an_end_is_not_counted_twice_at_the_turn_of_a_minute(
    conn: psycopg.Connection[Any],
) -> None:
    rows(conn, "failed", 100, minutes=11)
    counts(conn, "failed", 100, minutes=10)

    assert total(read(conn).failed()) == 100


def test_late_counts_are_read_again(conn: psycopg.Connection[Any]) -> None:
    series = read(conn)
    counts(conn, "failed", 3, minutes=1)
    counts(conn, "failed", 4, minutes=0)

    assert total(read(conn, series).failed()) == 7


def test_an_interval_that_has_just_begun_is_no_fall_to_zero(
    conn: psycopg.Connection[Any],
) -> None:
    counts(conn, "completed", 600, minutes=1)
    series = Series(HOUR)
    minute = datetime.now(UTC).replace(second=0, microsecond=0)
    run(conn, series.read(minute + timedelta(seconds=5)))

    assert series.completed()[-2:] == pytest.approx([600 / 60, 600 / 65])


def test_ends_of_queues_and_failures(conn: psycopg.Connection[Any]) -> None:
    counts(conn, "failed", 3)
    counts(conn, "completed", 9)
    since = datetime.now(UTC) - timedelta(hours=1)

    found = run(conn, ends_by_queue(since, seconds=60))
    assert sum(found["mail"].failed.values()) == 3
    assert sum(found["mail"].completed.values()) == 9
    by_failure = run(conn, ends_by_failure([DOWN.id], since, seconds=120))
    assert sum(by_failure[DOWN.id].values()) == 3


def test_failures_that_only_rows_show_are_grouped_by_kind_and_text(
    conn: psycopg.Connection[Any],
) -> None:
    rows(conn, "failed", 2)
    conn.execute("UPDATE awa.jobs_hot SET errors = ARRAY['{\"error\": \"smtp 9 is away\"}'::jsonb]"
                 " WHERE id = 1")  # fmt: skip
    conn.execute(
        "INSERT INTO awa.jobs_hot (kind, queue, state, attempt, args, finalized_at, errors) VALUES"
        " ('mail', 'mail', 'failed', 1, '{}', now(), ARRAY['{\"error\": \"x\", \"failure\": \"f\"}'::jsonb])"
    )

    (one,) = run(conn, ungrouped_failures(datetime.now(UTC) - timedelta(hours=1)))
    assert (one.kind, one.message, one.failed, one.dead) == ("mail", "smtp <n> is away", 2, False)
    assert run(conn, ungrouped_failures(datetime.now(UTC) - timedelta(minutes=1))) == []


def test_rates_know_of_jobs_that_were_retried(conn: psycopg.Connection[Any]) -> None:
    counts(conn, "failed", 350, minutes=1)
    counts(conn, "retried", 35, minutes=1)
    rows(conn, "completed", 30, minutes=1)

    found = run(conn, recent_ends(300.0))
    rates = {one.state: one.per_second for one in found.rates}
    assert 350 / 360 <= rates["failed"] <= 350 / 300
    assert rates["completed"] == pytest.approx(0.1)
    assert [one.state for one in found.retried] == ["retried"]
