"""Tasks and threads that share a transaction or a connection take turns; a cut leaves no half."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from fix_bridge import asyncpg_target
from fix_wait import aeventually, eventually

import awa_lib as awa

# Two statements in a savepoint, of which the second fails: all of it is undone.
FAILING = [{"n": n} for n in range(1500)] + [{"n": 0}]


@pytest.fixture
def slow(look):
    """A table, and a lock on the jobs that makes the first insert wait until it is let go."""
    look("CREATE TABLE mine (n int)")
    look("BEGIN")
    look("LOCK TABLE awa.jobs_hot IN SHARE MODE")
    yield look
    look("ROLLBACK")


def waits(url: str) -> bool:
    with psycopg.connect(url, autocommit=True) as conn:
        row = conn.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        ).fetchone()
    return row == (1,)


async def together(url: str, look, first, second) -> list:
    """Start the second while the first waits inside its savepoint, then let it go."""
    tasks = [asyncio.create_task(first)]
    await aeventually(lambda: waits(url))
    tasks.append(asyncio.create_task(second))
    await asyncio.sleep(0.05)
    look("ROLLBACK")
    return await asyncio.gather(*tasks, return_exceptions=True)


async def test_statement_of_another_task_is_not_undone(database_url, slow) -> None:
    async with awa.AsyncClient(database_url) as client, client.transaction() as tx:
        done = await together(
            database_url, slow, tx.insert_many(FAILING, kind="u", unique_opts={}),
            tx.execute("INSERT INTO mine VALUES (1)"),
        )  # fmt: skip

    assert (type(done[0]), done[1]) == (awa.UniqueConflict, 1)
    assert slow("SELECT n FROM mine") == [{"n": 1}]


async def test_callers_own_statement_in_another_task_is_not_undone(database_url, slow) -> None:
    async with await psycopg.AsyncConnection.connect(database_url) as conn:
        client = awa.AsyncClient(database_url).using(conn)
        done = await together(
            database_url, slow, client.insert_many(FAILING, kind="u", unique_opts={}),
            conn.execute("INSERT INTO mine VALUES (1)"),
        )  # fmt: skip

    assert type(done[0]) is awa.UniqueConflict
    assert slow("SELECT n FROM mine") == [{"n": 1}]


async def test_verbs_of_tasks_take_turns_on_an_asyncpg_connection(database_url, slow) -> None:
    import asyncpg

    conn = await asyncpg.connect(**asyncpg_target(database_url))
    client = awa.AsyncClient(database_url).using(conn)
    try:
        async with conn.transaction():
            done = await together(
                database_url, slow, client.insert_many(FAILING, kind="u", unique_opts={}),
                client.insert({}, kind="other"),
            )  # fmt: skip
    finally:
        await conn.close()

    assert (type(done[0]), type(done[1])) == (awa.UniqueConflict, awa.Job)
    assert slow("SELECT kind FROM awa.jobs") == [{"kind": "other"}]


@pytest.mark.parametrize("owner", ["transaction", "connection"])
def test_threads_take_turns(database_url, slow, owner: str) -> None:
    with (
        awa.Client(database_url) as client,
        psycopg.connect(database_url) as conn,
        ThreadPoolExecutor(2) as threads,
    ):
        tx = client.transaction() if owner == "transaction" else client.using(conn)
        execute = tx.execute if owner == "transaction" else conn.execute
        first = threads.submit(tx.insert_many, FAILING, kind="u", unique_opts={})
        eventually(lambda: waits(database_url))
        second = threads.submit(execute, "INSERT INTO mine VALUES (1)")
        slow("ROLLBACK")
        with pytest.raises(awa.UniqueConflict):
            first.result(20)
        second.result(20)
        (tx if owner == "transaction" else conn).commit()

    assert slow("SELECT n FROM mine") == [{"n": 1}]


async def test_cancelled_statement_is_said_at_commit(database_url, look) -> None:
    look("CREATE TABLE mine (n int)")
    async with awa.AsyncClient(database_url, 1) as client:
        with pytest.raises(awa.DatabaseError, match="rolled back, not committed") as caught:
            async with client.transaction() as tx:
                await tx.execute("INSERT INTO mine VALUES (1)")
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.1):
                        await tx.execute("SELECT pg_sleep(30)")
        assert "cancelled" in str(caught.value.why)
        await client.insert({}, kind="after")

    assert look("SELECT n FROM mine") == []
    assert look("SELECT kind FROM awa.jobs") == [{"kind": "after"}]


async def test_cancelled_while_another_task_works_the_transaction_still_ends(
    database_url, look
) -> None:
    async with awa.AsyncClient(database_url, 1) as client:
        tx = await client.transaction()
        busy = asyncio.create_task(tx.execute("SELECT pg_sleep(0.3)"))
        await aeventually(tx._turn.locked)
        ending = asyncio.create_task(tx.rollback())
        await asyncio.sleep(0)
        ending.cancel()
        await asyncio.gather(busy, ending, return_exceptions=True)
        # The only connection of the client is free again.
        assert (await client.insert({}, kind="after")).kind == "after"


async def test_cancelled_verb_leaves_the_callers_transaction_as_it_was(database_url, slow) -> None:
    async with await psycopg.AsyncConnection.connect(database_url) as conn:
        client = awa.AsyncClient(database_url).using(conn)
        await conn.execute("INSERT INTO mine VALUES (1)")
        task = asyncio.create_task(client.insert_many([{"n": n} for n in range(1500)], kind="u"))
        await aeventually(lambda: waits(database_url))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        slow("ROLLBACK")
        await client.insert({}, kind="after")

    assert slow("SELECT n FROM mine") == [{"n": 1}]
    assert slow("SELECT kind FROM awa.jobs") == [{"kind": "after"}]


def test_first_use_by_many_threads_at_once(database_url) -> None:
    with psycopg.connect(database_url) as conn, ThreadPoolExecutor(8) as threads:
        client, gate = awa.Client(database_url).using(conn), threading.Barrier(8)

        def insert(n: int) -> int:
            gate.wait(10)
            return len(client.insert_many([{"n": n}] * 1001, kind="k"))

        assert list(threads.map(insert, range(8), timeout=30)) == [1001] * 8
