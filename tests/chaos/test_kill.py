"""Kill things for real: no job is lost, none completes twice."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import psycopg
import pytest
from fix_wait import aeventually, eventually
from fix_worker import QUICK, Noop, Rows, working
from history import keep, lines_of, problems, read

import awa_lib as awa
from awa_lib.embedded import acquire

pytestmark = pytest.mark.chaos

WORKER = f"""
import asyncio, json, os, time
from dataclasses import dataclass
import awa_lib as awa

@dataclass
class Tick:
    n: int

client = awa.AsyncClient(os.environ["DATABASE_URL"])
ledger = os.open(__file__ + ".ledger", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

def note(job, **line):
    line |= {{"id": job.id, "lease": job.run_lease, "t": time.monotonic()}}
    os.write(ledger, json.dumps(line).encode() + b"\\n")

@client.task(Tick)
async def tick(job):
    note(job, what="start")
    await asyncio.sleep(0.002)
    note(job, what="end", promise="completed")

awa.run(client, [("default", 100)], drain_timeout=5, **{QUICK!r})
"""


@pytest.mark.parametrize("count", [10_000, pytest.param(100_000, marks=pytest.mark.soak)])
def test_kill_9_in_the_middle_loses_no_job(
    database_url: str, rows: Rows, spawn_worker, tmp_path: Path, count: int
) -> None:
    keep(rows.conn)
    with awa.Client(database_url) as client:
        jobs = client.insert_many_copy(({"n": n} for n in range(count)), kind="tick")

    def completed() -> int:
        return rows.one("SELECT count(*) AS n FROM public.history WHERE new = 'completed'")["n"]

    victim = spawn_worker(WORKER)
    eventually(lambda: completed() > count // 10, timeout=30)
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    left = rows.states()
    spawn_worker(WORKER)
    eventually(lambda: rows.states() == {"completed": count}, timeout=120)

    ledger = [{"what": "inserted", "id": job.id} for job in jobs]
    for path in tmp_path.glob("*.ledger"):
        ledger += lines_of(path)
    assert problems(read(rows.conn, ledger, cleans=False)) == []
    assert left.get("completed", 0) < count
    assert left.get("running", 0) > 0
    assert completed() == count
    errors = rows.all("SELECT DISTINCT e ->> 'error' AS error FROM awa.jobs, unnest(errors) AS e")
    assert errors == [{"error": "heartbeat stale: worker presumed dead"}]


def test_rescue_never_exceeds_max_attempts(rows: Rows, database_url: str, spawn_worker) -> None:
    """A job that kills its worker ends failed instead of crashing the fleet forever."""
    source = f"""
import os, signal
import awa_lib as awa
client = awa.AsyncClient(os.environ["DATABASE_URL"])

@client.task(dict, kind="poison")
async def poison(job):
    os.kill(os.getpid(), signal.SIGKILL)

awa.run(client, [("default", 1)], **{QUICK!r})
"""
    with awa.Client(database_url) as client:
        job = client.insert({}, kind="poison", max_attempts=2)
        for _ in range(2):
            process = spawn_worker(source)
            assert process.wait(30) == -signal.SIGKILL
        # A worker of another kind leads and rescues.
        spawn_worker(source.replace('"poison"', '"other"'))
        eventually(lambda: rows.job(job.id)["state"] == "failed", timeout=30)
    row = rows.job(job.id)

    dead = "heartbeat stale: worker presumed dead"
    assert row["attempt"] == 1
    assert [(e["attempt"], e["crash"], e["error"]) for e in row["errors"]] == [
        (1, 1, dead),
        (1, 2, f"{dead}; its worker died 2 times while it ran"),
    ]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_drains_and_leaves_no_row_running(
    rows: Rows, database_url: str, spawn_worker, number: signal.Signals
) -> None:
    with awa.Client(database_url) as client:
        client.insert_many([{"n": n} for n in range(500)], kind="tick")
        process = spawn_worker(WORKER)
        eventually(lambda: rows.states().get("completed", 0) > 20, timeout=30)
        process.send_signal(number)

        assert process.wait(20) == 0
        assert "running" not in rows.states()


def test_blocking_handler_that_outlives_the_drain_is_handed_back(
    rows: Rows, database_url: str, spawn_worker
) -> None:
    source = """
import os, time
import awa_lib as awa
client = awa.AsyncClient(os.environ["DATABASE_URL"])

@client.task(dict, kind="slow")
def slow(job):
    time.sleep(60)

awa.run(client, [("default", 1)], drain_timeout=0.2)
"""
    with awa.Client(database_url) as client:
        job = client.insert({}, kind="slow")
        process = spawn_worker(source)
        eventually(lambda: rows.job(job.id)["state"] == "running", timeout=30)
        process.send_signal(signal.SIGTERM)

        assert process.wait(20) == 0
    row = rows.job(job.id)
    assert (row["state"], row["attempt"]) == ("available", 0)


def test_a_task_that_never_ends_does_not_make_a_good_stop_a_bad_one(
    rows: Rows, database_url: str, spawn_worker
) -> None:
    source = """
import asyncio, os
import awa_lib as awa
client = awa.AsyncClient(os.environ["DATABASE_URL"])

@client.task(dict, kind="quick")
async def quick(job):
    pass

async def stubborn():
    while True:
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            pass

tasks = []
awa.run(
    client, [("default", 1)], drain_timeout=0.2,
    on_ready=lambda: tasks.append(asyncio.get_running_loop().create_task(stubborn())),
)
"""
    with awa.Client(database_url) as client:
        job = client.insert({}, kind="quick")
        process = spawn_worker(source)
        eventually(lambda: rows.job(job.id)["state"] == "completed", timeout=30)
        process.send_signal(signal.SIGTERM)

        assert process.wait(10) == 0


def test_second_signal_stops_at_once(rows: Rows, database_url: str, spawn_worker) -> None:
    source = """
import asyncio, os
import awa_lib as awa
client = awa.AsyncClient(os.environ["DATABASE_URL"])

@client.task(dict, kind="stubborn")
async def stubborn(job):
    while not job.is_cancelled():
        await asyncio.sleep(0.01)
    job.set_progress(99)
    await job.flush_progress()
    await asyncio.sleep(600)

awa.run(client, [("default", 1)], drain_timeout=600)
"""
    with awa.Client(database_url) as client:
        job = client.insert({}, kind="stubborn")
        process = spawn_worker(source)
        eventually(lambda: rows.job(job.id)["state"] == "running", timeout=30)
        process.send_signal(signal.SIGTERM)
        eventually(lambda: (rows.job(job.id)["progress"] or {}).get("percent") == 99, timeout=30)
        process.send_signal(signal.SIGTERM)

        assert process.wait(10) == 128 + signal.SIGTERM


async def test_lost_connections_are_remade_and_said_once(
    aclient: awa.AsyncClient, rows: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None: ...

    async with working(aclient):
        first = await aclient.insert(Noop())
        await aeventually(lambda: rows.job(first.id)["state"] == "completed")
        for _ in range(3):
            rows.conn.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            job = awa.Client.on(rows.conn).insert(Noop())
            await aeventually(lambda job=job: rows.job(job.id)["state"] == "completed")
        health = await aclient.health_check()

    assert health.healthy
    lost = [r for r in caplog.records if "the database is unavailable" in r.getMessage()]
    assert len(lost) == 1


async def test_jobs_survive_a_crash_of_the_server(scratch: Path) -> None:
    """A backend killed by the kernel makes Postgres restart and recover; nothing is lost."""
    done: list[int] = []
    with acquire(scratch / "crash") as server:
        async with awa.AsyncClient(server.url) as client:
            await client.migrate()

            @client.task(Noop)
            async def handler(job: awa.Job) -> None:
                await asyncio.sleep(0.01)
                done.append(job.args.n)

            jobs = await client.insert_many([Noop(n) for n in range(2000)])
            async with working(client, ("default", 20)):
                await aeventually(lambda: len(done) > 100)
                with psycopg.connect(server.url, autocommit=True) as conn:
                    (pid,) = conn.execute(
                        "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'"
                    ).fetchone()
                os.kill(pid, signal.SIGKILL)

                def states() -> dict[str, int]:
                    try:
                        with psycopg.connect(server.url, autocommit=True) as conn:
                            return dict(
                                conn.execute(
                                    "SELECT state::text, count(*) FROM awa.jobs GROUP BY state"
                                ).fetchall()
                            )
                    except psycopg.OperationalError:
                        return {}

                await aeventually(lambda: states() == {"completed": len(jobs)}, timeout=60)

    assert set(done) == set(range(2000))
