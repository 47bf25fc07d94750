"""A server that takes no changes."""

from __future__ import annotations

from fix_web import web_client

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
