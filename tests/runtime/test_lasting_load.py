"""Short forms of the long benchmarks: what a worker leaves behind, and what it finds."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from fix_wait import aeventually
from fix_worker import QUICK, Noop, Rows, working

import awa_lib as awa
from awa_lib.runtime import maintenance

HERE = """
    SELECT application_name AS name, count(*) AS n FROM pg_stat_activity
    WHERE datname = current_database() AND starts_with(application_name, 'awa worker: ') GROUP BY 1
    ORDER BY 1"""


async def test_a_load_leaves_no_rows_connections_or_log_lines(
    aclient: awa.AsyncClient,
    rows: Rows,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Every sort of job, twice: the second time nothing is more than the first time."""
    monkeypatch.setattr(maintenance, "_CLEANUP_SECONDS", 0.2)
    seen: list[Any] = []

    @aclient.task(dict, kind="mixed", backoff=awa.fixed(0.05))
    async def mixed(job: awa.Job) -> None:
        if job.args["n"] % 20 == 0 and job.attempt == 1:
            raise ValueError("not the first time")
        if job.args["n"] % 10 == 1:
            job.set_progress(50)
            await job.flush_progress()
        if job.args["n"] % 50 == 2:
            token = await job.register_callback(60)
            await aclient.resume_external(token.id, {})
            await job.wait_for_callback(token)

    async def load() -> None:
        for at in range(0, 500, 100):
            await aclient.insert_many(
                [{"n": n} for n in range(at, at + 100)], kind="mixed", unique_opts={}
            )
        left = "SELECT (SELECT count(*) FROM awa.jobs) + (SELECT count(*) FROM awa.job_unique_claims) AS n"
        await aeventually(lambda: rows.one(left)["n"] == 0, timeout=20)
        seen.append(rows.all(HERE))

    options = {"completed_retention_hours": 0, "failed_retention_hours": 0}
    async with working(aclient, ("default", 50), **options):
        await load()
        with caplog.at_level(logging.INFO):
            await load()

    # Each has a name of its own; some are opened at their first use.
    assert {one["n"] for one in seen[0] + seen[1]} == {1}
    # Each of 25 attempts that fail may be told, and with each second how many were not.
    told = [record for record in caplog.records if "awa" in record.name]
    assert {record.name for record in told} <= {"awa_lib.runtime.failures"}
    assert len(told) < 100


async def test_what_an_outage_left_is_all_done(aclient: awa.AsyncClient, rows: Rows) -> None:
    """Waiting jobs, due jobs, jobs of dead workers, late callbacks and a missed hour at once."""

    @aclient.task(Noop)
    async def noop(job: awa.Job) -> None: ...

    aclient.periodic("every minute", "* * * * *", Noop, Noop(1), queue="default")
    async with working(aclient, ("default", 10)):
        pass
    rows.conn.execute("DELETE FROM awa.jobs_hot")
    rows.conn.execute("""
        UPDATE awa.cron_jobs SET last_enqueued_at = date_trunc('minute', now()) - interval '1 h'""")
    rows.conn.execute("""
        INSERT INTO awa.jobs_hot (kind, queue, args, state, attempt, run_lease, heartbeat_at,
                                  callback_id, callback_timeout_at, run_at)
        SELECT 'noop', 'default', '{"n": 0}', state::awa.job_state, attempt, 7, beat,
               CASE WHEN callback THEN gen_random_uuid() END, beat, now() - interval '1 h'
        FROM (VALUES ('available', 0, NULL, false, 600),
                     ('running', 1, now() - interval '1 h', false, 520),
                     ('waiting_external', 1, now() - interval '1 h', true, 10)
             ) AS v (state, attempt, beat, callback, count), generate_series(1, count)""")
    rows.conn.execute("""
        INSERT INTO awa.scheduled_jobs (kind, queue, args, state, run_at)
        SELECT 'noop', 'default', '{"n": 0}', s::awa.job_state, now() - i * interval '1 s'
        FROM unnest('{scheduled,retryable}'::text[]) AS s, generate_series(1, 200) AS i""")

    await aclient.start([("default", 100)], **QUICK)

    done = "SELECT count(*) AS n FROM awa.jobs WHERE state = 'completed' AND args = '{\"n\": 0}'"
    await aeventually(lambda: rows.one(done)["n"] == 600 + 520 + 400 + 10, timeout=25)
    causes = rows.all("""
        SELECT errors[1] ->> 'error' AS error, count(*) AS n FROM awa.jobs
        WHERE errors <> '{}' GROUP BY 1 ORDER BY 1""")
    assert [tuple(cause.values()) for cause in causes] == [
        ("callback timed out", 10),
        ("heartbeat stale: worker presumed dead", 520),
    ]
    # Missed fires are one job, and the minute may have ended meanwhile.
    fires = rows.one("SELECT count(*) AS n FROM awa.jobs WHERE args = '{\"n\": 1}'")["n"]
    assert fires in (1, 2)
