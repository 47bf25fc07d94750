"""Clients that are slow, wrong or many, and a database that is away or read-only."""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import suppress

import psycopg
import pytest
from fix_web import web_client

import awa_cli.web.server as web_server
from awa_cli.web import rate_limits


def talk(port: int, *parts: bytes, pause: float = 0.0, wait: float = 5.0) -> bytes:
    """Send parts with pauses and return all that comes back until the server hangs up."""
    with socket.create_connection(("127.0.0.1", port), timeout=wait) as sock:
        answer = b""
        with suppress(ConnectionError):
            for part in parts:
                sock.sendall(part)
                time.sleep(pause)
        with suppress(ConnectionError, TimeoutError):
            while block := sock.recv(65536):
                answer += block
        return answer


async def test_a_head_that_does_not_come_is_not_waited_for(server, monkeypatch) -> None:
    monkeypatch.setattr(web_server, "_HEAD_SECONDS", 0.5)
    port = server().port
    for parts in ([b""], [b"GET / HT"], [b"GET / HTTP/1.1\r\n", *[b"X: y\r\n"] * 20]):
        began = time.monotonic()
        answer = await asyncio.to_thread(talk, port, *parts, pause=0.1, wait=10)
        assert answer == b""
        assert time.monotonic() - began < 5


async def test_a_second_slow_head_on_one_connection_neither(server, monkeypatch) -> None:
    monkeypatch.setattr(web_server, "_HEAD_SECONDS", 0.5)
    port = server().port
    whole = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"

    answer = await asyncio.to_thread(
        talk,
        port,
        whole,
        *[b"GET /healthz HTTP/1.1\r\nA: b\r\n", *[b"X: y\r\n"] * 20],
        pause=0.1,
        wait=10,
    )

    assert answer.count(b"HTTP/1.1 200") == 1


async def test_slow_clients_do_not_keep_others_out(server) -> None:
    port = server().port
    slow = [socket.create_connection(("127.0.0.1", port)) for _ in range(200)]
    for one in slow:
        one.sendall(b"GET / HTTP/1.1\r\n")

    whole = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
    answer = await asyncio.to_thread(talk, port, whole)

    assert answer.startswith(b"HTTP/1.1 200")
    for one in slow:
        one.close()


