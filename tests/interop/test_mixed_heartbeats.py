"""A worker of awa 0.5.7, which sends a heartbeat every 30 s, beside a leader of ours."""

from __future__ import annotations

import asyncio
import time

import pytest
from fix_interop import Interop
from fix_wait import aeventually
from fix_worker import Noop, Rows

import awa_lib as awa

pytestmark = pytest.mark.interop

SLOW_WORKER = """
import asyncio, os
import awa

async def main():
    client = awa.AsyncClient(os.environ["DATABASE_URL"])

    @client.task(dict, kind="noop", queue="shared")
    async def noop(job):
        await asyncio.sleep(25)

    await client.start([("shared", 8)], poll_interval_ms=20, leader_election_interval_ms=3600000)
    print("ready", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_a_job_of_theirs_that_ours_had_claimed_before_is_not_rescued_early(
    interop: Interop, aclient: awa.AsyncClient, rows: Rows, database_url: str
) -> None:
    """Its lease is ours plus one; our leader has the options that it has by default."""
    claimed = asyncio.Event()

    @aclient.task(Noop, queue="shared")
    async def handler(job: awa.Job) -> object:
        claimed.set()
        return awa.Snooze(1)

    # Holds the leader's lock for good, and works no queue of theirs any more.
    leader = awa.AsyncClient(database_url)

    @leader.task(Noop, queue="other")
    async def other(job: awa.Job) -> None: ...

    await leader.start([("other", 1)])
    process = None
    try:
        await aclient.start([("shared", 1)])
        job = await aclient.insert(Noop(), queue="shared")
        await asyncio.wait_for(claimed.wait(), 10)
        await aeventually(lambda: rows.job(job.id)["state"] == "scheduled")
        ours = rows.job(job.id)["run_lease"]
        await aclient.shutdown(2000)
        process = interop.start(SLOW_WORKER, url=database_url)
        await aeventually(lambda: rows.job(job.id)["state"] == "running", 30)
        began = time.monotonic()
        await aeventually(lambda: rows.job(job.id)["state"] != "running", 40)
    finally:
        if process is not None:
            process.kill()
            process.wait()
            process.stdout.close()
        await leader.shutdown(2000)
        await leader.close()

    row = rows.job(job.id)
    assert time.monotonic() - began > 20
    assert (row["state"], row["errors"], row["run_lease"]) == ("completed", [], ours + 1)
