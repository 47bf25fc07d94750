"""Callbacks, schedules and rescues with awa 0.5.7 on the other side, in both directions."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

import pytest
from fix_interop import Interop
from fix_wait import aeventually
from fix_worker import QUICK, Noop, Rows, working

import awa_lib as awa

pytestmark = pytest.mark.interop

THEIR_WORKER = """
import asyncio, os
from dataclasses import dataclass
import awa

@dataclass
class Tick:
    n: int

async def main():
    client = awa.AsyncClient(os.environ["DATABASE_URL"])

    @client.task(dict, kind="theirs", queue="theirs")
    async def theirs(job):
        if job.args.get("return"):
            return None
        if job.args.get("wait"):
            answer = await job.wait_for_callback(await job.register_callback())
            job.update_metadata({"answer": answer})
            await job.flush_progress()
            raise awa.TerminalError("keeps its progress")
        if job.args.get("park"):
            return awa.WaitForCallback(await job.register_callback())
        await asyncio.sleep(60)

    client.periodic("theirs", "* * * * * *", Tick, Tick(1), queue="nobody")
    await client.start(
        [("theirs", 8)], poll_interval_ms=20, heartbeat_interval_ms=200,
        leader_election_interval_ms=200, promote_interval_ms=50, heartbeat_rescue_interval_ms=200,
        heartbeat_staleness_ms=1500,
    )
    print("ready", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""
THEIR_RESUME = """
import os, sys, json
import awa

client = awa.Client(os.environ["DATABASE_URL"])
verb, callback, payload = sys.argv[1:]
job = getattr(client, verb)(callback, json.loads(payload))
print(job.state)
"""
LEADER = """
    SELECT a.application_name FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)
    WHERE l.locktype = 'advisory' AND l.classid = 1096237407 AND l.objid = 1296124238
      AND l.granted AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


@pytest.fixture
def start_theirs(interop: Interop, database_url: str):
    started = []

    def start():
        process = interop.start(THEIR_WORKER, url=database_url)
        started.append(process)
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.strip() == "ready", line + process.stdout.read()
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def fires(rows: Rows, name: str) -> list[str]:
    found = rows.all(
        "SELECT metadata ->> 'cron_fire_time' AS at FROM awa.jobs "
        "WHERE metadata ->> 'cron_name' = %s ORDER BY 1",
        name,
    )
    return [row["at"] for row in found]


def callback_of(rows: Rows, job_id: int) -> str | None:
    row = rows.job(job_id)
    return str(row["callback_id"]) if row["state"] == "waiting_external" else None


async def test_their_leader_fires_our_schedules_and_ours_fires_theirs(
    aclient: awa.AsyncClient, rows: Rows, start_theirs
) -> None:
    """Each fire once, through a change of leader."""
    theirs = start_theirs()
    await aeventually(lambda: rows.all(LEADER))

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None: ...

    aclient.periodic("ours", "* * * * * *", Noop, Noop(1))
    async with working(aclient):
        assert not (await aclient.health_check()).leader
        await aeventually(lambda: len(fires(rows, "ours")) >= 2)
        theirs.send_signal(signal.SIGKILL)
        theirs.wait()
        ours, others = len(fires(rows, "ours")), len(fires(rows, "theirs"))
        assert others >= 1
        await aeventually(
            lambda: len(fires(rows, "ours")) > ours + 1 and len(fires(rows, "theirs")) > others + 1
        )

    for name in ("ours", "theirs"):
        assert len(set(fires(rows, name))) == len(fires(rows, name))


async def test_their_client_answers_our_handler(
    aclient: awa.AsyncClient, rows: Rows, interop: Interop, database_url: str
) -> None:
    """Theirs sends no notification: the look once a second finds the answer."""
    answers: list[Any] = []

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None:
        answers.append(await job.wait_for_callback(await job.register_callback()))

    async with working(aclient):
        job = await aclient.insert(Noop())
        callback = await aeventually(lambda: callback_of(rows, job.id))
        said = interop.python(
            THEIR_RESUME, "resume_external", callback, '{"a": 1}', url=database_url
        ).stdout
        await aeventually(lambda: rows.job(job.id)["state"] == "completed")

    assert said.strip() == "running"
    assert answers == [{"a": 1}]


@pytest.mark.parametrize(("args", "state"), [({"wait": 1}, "failed"), ({"park": 1}, "completed")])
async def test_our_client_answers_their_handler(
    aclient: awa.AsyncClient, rows: Rows, start_theirs, args: dict[str, int], state: str
) -> None:
    start_theirs()
    job = await aclient.insert(args, kind="theirs", queue="theirs")
    callback = await aeventually(lambda: callback_of(rows, job.id))
    if state == "failed":
        await aclient.resume_external(callback, {"b": 2})
    else:
        await aclient.complete_external(callback, {"b": 2})
    await aeventually(lambda: rows.job(job.id)["state"] == state)

    row = rows.job(job.id)
    if state == "failed":
        assert row["progress"]["metadata"] == {"answer": {"b": 2}}
        assert "_awa_callback_result" not in row["metadata"]
    else:
        assert row["metadata"]["_awa_callback_result"] == {"b": 2}


async def test_our_leader_rescues_their_job_and_theirs_ours(
    aclient: awa.AsyncClient, rows: Rows, start_theirs, spawn_worker
) -> None:
    victim = start_theirs()
    job = await aclient.insert({}, kind="theirs", queue="theirs")
    await aeventually(lambda: rows.job(job.id)["state"] == "running")
    victim.kill()
    victim.wait()

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None: ...

    async with working(aclient):
        await aeventually(lambda: rows.job(job.id)["state"] == "available")
    assert [e["error"] for e in rows.job(job.id)["errors"]] == [
        "heartbeat stale: worker presumed dead"
    ]

    ours = spawn_worker(f"""
import asyncio, os
import awa_lib as awa
client = awa.AsyncClient(os.environ["DATABASE_URL"])

@client.task(dict, kind="slow", queue="ours")
async def slow(job):
    await asyncio.sleep(60)

awa.run(client, [("ours", 1)], **{QUICK!r})
""")
    slow = await aclient.insert({}, kind="slow", queue="ours")
    await aeventually(lambda: rows.job(slow.id)["state"] == "running")
    ours.kill()
    ours.wait()
    start_theirs()
    await aeventually(lambda: rows.job(slow.id)["state"] == "available")
    assert [e["error"] for e in rows.job(slow.id)["errors"]] == [
        "heartbeat stale: worker presumed dead"
    ]


async def test_limits_hold_under_their_leader_and_dead_letters_wait_for_ours(
    aclient: awa.AsyncClient, rows: Rows, start_theirs
) -> None:
    """Claims count by themselves; what the leader does of dead letters, theirs leaves undone."""
    go = asyncio.Event()
    most = 0

    @aclient.task(Noop)
    async def handler(job: awa.Job[Noop]) -> None:
        nonlocal most
        if job.args.n < 0:
            raise awa.TerminalError("no luck")
        most = max(most, rows.states().get("running", 0))
        await go.wait()

    await aclient.set_queue_policy("default", max_running=2)
    await aclient.set_dead_letters("default", True)
    theirs = start_theirs()
    await aeventually(lambda: rows.all(LEADER))
    async with working(aclient, ("default", 8)):
        failed = await aclient.insert(Noop(-1))
        await aeventually(lambda: rows.job(failed.id)["state"] == "failed")
        jobs = await aclient.insert_many([Noop(n) for n in range(5)])
        await aeventually(lambda: rows.states().get("running") == 2)
        go.set()
        await aeventually(lambda: rows.states().get("completed") == len(jobs))
        assert not (await aclient.health_check()).leader
        assert rows.job(failed.id)["state"] == "failed"
        assert await aclient.dlq_depth() == 0

        theirs.kill()
        theirs.wait()
        await aeventually(aclient.dlq_depth, timeout=30)
        entry = await aclient.get_dlq_job(failed.id)

    assert most == 2
    assert "no luck" in entry.reason


async def test_a_job_that_theirs_completes_has_no_result(
    aclient: awa.AsyncClient, rows: Rows, start_theirs
) -> None:
    """The wait ends at once, with the reason."""
    start_theirs()
    aclient.kind(dict, kind="theirs", result=int)
    job = await aclient.insert({"return": True}, kind="theirs", queue="theirs")
    with pytest.raises(awa.NoResult) as none:
        await aclient.result(job, timeout=20)

    assert "completed by a worker that keeps no results: of awa 0.5, or" in none.value.why
    assert rows.all("SELECT * FROM awa.job_results") == []
