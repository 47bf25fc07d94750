"""Open transactions of other programs: only the rows that they lock wait."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter

import psycopg
import pytest
from fix_wait import aeventually
from fix_worker import Noop, Rows, working

import awa_lib as awa


async def test_a_locked_job_holds_back_no_other_end(
    aclient: awa.AsyncClient, rows: Rows, database_url: str
) -> None:
    @aclient.task(dict, kind="a")
    async def handler(job: awa.Job) -> None:
        await asyncio.sleep(job.args.get("s", 0))

    async with working(aclient, ("default", 50)):
        held = await aclient.insert({"s": 0.5}, kind="a")
        await aeventually(lambda: rows.job(held.id)["state"] == "running")
        with psycopg.connect(database_url) as stranger:
            stranger.execute("SELECT 1 FROM awa.jobs_hot WHERE id = %s FOR UPDATE", (held.id,))
            await aclient.insert_many([{} for _ in range(200)], kind="a")
            await aeventually(lambda: rows.states().get("completed") == 200)
            health = await aclient.health_check()
            assert rows.job(held.id)["state"] == "running"
        await aeventually(lambda: rows.job(held.id)["state"] == "completed")
    assert health.healthy
    assert rows.job(held.id)["attempt"] == 1


async def test_a_locked_job_and_a_refused_end_hold_back_no_other_end(
    aclient: awa.AsyncClient, rows: Rows, database_url: str, caplog
) -> None:
    """A batch with a locked row, an end that breaks a unique key, and others."""
    release = asyncio.Event()

    @aclient.task(dict, kind="a")
    async def handler(job: awa.Job) -> None:
        if job.args.get("waits"):
            await release.wait()

    one_completed = {"by_args": True, "by_queue": False, "states": 0b1000}
    async with working(aclient):
        held = await aclient.insert({"waits": 1}, kind="a")
        args = {"waits": 2}
        twins = [await aclient.insert(args, kind="a", unique_opts=one_completed) for _ in range(2)]
        others = await aclient.insert_many([{"waits": 3}] * 5, kind="a")
        await aeventually(lambda: rows.states() == {"running": 8})
        with psycopg.connect(database_url) as stranger:
            stranger.execute("SELECT FROM awa.jobs_hot WHERE id = %s FOR UPDATE", [held.id])
            release.set()
            await aeventually(lambda: rows.states() == {"running": 1, "completed": 6, "failed": 1})
        await aeventually(lambda: rows.job(held.id)["state"] == "completed")
    assert sorted(rows.job(job.id)["state"] for job in twins) == ["completed", "failed"]
    assert {rows.job(job.id)["state"] for job in others} == {"completed"}
    assert not [r for r in caplog.records if "duty" in r.getMessage()]


async def test_a_locked_job_costs_no_other_its_lease(
    aclient: awa.AsyncClient, rows: Rows, database_url: str
) -> None:
    runs: Counter[int] = Counter()
    go_on = asyncio.Event()

    @aclient.task(dict, kind="a")
    async def handler(job: awa.Job) -> None:
        runs[job.id] += 1
        if job.args["n"] == 3:
            job.set_progress(50)
        await go_on.wait()

    async with working(aclient, ("default", 50), heartbeat_interval_ms=300):
        jobs = await aclient.insert_many([{"n": n} for n in range(20)], kind="a")
        await aeventually(lambda: rows.states() == {"running": 20})
        with psycopg.connect(database_url) as stranger:
            for job in (jobs[0], jobs[3]):
                stranger.execute("SELECT 1 FROM awa.jobs_hot WHERE id = %s FOR UPDATE", (job.id,))
            await asyncio.sleep(3)  # two stalenesses
        await asyncio.sleep(1)  # the rescue looks at the free rows
        go_on.set()
        await aeventually(lambda: rows.states() == {"completed": 20})
    assert set(runs.values()) == {1}


async def test_an_open_change_of_limits_stops_its_own_queue_only(
    aclient: awa.AsyncClient, rows: Rows, database_url: str
) -> None:
    @aclient.task(dict, kind="a", queue="limited")
    async def limited(job: awa.Job) -> None: ...

    @aclient.task(dict, kind="b", queue="free")
    async def free(job: awa.Job) -> None: ...

    await aclient.set_queue_policy("limited", max_running=5)
    async with working(aclient, ("limited", 5), ("free", 5)):
        with psycopg.connect(database_url) as stranger:
            awa.Client.on(stranger).set_queue_policy("limited", max_running=3)
            await aclient.insert({}, kind="a", queue="limited")
            await aclient.insert_many([{} for _ in range(100)], kind="b", queue="free")
            await aeventually(lambda: rows.states().get("completed", 0) >= 100)
        await aeventually(lambda: rows.states() == {"completed": 101})


async def test_a_queue_that_cannot_claim_takes_no_share_of_the_slots(
    aclient: awa.AsyncClient, rows: Rows, database_url: str
) -> None:
    release = asyncio.Event()
    running = 0

    @aclient.task(dict, kind="a", queue="good")
    async def handler(job: awa.Job) -> None:
        nonlocal running
        running += 1
        await release.wait()

    rows.conn.execute("INSERT INTO awa.queue_policies (queue, max_running) VALUES ('bad', 5)")
    queues = [{"name": "bad", "weight": 9}, {"name": "good", "weight": 1}]
    with psycopg.connect(database_url) as stranger:
        stranger.execute("UPDATE awa.queue_policies SET max_running = 6 WHERE queue = 'bad'")
        await aclient.insert_many([{}] * 9, kind="a", queue="bad")
        async with working(aclient, *queues, global_max_workers=10):
            bad = aclient._runtime._dispatchers["bad"].duty.state
            await aeventually(lambda: bad.failures)
            await aclient.insert_many([{}] * 9, kind="a", queue="good")
            await aeventually(lambda: running == 9)
            release.set()


async def test_a_job_that_cannot_be_claimed_is_passed_over(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    release = asyncio.Event()

    @aclient.task(dict, kind="one")
    async def one_at_a_time(job: awa.Job) -> None:
        await release.wait()

    @aclient.task(dict, kind="other")
    async def other(job: awa.Job) -> None: ...

    only_running = {"by_args": True, "states": 0b100}
    first = await aclient.insert({"user": 1}, kind="one", unique_opts=only_running)
    async with working(aclient):
        await aeventually(lambda: rows.job(first.id)["state"] == "running")
        second = await aclient.insert({"user": 1}, kind="one", unique_opts=only_running)
        await aclient.insert_many([{} for _ in range(5)], kind="other")
        await aeventually(lambda: rows.states().get("completed") == 5)
        release.set()
        await aeventually(lambda: rows.job(second.id)["state"] == "completed")


async def test_a_key_of_an_open_transaction_holds_back_one_follow_up(
    aclient: awa.AsyncClient, rows: Rows, database_url: str
) -> None:
    @aclient.task(dict, kind="parent")
    async def parent(job: awa.Job) -> None: ...

    @aclient.task(dict, kind="plain")
    async def plain(job: awa.Job) -> None: ...

    @aclient.follow_up("parent", awa.Completed)
    def child(event: awa.Completed) -> awa.NewJob:
        return awa.NewJob({"k": 1}, kind="child", queue="elsewhere", unique_opts={})

    async with working(aclient):
        with psycopg.connect(database_url) as stranger:
            awa.Client.on(stranger).insert(
                {"k": 1}, kind="child", queue="elsewhere", unique_opts={}
            )
            held = await aclient.insert({}, kind="parent")
            jobs = await aclient.insert_many([{} for _ in range(20)], kind="plain")
            await aeventually(lambda: {rows.job(j.id)["state"] for j in jobs} == {"completed"})
            assert rows.job(held.id)["state"] == "running"
            stranger.rollback()
        await aeventually(lambda: rows.job(held.id)["state"] == "completed")
        found = rows.all("SELECT id FROM awa.jobs WHERE kind = 'child'")
    assert len(found) == 1


async def test_a_locked_table_is_waited_out_in_silence(
    aclient: awa.AsyncClient, rows: Rows, database_url: str, caplog
) -> None:
    runs: Counter[int] = Counter()

    @aclient.task(dict, kind="a")
    async def handler(job: awa.Job) -> None:
        runs[job.id] += 1
        await asyncio.sleep(0.5)

    async with working(aclient, ("default", 50), heartbeat_staleness_ms=2_500):
        await aclient.insert_many([{} for _ in range(40)], kind="a", max_attempts=1)
        await aeventually(lambda: rows.states().get("running", 0) > 10)
        caplog.clear()
        with psycopg.connect(database_url) as stranger:
            # In a thread: a transaction of the worker may need this loop to end.
            await asyncio.to_thread(
                stranger.execute, "LOCK TABLE awa.jobs_hot IN ACCESS EXCLUSIVE MODE"
            )
            await asyncio.sleep(4)  # longer than the staleness
        await aeventually(lambda: rows.states() == {"completed": 40})
    assert set(runs.values()) == {1}
    said = [r for r in caplog.records if r.levelno >= logging.WARNING]
    assert len(said) < 10, [r.getMessage() for r in said]


async def test_a_start_in_the_way_of_a_lock_ends_with_its_cause(
    aclient: awa.AsyncClient, rows: Rows, database_url: str
) -> None:
    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None: ...

    with psycopg.connect(database_url) as stranger:
        stranger.execute("LOCK TABLE awa.runtime_instances IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(aclient.start([("default", 5)]), 1)

        def left() -> list[dict[str, object]]:
            return rows.all(
                "SELECT application_name FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name LIKE 'awa worker%%'"
            )

        await aeventually(lambda: left() == [])
    await aclient.start([("default", 5)])
    await aclient.shutdown(0)
