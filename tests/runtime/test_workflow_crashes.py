"""A workflow goes on after its workers were killed, at any moment."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from fix_own_server import OwnServer
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


@pytest.fixture
def server(scratch: Path) -> Iterator[OwnServer]:
    """A server that writes to its disk only what a commit waits for."""
    made = OwnServer(scratch / "forgetful")
    try:
        with psycopg.connect(made.url, autocommit=True) as conn:
            conn.execute("ALTER SYSTEM SET wal_writer_delay = '10s'")
            conn.execute("SELECT pg_reload_conf()")
        yield made
    finally:
        made.ensure_running()
        made.stop()
        shutil.rmtree(made.place)


async def test_a_move_that_a_server_crash_undoes_is_made_again(server: OwnServer) -> None:
    """The end of the parent is durable, and its note is back, so the child starts again."""
    started, go = asyncio.Event(), asyncio.Event()
    async with awa.AsyncClient(server.url) as client:
        await client.migrate()

        @client.task(dict, kind="parent")
        async def parent(job: awa.Job[Any]) -> None: ...

        @client.task(dict, kind="child")
        async def child(job: awa.Job[Any]) -> None:
            started.set()
            await go.wait()

        await client.start(
            [("default", 20)], heartbeat_interval_ms=1000, heartbeat_staleness_ms=2000
        )
        # A commit of something else may write the move to the disk in time.
        for _ in range(60):
            async with client.workflow("crash") as flow:
                flow.add({}, kind="child", after=flow.add({}, kind="parent", name="parent"))
            assert flow.id is not None
            async with asyncio.timeout(30):
                await started.wait()
            await asyncio.to_thread(server.stop)
            started.clear()
            await asyncio.to_thread(server.start)
            if is_undone(server, flow.id):
                break
            go.set()
            await aeventually(lambda one=flow.id: state(server, one) == "succeeded", timeout=60)
            go.clear()
        else:
            pytest.fail("no crash undid a move")
        async with asyncio.timeout(60):
            await started.wait()
        go.set()
        await aeventually(lambda: state(server, flow.id) == "succeeded", timeout=60)


def is_undone(server: OwnServer, workflow: int) -> bool:
    """Return True when the end of the parent is there, and its note has not been taken."""
    with psycopg.connect(server.url) as conn:
        (found,) = conn.execute(
            "SELECT count(*) = 1 FROM awa.jobs_hot AS j JOIN awa.workflow_nodes AS n"
            " ON n.job_id = j.id WHERE n.workflow_id = %s AND n.name = 'parent'"
            " AND j.state = 'completed' AND n.state = 'started'",
            [workflow],
        ).fetchone() or (False,)
    return bool(found)


def state(server: OwnServer, workflow: int | None) -> str:
    with psycopg.connect(server.url) as conn:
        row = conn.execute("SELECT state FROM awa.workflows WHERE id = %s", [workflow]).fetchone()
    return str(row[0]) if row else "gone"
