"""Lists of jobs in other orders than by id: exact, and from an index where there is one."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from awa_lib import _sql
from awa_lib.db.drive import run
from awa_lib.ops.jobs import list_jobs
from awa_lib.reads.jobs import JobRow, job_rows, job_rows_after

ENDED = ("completed", "failed", "cancelled")
# Few times for many jobs; some that ended have no time, and some that did not end have one.
MIXED = """
INSERT INTO awa.jobs_hot (id, kind, queue, state, tags, finalized_at)
SELECT n, 'k' || n % 3, 'q' || n % 2, (ARRAY['completed', 'failed', 'cancelled', 'available',
       'running', 'waiting_external'])[1 + n % 6]::awa.job_state,
       CASE WHEN n % 5 = 0 THEN '{vip}'::text[] ELSE '{}' END,
       CASE WHEN n % 7 < 5 THEN '2026-01-01'::timestamptz + n % 4 * interval '1 h' END
FROM generate_series(1, 200) AS n;
INSERT INTO awa.scheduled_jobs (id, kind, queue, state, run_at, finalized_at)
SELECT n, 'k' || n % 3, 'q' || n % 2, (ARRAY['retryable', 'scheduled'])[1 + n % 2]::awa.job_state,
       now() + n % 4 * interval '1 h', CASE WHEN n % 3 < 2 THEN '2026-01-01'::timestamptz + n % 4 * interval '1 h' END
FROM generate_series(201, 240) AS n
"""
LARGE = """
INSERT INTO awa.jobs_hot (kind, queue, state, finalized_at)
SELECT 'k', 'q' || n % 5, (ARRAY['completed', 'failed', 'cancelled', 'available'])[
       1 + n % 4]::awa.job_state, CASE WHEN n % 4 < 3 THEN now() - n * interval '1 s' END
FROM generate_series(1, 60000) AS n;
INSERT INTO awa.scheduled_jobs (kind, queue, state, run_at)
SELECT 'k', 'q' || n % 5, (ARRAY['retryable', 'scheduled'])[1 + n % 2]::awa.job_state,
       now() + n * interval '1 s'
