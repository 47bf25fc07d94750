"""``client.result``: waits for the end of a job, on one connection however many wait."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from fix_wait import aeventually
from fix_worker import Noop, working

import awa_lib as awa
from awa_lib.client import waits
from awa_lib.ops import waits as waits_of_jobs

WAITING = "SELECT pid FROM pg_stat_activity WHERE application_name = 'awa waits' AND datname = current_database()"
WATCHED = "SELECT count(*) AS n FROM awa.job_waits"


@dataclass
class Report:
    n: int = 1


@pytest.fixture
def only_notified(monkeypatch) -> None:
    """Without the looks that find what was not notified."""
    monkeypatch.setattr(waits, "FIRST_LOOKS", ())
    monkeypatch.setattr(waits, "_LOOK_SECONDS", 3600.0)


def gated(client: awa.AsyncClient) -> asyncio.Event:
    """Register a handler that returns its argument when the event is set."""
    go = asyncio.Event()

    @client.task(Report, result=True)
    async def handler(job: awa.Job[Report]) -> int:
        await go.wait()
        return job.args.n

    return go


async def test_a_notification_ends_the_wait(aclient, client, rows, only_notified) -> None:
    """Of both clients: ``client`` is the one that waits."""
    go = gated(aclient)
    async with working(aclient):
        job = await client.insert(Report(5))
        waiting = asyncio.create_task(
            asyncio.to_thread(client.inner.result, job, timeout=30)
            if client.blocking
            else client.result(job, timeout=30)
        )
        await aeventually(lambda: rows.one(WATCHED)["n"] == 1)
        go.set()

        assert await waiting == 5
        await aeventually(lambda: rows.one(WATCHED)["n"] == 0)


async def test_an_end_that_commits_while_the_wait_begins_is_found(
    aclient, rows, database_url, monkeypatch
) -> None:
    """Its trigger has run before anybody waited, so nothing is notified."""
    monkeypatch.setattr(waits, "FIRST_LOOKS", (3.0,))
    monkeypatch.setattr(waits, "_LOOK_SECONDS", 3600.0)
    job = await aclient.insert(Report())
    async with await psycopg.AsyncConnection.connect(database_url) as ending:
        await ending.execute("UPDATE awa.jobs_hot SET state = 'cancelled'")
        waiting = asyncio.create_task(aclient.result(job, timeout=60))
        await aeventually(lambda: rows.one(WATCHED)["n"] == 1)
    with pytest.raises(awa.JobFailed):
        await waiting


async def test_many_wait_on_one_connection_without_polling(aclient, rows, monkeypatch) -> None:
    looks: list[int] = []

    def job_states(ids: Any) -> Any:
        looks.append(len(ids))
        return waits_of_jobs.job_states(ids)

    monkeypatch.setattr(waits, "job_states", job_states)
    jobs = await aclient.insert_many([Report(n) for n in range(200)])
    found = asyncio.gather(
        *(aclient.result(job, timeout=6) for job in jobs), return_exceptions=True
    )
    await aeventually(lambda: rows.one(WATCHED)["n"] == 200)
    connections = len(rows.all(WAITING))
    errors = await found

    assert {type(error) for error in errors} == {awa.WaitTimeout}
    assert connections == 1
    # The waits begin together and are looked at together; then every two seconds.
    assert 200 in looks
    assert len(looks) < 100


async def test_many_threads_wait_on_one_connection(aclient, database_url, rows) -> None:
    go = gated(aclient)
    with awa.Client(database_url) as blocking:
        async with working(aclient, ("default", 30)):
            jobs = blocking.insert_many([Report(n) for n in range(20)])
            found: list[Any] = [None] * 20

            def wait(at: int) -> None:
                found[at] = blocking.result(jobs[at], timeout=30)

            threads = [threading.Thread(target=wait, args=[at]) for at in range(20)]
            for thread in threads:
                thread.start()
            await aeventually(lambda: rows.one(WATCHED)["n"] == 20)
            assert len(rows.all(WAITING)) == 1
            go.set()
            for thread in threads:
                await asyncio.to_thread(thread.join, 30)

    assert found == list(range(20))
    assert not [one for one in threading.enumerate() if one.name == "awa waits"]


async def test_time_out(client) -> None:
    job = await client.insert(Report())
    began = time.monotonic()
    for timeout in (0, 0.3):
        with pytest.raises(TimeoutError) as late:
            await client.result(job, timeout=timeout)
        assert isinstance(late.value, awa.WaitTimeout)
        assert str(late.value) == f"job {job.id} did not end within {timeout} s"
        assert late.value.hint.startswith(f"see what it does: awa job show {job.id}")
    assert 0.3 <= time.monotonic() - began < 5
    for wrong in (-1, "soon", True):
        with pytest.raises(awa.ValidationError):
            await client.result(job, timeout=wrong)


async def test_a_cancelled_waiter_is_forgotten(aclient, rows) -> None:
    job = await aclient.insert(Report())
    one, other = (asyncio.create_task(aclient.result(job, timeout=30)) for _ in range(2))
    await aeventually(lambda: rows.one(WATCHED)["n"] == 1)
    one.cancel()
    with pytest.raises(asyncio.CancelledError):
        await one
    await aeventually(lambda: len(aclient._waits._waiting[job.id]) == 1)
    await aclient.cancel(job.id)

    with pytest.raises(awa.JobFailed):
        await other
    assert aclient._waits._waiting == {}


async def test_what_is_not_notified_is_found(client, rows, monkeypatch) -> None:
    """A job that is cancelled before it was due moves between tables; a deleted one is gone."""
    monkeypatch.setattr(waits, "FIRST_LOOKS", ())
    later = datetime.now(UTC) + timedelta(hours=1)
    cancelled = await client.insert(Report(), run_at=later)
    deleted = await client.insert(Report(), run_at=later)

    async def wait(job: Any) -> Any:
        if client.blocking:
            return await asyncio.to_thread(client.inner.result, job, timeout=30)
        return await client.result(job, timeout=30)

    waiting = [asyncio.create_task(wait(job)) for job in (cancelled, deleted)]
    await aeventually(lambda: rows.one(WATCHED)["n"] == 2)
    await client.cancel(cancelled.id)
    rows.conn.execute("DELETE FROM awa.scheduled_jobs WHERE id = %s", [deleted.id])

    with pytest.raises(awa.JobFailed, match=f"job {cancelled.id} was cancelled"):
        await waiting[0]
    with pytest.raises(awa.JobNotFound):
        await waiting[1]


async def test_a_lost_connection_is_opened_again(aclient, rows) -> None:
    go = gated(aclient)
    async with working(aclient):
        job = await aclient.insert(Report(3))
        waiting = asyncio.create_task(aclient.result(job, timeout=30))
        (session,) = await aeventually(lambda: rows.all(WAITING))
        rows.conn.execute("SELECT pg_terminate_backend(%s, 5000)", [session["pid"]])
        go.set()
        assert await waiting == 3


async def test_the_end_of_the_client_ends_the_waits(database_url, flavour, rows) -> None:
    client = awa.Client(database_url) if flavour == "sync" else awa.AsyncClient(database_url)
    if isinstance(client, awa.Client):
        job = client.insert(Report())
        waiting = asyncio.create_task(asyncio.to_thread(client.result, job, timeout=30))
        await aeventually(lambda: rows.one(WATCHED)["n"] == 1)
        await asyncio.to_thread(client.close)
    else:
        job = await client.insert(Report())
        waiting = asyncio.create_task(client.result(job, timeout=30))
        await aeventually(lambda: rows.one(WATCHED)["n"] == 1)
        await client.close()

    with pytest.raises(awa.DatabaseError, match="the client was closed during a wait"):
        await waiting


async def test_who_may_only_read_waits_too(aclient, database_url, rows) -> None:
    role = f"reader_{rows.one('SELECT pg_backend_pid() AS n')['n']}"
    rows.conn.execute(f"CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA awa TO {role}")
    rows.conn.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA awa TO {role}")
    go = gated(aclient)
    try:
        url = psycopg.conninfo.make_conninfo(database_url, user=role)
        async with working(aclient), awa.AsyncClient(url) as reader:
            job = await aclient.insert(Report(4))
            waiting = asyncio.create_task(reader.result(job.id, timeout=30))
            await aeventually(lambda: rows.all(WAITING))
            go.set()
            assert await waiting == 4
    finally:
        rows.conn.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


async def test_a_session_that_only_reads_waits_too(aclient, database_url) -> None:
    options = "-c default_transaction_read_only=on"
    url = psycopg.conninfo.make_conninfo(database_url, options=options)
    go = gated(aclient)
    async with working(aclient), awa.AsyncClient(url) as reader:
        job = await aclient.insert(Report(4))
        waiting = asyncio.create_task(reader.result(job.id, timeout=30))
        await aeventually(lambda: reader._waits is not None and not reader._waits._young)
        go.set()
        assert await waiting == 4


async def test_who_may_not_read_is_told(aclient, database_url, rows) -> None:
    role = f"nobody_{rows.one('SELECT pg_backend_pid() AS n')['n']}"
    rows.conn.execute(f"CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA awa TO {role}")
    try:
        url = psycopg.conninfo.make_conninfo(database_url, user=role)
        async with awa.AsyncClient(url) as client:
            with pytest.raises(awa.AccessDenied):
                await client.result(1, timeout=5)
    finally:
        rows.conn.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


# -- waits of handlers


@dataclass
class Part:
    n: int = 1


def parents(
    client: awa.AsyncClient, database_url: str, *, blocking: bool, queue: str
) -> asyncio.Event:
    """Register a handler that waits for another job, and that job's, which waits if it is told."""
    go = asyncio.Event()
    go.set()

    @client.task(Part, queue=queue, result=True)
    async def part(job: awa.Job[Part]) -> int:
        await go.wait()
        return job.args.n * 2

    if blocking:
        inner = awa.Client(database_url)

        @client.task(Report, result=True, max_attempts=1)
        def plain(job: awa.Job[Report]) -> int:
            return inner.result(inner.insert(Part(job.args.n), queue=queue), into=int, timeout=20)

    else:

        @client.task(Report, result=True, max_attempts=1)
        async def handler(job: awa.Job[Report]) -> int:
            child = await client.insert(Part(job.args.n), queue=queue)
            return await client.result(child, into=int, timeout=20)

    return go


