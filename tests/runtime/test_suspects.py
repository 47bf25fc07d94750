"""Jobs that were running in two processes that died run alone."""

from __future__ import annotations

import asyncio

import pytest
from fix_wait import aeventually
from fix_worker import Rows, working
from psycopg.types.json import Jsonb

import awa_lib as awa
from awa_lib.runtime import suspects


def crashed(rows: Rows, job_id: int, times: int) -> None:
    rows.conn.execute(
        "UPDATE awa.jobs_hot SET metadata = %s WHERE id = %s",
        (Jsonb({"_awa_crashes": times}), job_id),
    )


async def test_a_suspect_runs_when_nothing_else_does(aclient: awa.AsyncClient, rows: Rows) -> None:
    log: list[str] = []
    go = {name: asyncio.Event() for name in ("before", "suspect", "after", "other")}

    @aclient.task(dict, kind="job")
    async def run(job: awa.Job) -> None:
        name = job.args["name"]
        log.append(f"{name} begins")
        await go[name].wait()
        log.append(f"{name} ends")

    async with working(aclient, ("default", 5), ("second", 5)) as client:
        await client.insert({"name": "before"}, kind="job")
        await aeventually(lambda: log == ["before begins"])
        async with client.transaction() as tx:
            first = await tx.insert({"name": "suspect"}, kind="job", metadata={"_awa_crashes": 2})
        await aeventually(lambda: rows.job(first.id)["state"] == "running")
        await client.insert({"name": "after"}, kind="job")
        await client.insert({"name": "other"}, kind="job", queue="second")
        go["before"].set()
        await aeventually(lambda: log[-1] == "suspect begins")
        assert (await client.health_check()).queues["default"].in_flight == 1
        go["suspect"].set()
        go["after"].set()
        go["other"].set()
        await aeventually(lambda: rows.states() == {"completed": 4})

    assert log[:4] == ["before begins", "before ends", "suspect begins", "suspect ends"]


async def test_one_crash_makes_no_suspect(aclient: awa.AsyncClient, rows: Rows) -> None:
    now: list[int] = []

    @aclient.task(dict, kind="job")
    async def run(job: awa.Job) -> None:
        now.append(job.id)
        await aeventually(lambda: len(now) == 3)

    for times in (0, 1, 1):
        crashed(rows, (await aclient.insert({}, kind="job")).id, times)
    async with working(aclient):
        await aeventually(lambda: rows.states() == {"completed": 3})


async def test_others_that_take_long_send_it_away_uncounted(
    aclient: awa.AsyncClient, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suspects, "_LONGEST_WAIT_SECONDS", 0.3)
    monkeypatch.setattr(suspects, "_HANDED_BACK_SECONDS", 0.1)
    go, begun = asyncio.Event(), []

    @aclient.task(dict, kind="job")
    async def run(job: awa.Job) -> None:
        begun.append(job.id)
        if job.args.get("long"):
            await go.wait()

    async with working(aclient, ("default", 5), promote_interval_ms=60_000) as client:
        await client.insert({"long": True}, kind="job")
        await aeventually(lambda: begun)
        suspect = await aclient.insert({}, kind="job", metadata={"_awa_crashes": 2})
        await aeventually(lambda: rows.job(suspect.id)["state"] == "scheduled")
        row = rows.job(suspect.id)
        assert (row["attempt"], row["errors"], row["metadata"]) == (0, [], {"_awa_crashes": 2})
        # The process works on meanwhile.
        plain = await client.insert({}, kind="job")
        await aeventually(lambda: rows.job(plain.id)["state"] == "completed")
        go.set()

    assert suspect.id not in begun


async def test_many_suspects_leave_time_for_other_jobs(
    aclient: awa.AsyncClient, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that a worker ran when it was killed twice are suspects; the fleet works on."""
    monkeypatch.setattr(suspects, "_SERIES_SECONDS", 0.3)
    monkeypatch.setattr(suspects, "_HANDED_BACK_SECONDS", 0.1)
    many, running, ended = 20, set[int](), list[bool]()

    @aclient.task(dict, kind="job")
    async def run(job: awa.Job) -> None:
        running.add(job.id)
        assert not job.args["suspect"] or len(running) == 1
        if job.args["suspect"]:
            await asyncio.sleep(0.2)  # the point: how long it runs alone
        running.discard(job.id)
        ended.append(job.args["suspect"])

    await aclient.insert_many(
        [{"suspect": True}] * many, kind="job", metadata={"_awa_crashes": 2}, max_attempts=1
    )
    async with working(aclient, ("default", 40)) as client:
        await aeventually(lambda: running)
        await client.insert({"suspect": False}, kind="job")
        await aeventually(lambda: False in ended)
        before = ended.index(False)
        await aeventually(lambda: rows.states() == {"completed": many + 1}, 30)

    assert before < many / 2


async def test_a_suspect_that_waits_does_not_hold_up_a_shutdown(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    begun, go = [], asyncio.Event()

    @aclient.task(dict, kind="job")
    async def run(job: awa.Job) -> None:
        begun.append(job.id)
        await go.wait()

    async with working(aclient, ("default", 5)) as client:
        await client.insert({}, kind="job")
        await aeventually(lambda: begun)
        waits = await aclient.insert({}, kind="job", metadata={"_awa_crashes": 3})
        await aeventually(lambda: rows.job(waits.id)["state"] == "running")
        stopping = asyncio.create_task(client.shutdown(5000))
        await aeventually(lambda: rows.job(waits.id)["state"] == "available")
        assert rows.job(waits.id)["attempt"] == 0
        go.set()
        await stopping

    assert waits.id not in begun
