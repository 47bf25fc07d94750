"""Snapshots of pages and dialogs, small and large, dark and light.

After a change that is meant to be seen: ``pytest tests/tui/test_snapshots.py --snapshot-update``,
and look at what changed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import pytest
from fix_tui import FAILURE
from fix_wait import aeventually
from textual.command import CommandList
from textual.widgets import Input, LoadingIndicator

from awa_cli.tui.app import Monitor
from awa_cli.tui.navigation import PAGES
from awa_cli.tui.widgets.confirm import Confirm

# Colours are those of the theme and layout is that of the size, so two looks show all of both.
LOOKS = {"awa-light-80x24": ("awa-light", (80, 24)), "awa-dark-160x45": ("awa-dark", (160, 45))}
NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
DIALOGS = {
    "help": "?",
    "palette": ":",
    "sort": "s",
    "columns": "t",
    "themes": "ctrl+t",
    "mark": "m",
}


async def settle(pilot) -> None:
    app: Monitor = pilot.app
    await aeventually(lambda: app.page is not None and app.page.settled)
    await pilot.pause()


def at(page_id: str, subject: object = None, **state: object) -> Callable[..., Awaitable[None]]:
    async def go(pilot) -> None:
        await settle(pilot)
        pilot.app.enter(page_id, subject, **state)
        await aeventually(lambda: pilot.app.page.entry.id == page_id)
        await settle(pilot)

    return go


async def job(pilot, state: str) -> None:
    await settle(pilot)
    (row,) = [row for row in pilot.app.page.grid.rows if row.state == state][:1]
    await at("job", row.id)(pilot)


@pytest.fixture(params=LOOKS.values(), ids=LOOKS)
def look_and_size(request) -> tuple[str, tuple[int, int]]:
    return request.param


@pytest.fixture
def looks(snap_compare, still_monitor, look_and_size, monkeypatch):
    """Compare the screen after ``before`` with its snapshot."""
    # A cursor that blinks is there in every other picture.
    monkeypatch.setattr(Input, "cursor_blink", False)
    theme, size = look_and_size

    def looks(before=settle, **options) -> bool:
        app = still_monitor(theme=theme, **options)
        return snap_compare(app, terminal_size=size, run_before=before)

    return looks


@pytest.mark.parametrize("page_id", ["overview", "jobs", "queues"])
def test_page(looks, page_id) -> None:
    assert looks(screen=page_id)


@pytest.mark.parametrize("still", [NOON], indirect=True, ids=["noon"])
@pytest.mark.parametrize("state", ["failed", "running", "waiting_external"])
def test_job(looks, state) -> None:
    async def before(pilot) -> None:
        await job(pilot, state)

    assert looks(before, screen="jobs", filter_text=f"state:{state}")


@pytest.mark.parametrize("still", [NOON], indirect=True, ids=["noon"])
def test_failures(looks) -> None:
    assert looks(screen="failures")


@pytest.mark.parametrize("still", [NOON], indirect=True, ids=["noon"])
def test_failure(looks) -> None:
    assert looks(at("failure", FAILURE), screen="failures")


def test_queue(looks) -> None:
    assert looks(at("queue", "email"), screen="queues")


@pytest.mark.parametrize("still", [NOON], indirect=True, ids=["noon"])
def test_attempts(looks) -> None:
    async def before(pilot) -> None:
        await job(pilot, "failed")
        await pilot.press("a")
        await aeventually(lambda: len(pilot.app.screen.query(".attempt-note")) == 4)
        await pilot.pause()

    assert looks(before, screen="jobs", filter_text="state:failed")


@pytest.mark.parametrize("key", ["p", "x"], ids=["pause", "cancel-waiting"])
def test_question(looks, key) -> None:
    async def before(pilot) -> None:
        await settle(pilot)
        await pilot.press(key)
        await aeventually(lambda: isinstance(pilot.app.screen, Confirm))
        await pilot.pause()

    assert looks(before, screen="queues")


@pytest.mark.parametrize("key", DIALOGS.values(), ids=DIALOGS)
def test_dialog(looks, key) -> None:
    async def before(pilot) -> None:
        await settle(pilot)
        await pilot.press(key)
        await pilot.pause(0.3)
        if key == ":":
            # They come in by and by; after half a second it says that it is busy.
            commands = pilot.app.screen.query_one(CommandList)
            busy = pilot.app.screen.query_one(LoadingIndicator)
            await aeventually(lambda: commands.option_count > len(PAGES))
            await pilot.pause(0.8)
            await aeventually(lambda: not busy.has_class("--visible"))
            await pilot.pause()

    assert looks(before, screen="queues")


@pytest.mark.parametrize("text", ["state:fail", "sate:failed "], ids=["completed", "wrong"])
def test_filter(looks, text) -> None:
    async def before(pilot) -> None:
        await settle(pilot)
        await pilot.press("/", *text)
        hint = pilot.app.page.query_one("#filter-hint")
        await aeventually(lambda: hint.display and hint.has_class("-wrong") == (text[0:2] == "sa"))
        await pilot.pause()

    assert looks(before, screen="jobs")
