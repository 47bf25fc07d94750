"""A connection of a client keeps its cursor: what a statement leaves does not reach the next."""

from __future__ import annotations

import weakref

import psycopg
import pytest

import awa_lib as awa


def test_statements_follow_each_other_on_one_connection(database_url: str) -> None:
    with awa.Client(database_url, 1) as client:
        many = client.insert_many_copy([{"n": n} for n in range(1_500)], kind="k")
        first = client.insert({"n": 0}, kind="k", unique_opts={"by_args": True})
        for _ in range(2):
            with pytest.raises(awa.UniqueConflict):
                client.insert({"n": 0}, kind="k", unique_opts={"by_args": True})
            assert len(client.list_jobs(limit=1_000)) == 1_000
            with pytest.raises(awa.JobNotFound):
                client.cancel(first.id + 100)
            assert client.get_job(many[0].id).args == {"n": 0}
            assert client.list_failures() == []


async def test_statements_of_an_async_client_follow_each_other(database_url: str) -> None:
    async with awa.AsyncClient(database_url, 1) as client:
        first = await client.insert({"n": 0}, kind="k", unique_opts={"by_args": True})
        for _ in range(2):
            with pytest.raises(awa.UniqueConflict):
                await client.insert({"n": 0}, kind="k", unique_opts={"by_args": True})
            await client.insert_many_copy([{"n": n} for n in range(1_500)], kind="k")
            assert (await client.get_job(first.id)).args == {"n": 0}
            assert await client.list_failures() == []


def test_a_callers_connection_is_freed_with_its_last_use(database_url: str) -> None:
    conn = psycopg.connect(database_url)
    awa.Client.on(conn).insert({}, kind="k")
    conn.close()
    gone = weakref.ref(conn)
    del conn

    assert gone() is None


async def test_an_async_callers_connection_is_freed_with_its_last_use(database_url: str) -> None:
    conn = await psycopg.AsyncConnection.connect(database_url)
    await awa.AsyncClient.on(conn).insert({}, kind="k")
    await conn.close()
    gone = weakref.ref(conn)
    del conn

    assert gone() is None
