"""What a shutdown waits for, and for how long."""

from __future__ import annotations

import asyncio
import time

import psycopg
import pytest
from fix_wait import aeventually
from fix_worker import QUICK, Noop, Rows

import awa_lib as awa


async def test_no_claim_begins_after_the_stop(aclient: awa.AsyncClient, rows: Rows) -> None:
    """A slot that comes free while the claims end stays empty."""
    ran, go = [], asyncio.Event()

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None:
        ran.append(job.id)
        await go.wait()

    first, second = await aclient.insert_many([Noop(), Noop()])
    await aclient.start([("default", 1)], **QUICK)
    await aeventually(lambda: ran)
    runtime = aclient._runtime
    stopping = asyncio.create_task(aclient.shutdown(5000))
    await aeventually(lambda: runtime.shutting_down)
    go.set()
    await stopping

    assert ran == [first.id]
    assert (rows.job(first.id)["state"], rows.job(second.id)["state"]) == ("completed", "available")


async def test_leases_are_renewed_until_the_ends_are_written(
    aclient: awa.AsyncClient, rows: Rows, database_url: str
) -> None:
    """The end waits for the unique key of its follow-up, and a leader elsewhere watches the lease."""

    @aclient.task(dict, kind="parent")
    async def parent(job: awa.Job) -> None: ...

    @aclient.follow_up("parent", awa.Completed)
    def child(event: awa.Completed) -> awa.NewJob:
        return awa.NewJob({}, kind="child", queue="elsewhere", unique_opts={})

    beat = "SELECT heartbeat_at > now() - interval '0.4 s' AS fresh FROM awa.jobs_hot WHERE id = %s"
    with psycopg.connect(database_url) as stranger:
        awa.Client.on(stranger).insert({}, kind="child", queue="elsewhere", unique_opts={})
        await aclient.start([("default", 1)], **QUICK | {"leads": False})
        runtime = aclient._runtime
        job = await aclient.insert({}, kind="parent")
        await aeventually(lambda: runtime._completer.pending)
        stopping = asyncio.create_task(aclient.shutdown(3000))
        until = time.monotonic() + 1.5
        while time.monotonic() < until:
            await asyncio.sleep(0.1)
            assert not stopping.done()
        fresh = rows.one(beat, job.id)
        stranger.rollback()
        await stopping

    assert fresh == {"fresh": True}
    assert rows.job(job.id)["state"] == "completed"


async def test_the_wait_for_ends_has_a_bound(
    aclient: awa.AsyncClient, rows: Rows, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    go = asyncio.Event()

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None:
        await go.wait()

    await aclient.start([("default", 1)], **QUICK | {"leads": False})
    job = await aclient.insert(Noop())
    await aeventually(lambda: rows.job(job.id)["state"] == "running")
    with psycopg.connect(database_url) as stranger:
        stranger.execute("SELECT FROM awa.jobs_hot WHERE id = %s FOR UPDATE", [job.id])
        go.set()
        began = time.monotonic()
        await aclient.shutdown(500)
        took = time.monotonic() - began

    assert took < 0.5 + 2 + 1
    assert [r for r in caplog.records if "could not be written in time" in r.getMessage()]
