"""A workflow goes on after its workers were killed, at any moment."""

from __future__ import annotations

import os
import random
import signal
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from fix_wait import aeventually
from fix_worker import Rows

import awa_lib as awa

WORKER = """
import asyncio, os
import awa_lib as awa

async def main():
    client = awa.AsyncClient(os.environ["DATABASE_URL"])

    @client.task(dict, kind="part", max_attempts=50)
    async def part(job):
        await asyncio.sleep(0.002)

    await client.start(
        [("default", 20)], heartbeat_interval_ms=200, heartbeat_staleness_ms=1500,
        heartbeat_rescue_interval_ms=200, leader_election_interval_ms=200, promote_interval_ms=50,
    )
    await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.parametrize("seed", [1, 2])
async def test_killed_workers_lose_no_task(
    aclient: awa.AsyncClient,
    rows: Rows,
    spawn_worker: Callable[[str], subprocess.Popen[bytes]],
    seed: int,
) -> None:
    dice = random.Random(seed)
    async with aclient.workflow("killed") as flow:
        before: list[Any] = []
        for _ in range(12):
            before = [
                flow.add({}, kind="part", after=dice.sample(before, 3) if before else None)
                for _ in range(25)
            ]
        flow.add({}, kind="part", after=before)

    def left() -> int:
        row = rows.one("SELECT waiting + started AS n FROM awa.workflows WHERE id = %s", flow.id)
        return int(row["n"])

    for _ in range(4):
        worker, at = spawn_worker(WORKER), left() - dice.randrange(5, 60)
        await aeventually(lambda at=at: left() <= max(at, 0), timeout=60)  # type: ignore[misc]
        os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()
    spawn_worker(WORKER)
    await aeventually(lambda: left() == 0, timeout=60)

    row = rows.one("SELECT state, succeeded FROM awa.workflows WHERE id = %s", flow.id)
    assert row == {"state": "succeeded", "succeeded": 301}
    assert rows.states() == {"completed": 301}
