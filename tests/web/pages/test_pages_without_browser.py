"""Pages of queues, kinds, workers and schedules, as their answers say."""

from __future__ import annotations

import json
import re

import psycopg
import pytest
from fix_doctor import instance
from fix_web import web_client

from awa_lib.db.drive import run
from awa_lib.ops.job_logs import RunLog, write_job_logs

PAGE = {"Accept": "text/html"}
PARCEL = "INSERT INTO awa.jobs_hot (kind, queue, args) VALUES ('parcel', 'post', '{}')"


async def test_an_unknown_name_gets_the_nearest(database_url) -> None:
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute(PARCEL)
    async with web_client(database_url) as client:
        queue = await client.get("/queues/pots", headers=PAGE)
        kind = await client.get("/kinds/parcle", headers=PAGE)

    assert (queue.status_code, kind.status_code) == (404, 404)
    assert 'did you mean: <a href="/queues/post">queue post</a>' in queue.text
    assert 'did you mean: <a href="/kinds/parcel">kind parcel</a>' in kind.text


async def test_nothing_can_be_clicked_where_nothing_may_be_changed(database_url) -> None:
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute(PARCEL)
    async with web_client(database_url, read_only=True) as client:
        for path in ("/queues", "/queues/post"):
            text = (await client.get(path)).text
            assert text.count("hx-post") == text.count("hx-post=") >= 2
            for button in text.split("<button")[1:]:
                if "hx-post" in button.partition(">")[0] or "?settings" in button.partition(">")[0]:
                    assert " disabled" in button.partition(">")[0]


async def test_each_attempt_says_whether_it_was_retried(database_url) -> None:
    entry = """'{"error": "no", "attempt": %s}'"""
    with psycopg.connect(database_url, autocommit=True) as conn:
        (job,) = conn.execute(
            "INSERT INTO awa.jobs_hot (kind, queue, args, state, attempt, max_attempts, errors)"
            " VALUES ('parcel', 'post', '{}', 'failed', 2, 2,"
            f" ARRAY[{entry % 1}, {entry % 2}]::jsonb[]) RETURNING id"
        ).fetchone()
    async with web_client(database_url) as client:
        page = (await client.get(f"/jobs/{job}", headers=PAGE)).text

    said = re.findall("<dt>retry</dt><dd>(.*?)</dd>", page)
    last = "none: it was the last of 2 attempts"
    assert [last, last, "yes"] == said


async def test_a_job_shows_what_its_newest_run_has_logged(database_url) -> None:
    lines = "\n".join(
        json.dumps({
            "time": "2026-01-01T00:00:00.250+00:00", "level": "ERROR", "logger": "shop",
            "message": f"<b>record {n}</b>\x1b[0m", "exception": "Trace:\n  <i>x</i>",
        })
        for n in range(150)
    )  # fmt: skip
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute(PARCEL)
        (job,) = conn.execute("SELECT id FROM awa.jobs").fetchone()
        async with web_client(database_url) as client:
            assert 'id="logs"' not in (await client.get(f"/jobs/{job}", headers=PAGE)).text
        run(conn, write_job_logs([RunLog(job, 5, 1, "", 9, 9)]))
        run(conn, write_job_logs([RunLog(job, 6, 2, lines, 153, 3)]))
    async with web_client(database_url) as client:
        page = (await client.get(f"/jobs/{job}", headers=PAGE)).text

    assert "attempt 2, the last 100 of 153 records" in page
    assert "&lt;b&gt;record 149&lt;/b&gt;\\x1b[0m\n    Trace:\n      &lt;i&gt;x&lt;/i&gt;\n" in page
    assert "record 50&lt;" in page
    assert "record 49&lt;" not in page
    assert f"awa job logs {job}" in page


async def test_a_dead_worker_is_told_with_what_became_of_its_jobs(database_url) -> None:
    with psycopg.connect(database_url, autocommit=True) as conn:
        instance(conn)
        (dead,) = conn.execute(
            "INSERT INTO awa.worker_processes (number, instance_id, hostname, pid, version, session,"
            " app_version, heartbeat_interval_ms, heartbeat_staleness_ms, started_at, last_seen_at,"
            " rescued_at) SELECT 1, instance_id, hostname, pid, version, 0, '2026.4', 3000, 10000,"
            " started_at, last_seen_at, clock_timestamp() FROM awa.runtime_instances"
            " RETURNING instance_id"
        ).fetchone()
    async with web_client(database_url) as client:
        pages = [await client.get(path, headers=PAGE) for path in ("/workers", f"/workers/{dead}")]
        shown = (await client.get(f"/api/runtime/{dead}")).json()

    for page in pages:
        assert re.search(r"silent \ds: its session has ended, its jobs were rescued", page.text)
        assert "2026.4" in page.text
    assert (shown["stale"], shown["session_ended"], shown["healthy"]) == (True, True, False)
    assert shown["app_version"] == "2026.4"
    assert shown["rescued_at"] is not None


@pytest.mark.parametrize("path", ["/queues", "/kinds", "/workers", "/cron", "/activity"])
async def test_an_empty_database_is_said_to_be_empty(api, path) -> None:
    page = await api.get(path, headers=PAGE)

    assert page.status_code == 200
    assert 'class="empty"' in page.text


@pytest.mark.parametrize(
    "path", ["/queues/q", "/kinds/k", "/workers/w", "/cron/c", "/queues/q%00", "/cron/c%00"]
)
async def test_what_nobody_knows_is_a_page(api, path) -> None:
    page = await api.get(path, headers=PAGE)

    assert page.status_code in {404, 422}
    assert 'aria-label="Navigation"' in page.text


async def test_changes_need_the_token(api) -> None:
    for path in ("/queues/q/pause", "/queues/q/settings", "/kinds/k/retry", "/cron/c/remove"):
        assert (await api.post(path, headers={"Origin": "http://evil.example"})).status_code == 403
