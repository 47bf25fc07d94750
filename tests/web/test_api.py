"""What the API has beyond awa 0.5."""

from __future__ import annotations

import json

import pytest
from fix_web import web_client

from awa_cli.redact import Redactor
from awa_cli.web.path_names import step
from awa_lib.db.drive import run
from awa_lib.ops.job_logs import RunLog, write_job_logs


async def test_a_job_is_enqueued_whole(api, db) -> None:
    body = {
        "kind": "mail",
        "args": {"to": "x"},
        "queue": "q",
        "priority": 1,
        "max_attempts": 3,
        "tags": ["t"],
        "metadata": {"m": 1},
        "run_at": "2030-01-01T00:00:00Z",
        "concurrency_key": "c",
    }
    made = (await api.post("/api/jobs", json=body)).json()

    for name in ("kind", "args", "queue", "priority", "max_attempts", "tags", "run_at"):
        assert made[name] == body[name], name
    assert made["metadata"]["m"] == 1
    assert made["state"] == "scheduled"


async def test_a_unique_job_is_refused_while_another_lives(api) -> None:
    body = {"kind": "k", "args": {"a": 1}, "unique_by": ["args"]}

    codes = [(await api.post("/api/jobs", json=body)).status_code for _ in range(2)]
    other = await api.post("/api/jobs", json={**body, "args": {"a": 2}})

    assert codes == [200, 409]
    assert other.status_code == 200


async def test_a_job_is_changed_in_every_way(api, add, db) -> None:
    job_id = add("available", queue="q")

    assert (await api.post(f"/api/jobs/{job_id}/priority", json={"priority": 1})).json()[
        "priority"
    ] == 1
    assert (await api.post(f"/api/jobs/{job_id}/move", json={"to_queue": "z"})).json()[
        "queue"
    ] == "z"
    assert (await api.post(f"/api/jobs/{job_id}/delete")).status_code == 409
    await api.post(f"/api/jobs/{job_id}/cancel")
    assert (await api.post(f"/api/jobs/{job_id}/delete")).json() == {"ok": True}
    assert (await api.get(f"/api/jobs/{job_id}")).status_code == 404


async def test_dump_and_run_are_those_of_the_command(api, add, cli) -> None:
    error = '{"error": "boom", "attempt": 1, "at": "2026-01-01T00:00:00+00:00"}'
    job_id = add("failed", attempt=2, errors=[error])

    assert (await api.get(f"/api/jobs/{job_id}/dump")).json() == cli("job", "dump", job_id).data
    assert (await api.get(f"/api/jobs/{job_id}/run?attempt=1")).json() == cli(
        "job", "dump-run", job_id, "--attempt", "1"
    ).data
    assert (await api.get(f"/api/jobs/{job_id}/run?attempt=7")).status_code == 404


async def test_logs_of_a_job_and_of_an_attempt(api, add, db) -> None:
    line = {"time": "2026-01-01T00:00:00.250+00:00", "level": "INFO", "logger": "shop"}
    job_id = add("failed", attempt=2)
    for attempt in (1, 2):
        text = json.dumps(line | {"message": f"attempt {attempt}"})
        run(db, write_job_logs([RunLog(job_id, attempt * 10, attempt, text, 3, 2)]))

    first, second = (await api.get(f"/api/jobs/{job_id}/logs")).json()
    assert (first["attempt"], first["run_lease"], first["dropped"]) == (1, 10, 2)
    assert first["records"] == [
        {
            "time": "2026-01-01T00:00:00.250Z", "level": "INFO", "logger": "shop",
            "message": "attempt 1", "exception": None,
        }
    ]  # fmt: skip
    assert (await api.get(f"/api/jobs/{job_id}/logs?attempt=2")).json() == [second]
    assert (await api.get(f"/api/jobs/{job_id}/logs?attempt=7")).json() == []
    assert (await api.get("/api/jobs/999/logs")).status_code == 404
    assert (await api.get(f"/api/jobs/{job_id}/logs?attempt=x")).status_code == 422


async def test_all_failed_jobs_of_a_kind_or_a_queue(api, add) -> None:
    add("failed", kind="a", queue="x")
    add("failed", kind="a", queue="y")
    add("failed", kind="b", queue="y")

    assert (await api.post("/api/jobs/retry-failed", json={"queue": "x"})).json() == {"count": 1}
    assert (await api.post("/api/jobs/retry-failed", json={"kind": "a"})).json() == {"count": 1}
    assert (await api.post("/api/jobs/discard-failed", json={"kind": "b"})).json() == {"count": 1}
    for body in ({}, {"kind": "a", "queue": "x"}):
        assert (await api.post("/api/jobs/retry-failed", json=body)).status_code == 422


