"""A connection that an async pool lends again without asking psycopg's pool."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import psycopg
import pytest
from fix_wait import aeventually

from awa_lib.db.pool import AsyncPool, PoolLimits


@asynccontextmanager
async def opened(url: str, limits: PoolLimits) -> AsyncIterator[AsyncPool]:
    pool = AsyncPool(url, limits)
    await pool.open()
    try:
        yield pool
    finally:
        await pool.close()


async def use(pool: AsyncPool) -> int:
    """Return the session that ran a statement."""
    async with pool.lease() as conn:
        return (await (await conn.execute("SELECT pg_backend_pid()")).fetchone())[0]


@pytest.fixture
def sessions(database_url) -> Callable[[], list[int]]:
    def others() -> list[int]:
        with psycopg.connect(database_url, autocommit=True) as conn:
            rows = conn.execute(
                "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
                " AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
            )
            return [pid for (pid,) in rows]

    return others


async def test_age_is_limited_also_while_a_connection_is_always_in_use(database_url) -> None:
    async with opened(database_url, PoolLimits(1, lifetime_seconds=0.1)) as pool:
        first = await use(pool)
        async with asyncio.timeout(10):
            while await use(pool) == first:
                pass


async def test_idle_connection_is_closed(database_url, sessions) -> None:
    async with opened(database_url, PoolLimits(2, idle_seconds=0.2)) as pool:
        assert await use(pool) in sessions()

        await aeventually(lambda: not sessions())


async def test_caller_who_waits_gets_the_connection(database_url) -> None:
    async with opened(database_url, PoolLimits(1)) as pool:
        conn = await pool.take()
        waiting = [asyncio.create_task(use(pool)) for _ in range(3)]
        while pool._pool.get_stats().get("requests_waiting", 0) < 3:
            await asyncio.sleep(0)
        pid = conn.info.backend_pid
        await pool.give(conn)

        # At once, not when the connection is no longer spare.
        assert pool._pool.get_stats()["requests_waiting"] == 2
        async with asyncio.timeout(5):
            assert await asyncio.gather(*waiting) == [pid] * 3


async def test_no_more_connections_than_allowed(database_url, sessions) -> None:
    async with opened(database_url, PoolLimits(2)) as pool:
        found = {await use(pool) for _ in range(20)}
        found |= set(await asyncio.gather(*(use(pool) for _ in range(20))))

        assert len(found) <= 2
        assert len(sessions()) <= 2


async def test_spare_connection_that_the_server_has_ended_is_replaced(
    database_url, sessions
) -> None:
    async with opened(database_url, PoolLimits(1)) as pool:
        first = await use(pool)
        with psycopg.connect(database_url, autocommit=True) as conn:
            conn.execute("SELECT pg_terminate_backend(%s, 5000)", [first])

        assert await use(pool) != first


async def test_close_leaves_no_session(database_url, sessions) -> None:
    async with opened(database_url, PoolLimits(2)) as pool:
        await use(pool)

    await aeventually(lambda: not sessions(), 2)
