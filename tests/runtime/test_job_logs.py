"""Logs of handlers: what is kept, when it is written, and when it goes."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from fix_wait import aeventually, eventually
from fix_worker import Noop, Rows, working

import awa_lib as awa
from awa_lib.db.drive import run
from awa_lib.ops.job_logs import FIRST, RunLog, forget_job_logs, write_job_logs

LIMIT = 65_536
log = logging.getLogger("shop")


@dataclass
class Blocking:
    n: int = 0


@pytest.fixture(autouse=True)
def _level() -> Iterator[None]:
    log.setLevel(logging.INFO)
    yield
    log.setLevel(logging.NOTSET)
    assert [type(one).__name__ for one in logging.getLogger().handlers].count(
        "_CaptureHandler"
    ) == 0


async def ended(rows: Rows, job: awa.Job) -> dict[str, Any]:
    over = ("completed", "failed", "cancelled", "retryable", "scheduled")
    await aeventually(lambda: rows.job(job.id)["state"] in over)
    return rows.job(job.id)


async def messages(client: awa.AsyncClient, job: awa.Job) -> list[list[str]]:
    return [[one.message for one in run.records] for run in await client.get_job_logs(job.id)]


async def test_records_of_tasks_threads_and_errors(aclient: awa.AsyncClient, rows: Rows) -> None:
    @aclient.task(Noop, capture_logs=True)
    async def handler(job: awa.Job) -> None:
        log.info("in %s", "the task")
        log.debug("below the level of the logger")
        await asyncio.create_task(said("in a task of its own"))
        await asyncio.to_thread(log.warning, "in a thread")
        try:
            raise LookupError("no row")
        except LookupError:
            log.exception("caught")

    async def said(text: str) -> None:
        log.info(text)

    @aclient.task(Blocking, capture_logs=True)
    def blocking(job: awa.Job) -> None:
        log.info("from %s\n\u2028two lines\x00", threading.current_thread().name[:11])

    first, second = await aclient.insert(Noop()), await aclient.insert(Blocking())
    log.info("outside of any job")
    async with working(aclient):
        await ended(rows, first)
        await ended(rows, second)

    (found,) = await aclient.get_job_logs(first.id)
    assert [(one.level, one.message) for one in found.records] == [
        ("INFO", "in the task"),
        ("INFO", "in a task of its own"),
        ("WARNING", "in a thread"),
        ("ERROR", "caught"),
    ]
    assert {one.logger for one in found.records} == {"shop"}
    assert found.records[-1].exception is not None
    assert found.records[-1].exception.endswith("LookupError: no row")
    assert (found.job_id, found.attempt, found.dropped) == (first.id, 1, 0)
    assert found.run_lease == rows.job(first.id)["run_lease"]
    assert found.records[0].time <= found.records[-1].time <= found.updated_at
    assert await messages(aclient, second) == [["from awa handler\n\u2028two lines\x00"]]


async def test_the_kind_decides_before_the_queue(aclient: awa.AsyncClient, rows: Rows) -> None:
    @aclient.task(Noop, queue="kept")
    async def by_queue(job: awa.Job) -> None:
        log.info("by the queue")

    @aclient.task(Blocking, queue="kept", capture_logs=False)
    def not_by_kind(job: awa.Job) -> None:
        log.info("not by the kind")

    @aclient.task(dict, kind="plain", queue="other")
    async def by_default(job: awa.Job) -> None:
        log.info("not by default")

    aclient.queue("kept", capture_logs=True)
    aclient.queue("other")
    jobs = [
        await aclient.insert(Noop()),
        await aclient.insert(Blocking()),
        await aclient.insert({}, kind="plain"),
    ]
    await aclient.start(heartbeat_interval_ms=200)
    for job in jobs:
        await ended(rows, job)
    await aclient.shutdown()

    assert [await messages(aclient, job) for job in jobs] == [[["by the queue"]], [], []]
    with pytest.raises(awa.JobNotFound):
        await aclient.get_job_logs(99)
    with pytest.raises(TypeError, match="capture_logs must be True, False or None"):
        aclient.task(Noop, capture_logs="yes")  # type: ignore[arg-type] # the mistake


async def test_nothing_listens_when_nothing_is_kept(aclient: awa.AsyncClient) -> None:
    handlers = list(logging.getLogger().handlers)

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None: ...

    async with working(aclient):
        assert logging.getLogger().handlers == handlers


async def test_the_last_records_are_kept_and_the_others_counted(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    @aclient.task(Noop, capture_logs=True)
    async def handler(job: awa.Job) -> None:
        for number in range(1000):
            log.info("record %d %s", number, "é" * 200)

    @aclient.task(Blocking, capture_logs=True)
    async def long(job: awa.Job) -> None:
        log.info("first")
        log.info("\x01" * 100_000)
        log.info("last")

    job, one = await aclient.insert(Noop()), await aclient.insert(Blocking())
    async with working(aclient):
        await ended(rows, job)
        await ended(rows, one)

    (found,) = await aclient.get_job_logs(job.id)
    stored = rows.one("SELECT octet_length(lines) AS n FROM awa.job_logs WHERE job_id = %s", job.id)
    assert LIMIT - 1000 < stored["n"] <= LIMIT
    assert found.dropped + len(found.records) == 1000
    assert found.records[0].message.startswith(f"record {found.dropped} ")
    assert found.records[-1].message.startswith("record 999 ")
    (of_long,) = await aclient.get_job_logs(one.id)
    assert [len(record.message) for record in of_long.records] == [5, 8000, 4]


async def test_a_run_that_goes_on_is_written_with_its_heartbeat(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    more, done = asyncio.Event(), asyncio.Event()

    @aclient.task(Noop, capture_logs=True)
    async def handler(job: awa.Job) -> None:
        log.info("first")
        await more.wait()
        log.info("second")
        await done.wait()
        log.info("third")

    def stored() -> list[int]:
        return [row["records"] for row in rows.all("SELECT records FROM awa.job_logs")]

    job = await aclient.insert(Noop())
    async with working(aclient):
        await aeventually(lambda: stored() == [1])
        more.set()
        await aeventually(lambda: stored() == [2])
        assert await messages(aclient, job) == [["first", "second"]]
        done.set()
        await ended(rows, job)

    assert await messages(aclient, job) == [["first", "second", "third"]]


KILLED = """
import asyncio, logging, os
from dataclasses import dataclass
import awa_lib as awa

