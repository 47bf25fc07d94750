"""The queue at a glance: counts, what ended when, latest failures, rights."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from awa_cli.views.series import WINDOWS, Series
from awa_lib.db.drive import run
from awa_lib.reads.jobs import job_rows, job_rows_after
from awa_lib.reads.names import tag_names
from awa_lib.reads.rights import rights
from awa_lib.reads.statistics import Bucket, ended_series, latest_failures, state_counts

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def conn(database_url):
    with psycopg.connect(database_url, autocommit=True) as conn:
        yield conn


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def test_jobs_are_counted_by_state(conn, put, look) -> None:
    for state in (
        "scheduled",
        "available",
        "available",
        "running",
        "retryable",
        "waiting_external",
    ):
        put(state=state)
    put(state="failed", finalized_at=START)
    put(state="cancelled", finalized_at=START)
    put(state="completed", finalized_at=START)
    look("SELECT awa.rebuild_admin_metadata()")

    assert {
        "scheduled": 1, "available": 2, "running": 1, "completed": 1, "retryable": 1, "failed": 1,
        "cancelled": 1, "waiting_external": 1,
    } == run(conn, state_counts())  # fmt: skip


def test_what_ended_is_put_into_buckets(conn, put) -> None:
    first = int(START.timestamp()) // 60
    for seconds, queue in ((0, "a"), (59, "b"), (60, "a")):
        put(
            state="completed", queue=queue, finalized_at=at(seconds), attempted_at=at(seconds),
            run_at=at(seconds - 4),
        )  # fmt: skip
    put(state="failed", queue="a", kind="odd", finalized_at=at(200))
    put(state="cancelled", queue="a", finalized_at=at(200))
    put(state="failed", queue="a", finalized_at=at(999))

    assert [
        Bucket(first, 2, 0, 4.0), Bucket(first + 1, 1, 0, 4.0), Bucket(first + 3, 0, 1, None),
    ] == run(conn, ended_series(START, at(300), 60))  # fmt: skip
    assert [Bucket(first, 1, 0, 4.0)] == run(conn, ended_series(START, at(300), 60, queue="b"))
    odd = run(conn, ended_series(START, at(300), 60, kind="odd"))
    assert [Bucket(first + 3, 0, 1, None)] == odd


def test_the_latest_failures_come_first(conn, put, look) -> None:
    ids = [put(state="failed", queue=q, finalized_at=at(n))["id"] for n, q in ((1, "a"), (3, "b"), (2, "a"))]  # fmt: skip
    look("""UPDATE awa.jobs_hot SET errors = ARRAY['{"error": "E: no\\n  File x"}'::jsonb]""")

    found = run(conn, latest_failures())
    assert [ids[1], ids[2], ids[0]] == [one.id for one in found]
    assert "E: no" == found[0].error
    assert [ids[2]] == [one.id for one in run(conn, latest_failures(1, queue="a"))]
    assert [] == run(conn, latest_failures(kind="odd"))


def test_pages_upwards_precede_pages_downwards(conn, put) -> None:
    ids = [put(kind="a" if n % 2 else "b")["id"] for n in range(10)][::-1]
    down = [one.id for one in run(conn, job_rows(limit=4, before_id=ids[3]))]
    up = [one.id for one in run(conn, job_rows_after(down[0], limit=3))]

    assert (ids[4:8], ids[1:4]) == (down, up)
    assert {"a"} == {one.kind for one in run(conn, job_rows_after(0, kind="a"))}


def test_tags_are_names_too(conn, put) -> None:
    put(tags=["nightly", "eu"])
    put(tags=["nightly"])

    assert ["eu", "nightly"] == run(conn, tag_names())
    assert ["nightly"] == run(conn, tag_names("ni"))


def test_a_role_that_only_reads_may_change_nothing(conn) -> None:
    everything = run(conn, rights())
    conn.execute("CREATE ROLE pulse_reader; GRANT USAGE ON SCHEMA awa TO pulse_reader")
    conn.execute("GRANT SELECT ON ALL TABLES IN SCHEMA awa TO pulse_reader; SET ROLE pulse_reader")
    nothing = run(conn, rights())
    conn.execute("RESET ROLE; DROP OWNED BY pulse_reader; DROP ROLE pulse_reader")

    nouns = ("job", "jobs", "queue", "cron", "dlq", "batch", "callback", "storage", "workflow")
    assert [True] * 9 == [everything.allow(noun) for noun in nouns]
    assert [False] * 9 == [nothing.allow(noun) for noun in nouns]


@pytest.mark.parametrize("state", ["failed", "running", "available"])
def test_a_filter_by_state_is_served_by_the_index_on_it(conn, look, state) -> None:
    """What the monitor needs to be quick on millions: the states reach the planner as they are."""
    conn.execute("INSERT INTO awa.jobs_hot (kind, state, finalized_at) SELECT 'k', 'completed', now() FROM generate_series(1, 20000)")  # fmt: skip
    conn.execute("ANALYZE awa.jobs_hot")
    statement = next(job_rows(limit=50, states=[state]))
    cursor = psycopg.RawCursor(conn)
    cursor.execute(f"EXPLAIN {statement.query.text}", statement.values)
    plan = "\n".join(line for (line,) in cursor.fetchall())

    assert "jobs_hot_pkey" not in plan


def test_a_chart_keeps_failures_that_it_has_shown(conn, put, look) -> None:
    series = Series(WINDOWS[0])
    put(state="failed", finalized_at=at(31))
    put(state="failed", finalized_at=at(32))
    run(conn, series.read(at(40)))
    assert series.failed()[-1] == 2.0
    look("DELETE FROM awa.jobs")  # as a retry leaves no trace in the rows either
    put(state="failed", finalized_at=at(96))

    run(conn, series.read(at(100)))
    run(conn, series.read(at(300)))

    assert sum(series.failed()) == 3.0
