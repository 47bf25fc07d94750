"""Confirmations: yes, no, undo, read-only mode, protected contexts."""

from __future__ import annotations

import pytest
from fix_wait import aeventually
from textual import events

from awa_cli.tui.widgets.confirm import Confirm


@pytest.fixture
def queues(put) -> None:
    put(queue="email", state="available")
    put(queue="images", state="failed", finalized_at="2026-01-01T00:00:00Z")


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


async def test_another_context_is_opened_and_its_name_asked_for(
    monitor, queues, config, database_url, empty_database_url, look
) -> None:
    from awa_cli.database.config import read_config
    from awa_cli.database.target import of_context

    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(
        f'[contexts.shop]\nurl = "{database_url}"\nprotected = true\n'
        f'[contexts.empty]\nurl = "{empty_database_url}"\n'
    )

    def find_context(name):
        return of_context(read_config().context(name)), None

    async with monitor(screen="queues", find_context=find_context) as driver:
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
        await driver.shows("shop is protected: type its name to confirm")
        await aeventually(lambda: driver.app.screen.ready)
        await driver.press("enter")
        await driver.pilot.pause()
        assert isinstance(driver.app.screen, Confirm)
        await driver.press(*"shop", "enter")
        await driver.shows("Paused queue 'email'")

    assert [{"queue": "email"}] == look("SELECT queue FROM awa.queue_meta WHERE paused")