@dataclass
class Noop:
    n: int = 0

client = awa.AsyncClient(os.environ["DATABASE_URL"])
log = logging.getLogger("shop")
log.setLevel(logging.INFO)

@client.task(Noop, capture_logs=True)
async def handler(job):
    log.info("attempt of process")
    await asyncio.Event().wait()

async def main():
    await client.start([("default", 1)], heartbeat_interval_ms=200, heartbeat_staleness_ms=3000)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_a_killed_run_keeps_its_log_beside_that_of_the_next(
    aclient: awa.AsyncClient,
    rows: Rows,
    spawn_worker: Callable[..., subprocess.Popen[bytes]],
) -> None:
    job = await aclient.insert(Noop())
    process = spawn_worker(KILLED)
    await aeventually(lambda: rows.all("SELECT FROM awa.job_logs") != [], timeout=20)
    os.killpg(process.pid, signal.SIGKILL)

    @aclient.task(Noop, capture_logs=True)
    async def handler(job: awa.Job) -> None:
        log.info("the next run")

    async with working(aclient):
        await aeventually(lambda: rows.job(job.id)["state"] == "completed", timeout=30)

    first, second = await aclient.get_job_logs(job.id)
    assert [one.message for one in first.records] == ["attempt of process"]
    assert [one.message for one in second.records] == ["the next run"]
    # A crash does not count.
    assert (first.attempt, second.attempt) == (1, 1)
    assert await aclient.get_job_logs(job.id, attempt=2) == []
    assert await aclient.get_job_logs(job.id, attempt=1) == [first, second]