FROM generate_series(1, 30000) AS n
"""
# Few among the last 100,000 ids, more far behind them.
TAGGED = """
INSERT INTO awa.jobs_hot (id, kind, tags)
SELECT n, 'k', CASE WHEN n % 2 = 0 THEN '{vip,x}'::text[] ELSE '{}' END
FROM (SELECT generate_series(1, 40) UNION ALL SELECT generate_series(300001, 300012)) AS g (n);
INSERT INTO awa.scheduled_jobs (id, kind, tags, state, run_at)
SELECT n, 'k', CASE WHEN n % 2 = 0 THEN '{vip}'::text[] ELSE '{}' END, 'scheduled', now()
FROM (SELECT generate_series(600001, 600008)) AS g (n)
"""
# Of some 900 pages.
MOST_PAGES = 200
FILTERS: list[dict[str, Any]] = [
    {},
    {"states": ["failed"]},
    {"states": ["completed", "available"]},
    {"states": ["retryable"]},
    {"kind": "k1", "queue": "q0"},
    {"tag": "vip"},
    {"before_id": 100},
]


@pytest.fixture
def conn(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        quieten(connection)
        yield connection


def quieten(conn: psycopg.Connection[Any]) -> None:
    for table in ("jobs_hot", "scheduled_jobs"):
        conn.execute(f"ALTER TABLE awa.{table} SET (autovacuum_enabled = off)")
        conn.execute(f"ALTER TABLE awa.{table} DISABLE TRIGGER USER")


def in_order(jobs: list[JobRow], *, descending: bool) -> list[int]:
    """Sort by the end as the list does, in Python."""
    sign = -1 if descending else 1

    def place(job: JobRow) -> tuple[bool, bool, float, int]:
        at = job.finalized_at
        return (
            job.state not in ENDED or at is None,
            at is None,
            0.0 if at is None else sign * at.timestamp(),
            sign * job.id,
        )

    return [job.id for job in sorted(jobs, key=place)]


@pytest.mark.parametrize("sort", ["finalized_at", "-finalized_at"])
@pytest.mark.parametrize("given", FILTERS, ids=str)
def test_jobs_by_their_end(conn: psycopg.Connection[Any], sort: str, given: dict[str, Any]) -> None:
    """Those that ended, then the others, those without a time last; ties by id."""
    conn.execute(MIXED)
    expected = in_order(run(conn, job_rows(limit=1000, **given)), descending=sort[0] == "-")

    for limit in (0, 1, 7, 20, len(expected) - 1, len(expected), 1000):
        found = [job.id for job in run(conn, job_rows(sort=sort, limit=limit, **given))]
        assert found == expected[:limit]


def test_jobs_with_a_tag_wherever_their_ids_are(conn: psycopg.Connection[Any]) -> None:
    """The next page is found among the nearest ids, or else among all jobs with the tag."""
    conn.execute(TAGGED)
    tagged = [job.id for job in run(conn, job_rows(limit=1000)) if "vip" in job.tags]
    assert len(tagged) == 30

    for limit in (0, 1, 5, 10, 29, 30, 31):
        for edge in (0, 1, 9, 250_000, 300_003, 300_100, 650_000, 10**9):
            older = [one for one in tagged if one < edge]
            newer = [one for one in tagged if one > edge][::-1]
            listed = run(conn, job_rows(tag="vip", limit=limit, before_id=edge))
            assert [job.id for job in listed] == older[:limit]
            after = run(conn, job_rows_after(edge, tag="vip", limit=limit))
            assert [job.id for job in after] == newer[:limit][::-1]
            kept = run(conn, list_jobs(tag="vip", limit=limit, before_id=edge, kind="k"))
            assert [job.id for job in kept] == older[:limit]
        listed = run(conn, job_rows(tag="vip", limit=limit))
        assert [job.id for job in listed] == tagged[:limit]
        oldest = run(conn, job_rows(sort="id", tag="vip", limit=limit))
        assert [job.id for job in oldest] == tagged[::-1][:limit]
    assert run(conn, job_rows(tag="vip", kind="other")) == []


@pytest.mark.parametrize("sort", ["run_at", "-run_at"])
@pytest.mark.parametrize(
    "given",
    [
        {"states": ["scheduled"]},
        {"states": ["retryable", "scheduled"]},
        {"states": ["retryable"], "kind": "k1", "before_id": 230},
        {"states": ["retryable", "failed"]},
        {},
    ],
    ids=str,
)
def test_jobs_by_their_time(
    conn: psycopg.Connection[Any], sort: str, given: dict[str, Any]
) -> None:
    conn.execute(MIXED)
    expected = sorted(
        run(conn, job_rows(limit=1000, **given)),
        key=lambda job: (job.run_at, job.id),
        reverse=sort[0] == "-",
    )

    for limit in (0, 7, 1000):
        found = run(conn, job_rows(sort=sort, limit=limit, **given))
        assert found == expected[:limit]


@pytest.mark.parametrize("given", FILTERS, ids=str)
def test_jobs_by_id_ascending(conn: psycopg.Connection[Any], given: dict[str, Any]) -> None:
    conn.execute(MIXED)
    expected = [job.id for job in run(conn, job_rows(limit=1000, **given))][::-1]

    assert [job.id for job in run(conn, job_rows(sort="id", limit=30, **given))] == expected[:30]


@pytest.fixture(scope="module", params=["never", "empty", "same", "stale"])
def large(request: Any, postgres: Any, template: str) -> Iterator[tuple[str, str]]:
    """What the statistics of a large table are, and its database, which tests only read."""
    statistics, tables = request.param, "awa.jobs_hot, awa.scheduled_jobs"
    with (
        postgres.database(template) as url,
        psycopg.connect(url, autocommit=True) as conn,
    ):
        quieten(conn)
        conn.execute(
            "DELETE FROM pg_statistic WHERE starelid IN"
            " ('awa.jobs_hot'::regclass, 'awa.scheduled_jobs'::regclass)"
        )
        if statistics == "empty":
            conn.execute(f"ANALYZE {tables}")
        if statistics == "stale":
            conn.execute(LARGE.replace("n * interval", "100 * interval"))
            conn.execute("UPDATE awa.jobs_hot SET state = 'available', queue = 'other'")
            conn.execute("UPDATE awa.scheduled_jobs SET state = 'scheduled'")
            conn.execute(f"ANALYZE {tables}")
            conn.execute(f"TRUNCATE {tables}")
        conn.execute(LARGE)
        if statistics == "same":
            conn.execute(f"ANALYZE {tables}")
        yield statistics, url


@pytest.mark.parametrize(
    ("sort", "given"),
    [
        *itertools.product(
            ["-finalized_at", "finalized_at"],
            [{}, {"states": ["failed"]}, {"states": ["completed"]}, {"queue": "q3"}],
        ),
        ("id", {}),
        ("run_at", {"states": ["scheduled"]}),
        ("-run_at", {"states": ["scheduled"]}),
        ("run_at", {"states": ["retryable"]}),
    ],
    ids=str,
)
def test_a_page_is_read_from_an_index(
    large: tuple[str, str], sort: str, given: dict[str, Any]
) -> None:
    statistics, url = large
    if "run_at" in sort and statistics in ("never", "empty"):
        pytest.skip("a table without statistics seems to have few scheduled jobs")
    with psycopg.connect(url, autocommit=True) as conn:
        for mode in ("force_custom_plan", "force_generic_plan"):
            conn.execute(f"SET plan_cache_mode = {mode}")
            for statement in statements(conn, job_rows(sort=sort, limit=50, **given)):
                assert pages(conn, statement) < MOST_PAGES


def statements(conn: psycopg.Connection[Any], op: _sql.Op[Any]) -> list[_sql.Statement]:
    """Run an op and return what it sent."""
    sent: list[_sql.Statement] = []

    def noted() -> _sql.Op[None]:
        try:
            statement = next(op)
            while True:
                sent.append(statement)
                statement = op.send((yield statement))
        except StopIteration:
            pass

    run(conn, noted())
    return sent


def pages(conn: psycopg.Connection[Any], statement: _sql.Statement) -> int:
    explain = "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + statement.query.text
    cursor = psycopg.RawCursor(conn)
    ((found,),) = cursor.execute(explain, statement.values, prepare=True).fetchall()
    plan = found[0]["Plan"]
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])
