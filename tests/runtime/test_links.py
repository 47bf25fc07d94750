"""The worker's shared connections: one task's end never takes the connection from another."""

from __future__ import annotations

import asyncio

import psycopg
import pytest
from fix_wait import aeventually
from fix_worker import Noop, Rows, working

import awa_lib as awa
from awa_lib._sql import Op, Statement, compile_block
from awa_lib.runtime.links import Link, Outage
from awa_lib.runtime.sessions import Bounds, open_async

SLOW = compile_block("slow", "SELECT pg_sleep(0.5), 'done'")


def slow() -> Op[str]:
    rows = yield Statement(SLOW, ())
    return rows[0][1]


@pytest.mark.parametrize("other_sockets", [0, 20])
async def test_a_cancelled_task_leaves_the_statement_of_another_alone(
    awa_database_url, other_sockets
) -> None:
    link = Link("shared", dsn=awa_database_url, outage=Outage())
    await link.connection()
    first = asyncio.create_task(link.run(slow()))
    await asyncio.sleep(0.1)  # the statement is on its way
    second = asyncio.create_task(link.run(slow()))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    opened = [await psycopg.AsyncConnection.connect(awa_database_url) for _ in range(other_sockets)]
    try:
        assert await asyncio.wait_for(first, 10) == "done"
    finally:
        for conn in opened:
            await conn.close()
        await link.close()


async def test_a_transaction_that_was_not_rolled_back_is_left_behind(awa_database_url) -> None:
    """A client that cancels statements may cancel the ROLLBACK: the next op must not fail for it."""

    def abandoned() -> Op[None]:
        yield Statement(compile_block("begin", "BEGIN"), ())
        yield Statement(compile_block("wrong", "SELECT 1 / 0"), ())

    link = Link("shared", dsn=awa_database_url, outage=Outage())
    with pytest.raises(awa.AwaError):
        await link.run(abandoned())

    assert await link.run(slow()) == "done"
    await link.close()


async def test_flushes_of_many_handlers_go_together(aclient: awa.AsyncClient, rows: Rows) -> None:
    """Each in a statement of its own, a slow network would let them wait for each other."""

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None:
        for percent in (10, 20):
            job.set_progress(percent)
            await job.flush_progress()
        assert rows.job(job.id)["progress"]["percent"] == 20

    jobs = [Noop(n) for n in range(100)]
    async with working(aclient, ("default", 100)):
        link = aclient._runtime._links.callbacks
        run, statements = link.run, []

        async def counted(op: Op[object]) -> object:
            statements.append(op)
            await asyncio.sleep(0.05)
            return await run(op)

        link.run = counted
        await aclient.insert_many(jobs)
        await aeventually(lambda: rows.states() == {"completed": 100}, timeout=20)

    assert len(statements) < 60


async def test_a_locked_row_holds_up_no_other_flush(
    aclient: awa.AsyncClient, rows: Rows, awa_database_url
) -> None:
    go = asyncio.Event()

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None:
        await go.wait()
        job.set_progress(50)
        await job.flush_progress()

    async with working(aclient, ("default", 5), heartbeat_staleness_ms=60_000):
        jobs = await aclient.insert_many([Noop(n) for n in range(5)])
        await aeventually(lambda: rows.states() == {"running": 5})
        with psycopg.connect(awa_database_url) as other:
            other.execute("SELECT FROM awa.jobs_hot WHERE id = %s FOR UPDATE", (jobs[2].id,))
            go.set()
            await aeventually(lambda: rows.states() == {"running": 1, "completed": 4})
        await aeventually(lambda: rows.states() == {"completed": 5})


async def test_a_session_that_is_silent_in_a_transaction_is_ended(database_url: str) -> None:
    """A process that is stopped in the middle of a batch holds its locks for 30 seconds."""
    conn = await open_async(database_url, Bounds().purpose("test"))
    async with conn:
        row = await (await conn.execute("SHOW idle_in_transaction_session_timeout")).fetchone()

    assert row == ("30s",)
