"""A server whose database is unreachable, or has no schema."""

from __future__ import annotations

import asyncio
import time

import psycopg
from fix_web import web_client


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
                "SELECT pg_terminate_backend(pid, 10_000) FROM pg_stat_activity WHERE datname = %s",
                [name],
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
