"""A worker that is started without a list of queues works what the client declares."""

from __future__ import annotations

import asyncio

import pytest
from fix_wait import aeventually
from fix_worker import QUICK, Rows

import awa_lib as awa


async def test_declared_options_hold_and_a_list_overrides_them(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    aclient.queue("mail", concurrency=2, backoff=awa.fixed(600), dead_letters=True)
    running = most = 0
    go = asyncio.Event()

    @aclient.task(dict, kind="fills", queue="mail")
    async def fills(job: awa.Job) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await go.wait()
        running -= 1

    @aclient.task(dict, kind="fails", queue="mail")
    async def fails(job: awa.Job) -> None:
        raise RuntimeError("no")

    await aclient.insert_many([{} for _ in range(6)], kind="fills", queue="mail")
    await aclient.start(**QUICK)
    try:
        with pytest.raises(awa.AwaError, match=r"queue\(\) must be called before start"):
            aclient.queue("late")
        await aeventually(lambda: running == 2)
        assert (await aclient.health_check()).queues["mail"].max_workers == 2
        assert (await aclient.get_queue_policy("mail")).dead_letters
        go.set()
        await aeventually(lambda: rows.states() == {"completed": 6})
        assert most == 2
        job = await aclient.insert({}, kind="fails", queue="mail")
        await aeventually(lambda: rows.job(job.id)["state"] == "retryable")
        wait = rows.one("SELECT run_at - now() AS wait FROM awa.jobs WHERE id = %s", job.id)["wait"]
        assert 500 < wait.total_seconds() <= 600
    finally:
        await aclient.shutdown()

    await aclient.start([("mail", 7)], **QUICK)
    try:
        assert (await aclient.health_check()).queues["mail"].max_workers == 7
    finally:
        await aclient.shutdown()
