"""Navigation: keys of pages, history, marks, help, and sizes of the terminal."""

from __future__ import annotations

import pytest

from awa_cli.tui.navigation import PAGES
from awa_cli.tui.widgets.bars import NavigationBar
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


async def test_the_place_of_a_tab_is_its_key(monitor, queues) -> None:
    tabs = [page for page in PAGES.values() if not page.needs_subject]
    async with monitor(size=(200, 30)) as driver:
        await driver.at("overview")
        bar = driver.app.screen.query_one(NavigationBar).content.plain

        assert [
            f"{key} {page.title}" for key, page in zip("1234567890-=S", tabs, strict=True)
        ] == bar.split("  ")[: len(tabs)]
        for key, page in zip("234567890-=S", tabs[1:], strict=True):
            await driver.press(key)
            await driver.at(page.id)


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


async def test_help_says_what_keys_do_and_how_to_change_them(monitor, queues) -> None:
    async with monitor(screen="queues", keys={"queue.pause": "P"}) as driver:
        await driver.at("queues")
        await driver.press("?")
        text = await driver.shows("This screen", "P              Pause or resume")
        assert "queue.pause" not in text
        await driver.press("i")
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


async def test_lists_are_drawn_in_every_size_and_read_only(monitor, put) -> None:
    put(kind="mail")
    for size in ((20, 5), (40, 12), (250, 70)):
        async with monitor(size=size, read_only=True) as driver:
            for key, place in (("K", "kinds"), ("W", "workers"), ("C", "cron")):
                await driver.press(key)
                page = await driver.at(place)
                for action in page.ACTIONS:
                    assert not page.check_action(action, ())