async def test_a_body_that_does_not_come_is_not_waited_for(server, monkeypatch) -> None:
    monkeypatch.setattr(rate_limits, "_BODY_SECONDS", 0.3)
    head = (
        b"POST /api/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        b"Content-Length: 100\r\n\r\n{"
    )

    answer = await asyncio.to_thread(talk, server().port, head)

    assert answer.startswith(b"HTTP/1.1 408")


async def test_a_body_that_is_too_long_is_refused_before_it_is_read(server) -> None:
    port = server().port
    head = b"POST /api/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    told = await asyncio.to_thread(talk, port, head + b"Content-Length: 99999999999\r\n\r\n")
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    untold = await asyncio.to_thread(
        talk, port, head + b"Transfer-Encoding: chunked\r\n\r\n", *[chunk] * 40
    )

    assert told.startswith(b"HTTP/1.1 413")
    assert untold.startswith(b"HTTP/1.1 413") or untold == b""


@pytest.mark.parametrize(
    "text",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /api/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"POST /api/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"y" * 1_000_000 + b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
    ids=lambda text: repr(text[:20]),
)
async def test_what_is_no_request_is_refused(server, text, monkeypatch) -> None:
    monkeypatch.setattr(web_server, "_HEAD_SECONDS", 1.0)
    port = server().port

    answer = await asyncio.to_thread(talk, port, text)

    assert answer[:12] in {b"HTTP/1.1 400", b"HTTP/1.1 421", b"HTTP/1.1 431", b""}
    whole = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
    assert (await asyncio.to_thread(talk, port, whole)).startswith(b"HTTP/1.1 200")


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

    assert "'state'" in parameter["do"]
    assert "'failed'" in state["do"]
    assert "'queue'" in field["do"]


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


async def test_too_many_changes_are_slowed_down(database_url, monkeypatch) -> None:
    monkeypatch.setattr("awa_cli.web.guard._CHANGES", (0.01, 3))
    async with web_client(database_url) as api:
        codes = [(await api.post("/api/queues/q/resume")).status_code for _ in range(4)]
        looked = await api.get("/api/stats")

    assert codes == [200, 200, 200, 429]
    assert looked.status_code == 200


def test_buckets_are_forgotten_and_fill_again(monkeypatch) -> None:
    now = 0.0
    monkeypatch.setattr(rate_limits.time, "monotonic", lambda: now)
    buckets = rate_limits.Buckets(1, 2)

    assert [buckets.take("a") for _ in range(3)] == [True, True, False]
    now = 1.0
    assert [buckets.take("a") for _ in range(2)] == [True, False]
    for number in range(20_000):
        buckets.take(str(number))
    assert len(buckets._left) == 10_000


async def test_a_database_that_is_away_is_said_soon(database_url) -> None:
    nowhere = "postgresql://awa:s3cret@127.0.0.1:1/awa"
    async with web_client(nowhere) as client:
        for path in ("/api/stats", "/api/jobs", "/api/capabilities"):
            began = time.monotonic()
            response = await client.get(path)
            assert response.status_code == 503
            assert response.headers["retry-after"] == "1"
            assert time.monotonic() - began < 5
            assert "s3cret" not in response.text
        assert (await client.post("/api/queues/q/pause")).status_code == 503
        assert (await client.get("/healthz")).status_code == 200
        ready = await client.get("/readyz")
        metrics = await client.get("/metrics")
    assert ready.status_code == 503
    assert ready.json()["ready"] is False
    assert "cannot connect" in ready.json()["reasons"][0]
    assert "awa_up 0" in metrics.text


async def test_a_database_that_comes_back_is_used_again(database_url) -> None:
    name = database_url.rpartition("/")[2].partition("?")[0]
    async with web_client(database_url) as client:
        assert (await client.get("/api/stats")).status_code == 200
        with psycopg.connect(database_url.replace(name, "postgres"), autocommit=True) as admin:
            admin.execute(f'ALTER DATABASE "{name}" WITH ALLOW_CONNECTIONS false')
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
            )
            began = time.monotonic()
            away = await client.get("/api/stats")
            assert time.monotonic() - began < 12
            admin.execute(f'ALTER DATABASE "{name}" WITH ALLOW_CONNECTIONS true')
        until = time.monotonic() + 20
        while (back := await client.get("/api/stats")).status_code != 200:
            assert time.monotonic() < until
            await asyncio.sleep(0.2)

    assert (away.status_code, back.status_code) == (503, 200)


async def test_an_empty_database_is_told(empty_database_url) -> None:
    async with web_client(empty_database_url) as client:
        response = await client.get("/api/stats")
        ready = await client.get("/readyz")

    assert response.status_code == 503
    assert response.json()["do"] == "apply the migrations: awa migrate"
    assert ready.status_code == 503
    assert "migrations are pending" in ready.json()["reasons"][0]


PUBLISHED = "awa serve is connected to a read-only database; admin actions are disabled"


async def test_a_forced_read_only_server_changes_nothing(database_url, add, db) -> None:
    job_id = add("failed")
    async with web_client(database_url, read_only=True) as client:
        assert (await client.get("/api/capabilities")).json()["read_only"] is True
        assert (await client.get("/api/jobs")).status_code == 200
        for path in (f"/api/jobs/{job_id}/retry", "/api/queues/q/pause"):
            response = await client.post(path)
            assert (response.status_code, response.json()["error"]) == (503, PUBLISHED)
    assert db.execute("SELECT state::text FROM awa.jobs_hot").fetchone() == ("failed",)


async def test_a_database_made_read_only_is_noticed(database_url, add, db) -> None:
    job_id = add("failed")
    name = database_url.rpartition("/")[2].partition("?")[0]
    db.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    async with web_client(database_url) as client:
        capabilities = (await client.get("/api/capabilities")).json()
        response = await client.post(f"/api/jobs/{job_id}/retry")

    assert capabilities["read_only"] is True
    assert (response.status_code, response.json()["error"]) == (503, PUBLISHED)


async def test_a_preview_is_no_change(database_url, add) -> None:
    add("failed", kind="k")
    async with web_client(database_url, read_only=True) as client:
        response = await client.post(
            "/api/batch-ops/preview", json={"operation": "retry", "kind": "k"}
        )

    assert response.json() == {"total_matched": 1, "sample": [1], "states": {"failed": 1}}
