"""What goes wrong now: kinds that fail, since when, and the pace of queues."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from awa_lib.db.drive import run
from awa_lib.ops import failures as ops
from awa_lib.ops.failures import EndCount, Sighting
from awa_lib.reads.incidents import Incidents, incidents
from awa_lib.telemetry.failures import Group

DOWN = Group.build("shop.MailDown", "mail server is down", ("shop/mail.py send",))
SLOW = Group.build("TimeoutError", "took too long", ("shop/mail.py send",))


@pytest.fixture
def conn(database_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


def end(
    conn: psycopg.Connection,
    outcome: str,
    ends: int,
    *,
    ago: int = 0,
    kind: str = "send_mail",
    queue: str = "mail",
    group: Group | None = None,
) -> None:
    """Count ends of a minute."""
    failure = "" if group is None else group.id
    seen = [] if group is None else [Sighting(group, kind, 7)]
    run(conn, ops.count_ends([EndCount(ago, queue, kind, outcome, failure, ends)], seen))


def minute(ago: int) -> datetime:
    return datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=ago)


def test_a_kind_that_fails_is_found_with_its_failure_and_its_beginning(conn) -> None:
    end(conn, "completed", 50_000, ago=20)
    end(conn, "failed", 3, ago=19, group=SLOW)
    end(conn, "retried", 1_000, ago=9, group=DOWN)
    end(conn, "failed", 900, ago=3, group=DOWN, queue="bulk")
    end(conn, "completed", 40, ago=3)
    end(conn, "failed", 20, kind="report")
    end(conn, "failed", 9, kind="few", group=SLOW)
    end(conn, "retried", 300, kind="flaky", group=SLOW)
    end(conn, "completed", 100, kind="flaky")

    mail, report = run(conn, incidents()).failing

    assert ("send_mail", ["bulk", "mail"], 1943, 1903) == (
        mail.kind, mail.queues, mail.attempts, mail.failed,
    )  # fmt: skip
    assert (DOWN.id, "shop.MailDown", "mail server is down") == (
        mail.failure, mail.error_type, mail.message,
    )  # fmt: skip
    assert mail.since in {minute(19), minute(20)}
    assert ("report", None, None) == (report.kind, report.failure, report.message)


def test_a_kind_that_has_recovered_is_not_found(conn) -> None:
    end(conn, "failed", 2_000, ago=9, group=DOWN)
    assert len(run(conn, incidents()).failing) == 1
    end(conn, "completed", 5, ago=2)

    assert [] == run(conn, incidents()).failing


def test_an_incident_began_before_the_time_that_is_judged(conn) -> None:
    end(conn, "completed", 5, ago=200)
    end(conn, "failed", 50, ago=120, group=DOWN)
    end(conn, "failed", 50, ago=1, group=DOWN)

    (found,) = run(conn, incidents()).failing

    assert found.since in {minute(120), minute(121)}
    assert 100 == found.failed


def test_muted_failures_do_not_count(conn) -> None:
    end(conn, "failed", 2_000, group=DOWN)
    run(conn, ops.mute_failure(DOWN.id))
    assert [] == run(conn, incidents()).failing
    end(conn, "failed", 11, group=SLOW)

    (found,) = run(conn, incidents()).failing

    assert (SLOW.id, 11) == (found.failure, found.failed)


def test_ends_are_read_by_queue_and_minute(conn) -> None:
    end(conn, "completed", 60, ago=2)
    end(conn, "failed", 60, ago=2, group=DOWN)
    end(conn, "requeued", 600, ago=2)
    end(conn, "completed", 5, ago=60)
    found = run(conn, incidents()).ends

    assert [120] == list(found["mail"].values())
    assert min(found["mail"]) in {2, 3}


def test_the_pace_of_a_queue_is_that_of_whole_minutes() -> None:
    found = Incidents(ends={"mail": {0: 7, 1: 60, 2: 60}})

    assert 1.0 == found.pace("mail", 130)
    assert 120 / 300 == found.pace("mail", 10_000)
    assert found.pace("mail", 59) is None
    assert found.pace("other", 300) is None


def test_a_day_of_many_ends_is_read_at_once(conn) -> None:
    """200 ms are asked for; a busy machine gets five times as long, the best of three."""
    conn.execute("ALTER TABLE awa.job_ends SET (autovacuum_enabled = off)")
    conn.execute(
        "INSERT INTO awa.job_ends SELECT 1, date_trunc('minute', now(), 'UTC') - make_interval(mins => m),"
        " 'q' || q, 'k' || q, outcome, failure, 40"
        " FROM generate_series(0, 1439) AS m, generate_series(1, 20) AS q,"
        " (VALUES ('completed', ''), ('failed', 'f1'), ('retried', 'f2')) AS o (outcome, failure)"
    )
    conn.execute("UPDATE awa.job_ends SET ends = 400 WHERE outcome = 'failed' AND kind < 'k15'")
    taken = []
    for _ in range(3):
        began = time.perf_counter()
        found = run(conn, incidents())
        taken.append(time.perf_counter() - began)

    print([round(1000 * one) for one in taken])
    assert found.failing
    assert min(taken) < 1
