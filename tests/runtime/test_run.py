"""``run`` and ``serve``: they leave nothing behind, however they end."""

from __future__ import annotations

import asyncio
import signal
import threading

import pytest
from fix_wait import eventually
from fix_worker import Noop, Rows

import awa_lib as awa
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
    """The task is cancelled after so many turns of the event loop that waited for something."""
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
        eventually(lambda: not rows.all(f"{sessions} AND datname = current_database()"))
        assert "awa heartbeat" not in {one.name for one in threading.enumerate()}