async def test_settings_of_a_queue(api) -> None:
    path = "/api/queues/q/settings"
    made = (await api.post(path, json={"max_running": 3, "max_rate": 5, "burst": 10})).json()
    less = (await api.post(path, json={"max_running": None})).json()

    assert (made["max_running"], made["max_rate"], made["burst"]) == (3, 5, 10)
    assert (less["max_running"], less["max_rate"]) == (None, 5)
    assert (await api.get(path)).json() == less
    for body in ({}, {"burst": 3}, {"max_running": -1}, {"max_rate": 0}, {"nope": 1}):
        assert (await api.post(path, json=body)).status_code == 422, body


async def test_details_of_a_queue(api, add) -> None:
    add("failed", queue="q")
    await api.post("/api/queues/q/dead-letters", json={"enabled": True})

    found = (await api.get("/api/queues/q/details")).json()

    assert set(found) == {"overview", "policy", "workers", "dead_letters"}
    assert found["policy"]["dead_letters"] is True


async def test_dead_letters_from_end_to_end(api, add) -> None:
    one, two, three = (add("failed", kind=kind, queue="q") for kind in "abc")

    moved = (await api.post(f"/api/jobs/{one}/dead-letter", json={"reason": "bad"})).json()
    assert (moved["id"], moved["reason"]) == (one, "bad")
    assert (await api.post("/api/dlq/move", json={"queue": "q"})).json() == {"count": 2}
    assert (await api.get("/api/dlq/depth")).json() == {"total": 3, "queues": {"q": 3}}
    assert [row["id"] for row in (await api.get("/api/dlq?limit=2")).json()] == [three, two]
    assert (await api.get(f"/api/dlq/{one}")).json() == moved
    assert (await api.post(f"/api/dlq/{one}/retry", json={"priority": 1})).json()[
        "state"
    ] == "available"
    assert (await api.post(f"/api/dlq/{two}/purge")).json() == {"ok": True}
    assert (await api.post("/api/dlq/retry", json={"kind": "c"})).json() == {"count": 1}
    assert (await api.post("/api/dlq/purge", json={"all": True})).json() == {"count": 0}
    assert (await api.post("/api/dlq/purge", json={})).status_code == 422


async def test_bulk_operations_with_a_preview(api, add) -> None:
    for _ in range(3):
        add("failed", kind="k")
    body = {"operation": "retry", "kind": "k"}

    preview = (await api.post("/api/batch-ops/preview", json=body)).json()
    made = (await api.post("/api/batch-ops", json=body)).json()
    listed = (await api.get("/api/batch-ops?state=pending")).json()
    stopped = (await api.post(f"/api/batch-ops/{made['id']}/cancel")).json()

    assert preview["total_matched"] == made["total_matched"] == 3
    assert [one["id"] for one in listed] == [made["id"]]
    assert stopped["state"] == "cancelled"
    assert (await api.post(f"/api/batch-ops/{made['id']}/cancel")).status_code == 409
    assert (await api.get(f"/api/batch-ops/{made['id']}")).json() == stopped


async def test_schedules_are_paused_shown_and_removed(api, db) -> None:
    db.execute(
        "INSERT INTO awa.cron_jobs (name, cron_expr, timezone, kind)"
        " VALUES ('s', '0 2 * * *', 'Pacific/Auckland', 'k')"
    )
    fires = (await api.get("/api/cron/s/fires?count=3")).json()
    shown = (await api.get("/api/cron/s/fires?count=1&zone=UTC")).json()

    assert [one["local"][11:13] for one in fires] == ["02"] * 3
    assert shown[0]["local"].endswith("+00:00")
    assert (await api.post("/api/cron/s/pause")).json()["paused_by"] == "local"
    assert (await api.post("/api/cron/s/resume")).json()["paused_at"] is None
    assert (await api.post("/api/cron/s/remove")).json() == {"ok": True}
    assert (await api.post("/api/cron/s/remove")).status_code == 404
    assert (await api.get("/api/cron/s/fires")).status_code == 404