@pytest.mark.parametrize("blocking", [False, True])
async def test_a_handler_never_waits_in_the_last_slot(
    aclient, database_url, rows, blocking
) -> None:
    parents(aclient, database_url, blocking=blocking, queue="default")
    async with working(aclient, ("default", 1)):
        job = await aclient.insert(Report())
        with pytest.raises(awa.JobFailed) as failed:
            await aclient.result(job, timeout=20)

    assert failed.value.error_type == "awa_lib.errors.WouldDeadlock"
    assert f"job {job.id} must not wait for job {job.id + 1} of the queue 'default'" in (
        failed.value.error
    )


async def test_the_other_slots_may_wait(aclient, database_url, rows) -> None:
    go = parents(aclient, database_url, blocking=False, queue="default")
    go.clear()
    async with working(aclient, ("default", 3)):
        jobs = await aclient.insert_many([Report(n) for n in range(1, 3)])
        await aeventually(lambda: rows.one(WATCHED)["n"] == 2)
        go.set()
        assert [await aclient.result(job, timeout=20) for job in jobs] == [2, 4]


async def test_all_slots_may_wait_for_another_queue(aclient, database_url) -> None:
    parents(aclient, database_url, blocking=False, queue="parts")
    async with working(aclient, ("default", 2), ("parts", 1)):
        jobs = await aclient.insert_many([Report(n) for n in range(6)])
        found = [await aclient.result(job, timeout=20) for job in jobs]

    assert found == [0, 2, 4, 6, 8, 10]


