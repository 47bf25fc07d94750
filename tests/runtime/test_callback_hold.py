"""A handler that waits for a callback for long gives up its slot; its answer starts it again."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from fix_wait import aeventually
from fix_worker import Noop, Rows, working

import awa_lib as awa

HOLD_MS = 300


def left_alone(rows: Rows) -> list[dict[str, Any]]:
    """The jobs that wait without a handler, with their callbacks."""
    return rows.all(
        "SELECT id, callback_id::text AS callback FROM awa.jobs"
        " WHERE state = 'waiting_external' AND metadata ? '_awa_reenter' ORDER BY id"
    )


async def test_open_callbacks_do_not_block_a_queue(aclient: awa.AsyncClient, rows: Rows) -> None:
    begun: list[int] = []
    paid: list[Any] = []

    @aclient.task(Noop, max_attempts=1)
    async def pay(job: awa.Job) -> None:
        begun.append(job.id)
        token = await job.register_callback(timeout_seconds=60)
        paid.append(await job.wait_for_callback(token))

    async with working(aclient, ("default", 2), callback_hold_ms=HOLD_MS):
        jobs = await aclient.insert_many([Noop(n) for n in range(8)])
        # Two slots, and yet all of them wait.
        await aeventually(lambda: len(left_alone(rows)) == len(jobs), timeout=20)
        await aeventually(
            lambda: rows.all("SELECT 1 FROM awa.runtime_instances WHERE queues @> %s",
                             '[{"queue": "default", "in_flight": 0, "waiting": 0}]'),
            timeout=20,
        )  # fmt: skip
        for one in left_alone(rows):
            await aclient.resume_external(one["callback"], {"of": one["id"]})
        await aeventually(
            lambda: {rows.job(job.id)["state"] for job in jobs} == {"completed"}, timeout=20
        )

    ids = sorted(job.id for job in jobs)
    assert sorted(2 * ids) == sorted(begun)
    assert ids == sorted(one["of"] for one in paid)
    # An attempt that only waited is not counted.
    assert {1} == {rows.job(job.id)["attempt"] for job in jobs}
    assert [] == rows.all("SELECT 1 FROM awa.jobs WHERE errors <> '{}'")


async def test_a_blocking_handler_gives_up_its_thread(aclient: awa.AsyncClient, rows: Rows) -> None:
    threads: set[threading.Thread] = set()

    @aclient.task(Noop)
    def pay(job: awa.Job) -> None:
        threads.add(threading.current_thread())
        job.wait_for_callback_sync(job.register_callback_sync(timeout_seconds=60))

    async with working(aclient, ("default", 1), callback_hold_ms=HOLD_MS):
        first = await aclient.insert(Noop())
        second = await aclient.insert(Noop())
        await aeventually(lambda: len(left_alone(rows)) == 2, timeout=20)
        for one in left_alone(rows):
            await aclient.resume_external(one["callback"], None)
        await aeventually(
            lambda: rows.job(first.id)["state"] == rows.job(second.id)["state"] == "completed",
            timeout=20,
        )

    assert 1 == len(threads)


async def test_a_wait_that_holds_its_slot_keeps_it(aclient: awa.AsyncClient, rows: Rows) -> None:
    """With ``hold``, without a limit, and in a task of the handler's own."""
    ways: dict[str, Any] = {}
    ended = asyncio.Event()

    @aclient.task(Noop)
    async def pay(job: awa.Job) -> None:
        token = await job.register_callback(timeout_seconds=60)
        ways[("held", "own task")[job.args.n]] = token.id
        if job.args.n == 0:
            await job.wait_for_callback(token, hold=True)
            return
        waiting = asyncio.ensure_future(job.wait_for_callback(token))
        try:
            await asyncio.wait_for(asyncio.shield(waiting), 4 * HOLD_MS / 1000)
        except TimeoutError:
            # The handler's own time-out still comes.
            ended.set()
        await waiting

    async with working(aclient, ("default", 2), callback_hold_ms=HOLD_MS):
        jobs = await aclient.insert_many([Noop(0), Noop(1)])
        await asyncio.wait_for(ended.wait(), 20)
        assert [] == left_alone(rows)
        for callback in ways.values():
            await aclient.resume_external(callback, None)
        await aeventually(lambda: {rows.job(job.id)["state"] for job in jobs} == {"completed"})
    assert 2 == len(ways)


async def test_without_a_limit_a_wait_keeps_its_slot(aclient: awa.AsyncClient, rows: Rows) -> None:
    calls: list[int] = []

    @aclient.task(Noop)
    async def pay(job: awa.Job) -> None:
        calls.append(job.id)
        await job.wait_for_callback(await job.register_callback(timeout_seconds=60))

    async with working(aclient, ("default", 1), callback_hold_ms=0):
        job = await aclient.insert(Noop())
        # Two looks at the waits.
        (row,) = await aeventually(
            lambda: rows.all(
                "SELECT callback_id::text AS callback FROM awa.jobs WHERE state = 'waiting_external'"
                " AND callback_timeout_at < now() + interval '57.5 s'"
            ),
            timeout=20,
        )
        assert [] == left_alone(rows)
        await aclient.resume_external(row["callback"], None)
        await aeventually(lambda: rows.job(job.id)["state"] == "completed")

    assert [job.id] == calls
