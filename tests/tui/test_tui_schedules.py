"""The list of schedules: words, next fires, trigger, pause, remove."""

from __future__ import annotations

from dataclasses import dataclass

from fix_wait import aeventually
from fix_worker import working

import awa_lib as awa


@dataclass
class Ping:
    n: int = 0


async def test_schedules_are_shown_in_words_and_lead_to_their_jobs(monitor, aclient, look) -> None:
    aclient.periodic("nightly", "0 2 * * mon-fri", Ping, Ping(7), timezone="Europe/Berlin")
    aclient.periodic("often", "* * * * * *", Ping, Ping(1))

    @aclient.task(Ping, queue="default")
    async def ping(job: awa.Job) -> None: ...

    async with working(aclient), monitor(screen="cron", size=(120, 30)) as driver:
        await driver.shows("2 schedules", "Monday to Friday at 02:00", "every second", "in ")
        await driver.shows('{"n": 7}', "Europe/Berlin", "02:00:00")
        await aeventually(lambda: look("SELECT 1 FROM awa.jobs"))
        await driver.press("j", "enter")
        page = await driver.at("jobs")

        assert {"often"} == {row.metadata["cron_name"] for row in page.grid.rows}


async def test_a_schedule_is_triggered_paused_resumed_and_removed(monitor, aclient, look) -> None:
    aclient.periodic("nightly report", "0 2 * * *", Ping, Ping(7))

    @aclient.task(Ping, queue="default")
    async def ping(job: awa.Job) -> None: ...

    async with working(aclient):
        await aeventually(lambda: look("SELECT 1 FROM awa.cron_jobs"))
    async with monitor(screen="cron") as driver:
        await driver.at("cron")
        await driver.press("r")
        question = await driver.answer("y")
        assert "Enqueue the job of schedule nightly report now?" == question
        await driver.shows("Triggered schedule 'nightly report'")
        assert [{"args": {"n": 7}}] == look("SELECT args FROM awa.jobs")
        await driver.press("p")
        await driver.answer("y")
        await driver.shows("1 paused", "none while it is paused")
        await driver.press("u")
        await driver.answer("y")
        await driver.shows("every day at 02:00", "in ")
        await driver.press("d")
        assert "Remove schedule nightly report?" == await driver.answer("y")
        await driver.shows("No schedules yet")

        assert [] == look("SELECT 1 FROM awa.cron_jobs")