async def test_shared_slots_count_together(aclient, database_url) -> None:
    parents(aclient, database_url, blocking=False, queue="parts")
    queues = [{"name": name, "min_workers": 0, "weight": 1} for name in ("default", "parts")]
    async with working(aclient, *queues, global_max_workers=1):
        with pytest.raises(awa.JobFailed) as failed:
            await aclient.result(await aclient.insert(Report()), timeout=20)

    assert failed.value.error_type == "awa_lib.errors.WouldDeadlock"


async def test_a_task_that_outlives_its_handler_holds_no_slot(aclient) -> None:
    after: list[asyncio.Task[Any]] = []
    go = asyncio.Event()

    @aclient.task(Part, result=True)
    async def part(job: awa.Job) -> int:
        return 1

    @aclient.task(Report)
    async def handler(job: awa.Job) -> None:
        async def later() -> Any:
            await go.wait()
            return await aclient.result(await aclient.insert(Part()), timeout=20)

        after.append(asyncio.create_task(later()))

    async with working(aclient, ("default", 1)):
        await aclient.insert(Report())
        await aeventually(lambda: after)
        await aeventually(lambda: aclient._runtime._executor.running == 0)
        go.set()
        assert await after[0] == 1


async def test_a_blocking_handler_that_was_cancelled_stops_waiting(aclient, database_url) -> None:
    inner = awa.Client(database_url)
    stopped: list[BaseException] = []

    @aclient.task(Report)
    def handler(job: awa.Job) -> None:
        try:
            inner.result(never, timeout=None)
        except awa.StaleAttempt as error:
            stopped.append(error)
            raise

    never = await aclient.insert(Noop(), queue="idle")
    async with working(aclient, ("default", 2)):
        job = await aclient.insert(Report())
        await aeventually(lambda: inner._waits is not None and inner._waits._waits._waiting)
        await aclient.cancel(job.id)
        await aeventually(lambda: stopped)

    assert str(stopped[0]) == f"the attempt was stopped while it waited for job {never.id}"
    inner.close()


async def test_waits_behind_a_transaction_pooler(pooled_url, sound_url) -> None:
    """Its sessions hear nothing for long: the jobs are looked at instead."""
    async with awa.AsyncClient(sound_url) as worker, awa.AsyncClient(pooled_url) as waiter:
        go = gated(worker)
        async with working(worker):
            job = await waiter.insert(Report(6))
            waiting = asyncio.create_task(waiter.result(job, timeout=30))
            await aeventually(lambda: waiter._waits is not None and not waiter._waits._young)
            go.set()
            assert await waiting == 6


def test_a_script_that_closes_nothing_ends(database_url) -> None:
    script = (
        "import sys, awa_lib as awa\n"
        "client = awa.Client(sys.argv[1])\n"
        "try: client.result(client.insert({}, kind='k'), timeout=0.2)\n"
        "except awa.WaitTimeout: print('late')\n"
    )
    line = [sys.executable, "-X", "dev", "-W", "error", "-c", script, database_url]
    done = subprocess.run(line, capture_output=True, text=True, timeout=30)

    assert (done.returncode, done.stdout, done.stderr) == (0, "late\n", "")
