"""The monitor, driven by a pilot against a real database."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fix_wait import aeventually
from textual.pilot import Pilot

from awa_cli.target import describe
from awa_cli.tui.app import Monitor
from awa_cli.tui.screens.page import Page
from awa_cli.tui.widgets.confirm import Confirm


class Driver:
    """A monitor with its pilot, and what tests ask of them."""

    def __init__(self, app: Monitor, pilot: Pilot[int]) -> None:
        self.app = app
        self.pilot = pilot

    @property
    def page(self) -> Page[Any]:
        assert self.app.page is not None
        return self.app.page

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    async def at(self, place: str) -> Page[Any]:
        """Wait until a place is there and has data, and return its page."""
        await aeventually(lambda: self.page.place.id == place and self.page.value is not None)
        await self.pilot.pause()
        return self.page

    async def answer(self, key: str = "y") -> str:
        """Wait for a question that listens, answer it, and return its words."""
        await aeventually(lambda: isinstance(self.app.screen, Confirm) and self.app.screen.listens)
        question = self.app.screen.deed.question
        await self.press(key)
        await aeventually(lambda: not isinstance(self.app.screen, Confirm))
        return question

    def text(self) -> str:
        """Return what is on the screen, a line each."""
        lines = self.app.screen._compositor.render_strips()
        return "\n".join(strip.text.rstrip() for strip in lines)

    async def shows(self, *parts: str) -> str:
        """Wait until all of these are on the screen."""
        await aeventually(
            lambda: all(part in self.text() for part in parts) or _missing(self, parts)
        )
        return self.text()


def _missing(driver: Driver, parts: tuple[str, ...]) -> bool:
    missing = [part for part in parts if part not in driver.text()]
    raise AssertionError(f"not on the screen: {missing}\n{driver.text()}")


@pytest.fixture
def monitor(database_url: str) -> Callable[..., Any]:
    """Run the monitor in a block: ``async with monitor(screen="queues") as driver``."""

    @asynccontextmanager
    async def run(
        size: tuple[int, int] = (100, 30), url: str = database_url, **options: Any
    ) -> AsyncIterator[Driver]:
        app = Monitor(describe(url), interval=0.1, ascii_only=False, **options)
        async with app.run_test(size=size, notifications=True) as pilot:
            yield Driver(app, pilot)

    return run
