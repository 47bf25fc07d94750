"""The list of workers: loops, leader, jobs in flight, stale workers."""

from __future__ import annotations

from dataclasses import dataclass

from fix_wait import aeventually
from fix_worker import working

import awa_lib as awa


@dataclass
class Ping:
    n: int = 0


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
        await aeventually(lambda: "leader  none" not in driver.text())
        assert "leader  none" not in driver.text()
        await driver.press("enter")
        await driver.shows("Open which queue?", "slow")
        await driver.press("enter")
        page = await driver.at("queue")

        assert "email" == page.queue


async def test_workers_show_what_a_worker_says(monitor, aclient, look) -> None:
    @aclient.task(Ping, queue="email")
    async def ping(job: awa.Job) -> None: ...

    async with working(aclient, ("email", 4)):
        await aeventually(lambda: look("SELECT 1 FROM awa.runtime_instances"))
    # The row of one that leads, with three jobs running and its heartbeat stuck.
    look(
        "UPDATE awa.runtime_instances SET shutting_down = false, last_seen_at = now(),"
        " leader = true, heartbeat_alive = false, queues = jsonb_set(queues, '{0,in_flight}', '3')"
    )
    async with monitor(screen="workers", size=(120, 30)) as driver:
        await driver.shows("1 worker, 3 in flight", "3 of 4", "✗ heartbeat", "leader  ")
        assert "leader  none" not in driver.text()


async def test_workers_show_the_version_of_the_application(monitor, aclient, monkeypatch) -> None:
    monkeypatch.setenv("AWA_APP_VERSION", "2026.4")

    @aclient.task(Ping, queue="email")
    async def ping(job: awa.Job) -> None: ...

    async with (
        working(aclient, ("email", 4)),
        monitor(screen="workers", size=(120, 30)) as driver,
    ):
        await driver.shows("  version  ", "   application  2026.4", "application2026.4")


async def test_a_silent_worker_is_told_from_one_that_stopped(monitor, aclient, look) -> None:
    @aclient.task(Ping, queue="email")
    async def ping(job: awa.Job) -> None: ...

    async with working(aclient, ("email", 4)):
        await aeventually(lambda: look("SELECT 1 FROM awa.runtime_instances"))
    async with monitor(screen="workers", size=(120, 30)) as driver:
        assert "silent" not in await driver.shows("0 workers", "1 stopped", "· claims")
        # What a worker leaves that was killed.
        look(
            "UPDATE awa.runtime_instances"
            " SET shutting_down = false, last_seen_at = now() - interval '1 hour'"
        )
        await driver.shows("0 workers", "leader  none", "1 silent", "silent 1h: killed", "· claims")
        await driver.press("a")
        await driver.shows("No workers.")
        await driver.press("a")
        await driver.shows("silent")
        # A clean stop is of no interest after a while.
        look("UPDATE awa.runtime_instances SET shutting_down = true")
        await driver.shows("No workers.")
