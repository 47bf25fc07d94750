"""The list of kinds: what is declared, failed jobs, retry."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from fix_wait import aeventually
from fix_worker import working

import awa_lib as awa


@dataclass
class Ping:
    n: int = 0


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
        assert "Retry the failed jobs of kind mail?" == await driver.answer("y")
        await driver.shows("Retried the failed jobs of kind mail")

        assert [{"kind": "other"}] == look("SELECT kind FROM awa.jobs WHERE state = 'failed'")
