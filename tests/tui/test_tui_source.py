"""The connection that reads: read-only, lost, paused, cancelled."""

from __future__ import annotations

import psycopg
import pytest
from fix_wait import aeventually


@pytest.fixture
def queues(put) -> None:
    put(queue="email", state="available")
    put(queue="images", state="failed", finalized_at="2026-01-01T00:00:00Z")


async def test_the_reading_connection_cannot_write(monitor, queues) -> None:
    from awa_lib.errors import DatabaseError
    from awa_lib.ops.queues import pause_queue

    async with monitor() as driver:
        await driver.at("overview")
        with pytest.raises(DatabaseError, match="read-only transaction"):
            await driver.app.source.read(pause_queue("email"))


async def test_a_lost_database_is_reported_and_comes_back(monitor, queues, database_url) -> None:
    async with monitor(screen="queues") as driver:
        page = await driver.at("queues")
        name = psycopg.conninfo.conninfo_to_dict(database_url)["dbname"]
        with psycopg.connect(database_url, autocommit=True) as conn:
            other = psycopg.conninfo.make_conninfo(database_url, dbname="postgres")
            with psycopg.connect(other, autocommit=True) as admin:
                admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
                conn.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
                await driver.shows("Lost the connection", "email")
                lost = page.has_class("-old")
                admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
        await aeventually(lambda: not page.has_class("-old"))

        assert lost
        assert "Lost the connection" not in driver.text()


async def test_nothing_is_read_out_of_focus(monitor, queues) -> None:
    from textual import events

    async with monitor(screen="queues") as driver:
        page = await driver.at("queues")
        driver.app.post_message(events.AppBlur())
        await driver.shows("paused,")
        seen = page.app.source.read_at
        await driver.pilot.pause(0.4)
        assert seen == page.app.source.read_at

        driver.app.post_message(events.AppFocus())
        await aeventually(lambda: page.app.source.read_at > seen)


async def test_a_read_that_was_given_up_leaves_a_working_connection(monitor, queues) -> None:
    """A slow query is cancelled by the next read."""
    import asyncio

    from awa_lib._sql import Query, Statement
    from awa_lib.reads.queues import queue_stats

    def slow():
        yield Statement(Query("slow", "SELECT pg_sleep(30)", ()), ())

    async with monitor(screen="queues") as driver:
        source = (await driver.at("queues")).app.source
        reading = asyncio.ensure_future(source.read(slow()))
        await asyncio.sleep(0.2)
        reading.cancel()
        async with asyncio.timeout(8):
            assert 2 == len(await source.read(queue_stats()))
