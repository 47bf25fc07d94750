"""What the page of a job says of its attempts and of the workers that ran them."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from fix_wait import aeventually
from fix_worker import Noop, Rows, working

import awa_lib as awa
from awa_lib.db.drive import run
from awa_lib.ops.leases import Leases
from awa_lib.ops.processes import Process, keep_process
from awa_lib.reads.job_dumps import dump_job, dump_run

ENTRY = """'{"error": "no\\nline 2", "attempt": 1, "at": "2026-01-01T10:00:05+00:00"%s}'::jsonb"""


@pytest.fixture
def conn(database_url: str):
    with psycopg.connect(database_url, autocommit=True) as conn:
        yield conn


@pytest.fixture
def lease(conn: psycopg.Connection[Any]) -> int:
    """Return a lease of a process that has run since the year 2000."""
    leases = Leases()
    process = Process(str(uuid.uuid4()), "web-1", 42, "9", "v7", 3000, 10000)
    leases.process, _ = run(conn, keep_process(process, None, None))
    conn.execute("UPDATE awa.worker_processes SET started_at = '2000-01-01 UTC'")
    return leases.next()


def put(conn: psycopg.Connection[Any], errors: str = "", **columns: object) -> int:
    given = {"kind": "noop", "attempted_at": "2026-01-01 10:00:02+00", **columns}
    names, places = ", ".join(given), ", ".join(["%s"] * len(given))
    (job_id,) = conn.execute(
        f"INSERT INTO awa.jobs (errors, {names}) VALUES (ARRAY[{errors}]::jsonb[], {places})"
        " RETURNING id",
        list(given.values()),
    ).fetchone()
    return job_id


def told(conn: psycopg.Connection[Any], job_id: int) -> list[tuple[Any, ...]]:
    return [
        (one.attempt, one.outcome, one.seconds, one.worker, one.app_version, one.error)
        for one in run(conn, dump_job(job_id)).attempts
    ]


def test_the_worker_of_a_running_job_is_named_by_its_lease(conn, lease: int) -> None:
    job_id = put(conn, state="running", attempt=1, run_lease=lease)
    dump = run(conn, dump_job(job_id))

    assert dump.worker is not None
    assert (dump.worker.name, dump.worker.version, dump.worker.app_version) == (
        "web-1:42",
        "9",
        "v7",
    )
    assert told(conn, job_id) == [(1, "running", None, "web-1:42", "v7", None)]
    assert run(conn, dump_run(job_id)).worker == "web-1:42"


@pytest.mark.parametrize("claims", [1, 511])
def test_a_worker_of_awa_05_is_not_named(conn, lease: int, claims: int) -> None:
    job_id = put(conn, state="running", attempt=1, run_lease=lease + claims)

    assert run(conn, dump_job(job_id)).worker is None
    assert told(conn, job_id) == [(1, "running", None, None, None, None)]


def test_each_failed_attempt_says_who_ran_it_and_for_how_long(conn, lease: int) -> None:
    of_ours = ENTRY % ', "started": "2026-01-01T10:00:01+00:00", "worker": "web-2:7"'
    of_awa_05 = ENTRY % ""
    job_id = put(
        conn, f"{of_awa_05}, {of_ours}", state="completed", attempt=2, run_lease=lease,
        finalized_at="2026-01-01 10:00:03.5+00",
    )  # fmt: skip

    assert told(conn, job_id) == [
        (1, "failed", None, None, None, "no"),
        (1, "failed", 4.0, "web-2:7", None, "no"),
        (2, "completed", 1.5, "web-1:42", "v7", None),
    ]
    past = run(conn, dump_run(job_id, 1))
    assert (past.worker, past.started_at is not None) == ("web-2:7", True)


def test_the_last_failed_attempt_is_not_told_twice(conn, lease: int) -> None:
    started = ENTRY % ', "started": "2026-01-01T10:00:02.000000+00:00"'
    retryable = put(conn, started, state="retryable", attempt=1, run_lease=lease)
    of_older = put(conn, ENTRY % "", state="failed", attempt=1, run_lease=lease)
    cancelled = put(
        conn, ENTRY % "", state="cancelled", attempt=2, run_lease=lease,
        finalized_at="2026-01-01 10:00:04+00",
    )  # fmt: skip

    assert told(conn, retryable) == [(1, "failed", 3.0, "web-1:42", "v7", "no")]
    assert told(conn, of_older) == [(1, "failed", 3.0, "web-1:42", "v7", "no")]
    assert told(conn, cancelled) == [
        (1, "failed", None, None, None, "no"),
        (2, "cancelled", 2.0, "web-1:42", "v7", None),
    ]


def test_a_crashed_attempt_ran_until_its_last_heartbeat(conn) -> None:
    crash = ENTRY % (
        ', "crash": 1, "started": "2026-01-01T10:00:02.000000+00:00",'
        ' "heartbeat": "2026-01-01T10:00:03+00:00"'
    )
    job_id = put(conn, crash, state="retryable", attempt=0)

    assert told(conn, job_id) == [(1, "crashed", 1.0, None, None, "no")]


@pytest.mark.parametrize(
    "odd", ['"started": "soon"', '"started": 7', '"worker": 7', '"attempt": "x"', '"error": [1]']
)
def test_odd_entries_of_others_are_shown_as_they_can_be(conn, odd: str) -> None:
    job_id = put(conn, ENTRY % f", {odd}", state="failed", attempt=3)
    (one,) = run(conn, dump_job(job_id)).attempts

    assert (one.outcome, one.seconds) == ("failed", None)


async def test_the_limit_of_the_kind_is_told_by_the_last_error(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    @aclient.task(Noop, max_attempts=2)
    async def handler(job: awa.Job) -> None:
        raise ValueError("no")

    async with working(aclient):
        # By a producer that does not know the limit.
        job_id = rows.one(
            "INSERT INTO awa.jobs_hot (kind, max_attempts) VALUES ('noop', 25) RETURNING id"
        )["id"]
        await aeventually(lambda: rows.job(job_id)["state"] == "retryable")
        rows.conn.execute("UPDATE awa.scheduled_jobs SET run_at = now()")
        await aeventually(lambda: rows.job(job_id)["state"] == "failed")
    with psycopg.connect(rows.conn.info.dsn, autocommit=True) as conn:
        dump = run(conn, dump_job(job_id))

    assert (dump.job.max_attempts, dump.summary.max_attempts) == (25, 2)
    assert [one.attempt for one in dump.attempts] == [1, 2]
    assert dump.attempts[1].ended_at - dump.attempts[0].started_at > timedelta(0)
    assert dump.worker.stopped_at is not None


def test_a_limit_that_is_no_number_does_not_count(conn) -> None:
    job_id = put(conn, ENTRY % ', "max_attempts": "2"', state="failed", attempt=3)

    assert run(conn, dump_job(job_id)).summary.max_attempts == 25
