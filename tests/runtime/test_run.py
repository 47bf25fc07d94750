"""``run`` and ``serve``: they leave nothing behind, however they end."""

from __future__ import annotations

import asyncio
import gc
import signal
import threading
import time

import pytest
from fix_proxy import Proxy
from fix_wait import aeventually, eventually
from fix_worker import Noop, Rows

import awa_lib as awa
from awa_lib.db.connect import Purpose, connect_async
from awa_lib.runtime.run import serve


def test_a_run_that_fails_gives_the_signals_back(free_port: int) -> None:
    client = awa.AsyncClient(f"postgres://nobody@127.0.0.1:{free_port}/none")

    @client.task(Noop)
    async def handler(job: awa.Job) -> None: ...

    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    try:
        with pytest.raises(awa.errors.Unavailable):
            awa.run(client)
        after = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    finally:
        for number, handler_before in zip((signal.SIGTERM, signal.SIGINT), before, strict=True):
            signal.signal(number, handler_before)
    assert after == before


def test_serve_works_in_a_thread_and_a_cancel_stops_it(database_url: str, rows: Rows) -> None:
    client = awa.AsyncClient(database_url)
    began = threading.Event()
    ended: list[BaseException] = []

    @client.task(Noop)
    async def handler(job: awa.Job) -> None:
        began.set()
        await asyncio.sleep(600)

    async def main() -> None:
        nonlocal loop, task
        loop = asyncio.get_running_loop()
        task = asyncio.create_task(serve(client, drain_timeout=60))
        await task

    def run() -> None:
        try:
            asyncio.run(main())
        except BaseException as error:
            ended.append(error)

    loop: asyncio.AbstractEventLoop
    task: asyncio.Task[object]
    thread = threading.Thread(target=run)
    with awa.Client(database_url) as other:
        job = other.insert(Noop())
    thread.start()
    assert began.wait(10), ended
    loop.call_soon_threadsafe(task.cancel)
    thread.join(10)
    assert not thread.is_alive()
    assert [type(error) for error in ended] == [asyncio.CancelledError]
    eventually(lambda: rows.job(job.id)["state"] == "available")
    assert rows.job(job.id)["attempt"] == 0
    sessions = "SELECT FROM pg_stat_activity WHERE application_name LIKE 'awa worker%%'"
    eventually(lambda: not rows.all(f"{sessions} AND datname = current_database()"))
    assert "awa heartbeat" not in {one.name for one in threading.enumerate()}


@pytest.mark.parametrize("after", range(0, 24, 3))
async def test_a_start_cancelled_anywhere_leaves_nothing(
    database_url: str, rows: Rows, after: int
) -> None:
    """The task is cancelled after a number of turns of the event loop."""
    async with awa.AsyncClient(database_url) as client:

        @client.task(Noop)
        async def handler(job: awa.Job) -> None: ...

        starting = asyncio.create_task(client.start([("default", 1)]))
        for _ in range(after):
            await asyncio.sleep(0.002)
        starting.cancel()
        await asyncio.wait({starting}, timeout=10)
        assert starting.done()
        await client.shutdown(0)
        left = {task.get_name() for task in asyncio.all_tasks() if "awa" in task.get_name()}
        assert not left
        sessions = "SELECT FROM pg_stat_activity WHERE application_name LIKE 'awa worker%%'"
        await aeventually(lambda: not rows.all(f"{sessions} AND datname = current_database()"))
        assert "awa heartbeat" not in {one.name for one in threading.enumerate()}


async def test_a_shutdown_that_is_cancelled_stops_the_worker_all_the_same(
    database_url: str, rows: Rows
) -> None:
    began = asyncio.Event()
    async with awa.AsyncClient(database_url) as client:

        @client.task(Noop)
        async def handler(job: awa.Job) -> None:
            began.set()
            await asyncio.sleep(600)

        await client.start([("default", 1)])
        job = await client.insert(Noop())
        await asyncio.wait_for(began.wait(), 10)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.shutdown(60_000), 0.2)
        assert rows.job(job.id)["state"] == "available"
        assert rows.job(job.id)["attempt"] == 0
        sessions = "SELECT FROM pg_stat_activity WHERE application_name LIKE 'awa worker%%'"
        await aeventually(lambda: not rows.all(f"{sessions} AND datname = current_database()"))
        assert "awa heartbeat" not in {one.name for one in threading.enumerate()}


