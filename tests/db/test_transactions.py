"""Transactions of a client, and clients on borrowed connections, in both flavours."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import psycopg
import pytest
from fix_clients import make_client

import awa_lib as awa


def count(look) -> int:
    (row,) = look("SELECT count(*) AS n FROM awa.jobs")
    return row["n"]


async def test_commit_at_the_end_of_the_block(client, look, heard) -> None:
    async with client.transaction() as tx:
        job = await tx.insert({"n": 1})
        many = await tx.insert_many([{"n": 2}, {"n": 3}])
        assert (count(look), heard()) == (0, [])

    assert [row["id"] for row in look("SELECT id FROM awa.jobs ORDER BY id")] == [
        job.id, *(one.id for one in many),
    ]  # fmt: skip
    assert heard() == [("awa:default", "")]


async def test_rollback_on_an_exception(client, look, heard) -> None:
    with pytest.raises(ZeroDivisionError):
        async with client.transaction() as tx:
            await tx.insert({"n": 1})
            await tx.insert_many([{"n": n} for n in range(1500)])
            raise ZeroDivisionError

    assert (count(look), heard()) == (0, [])


@pytest.mark.parametrize(("end", "left"), [("commit", 1), ("rollback", 0)])
async def test_explicit_end(client, look, end, left) -> None:
    async with client.transaction() as tx:
        await tx.insert({"n": 1})
        await getattr(tx, end)()
        assert count(look) == left
        for verb, args in [("insert", [{}]), ("execute", ["SELECT 1"]), ("commit", []),
                           ("rollback", []), ("fetch_all", ["SELECT 1"])]:  # fmt: skip
            with pytest.raises(awa.AwaError, match="already committed or rolled back"):
                await getattr(tx, verb)(*args)

    assert count(look) == left


async def test_transaction_outside_a_block(client, look) -> None:
    tx = client.begin()
    await tx.insert({"n": 1})
    await tx.commit()

    assert count(look) == 1


async def test_unused_transaction_takes_no_connection(client, look) -> None:
    await client.begin().commit()
    await client.begin().rollback()

    assert look("SELECT 1 FROM pg_stat_activity WHERE application_name = 'awa'"
                " AND datname = current_database()") == []  # fmt: skip


async def test_swallowed_error_is_not_a_silent_rollback(client, look) -> None:
    with pytest.raises(awa.DatabaseError, match="rolled back, not committed"):
        async with client.transaction() as tx:
            await tx.insert({"n": 1})
            with pytest.raises(awa.DatabaseError):
                await tx.execute("SELECT 1/0")

    assert count(look) == 0
    assert (await client.insert({"n": 2})).args == {"n": 2}


async def test_deferred_constraint_fails_the_commit(client, look) -> None:
    look("CREATE TABLE t (a int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
    with pytest.raises(awa.DatabaseError, match="duplicate key") as caught:
        async with client.transaction() as tx:
            await tx.insert({"n": 1})
            await tx.execute("INSERT INTO t VALUES (1), (1)")

    assert caught.value.sqlstate == "23505"
    assert count(look) == 0


async def test_unique_conflict_in_a_transaction(client, look) -> None:
    await client.insert({"n": 1}, unique_opts={})
    with pytest.raises(awa.UniqueConflict):
        async with client.transaction() as tx:
            await tx.insert({"n": 2})
            await tx.insert({"n": 1}, unique_opts={})

    assert count(look) == 1


async def test_large_insert_in_a_transaction_is_a_savepoint(client, look) -> None:
    async with client.transaction() as tx:
        await tx.insert({"n": 1}, unique_opts={})
        with pytest.raises(awa.UniqueConflict):
            await tx.insert_many([{"n": n + 1} for n in reversed(range(1500))], unique_opts={})
        await tx.insert({"n": 9000})

    assert sorted(row["args"]["n"] for row in look("SELECT args FROM awa.jobs")) == [1, 9000]


async def test_statements_and_values(client, look) -> None:
    look("CREATE TABLE t (a int, b text, c jsonb, d timestamptz, e numeric, f uuid, g int[])")
    when, uuid = datetime(2020, 1, 2, tzinfo=UTC), UUID(int=7)
    async with client.transaction() as tx:
        done = await tx.execute(
            "INSERT INTO t VALUES ($1, $2, $3, $4, $5, $6, $7), ($1 + 1, $2, $3, $4, $5, $6, $7)",
            1, "x%s$1", {"k": [1]}, when, Decimal("1.50"), uuid, [1, 2],
        )  # fmt: skip
        one = await tx.fetch_one("SELECT * FROM t WHERE a = $1", 1)
        many = await tx.fetch_all("SELECT a FROM t WHERE a = ANY($1) ORDER BY a", [1, 2, 3])
        none = await tx.fetch_optional("SELECT a FROM t WHERE a = $1", None)
        some = await tx.fetch_optional("SELECT a FROM t ORDER BY a DESC")
        empty = await tx.fetch_all("SELECT a FROM t WHERE false")
        with pytest.raises(awa.DatabaseError, match="no rows returned"):
            await tx.fetch_one("SELECT a FROM t WHERE a = 99")
        gone = await tx.execute("DELETE FROM t WHERE b LIKE 'x%'")

    assert (done, gone) == (2, 2)
    assert one == {"a": 1, "b": "x%s$1", "c": {"k": [1]}, "d": when, "e": Decimal("1.50"),
                   "f": uuid, "g": [1, 2]}  # fmt: skip
    assert (many, none, some, empty) == ([{"a": 1}, {"a": 2}], None, {"a": 2}, [])


async def test_errors_of_statements_are_ours(client) -> None:
    with pytest.raises(awa.DatabaseError) as caught:
        async with client.transaction() as tx:
            await tx.execute("SELECT nonsense")
    assert caught.value.sqlstate == "42703"
    with pytest.raises(awa.DatabaseError, match="cannot adapt"):
        async with client.transaction() as tx:
            await tx.execute("SELECT $1", object())


async def test_both_ways_to_enter_an_async_transaction(database_url, look) -> None:
    async with awa.AsyncClient(database_url) as client:
        async with client.transaction() as tx:
            await tx.insert({"n": 1})
        async with await client.transaction() as tx:
            await tx.insert({"n": 2})
        tx = await client.transaction()
        await tx.insert({"n": 3})
        await tx.commit()

    assert count(look) == 3


async def test_cancelled_task_gives_its_connection_back(database_url, look) -> None:
    async with awa.AsyncClient(database_url, 1) as client:
        started = asyncio.Event()

        async def slow() -> None:
            async with client.transaction() as tx:
                await tx.insert({"n": 1})
                started.set()
                await tx.execute("SELECT pg_sleep(60)")

        task = asyncio.create_task(slow())
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await client.insert({"n": 2})

    assert [row["args"] for row in look("SELECT args FROM awa.jobs")] == [{"n": 2}]


# -- borrowed connections


@pytest.mark.parametrize("autocommit", [True, False])
async def test_using_stays_in_the_callers_transaction(
    client, database_url, look, autocommit
) -> None:
    async with client.using(database_url, autocommit=autocommit) as (conn, bound):
        if autocommit:
            await conn.execute("BEGIN")
        await bound.insert_many_copy([{"n": n} for n in range(3)])
        await bound.insert_many([{"n": n} for n in range(1500)])
        await bound.insert({"n": 1})
        async with bound.transaction() as tx:
            await tx.insert({"n": 2})
        await bound.close()
        assert count(look) == 0
        await conn.rollback()
        assert count(look) == 0

        await bound.insert({"n": 3})
        await conn.commit()

    assert count(look) == 1


async def test_using_keeps_the_work_before_a_failed_verb(client, database_url, look) -> None:
    await client.insert({"n": 1500}, unique_opts={})
    async with client.using(database_url, autocommit=False) as (conn, bound):
        with pytest.raises(awa.UniqueConflict):
            await bound.insert_many([{"n": n} for n in range(2000)], unique_opts={})
        await bound.insert({"n": 1})
        await conn.commit()

    assert count(look) == 2


async def test_using_a_savepoint_of_the_caller(client, database_url, look) -> None:
    async with client.using(database_url, autocommit=False) as (conn, bound):
        await bound.insert({"n": 1})
        await conn.execute("SAVEPOINT s")
        await bound.insert_many_copy([{"n": 2}])
        await conn.execute("ROLLBACK TO s")
        await conn.commit()

    assert [row["args"] for row in look("SELECT args FROM awa.jobs")] == [{"n": 1}]


async def test_using_needs_no_server_of_the_clients_own(flavour, database_url) -> None:
    async with (
        make_client(flavour, "postgresql://nowhere.invalid/x") as client,
        client.using(database_url) as (_, bound),
    ):
        assert (await bound.insert({"n": 1})).args == {"n": 1}


async def test_wrong_flavour_is_named(database_url) -> None:
    with (
        psycopg.connect(database_url) as conn,
        pytest.raises(TypeError, match=r"psycopg.Connection is blocking: use awa_lib.Client"),
    ):
        awa.AsyncClient("embedded:").using(conn)
    async with await psycopg.AsyncConnection.connect(database_url) as aconn:
        with pytest.raises(TypeError, match=r"psycopg\.AsyncConnection is async: use"):
            awa.Client("embedded:").using(aconn)


async def test_tasks_that_share_a_connection_take_turns(database_url, look) -> None:
    async with (
        awa.AsyncClient(database_url) as client,
        await psycopg.AsyncConnection.connect(database_url, autocommit=True) as conn,
    ):
        bound = client.using(conn)
        pairs = [{"n": n % 2} for n in range(1500)]
        outcomes = await asyncio.gather(
            *(bound.insert_many_copy(pairs) for _ in range(3)),
            # Rolled back at its end: nothing of the other tasks may be in its transaction.
            bound.insert_many_copy([*pairs, {}], kind="twice", unique_opts={"by_args": True}),
            *(bound.insert({"n": n}) for n in range(20)),
            return_exceptions=True,
        )
        assert conn.info.transaction_status == psycopg.pq.TransactionStatus.IDLE

    assert [type(outcome) for outcome in outcomes].count(awa.UniqueConflict) == 1
    assert count(look) == 3 * 1500 + 20


async def test_tasks_may_begin_a_transaction_together(database_url, look) -> None:
    async with awa.AsyncClient(database_url, 2) as client:
        tx = client.transaction()
        await asyncio.gather(*(tx.insert({"n": n}) for n in range(10)))
        assert count(look) == 0
        await tx.commit()

    assert count(look) == 10
