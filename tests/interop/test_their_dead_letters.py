"""Jobs that a worker of awa 0.5.7 fails become dead letters too."""

from __future__ import annotations

import pytest
from fix_interop import Interop
from fix_wait import aeventually
from fix_worker import Noop, Rows, working

import awa_lib as awa

pytestmark = pytest.mark.interop

THEIR_WORKER = """
import asyncio, os
import awa

async def main():
    client = awa.AsyncClient(os.environ["DATABASE_URL"])

    @client.task(dict, kind="theirs", queue="shared")
    async def theirs(job):
        raise ValueError("no luck")

    await client.start([("shared", 8)], poll_interval_ms=20)
    print("ready", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_our_leader_moves_what_their_worker_failed(
    interop: Interop, aclient: awa.AsyncClient, rows: Rows, database_url: str
) -> None:
    @aclient.task(Noop, queue="ours")
    async def handler(job: awa.Job) -> None: ...

    async def leads() -> bool:
        return (await aclient.health_check()).leader

    await aclient.set_dead_letters("shared", True)
    async with working(aclient, ("ours", 1)):
        await aeventually(leads)
        theirs = interop.start(THEIR_WORKER, url=database_url)
        try:
            assert theirs.stdout is not None
            assert theirs.stdout.readline().strip() == "ready"
            job = await aclient.insert({"n": 1}, kind="theirs", queue="shared", max_attempts=1)
            await aeventually(aclient.dlq_depth, timeout=30)
        finally:
            theirs.kill()
            theirs.wait()
            theirs.stdout.close()
        entry = await aclient.get_dlq_job(job.id)

    assert "no luck" in entry.reason
    assert (entry.job.attempt, entry.original_run_lease) == (1, 1)
    assert rows.all("SELECT id FROM awa.jobs") == []
