"""Workers of awa 0.5.7 run tasks of a workflow, and their ends move it on."""

from __future__ import annotations

from typing import Any

import pytest
from fix_interop import Interop
from fix_wait import aeventually
from fix_worker import Rows, working

import awa_lib as awa

pytestmark = pytest.mark.interop

THEIR_WORKER = """
import asyncio, os
import awa

async def main():
    client = awa.AsyncClient(os.environ["DATABASE_URL"])

    @client.task(dict, kind="theirs", queue="theirs")
    async def theirs(job):
        if job.args.get("bad"):
            raise awa.TerminalError("bad")

    await client.start(
        [("theirs", 8)], poll_interval_ms=20, heartbeat_interval_ms=200,
        leader_election_interval_ms=60_000,
    )
    print("ready", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_their_ends_move_a_workflow_on(
    aclient: awa.AsyncClient, rows: Rows, interop: Interop, database_url: str
) -> None:
    ran: list[str] = []

    @aclient.task(dict, kind="ours")
    async def ours(job: awa.Job[Any]) -> None:
        ran.append(job.args["name"])

    async with aclient.workflow("mixed") as flow:
        parts = flow.add_many(
            ({"n": n} for n in range(20)), kind="theirs", queue="theirs", name="parts"
        )
        bad = flow.add({"bad": True}, kind="theirs", queue="theirs", name="bad")
        merge = flow.add({"name": "merge"}, kind="ours", name="merge", after=parts)
        flow.add({}, kind="theirs", queue="theirs", name="last", after=merge)
        flow.add({"name": "alert"}, kind="ours", name="alert", after=bad, when="any_failed")
    theirs = interop.start(THEIR_WORKER, url=database_url)
    try:
        assert theirs.stdout is not None
        assert theirs.stdout.readline().strip() == "ready"
        async with working(aclient):
            await aeventually(
                lambda: (
                    rows.one("SELECT state FROM awa.workflows WHERE id = %s", flow.id)["state"]
                    != "open"
                ),
                timeout=30,
            )
    finally:
        theirs.kill()
        theirs.communicate()

    assert sorted(ran) == ["alert", "merge"]
    row = rows.one(
        "SELECT state, succeeded, failed, skipped FROM awa.workflows WHERE id = %s", flow.id
    )
    assert row == {"state": "failed", "succeeded": 23, "failed": 1, "skipped": 0}