async def test_the_audit_log_is_that_of_the_command(api, cli) -> None:
    await api.post("/api/queues/q/pause")
    cli("queue", "resume", "q")

    entries = (await api.get("/api/audit")).json()

    assert entries == cli("audit", "-o", "json").data
    assert [one["via"] for one in entries] == ["cli", "web"]
    assert (await api.get("/api/audit?action=queue.pause")).json() == entries[1:]


async def test_answers_are_cached_and_any_change_empties_the_cache(database_url, add) -> None:
    async with web_client(database_url, cache_seconds=60.0) as api:
        assert (await api.get("/api/stats")).json()["available"] == 0
        add("available")
        assert (await api.get("/api/stats")).json()["available"] == 0
        await api.post("/api/queues/q/resume")
        assert (await api.get("/api/stats")).json()["available"] == 1


async def test_hidden_values_are_hidden_everywhere(database_url, add, db) -> None:
    secret = '{"user": {"api_token": "s3cret", "name": "n"}, "list": [{"PASSWORD": "s3cret"}]}'
    job_id = add(
        "failed", args=secret, metadata=secret, progress=f'{{"metadata": {secret}}}', queue="q"
    )
    db.execute(
        "INSERT INTO awa.cron_jobs (name, cron_expr, kind, args) VALUES ('s', '* * * * *', 'k', %s)",
        [secret],
    )
    async with web_client(database_url, redactor=Redactor("password|token")) as api:
        await api.post(f"/api/jobs/{job_id}/dead-letter")
        other = add("failed", args=secret)
        for path in (
            "/api/jobs",
            f"/api/jobs/{other}",
            f"/api/jobs/{other}/dump",
            f"/api/jobs/{other}/run",
            "/api/dlq",
            f"/api/dlq/{job_id}",
            "/api/cron",
            "/api/cron/s",
            "/",
        ):
            response = await api.get(path)
            assert response.status_code == 200, path
            assert "s3cret" not in response.text, path
        retried = await api.post(f"/api/jobs/{other}/retry")
        shown = (await api.get(f"/api/jobs/{other}")).json()

    assert "s3cret" not in retried.text
    assert shown["args"] == {
        "user": {"api_token": "***", "name": "n"},
        "list": [{"PASSWORD": "***"}],
    }
    assert shown["unique_key"] is None


async def test_the_server_is_mounted_in_an_application(database_url, add) -> None:
    import httpx
    from fastapi import FastAPI

    from awa_cli.web import create_app

    add(queue="a/b")
    inner = create_app(database_url)
    outer = FastAPI()
    outer.mount("/awa", inner)
    transport = httpx.ASGITransport(outer)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        listed = await client.get("/awa/api/queues")
        named = await client.get("/awa/api/queues/a%2Fb")
        page = await client.get("/awa/queues")
        missing = await client.get("/awa/api/nope")
        healthy = await client.get("/awa/readyz")
    await inner.state.awa.close()

    assert listed.json()[0]["queue"] == named.json()["queue"] == "a/b"
    assert 'href="/awa/queues"' in page.text
    assert 'href="/awa/static/app.css' in page.text
    assert (missing.status_code, missing.headers["content-type"]) == (404, "application/json")
    assert healthy.json()["ready"] is True


@pytest.mark.parametrize("path", ["/", "/queues"])
async def test_the_first_pages(api, add, path) -> None:
    add("failed", queue="q", finalized_at="now")

    page = await api.get(path)

    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert "q" in page.text


async def test_a_page_pauses_a_queue(api, add) -> None:
    add(queue="a/b")
    token = (await api.get("/queues")).cookies["awa_csrf"]
    headers = {"Origin": "http://127.0.0.1:3000", "X-CSRF-Token": token}

    row = await api.post("/queues/a%2Fb/pause", headers=headers)

    assert row.status_code == 204
    assert json.loads(row.headers["hx-trigger"])["notice"]["text"] == "Paused queue 'a/b'"
    assert 'hx-post="/queues/a%2Fb/resume"' in (await api.get("/queues")).text
    assert (await api.get("/api/audit")).json()[0]["action"] == "queue.pause"


@pytest.mark.parametrize("name", ["a\nb", "a\n", "a/b", "a b"])
async def test_every_name_of_a_queue_is_found(api, add, name) -> None:
    add(queue=name)

    for path in (f"/api/queues/{step(name)}", f"/api/queues/{step(name)}/details"):
        answer = await api.get(path)
        assert answer.status_code == 200, answer.text
    assert (await api.get(f"/api/queues/{step(name)}")).json()["queue"] == name
