"""The worker's shared connections: one task's end never takes the connection from another."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

import awa_lib as awa
from awa_lib._sql import Op, Statement, compile_block
from awa_lib.runtime.connections import Link, Outage

SLOW = compile_block("slow", "SELECT pg_sleep(0.5), 'done'")


def slow() -> Op[str]:
    rows = yield Statement(SLOW, ())
    return rows[0][1]


@pytest.mark.parametrize("other_sockets", [0, 20])
async def test_a_cancelled_task_leaves_the_statement_of_another_alone(
    awa_database_url, other_sockets
) -> None:
    link = Link("shared", awa_database_url, Outage())
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
    """Who cancels statements may cancel the ROLLBACK: the next op must not fail in its place."""

    def abandoned() -> Op[None]:
        yield Statement(compile_block("begin", "BEGIN"), ())
        yield Statement(compile_block("wrong", "SELECT 1 / 0"), ())

    link = Link("shared", awa_database_url, Outage())
    with pytest.raises(awa.AwaError):
        await link.run(abandoned())

    assert await link.run(slow()) == "done"
    await link.close()
