"""Limits that hold across workers, and policies that workers follow without a restart."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from fix_wait import aeventually
from fix_worker import Noop, Rows, working

import awa_lib as awa


class Gauge:
    """Counts what runs at once, over all workers, by key."""

    def __init__(self) -> None:
        self.now: Counter[str | None] = Counter()
        self.most: Counter[str | None] = Counter()
        self.ended = 0

    async def handler(self, job: awa.Job) -> None:
        key = job.metadata.get("_awa_concurrency_key")
        for counted in {key, "all"}:
            self.now[counted] += 1
            self.most[counted] = max(self.most[counted], self.now[counted])
        await asyncio.sleep(0.002)  # the work
        self.now.subtract({key, "all"})
        self.ended += 1


@asynccontextmanager
async def fleet(url: str, gauge: Gauge, workers: int, **options) -> AsyncIterator[None]:
    """Run workers that share nothing but the database."""
    async with AsyncExitStack() as stack:
        for _ in range(workers):
            client = await stack.enter_async_context(awa.AsyncClient(url))
            client.task(Noop)(gauge.handler)
            await stack.enter_async_context(working(client, ("default", 20), **options))
        yield


async def test_limit_of_a_queue_holds_across_workers(aclient, rows: Rows, database_url) -> None:
    await aclient.set_queue_policy("default", max_running=3)
    await aclient.insert_many([Noop() for _ in range(200)])
    gauge = Gauge()
    async with fleet(database_url, gauge, 3):
        await aeventually(lambda: rows.states() == {"completed": 200}, 30)

    assert (gauge.ended, gauge.most["all"]) == (200, 3)


async def test_limit_of_a_key_holds_across_workers(aclient, rows: Rows, database_url) -> None:
    await aclient.set_queue_policy("default", max_running_per_key=2)
    for n in range(100):
        await aclient.insert(Noop(n), concurrency_key=f"k{n % 3}")
    await aclient.insert_many([Noop() for _ in range(30)])
    gauge = Gauge()
    async with fleet(database_url, gauge, 2):
        await aeventually(lambda: rows.states() == {"completed": 130}, 30)

    assert {key: gauge.most[key] for key in ("k0", "k1", "k2")} == {"k0": 2, "k1": 2, "k2": 2}
    assert gauge.most[None] > 2
    assert gauge.ended == 130


async def test_a_job_that_waits_makes_room(aclient, rows: Rows) -> None:
    await aclient.set_queue_policy("default", max_running=1)

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> awa.WaitForCallback | None:
        if job.args.n == 0:
            return awa.WaitForCallback(await job.register_callback(timeout_seconds=60))
        return None

    async with working(aclient):
        waits = await aclient.insert(Noop(0))
        await aeventually(lambda: rows.job(waits.id)["state"] == "waiting_external")
        runs = await aclient.insert(Noop(1))
        await aeventually(lambda: rows.job(runs.id)["state"] == "completed")


async def test_limits_change_while_workers_run(aclient, rows: Rows) -> None:
    go = asyncio.Event()
    started: list[int] = []

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None:
        started.append(job.id)
        await go.wait()

    await aclient.set_queue_policy("default", max_running=1)
    async with working(aclient):
        await aclient.insert_many([Noop() for _ in range(6)])
        await aeventually(lambda: len(started) == 1)
        await aclient.set_queue_policy("default", max_running=4)
        await aeventually(lambda: len(started) == 4)
        await aclient.set_queue_policy("default", max_running=None)
        await aeventually(lambda: len(started) == 6)
        go.set()


async def test_deadline_changes_while_a_worker_runs(aclient, rows: Rows) -> None:
    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None: ...

    async with working(aclient, {"name": "default", "max_workers": 1, "deadline_seconds": 60}):
        await aclient.set_queue_policy("default", deadline_seconds=0)
        await aeventually(published(rows, deadline_duration_secs=0))
        job = await aclient.insert(Noop())
        await aeventually(lambda: rows.job(job.id)["state"] == "completed")
        assert rows.job(job.id)["deadline_at"] is None

        await aclient.set_queue_policy("default", deadline_seconds=1000)
        await aeventually(published(rows, deadline_duration_secs=1000))
        job = await aclient.insert(Noop())
        await aeventually(lambda: rows.job(job.id)["state"] == "completed")
        kept = rows.one(
            "SELECT extract(epoch FROM deadline_at - attempted_at)::int AS s"
            " FROM awa.jobs WHERE id = %s",
            job.id,
        )
        assert kept == {"s": 1000}


def published(rows: Rows, **wanted):
    """Return a check that the worker reports these settings."""

    def check() -> bool:
        config = rows.one("SELECT queues -> 0 -> 'config' AS c FROM awa.runtime_instances")["c"]
        return {key: config[key] for key in wanted} == wanted

    return check


async def test_settings_that_are_none_are_named_and_stop_no_other(
    aclient, rows: Rows, caplog
) -> None:
    await aclient.set_queue_policy("odd", deadline_seconds=7)
    await aclient.set_queue_policy("plain", poll_interval_ms=33)
    rows.conn.execute("UPDATE awa.queue_policies SET deadline_seconds = 'NaN' WHERE queue = 'odd'")
    rows.conn.execute(
        "UPDATE awa.queue_policies SET deadline_seconds = 1e300, max_rate = 1e-300, burst = 1"
        " WHERE queue = 'plain'"
    )
    done: list[str] = []

    for queue in ("odd", "plain"):

        @aclient.task(dict, kind=queue, queue=queue)
        async def handler(job: awa.Job) -> None:
            done.append(job.queue)

        await aclient.insert({}, kind=queue, queue=queue)
    async with working(aclient, ("odd", 2), ("plain", 2)):
        await aeventually(lambda: sorted(done) == ["odd", "plain"])
        assert (await aclient.health_check()).healthy

    assert {r.queue for r in caplog.records if r.message.startswith("the policy of")} == {"odd"}


async def test_rate_and_poll_interval_are_followed_and_taken_back(aclient, rows: Rows) -> None:
    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None: ...

    async with working(aclient, {"name": "default", "max_workers": 9, "rate_limit": (9.0, 9)}):
        await aclient.set_queue_policy("default", rate_limit=(0.5, 2), poll_interval_ms=77)
        await aeventually(
            published(rows, poll_interval_ms=77, rate_limit={"max_rate": 0.5, "burst": 2})
        )
        await aclient.insert_many([Noop() for _ in range(4)])
        await aeventually(lambda: rows.states().get("completed") == 2)
        assert rows.states() == {"completed": 2, "available": 2}
        await aclient.set_queue_policy("default", rate_limit=None, poll_interval_ms=None)
        await aeventually(lambda: rows.states() == {"completed": 4})
        await aeventually(
            published(rows, poll_interval_ms=200, rate_limit={"max_rate": 9.0, "burst": 9})
        )


async def test_stored_retention_goes_over_the_leaders_own(aclient, rows: Rows) -> None:
    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None: ...

    await aclient.set_queue_policy("default", completed_retention_hours=1)
    for queue, hours in (("default", 2), ("default", 0), ("other", 2)):
        rows.all(
            "INSERT INTO awa.jobs_hot (kind, queue, args, state, finalized_at) VALUES"
            " ('k', %s, '{}', 'completed', now() - make_interval(hours => %s)) RETURNING id",
            queue,
            hours,
        )
    kept = "SELECT queue FROM awa.jobs_hot ORDER BY id"
    async with working(aclient):
        await aeventually(lambda: [r["queue"] for r in rows.all(kept)] == ["default", "other"])
