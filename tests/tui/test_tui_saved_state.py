"""The state that is saved between two runs."""

from __future__ import annotations

import json

import pytest


@pytest.fixture
def queues(put) -> None:
    put(queue="email", state="available")
    put(queue="images", state="failed", finalized_at="2026-01-01T00:00:00Z")


async def test_screen_and_order_are_remembered_and_no_secret_is(monitor, queues, config) -> None:
    async with monitor() as driver:
        await driver.at("overview")
        await driver.press("Q")
        page = await driver.at("queues")
        page.order_by("failed")
        page.order_by("failed")
        assert ["images", "email"] == [row.queue for row in page.grid.rows]
    async with monitor() as driver:
        page = await driver.at("queues")

        assert ["images", "email"] == [row.queue for row in page.grid.rows]
    (kept,) = json.loads(config.with_name("tui-state.json").read_text()).values()
    assert {"screen": "queues", "order.queues": "-failed"} == kept


async def test_headings_of_older_state_files_are_read(monitor, queues, config) -> None:
    state = config.with_name("tui-state.json")
    async with monitor(screen="queues") as driver:
        (await driver.at("queues")).order_by("failed")
    (name,) = json.loads(state.read_text())
    saved = {"order.queues": "-FAILED", "columns.queues": ["QUEUE", "FAILED"]}
    state.write_text(json.dumps({name: saved}))
    async with monitor(screen="queues") as driver:
        page = await driver.at("queues")

        assert ["images", "email"] == [row.queue for row in page.grid.rows]
        assert ["queue", "failed"] == page.grid.shown
