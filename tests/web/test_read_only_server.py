"""A server that takes no changes."""

from __future__ import annotations

import uuid

import psycopg
from fix_web import web_client
from psycopg.conninfo import make_conninfo

from awa_lib.db.drive import run
from awa_lib.ops.roles import apply_roles

REFUSAL = "awa serve is connected to a read-only database; admin actions are disabled"


async def test_a_forced_read_only_server_changes_nothing(database_url, add, db) -> None:
    job_id = add("failed")
    async with web_client(database_url, read_only=True) as client:
        assert (await client.get("/api/capabilities")).json()["read_only"] is True
        assert (await client.get("/api/jobs")).status_code == 200
        for path in (f"/api/jobs/{job_id}/retry", "/api/queues/q/pause"):
            response = await client.post(path)
            assert (response.status_code, response.json()["error"]) == (503, REFUSAL)
    assert db.execute("SELECT state::text FROM awa.jobs_hot").fetchone() == ("failed",)


async def test_a_database_made_read_only_is_noticed(database_url, add, db) -> None:
    job_id = add("failed")
    name = database_url.rpartition("/")[2].partition("?")[0]
    db.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    async with web_client(database_url) as client:
        capabilities = (await client.get("/api/capabilities")).json()
        response = await client.post(f"/api/jobs/{job_id}/retry")

    assert capabilities["read_only"] is True
    assert (response.status_code, response.json()["error"]) == (503, REFUSAL)


async def test_a_preview_is_no_change(database_url, add) -> None:
    add("failed", kind="k")
    async with web_client(database_url, read_only=True) as client:
        response = await client.post(
            "/api/batch-ops/preview", json={"operation": "retry", "kind": "k"}
        )

    assert response.json() == {"total_matched": 1, "sample": [1], "states": {"failed": 1}}


async def test_a_role_that_may_only_read_is_noticed(sound_url) -> None:
    prefix = f"w{uuid.uuid4().hex[:8]}_"
    with psycopg.connect(sound_url, autocommit=True) as admin:
        run(admin, apply_roles(prefix))
        (job_id,) = admin.execute(
            "INSERT INTO awa.jobs_hot (kind, queue, state, args)"
            " VALUES ('k', 'q', 'failed', '{}') RETURNING id"
        ).fetchone()

    def login(purpose: str) -> str:
        return make_conninfo(sound_url, user=prefix + purpose)

    async with web_client(login("readonly")) as client:
        capabilities = (await client.get("/api/capabilities")).json()
        refused = await client.post(f"/api/jobs/{job_id}/retry")
        page = (await client.get(f"/jobs/{job_id}", headers={"Accept": "text/html"})).text
    assert capabilities["read_only"] is True
    assert refused.status_code == 503
    assert refused.json()["why"] == "the role that it logs in with may only read"
    assert "read-only" in page
    assert 'hx-post="/jobs/' in page
    assert page.count('hx-post="/jobs/') == page.count('title="Changes are not allowed here."')
    async with web_client(login("runtime")) as client:
        assert (await client.get("/api/capabilities")).json()["read_only"] is False
        assert (await client.post(f"/api/jobs/{job_id}/retry")).status_code == 200
    async with web_client(login("producer")) as client:
        assert (await client.get("/api/capabilities")).json()["read_only"] is False
