"""Results of jobs in the database: who gets one, what errors say, when they go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

import awa_lib as awa
from awa_lib._sql import Op, sql
from awa_lib.db.drive import run
from awa_lib.ops import results
from awa_lib.reads.job_results import ended_result, kept_result


@dataclass
class Report:
    pages: int


@pytest.fixture
def completed(put, look):
    """Insert a job that has ended, and its result unless that is None."""

    def completed(value: str | None, *, ttl: str = "1 day", **columns: Any) -> int:
        job = put(**{"state": "completed", "kind": "report", **columns})
        if value is not None:
            keep(look, job["id"], value, ttl)
        return job["id"]

    return completed


def keep(look, job_id: int, value: str, ttl: str) -> None:
    look(
        "INSERT INTO awa.job_results (job_id, value, size_bytes, expires_at, purge_at)"
        " VALUES (%s, %s, %s, now() + %s::interval, now() + %s::interval)",
        job_id, value, len(value), ttl, ttl,
    )  # fmt: skip


def forget(database_url: str) -> int:
    with psycopg.connect(database_url, autocommit=True) as conn:
        return run(conn, results.forget_results())


async def test_the_type_is_the_declared_one_or_the_given_one(client, completed) -> None:
    job_id = completed('{"pages": 3}')
    assert await client.result(job_id) == {"pages": 3}
    assert await client.result(job_id, into=Report) == Report(3)
    client.inner.kind(Report, kind="report", result=Report)
    assert await client.result(job_id) == Report(3)
    assert await client.result(await client.get_job(job_id)) == Report(3)
    with pytest.raises(awa.ValidationError, match=r"^result\.pages: expected") as wrong:
        await client.result(completed('{"pages": "secret"}'))
    assert "secret" not in f"{wrong.value} {wrong.value.why}"


async def test_a_kind_that_keeps_none(client, completed) -> None:
    with pytest.raises(awa.NoResult) as none:
        await client.result(completed(None))
    assert none.value.hint == (
        "declare it where its handler is: @client.task(…, kind='report', result=True)"
    )
    client.inner.kind(Report)
    with pytest.raises(awa.NoResult) as none:
        await client.result(completed(None))
    assert none.value.hint == "declare it where its handler is: @client.task(Report, result=True)"


async def test_a_worker_that_keeps_none(client, completed) -> None:
    client.inner.kind(Report, result=True)
    job_id = completed(None)
    with pytest.raises(awa.NoResult, match=f"job {job_id} completed without a result") as none:
        await client.result(job_id)
    assert "completed by a worker that keeps no results: of awa 0.5, or" in none.value.why


@pytest.mark.parametrize("purged", [False, True])
async def test_expired(client, completed, database_url, purged) -> None:
    job_id = completed("1", ttl="-1 second")
    if purged:
        assert forget(database_url) == 1
    with pytest.raises(awa.ResultExpired, match=f"the result of job {job_id} expired at 20"):
        await client.result(job_id)


async def test_a_result_outlives_the_job_that_retention_deletes(
    client, completed, look, database_url
) -> None:
    job_id = completed("1")
    look("DELETE FROM awa.jobs_hot")
    assert await client.result(job_id) == 1
    look("UPDATE awa.job_results SET expires_at = now(), purge_at = now()")
    for _ in range(2):
        with pytest.raises(awa.JobNotFound):
            await client.result(job_id)
        forget(database_url)
    assert look("SELECT * FROM awa.job_results") == []


@pytest.mark.parametrize("door", ["discard", "bulk"])
async def test_a_job_that_is_deleted_takes_its_result_with_it(
    client, completed, look, door
) -> None:
    job_id, other = completed("1"), completed("2", kind="other")
    if door == "discard":
        await client.discard(job_id)
    else:
        operation = await client.submit_bulk_operation("delete", kind="report", state="completed")
        await client.run_bulk_operation(operation.id)
    with pytest.raises(awa.JobNotFound):
        await client.result(job_id)
    assert [row["job_id"] for row in look("SELECT job_id FROM awa.job_results")] == [other]


async def test_failed_jobs_say_why_among_the_dead_letters_too(client, put, look) -> None:
    job = put(
        state="failed",
        errors=[psycopg.types.json.Jsonb({"error": "OSError: disk", "type": "builtins.OSError"})],
    )
    for _ in range(2):
        with pytest.raises(awa.JobFailed) as failed:
            await client.result(job["id"])
        error = failed.value
        assert (error.state, error.error, error.error_type) == (
            "failed", "OSError: disk", "builtins.OSError",
        )  # fmt: skip
        assert str(error) == f"job {job['id']} failed: builtins.OSError"
        await client.bulk_move_failed_to_dlq(all=True)
    assert look("SELECT count(*) AS n FROM awa.dead_letters") == [{"n": 1}]


async def test_no_such_job(client) -> None:
    with pytest.raises(awa.JobNotFound, match="job not found: 77"):
        await client.result(77)
    for wrong in ("7", 2**63, None):
        with pytest.raises(awa.ValidationError):
            await client.result(wrong)


async def test_a_bound_client_never_waits(client, completed, put, database_url) -> None:
    ended, waiting = completed("[1]"), put()["id"]
    async with client.using(database_url) as (_, bound):
        assert await bound.result(ended) == [1]
        with pytest.raises(awa.AwaError, match="a client bound to a connection does not wait"):
            await bound.result(waiting, timeout=1)


async def test_results_are_purged_in_batches(completed, look, database_url, monkeypatch) -> None:
    """Rows of jobs that are still there are looked at again a day later."""
    monkeypatch.setattr(results, "FORGET_BATCH", 2)
    old = [completed("1", ttl="-1 hour") for _ in range(3)]
    kept = completed("2")
    look("DELETE FROM awa.jobs_hot WHERE id = %s", old[0])

    assert [forget(database_url) for _ in range(3)] == [2, 1, 0]
    rows = look("SELECT job_id, value, purge_at > now() AS later FROM awa.job_results ORDER BY 1")
    assert rows == [
        {"job_id": old[1], "value": None, "later": True},
        {"job_id": old[2], "value": None, "later": True},
        {"job_id": kept, "value": 2, "later": True},
    ]
    look("UPDATE awa.job_results SET purge_at = now() WHERE value IS NULL")
    look("DELETE FROM awa.jobs_hot WHERE id = %s", old[1])
    assert forget(database_url) == 2
    assert [row["job_id"] for row in look("SELECT job_id FROM awa.job_results ORDER BY 1")] == [
        old[2], kept,
    ]  # fmt: skip


async def test_a_locked_row_does_not_hold_up_the_purge(completed, look, database_url) -> None:
    locked, free = completed("1", ttl="-1 hour"), completed("2", ttl="-1 hour")
    with psycopg.connect(database_url) as conn:
        conn.execute("SELECT FROM awa.job_results WHERE job_id = %s FOR UPDATE", [locked])
        assert forget(database_url) == 1
    assert look("SELECT job_id FROM awa.job_results WHERE value IS NULL") == [{"job_id": free}]


def test_reads_of_one_result(completed, database_url, put) -> None:
    job_id, expired, waiting = completed("[1]"), completed("2", ttl="-1 s"), put()["id"]
    with psycopg.connect(database_url, autocommit=True) as conn:
        found = run(conn, ended_result(job_id))
        assert (found.job_id, found.value, found.size_bytes) == (job_id, [1], 3)
        assert run(conn, kept_result(job_id)) == found
        assert run(conn, kept_result(expired)) is None
        with pytest.raises(awa.Conflict, match=f"job {waiting} has no result yet") as early:
            run(conn, ended_result(waiting))
    assert early.value.hint == f"wait for it: awa job wait {waiting} --result"


def test_a_result_is_that_of_a_completed_job_or_of_one_that_is_gone(
    completed, put, look, database_url
) -> None:
    """A job that runs again, and one that has then failed, still has that of its first run."""
    error = [psycopg.types.json.Jsonb({"error": "disk full", "type": "builtins.OSError"})]
    again, waiting = put(errors=error)["id"], put(state="retryable", errors=error)["id"]
    failed, dead = (put(state="failed", errors=error)["id"] for _ in range(2))
    whole, late = completed("1", errors=error), completed("2", ttl="-1 s")
    gone = dead + 100
    for job_id in (again, waiting, failed, dead, gone):
        keep(look, job_id, '"old"', "1 day")
    with awa.Client(database_url) as client:
        client.move_failed_to_dlq(dead)

    def ends() -> Op[Any]:
        rows = yield sql.results("ends", ids=[again, waiting, failed, dead, whole, late, gone])
        return {row[0]: tuple(row[3:7]) for row in rows}, len(rows)

    with psycopg.connect(database_url, autocommit=True) as conn:
        found, count = run(conn, ends())
        for live in (again, waiting):
            with pytest.raises(awa.Conflict, match="has no result yet"):
                run(conn, ended_result(live))
        for one in (failed, dead):
            with pytest.raises(awa.JobFailed, match=r"failed: builtins\.OSError"):
                run(conn, ended_result(one))
        assert [run(conn, ended_result(one)).value for one in (whole, gone)] == [1, "old"]

    unsuccessful = ("disk full", "builtins.OSError", None)
    assert found == {
        again: ("available", *unsuccessful),
        waiting: ("retryable", *unsuccessful),
        failed: ("failed", *unsuccessful),
        dead: ("failed", *unsuccessful),
        whole: ("completed", None, None, "1"),
        late: ("completed", None, None, None),
        gone: (None, None, None, '"old"'),
    }
    assert count == len(found)