async def test_a_shutdown_is_bounded_though_a_claim_is_not_answered(
    proxied_url: str, proxy: Proxy, database_url: str
) -> None:
    began, released = asyncio.Event(), asyncio.Event()
    async with awa.AsyncClient(proxied_url) as client:

        @client.task(Noop)
        async def handler(job: awa.Job) -> None:
            began.set()
            while not released.is_set():
                try:
                    await released.wait()
                except asyncio.CancelledError:
                    pass

        await client.start([("default", 5)], poll_interval_ms=50, quiet_poll_interval_ms=50)
        await client.insert(Noop())
        await asyncio.wait_for(began.wait(), 10)
        proxy.hold()
        await aeventually(lambda: client._runtime._links.claims._asked_at)
        start = time.monotonic()
        await client.shutdown(0)
        took = time.monotonic() - start
        released.set()
        proxy.cut_all()
        proxy.let_go()
    assert took < 2.5


async def test_a_claim_that_is_answered_after_the_wait_for_it_starts_no_job(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    """The loop is busy when the shutdown begins, so the claim is cut off later than that."""
    began = asyncio.Event()

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None:
        began.set()

    rows.conn.execute(
        "CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql"
        " AS 'BEGIN PERFORM pg_advisory_xact_lock_shared(7); RETURN NEW; END'"
    )
    rows.conn.execute(
        "CREATE TRIGGER hold BEFORE UPDATE ON awa.jobs_hot FOR EACH ROW"
        " WHEN (OLD.state = 'available' AND NEW.state = 'running') EXECUTE FUNCTION hold()"
    )
    rows.conn.execute("SELECT pg_advisory_lock(7)")
    await aclient.start([("default", 5)])
    job = await aclient.insert(Noop())
    held = "SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    await aeventually(lambda: rows.all(held))
    stopping = asyncio.create_task(aclient.shutdown(5000))
    # The wait is over after a second; it ends when the loop has time for it.
    release = threading.Timer(1.3, rows.conn.execute, ["SELECT pg_advisory_unlock(7)"])
    release.start()
    asyncio.get_running_loop().call_soon(time.sleep, 0.6)
    await stopping
    release.join()

    assert not began.is_set()
    assert (rows.job(job.id)["state"], rows.job(job.id)["attempt"]) == ("available", 0)


async def test_a_connection_that_is_cancelled_half_way_is_closed_at_once(
    database_url: str, rows: Rows
) -> None:
    """Though the error, and with it psycopg's frames, is kept."""
    purpose = Purpose("awa worker: cut off")
    kept = []
    for turns in range(40):
        task = asyncio.create_task(connect_async(database_url, purpose))
        await asyncio.sleep(turns * 0.0003)
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            await task.result().close()
        kept.append(task)
    sessions = "SELECT FROM pg_stat_activity WHERE application_name = 'awa worker: cut off'"
    await aeventually(lambda: not rows.all(sessions))


def test_a_connection_cut_off_by_the_end_of_its_loop_is_closed(
    database_url: str, rows: Rows
) -> None:
    purpose = Purpose("awa worker: cut off too")
    kept = []

    async def cut_off(turns: int) -> None:
        task = asyncio.create_task(connect_async(database_url, purpose))
        kept.append(task)
        await asyncio.sleep(turns * 0.0003)
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            await task.result().close()

    gc.disable()
    try:
        for turns in range(40):
            asyncio.run(cut_off(turns))
        sessions = "SELECT FROM pg_stat_activity WHERE application_name LIKE '%% cut off too'"
        eventually(lambda: not rows.all(sessions))
    finally:
        gc.enable()