async def test_the_log_is_whole_when_the_job_has_ended(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    """Also of a failed attempt, and of many at once."""

    @aclient.task(Noop, capture_logs=True)
    async def handler(job: awa.Job) -> None:
        log.info("job %d", job.args.n)
        if job.args.n % 2:
            raise awa.TerminalError("odd")

    jobs = await aclient.insert_many([Noop(n) for n in range(200)])
    seen: list[list[list[str]]] = []
    async with working(aclient, ("default", 50), heartbeat_interval_ms=400):
        for job in jobs:
            await ended(rows, job)
            seen.append(await messages(aclient, job))

    assert seen == [[[f"job {n}"]] for n in range(200)]


async def test_trouble_with_logs_costs_no_end_and_no_lease(
    aclient: awa.AsyncClient, rows: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    go = asyncio.Event()

    @aclient.task(Noop, capture_logs=True)
    async def handler(job: awa.Job) -> None:
        log.info("job %d", job.args.n)
        await go.wait()

    with psycopg.connect(rows.conn.info.dsn) as other:
        other.execute("LOCK TABLE awa.job_logs IN ACCESS EXCLUSIVE MODE")
        locked, later = await aclient.insert_many([Noop(1), Noop(2)])
        async with working(aclient):
            await aeventually(lambda: rows.states() == {"running": 2})
            go.set()
            # The rows of the logs wait for the lock; the ends do not.
            assert (await ended(rows, locked))["state"] == "completed"
            assert (await ended(rows, later))["state"] == "completed"
            other.rollback()
            await aeventually(lambda: len(rows.all("SELECT FROM awa.job_logs")) == 2)
            assert await messages(aclient, locked) == [["job 1"]]

            rows.conn.execute("ALTER TABLE awa.job_logs RENAME TO hidden")
            gone = await aclient.insert(Noop(3))
            assert (await ended(rows, gone))["state"] == "completed"
            await aeventually(lambda: "cannot be written" in caplog.text)
            rows.conn.execute("ALTER TABLE awa.hidden RENAME TO job_logs")
            kept = await aclient.insert(Noop(4))
            await ended(rows, kept)
            await aeventually(lambda: len(rows.all("SELECT FROM awa.job_logs")) == 3)
            for number in range(10, 30):
                whole = await aclient.insert(Noop(number))
                await ended(rows, whole)
                assert await messages(aclient, whole) == [[f"job {number}"]]

    assert [await messages(aclient, one) for one in (gone, kept)] == [[], [["job 4"]]]


@contextmanager
def logging_without_handlers() -> Iterator[None]:
    root = logging.getLogger()
    kept, root.handlers[:] = list(root.handlers), []
    try:
        yield
    finally:
        root.handlers[:] = kept


async def test_a_program_without_log_handlers_still_prints_its_warnings(
    aclient: awa.AsyncClient, rows: Rows, capsys: pytest.CaptureFixture[str]
) -> None:
    @aclient.task(Noop, capture_logs=True)
    async def handler(job: awa.Job) -> None:
        log.warning("seen on stderr")
        log.info("not seen there")

    job = await aclient.insert(Noop())
    with logging_without_handlers():
        async with working(aclient):
            await ended(rows, job)

    printed = capsys.readouterr().err
    assert printed.count("seen on stderr") == 1
    assert "not seen there" not in printed
    assert await messages(aclient, job) == [["seen on stderr", "not seen there"]]


async def test_two_workers_of_a_process_keep_a_record_once(
    aclient: awa.AsyncClient, database_url: str, rows: Rows
) -> None:
    @aclient.task(Noop, capture_logs=True)
    async def handler(job: awa.Job) -> None:
        log.info("once")

    async with awa.AsyncClient(database_url) as other:
        other.task(Noop, capture_logs=True)(handler)
        async with working(other), working(aclient):
            job = await aclient.insert(Noop())
            await ended(rows, job)
        assert await messages(aclient, job) == [["once"]]


def logged(job_id: int, lease: int, records: int = 1) -> RunLog:
    return RunLog(job_id, lease, 1, "", records, records)


async def test_an_older_state_does_not_replace_a_newer(rows: Rows) -> None:
    with psycopg.connect(rows.conn.info.dsn, autocommit=True) as conn:
        for records in (2, 1):
            run(conn, write_job_logs([logged(1, 5, records)]))

    assert rows.one("SELECT records FROM awa.job_logs")["records"] == 2


async def test_a_job_keeps_the_logs_of_its_newest_runs(rows: Rows) -> None:
    with psycopg.connect(rows.conn.info.dsn, autocommit=True) as conn:
        for lease in range(1, 31):
            run(conn, write_job_logs([logged(1, lease), logged(2, lease)]))

    found = rows.all("SELECT run_lease FROM awa.job_logs WHERE job_id = 1 ORDER BY run_lease")
    assert [row["run_lease"] for row in found] == list(range(10, 31))


@pytest.mark.parametrize("how", ["discard", "discard_failed", "purge", "retention"])
async def test_logs_go_with_their_job(aclient: awa.AsyncClient, rows: Rows, how: str) -> None:
    @aclient.task(Noop, capture_logs=True)
    async def handler(job: awa.Job) -> None:
        log.info("soon gone")
        raise awa.TerminalError("at once")

    job = await aclient.insert(Noop())
    async with working(aclient):
        assert (await ended(rows, job))["state"] == "failed"
        await aeventually(lambda: rows.all("SELECT FROM awa.job_logs") != [])
    if how == "discard":
        await aclient.discard(job.id)
    elif how == "discard_failed":
        assert await aclient.discard_failed("noop") == 1
    elif how == "purge":
        await aclient.move_failed_to_dlq(job.id)
        assert [one.message for one in (await aclient.get_job_logs(job.id))[0].records] == [
            "soon gone"
        ]
        await aclient.purge_dlq_job(job.id)
    else:
        async with working(aclient, failed_retention_hours=0):
            await aeventually(lambda: rows.all("SELECT FROM awa.jobs") == [])

    assert rows.all("SELECT FROM awa.job_logs") == []


async def test_the_leader_deletes_logs_of_jobs_that_others_deleted(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None: ...

    there = [await aclient.insert(Noop(), delay=60), await aclient.insert(Noop(), queue="idle")]
    gone = range(10_000, 12_500)
    with psycopg.connect(rows.conn.info.dsn, autocommit=True) as conn:
        run(conn, write_job_logs([logged(one.id, 1) for one in there]))
        run(conn, write_job_logs([logged(job_id, 1) for job_id in gone]))
        seen = run(conn, forget_job_logs(FIRST))
        assert seen is not None
        assert seen.job_id == 10_997
        assert rows.one("SELECT count(*) AS n FROM awa.job_logs")["n"] == 1504
    async with working(aclient):
        await aeventually(
            lambda: rows.one("SELECT count(*) AS n FROM awa.job_logs")["n"] == 2, timeout=20
        )

    found = rows.all("SELECT job_id FROM awa.job_logs ORDER BY job_id")
    assert [row["job_id"] for row in found] == [one.id for one in there]


def test_the_blocking_client_reads_logs(database_url: str, rows: Rows) -> None:
    with awa.Client(database_url) as client:
        job = client.insert(Noop())
        assert client.get_job_logs(job.id) == []
        with pytest.raises(awa.ValidationError):
            client.get_job_logs(job.id, attempt=-1)
    eventually(lambda: rows.states() == {"available": 1})
