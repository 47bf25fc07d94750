"""Places, questions, undo, read-only, a lost database."""

from __future__ import annotations

import json

import psycopg
import pytest
from fix_wait import aeventually
from textual import events

from awa_cli.tui.widgets.confirm import Confirm


@pytest.fixture
def queues(put) -> None:
    put(queue="email", state="available")
    put(queue="images", state="failed", finalized_at="2026-01-01T00:00:00Z")


async def test_each_place_is_one_key_away(monitor, queues) -> None:
    async with monitor() as driver:
        await driver.at("overview")
        await driver.press("Q")
        page = await driver.at("queues")

        assert ["email", "images"] == [row.queue for row in page.grid.rows]


async def test_a_queue_is_paused_after_a_yes_and_undone(monitor, queues, look) -> None:
    async with monitor(screen="queues") as driver:
        await driver.at("queues")
        await driver.press("p")
        question = await driver.answer("y")
        await driver.shows("Paused queue 'email'")

        assert "Pause queue email?" == question
        assert [{"paused": True}] == look("SELECT paused FROM awa.queue_meta WHERE queue = 'email'")

        await driver.press("u")
        await driver.answer("y")
        await driver.shows("Resumed queue 'email'")

        assert [{"paused": False}] == look("SELECT paused FROM awa.queue_meta")


async def test_no_changes_nothing(monitor, queues, look) -> None:
    async with monitor(screen="queues") as driver:
        await driver.at("queues")
        await driver.press("x")
        await driver.answer("n")

        assert [{"n": 1}] == look("SELECT count(*) AS n FROM awa.jobs WHERE state = 'available'")


async def test_keys_that_come_with_the_question_are_no_answer(monitor, queues, look) -> None:
    """A held key, or a text pasted as keys, must not say yes."""
    async with monitor(screen="queues") as driver:
        await driver.at("queues")
        driver.app.post_message(events.Key("p", "p"))
        await aeventually(lambda: isinstance(driver.app.screen, Confirm))
        for key in "yyyyy":
            driver.app.post_message(events.Key(key, key))
        await driver.pilot.pause()

        assert isinstance(driver.app.screen, Confirm)
        assert [] == look("SELECT * FROM awa.queue_meta WHERE paused")


async def test_read_only_offers_no_change(monitor, queues) -> None:
    async with monitor(screen="queues", read_only=True) as driver:
        await driver.at("queues")
        text = await driver.shows("read-only")
        await driver.press("p")
        await driver.pilot.pause()

        assert not isinstance(driver.app.screen, Confirm)
        assert "Pause" not in text


async def test_the_reading_connection_cannot_write(monitor, queues) -> None:
    from awa_lib.errors import DatabaseError
    from awa_lib.ops.queues import pause_queue

    async with monitor() as driver:
        await driver.at("overview")
        with pytest.raises(DatabaseError, match="read-only transaction"):
            await driver.app.source.read(pause_queue("email"))


async def test_a_lost_database_is_said_and_comes_back(monitor, queues, database_url) -> None:
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
                await driver.shows("The database is lost", "email")
                lost = page.has_class("-old")
                admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
        await aeventually(lambda: not page.has_class("-old"))

        assert lost
        assert "The database is lost" not in driver.text()


async def test_back_forward_out_and_marks(monitor, queues) -> None:
    async with monitor() as driver:
        await driver.at("overview")
        await driver.press("m", "a")
        await driver.press("Q")
        await driver.at("queues")
        await driver.press("[")
        await driver.at("overview")
        await driver.press("]")
        await driver.at("queues")
        await driver.press("'", "a")
        await driver.at("overview")


async def test_screen_and_order_are_remembered_and_no_secret_is(monitor, queues, config) -> None:
    async with monitor() as driver:
        await driver.at("overview")
        await driver.press("Q")
        page = await driver.at("queues")
        page.order_by("FAILED")
        page.order_by("FAILED")
        assert ["images", "email"] == [row.queue for row in page.grid.rows]
    async with monitor() as driver:
        page = await driver.at("queues")

        assert ["images", "email"] == [row.queue for row in page.grid.rows]
    (kept,) = json.loads(config.with_name("tui-state.json").read_text()).values()
    assert {"screen": "queues", "order.queues": "-FAILED"} == kept


async def test_help_names_what_the_config_file_binds(monitor, queues) -> None:
    async with monitor(screen="queues", keys={"queue.pause": "P"}) as driver:
        await driver.at("queues")
        await driver.press("?")
        await driver.shows("queue.pause")
        await driver.press("escape", "p")
        await driver.pilot.pause()
        assert not isinstance(driver.app.screen, Confirm)
        await driver.press("P")
        await driver.answer("n")


@pytest.mark.parametrize("size", [(20, 5), (80, 24), (250, 70)])
async def test_every_size_is_drawn(monitor, queues, size) -> None:
    async with monitor(size=size) as driver:
        await driver.at("overview")
        await driver.press("Q")
        await driver.at("queues")
        await driver.pilot.resize_terminal(20, 5)
        await driver.pilot.resize_terminal(*size)

        assert "email" in await driver.shows("email")


async def test_another_context_is_looked_at_and_its_name_asked_for(
    monitor, queues, config, database_url, empty_database_url, look
) -> None:
    from awa_cli.database.config import read_config
    from awa_cli.database.target import of_context

    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(
        f'[contexts.shop]\nurl = "{database_url}"\nprotected = true\n'
        f'[contexts.empty]\nurl = "{empty_database_url}"\n'
    )

    def others(name):
        return of_context(read_config().context(name)), None

    async with monitor(screen="queues", others=others) as driver:
        await driver.at("queues")
        await driver.press("ctrl+k")
        await driver.shows("shop  protected")
        await driver.press("down", "enter")
        await driver.shows("empty", "awa migrate")
        await driver.press("ctrl+k")
        await driver.shows("shop  protected")
        await driver.press("up", "enter")
        await aeventually(lambda: driver.app.source.target.context.name == "shop")
        await driver.press("Q")
        await driver.at("queues")
        await driver.press("p")
        await driver.shows("shop is protected; type its name to go on")
        await aeventually(lambda: driver.app.screen.listens)
        await driver.press("enter")
        await driver.pilot.pause()
        assert isinstance(driver.app.screen, Confirm)
        await driver.press(*"shop", "enter")
        await driver.shows("Paused queue 'email'")

    assert [{"queue": "email"}] == look("SELECT queue FROM awa.queue_meta WHERE paused")


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
    """A slow query is replaced, not waited for."""
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
