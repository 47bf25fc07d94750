"""Kinds, workers, schedules: what their rows and panels say, where they lead, what they change."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from fix_wait import aeventually
from fix_worker import working

import awa_lib as awa


@dataclass
class Ping:
    n: int = 0


# Kinds


async def test_kinds_say_who_works_them_and_lead_to_their_failures(monitor, put, aclient) -> None:
    put(kind="mail", queue="email", state="failed", finalized_at=datetime.now(UTC))
    put(kind="mail", queue="email")

    @aclient.task(Ping, queue="default")
    async def ping(job: awa.Job) -> None: ...

    aclient.job_kind_descriptor("ping", description="Is anybody there?", owner="ops")

    async with working(aclient), monitor(screen="kinds") as driver:
        page = await driver.at("kinds")
        await aeventually(lambda: [row.kind for row in page.grid.rows] == ["mail", "ping"])
        await driver.shows("by no worker")
        await driver.press("j")
        await driver.shows("Is anybody there?", "ops", "by 1 live worker")
        assert not page.check_action("retry", ())
        await driver.press("k", "e")
        jobs = await driver.at("jobs")

        assert [("mail", "failed")] == [(row.kind, row.state) for row in jobs.grid.rows]


async def test_all_failures_of_a_kind_run_again_after_a_yes(monitor, put, look) -> None:
    for kind in ("mail", "mail", "other"):
        put(kind=kind, state="failed", finalized_at="2026-01-01T00:00:00Z")
    async with monitor(screen="kinds") as driver:
        await driver.at("kinds")
        await driver.press("r")
        await driver.shows("2 jobs failed.")
        assert "Retry all failed jobs of kind mail?" == await driver.answer("y")
        await driver.shows("Retried the failed jobs of kind mail")

        assert [{"kind": "other"}] == look("SELECT kind FROM awa.jobs WHERE state = 'failed'")


# Workers


async def test_workers_show_loops_leader_and_what_is_in_flight(monitor, aclient, look) -> None:
    @aclient.task(Ping, queue="email")
    async def ping(job: awa.Job) -> None: ...

    @aclient.task(Ping, kind="slow_ping", queue="slow")
    async def slow_ping(job: awa.Job) -> None: ...

    async with (
        working(aclient, ("email", 4), ("slow", 2)),
        monitor(screen="workers", size=(120, 30)) as driver,
    ):
        await driver.shows("1 worker, 0 in flight", "✓ database", "✓ claims", "0 of 4", "0 of 2")
        # What it says ten seconds later, with three jobs running and its heartbeat stuck.
        look(
            "UPDATE awa.runtime_instances SET leader = true, heartbeat_alive = false, "
            "queues = jsonb_set(queues, '{0,in_flight}', '3')"
        )
        await driver.shows("1 worker, 3 in flight", "3 of 4", "✗ heartbeat", "leader  ")
        assert "leader  none" not in driver.text()
        await driver.press("enter")
        await driver.shows("Into which queue?", "slow")
        await driver.press("enter")
        page = await driver.at("queue")

        assert "email" == page.queue


async def test_a_silent_worker_is_told_from_a_live_one(monitor, aclient, look) -> None:
    @aclient.task(Ping, queue="email")
    async def ping(job: awa.Job) -> None: ...

    async with working(aclient, ("email", 4)):
        await aeventually(lambda: look("SELECT 1 FROM awa.runtime_instances"))
    look("UPDATE awa.runtime_instances SET last_seen_at = now() - interval '1 hour'")
    async with monitor(screen="workers", size=(120, 30)) as driver:
        await driver.shows("0 workers", "leader  none", "1 silent", "stale", "· claims")
        await driver.press("a")
        await driver.shows("No worker reports")
        await driver.press("a")
        await driver.shows("stale")


# Schedules


async def test_schedules_are_said_in_words_and_lead_to_their_jobs(monitor, aclient, look) -> None:
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
        await driver.shows("1 paused", "not while it is paused")
        await driver.press("u")
        await driver.answer("y")
        await driver.shows("every day at 02:00", "in ")
        await driver.press("d")
        assert "Remove schedule nightly report?" == await driver.answer("y")
        await driver.shows("No schedules yet")

        assert [] == look("SELECT 1 FROM awa.cron_jobs")


async def test_lists_are_drawn_in_every_size_and_read_only(monitor, put) -> None:
    put(kind="mail")
    for size in ((20, 5), (40, 12), (250, 70)):
        async with monitor(size=size, read_only=True) as driver:
            for key, place in (("K", "kinds"), ("W", "workers"), ("C", "cron")):
                await driver.press(key)
                page = await driver.at(place)
                for action in page.ACTIONS:
                    assert not page.check_action(action, ())
