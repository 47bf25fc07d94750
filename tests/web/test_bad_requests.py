"""Requests that the API cannot answer, and what it says about them."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/nope", 404),
        ("GET", "/api/", 404),
        ("GET", "/api", 404),
        ("GET", "/api/jobs/1/2/3", 404),
        ("GET", "/nope", 404),
        ("DELETE", "/api/jobs", 405),
        ("GET", "/api/queues/q/pause", 405),
        ("POST", "/api/stats", 405),
        ("POST", "/api/events", 405),
        ("GET", "/api/jobs/x", 422),
        ("GET", "/api/jobs/0", 422),
        ("GET", "/api/jobs/99999999999999999999", 422),
        ("GET", "/api/jobs/1", 404),
        ("GET", "/api/jobs?limit=-1", 422),
        ("GET", "/api/jobs?limit=1&limit=2", 422),
        ("GET", "/api/jobs?stat=failed", 422),
        ("GET", "/api/jobs?state=faild", 422),
        ("GET", "/api/jobs?tag=%00", 422),
        ("GET", "/api/jobs?tag=%ff", 422),
        ("GET", "/api/queues/%ff", 422),
        ("GET", "/api/queues/a%00", 422),
        ("GET", "/api/jobs?" + "&".join(f"tag={n}" for n in range(500)), 422),
        ("POST", "/api/queues/q/pause?x=1", 422),
        ("POST", "/api/queues/" + "q" * 201 + "/pause", 422),
    ],
)
async def test_what_cannot_be_is_said_in_json(api, method, path, status) -> None:
    response = await api.request(method, path)

    assert response.status_code == status
    assert set(response.json()) == {"error", "what", "why", "do"}
    assert response.json()["error"] == response.json()["what"]
    if status == 405:
        assert response.headers["allow"]


async def test_the_nearest_known_name_is_told(api) -> None:
    parameter = (await api.get("/api/jobs?stat=failed")).json()
    state = (await api.get("/api/jobs?state=faild")).json()
    field = (await api.post("/api/jobs", json={"kind": "k", "qeue": "x"})).json()

    assert "state" in parameter["do"]
    assert "failed" in state["do"]
    assert "queue" in field["do"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"1",
        b"\xff",
        b'{"kind": 1}',
        b'{"kind": ""}',
        b'{"kind": "k", "args": [1]}',
        b'{"kind": "\\u0000"}',
        b'{"kind": "k", "priority": 9}',
    ],
)
async def test_malformed_bodies_enqueue_nothing(api, db, body) -> None:
    response = await api.post(
        "/api/jobs", content=body, headers={"Content-Type": "application/json"}
    )

    assert response.status_code in {400, 422}
    assert db.execute("SELECT count(*) FROM awa.jobs").fetchone() == (0,)


async def test_head_is_get_without_a_body(server) -> None:
    import httpx

    async with httpx.AsyncClient(base_url=server().url) as client:
        response = await client.head("/api/stats")

    assert (response.status_code, response.content) == (200, b"")
