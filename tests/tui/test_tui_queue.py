"""The page of a queue, and the path of an operator through the screens in an incident."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from fix_wait import aeventually
from fix_worker import working

import awa_lib as awa
from awa_lib.ops.policies import set_queue_policy


@dataclass
class Charge:
    customer: int


async def test_a_queue_says_what_waits_who_works_and_by_which_settings(
    monitor, put, aclient
) -> None:
    put(queue="email", state="failed", finalized_at=datetime.now(UTC))

    @aclient.task(Charge, queue="email")
    async def charge(job: awa.Job) -> None: ...

    async with working(aclient, ("email", 7)), monitor(screen="queues") as driver:
        await driver.at("queues")
        await driver.app.source.change(set_queue_policy("email", max_running=3))
        await driver.press("enter")
        await driver.shows("Queue email", "open", "at most 3 running", "✗ 1", "0.1.0", "7")
        await driver.press("e")
        page = await driver.at("jobs")

        assert ["email"] == [row.queue for row in page.grid.rows]


async def test_from_a_red_tile_to_all_failures_done(monitor, aclient, look) -> None:
    """What the monitor is for: no mouse, no documentation."""
    broken = True

    @aclient.task(Charge, queue="billing")
    async def charge(job: awa.Job) -> None:
        if broken:
            raise ConnectionError("bank.example.org refused")

    for number in range(8):
        await aclient.insert(Charge(number), queue="billing", max_attempts=1)
    async with working(aclient, ("billing", 4)), monitor(size=(100, 30)) as driver:
        await driver.shows("✗ 8")
        while getattr(driver.app.focused, "state", None) != "failed":
            await driver.press("right")
        await driver.press("enter")
        await driver.at("jobs")
        await driver.shows("state:failed", "charge")
        await driver.press("enter")
        await driver.shows("ConnectionError: bank.example.org refused", "test_tui_queue.py")
        await driver.press("o")
        await driver.at("queue")
        await driver.press("p")
        await driver.answer("y")
        await driver.shows("paused")
        await driver.press("escape")
        await driver.at("job")
        await driver.press("e")
        await driver.shows("state:failed kind:charge")
        await driver.press("b")
        await driver.shows("Retry")
        await driver.press("enter")
        assert "Retry 8 jobs?" == await driver.answer("y")
        await driver.shows("Retried 8 jobs")
        broken = False
        await driver.press("u")
        await driver.answer("y")
        await driver.press("O")
        await driver.shows("✗ 0")

        await aeventually(
            lambda: (
                look("SELECT count(*) AS n FROM awa.jobs WHERE state = 'completed'")[0]["n"] == 8
            )
        )
