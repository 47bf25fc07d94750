"""Databases as awa 0.5.5, 0.5.6 and 0.5.7 leave them, migrated while workers and producers run."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from fix_interop import VERSIONS, Interop, installed
from fix_upgrade import (
    Ledger,
    Load,
    deadlocks,
    schema_findings,
    snapshot,
    start_when_it_may,
    states,
)
from fix_wait import aeventually, eventually
from fix_worker import QUICK
from test_schema import CATALOGS, catalog

import awa_lib as awa
from awa_lib.errors import SchemaNotMigrated

pytestmark = pytest.mark.interop

# An insert waits behind a lock request for 2 s at most; the rest is for a busy machine.
LONGEST_WAIT = 4.0
UNIQUE = {"by_args": True}
# Leaves jobs in every state, a schedule, a paused queue and a runtime row, when it is killed.
FILL = """
import asyncio, os
from dataclasses import dataclass
import awa

@dataclass
class Ends:
    how: str
    n: int = 0

async def main():
    client = awa.AsyncClient(os.environ["DATABASE_URL"])

    @client.task(Ends, queue="fill")
    async def ends(job):
        how = job.args.how
        if how == "failed":
            raise awa.TerminalError("no")
        if how == "cancelled":
            return awa.Cancel("unwanted")
        if how == "retryable":
            return awa.RetryAfter(3600)
        if how == "waiting_external":
            return awa.WaitForCallback(await job.register_callback(timeout_seconds=3600))
        if how == "running":
            await asyncio.Event().wait()

    # Once a year, so that it does not fire in a test.
    client.periodic("yearly", "0 3 1 7 *", Ends, Ends("completed"), queue="work")
    for n in range(4):
        for how in ("completed", "failed", "cancelled", "retryable", "waiting_external", "running"):
            await client.insert(Ends(how, n), queue="fill")
        await client.insert(Ends("available", n), queue="work")
        await client.insert(Ends("paused", n), queue="paused")
        for how in ("scheduled", "due"):
            await client.insert(Ends(how, n), queue="work", run_at="2099-01-01T00:00:00Z")
        await client.insert(Ends("unique", n), queue="paused", unique_opts={"by_args": True})
    await client.pause_queue("paused", "me")
    await client.start([("fill", 40)], poll_interval_ms=20, leader_election_interval_ms=100)
    await asyncio.Event().wait()

asyncio.run(main())
"""
FILLED = {
    "completed": 4, "failed": 4, "cancelled": 4, "retryable": 4, "waiting_external": 4,
    "running": 4, "available": 12, "scheduled": 8,
}  # fmt: skip
# Nobody touches these while the schema is migrated.
RESTING = (
    "completed", "failed", "cancelled", "retryable", "waiting_external", "scheduled", "paused",
    "unique",
)  # fmt: skip
WORKER = """
import asyncio, os, sys
from dataclasses import dataclass
import awa

@dataclass
class Ends:
    how: str
    n: int = 0

def note(path, number):
    with open(path, "a") as file:
        file.write(f"{number}\\n")

async def main():
    client = awa.AsyncClient(os.environ["DATABASE_URL"])

    async def ends(job):
        note(sys.argv[1], job.id)

    for queue in ("work", "fill"):
        client.task(Ends, queue=queue)(ends)
    await client.start(
        [("work", 4), ("fill", 4)], poll_interval_ms=20, leader_election_interval_ms=200,
        promote_interval_ms=50, heartbeat_rescue_interval_ms=200,
    )
    print("ready", flush=True)
    n = 0
    while not os.path.exists(sys.argv[3]):
        n += 1
        job = await client.insert(Ends("theirs", n), queue="work")
        note(sys.argv[2], job.id)
        await asyncio.sleep(0.02)
    print("no more", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@dataclass
class Ends:
    how: str
    n: int = 0


@contextmanager
def connection(url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(url, autocommit=True) as conn:
        yield conn


def fill(their: Interop, conn: psycopg.Connection, url: str) -> dict[str, list[int]]:
    """Let their worker fill the database and kill it; return ids by what becomes of them."""
    process = their.start(FILL, url=url)
    counts = "SELECT state::text, count(*) FROM awa.jobs GROUP BY 1"
    rows = (
        "SELECT (SELECT count(*) FROM awa.cron_jobs), (SELECT count(*) FROM awa.runtime_instances)"
    )
    try:
        eventually(lambda: dict(conn.execute(counts).fetchall()) == FILLED, timeout=30)
        eventually(lambda: conn.execute(rows).fetchone() == (1, 1), timeout=30)
    finally:
        process.kill()
        said = process.communicate()[0]
    assert process.returncode == -signal.SIGKILL, said
    conn.execute(
        "UPDATE awa.jobs_hot SET heartbeat_at = now() - interval '1 hour' WHERE state = 'running'"
    )
    conn.execute("UPDATE awa.scheduled_jobs SET run_at = now() WHERE args ->> 'how' = 'due'")
    query = "SELECT args ->> 'how', array_agg(id ORDER BY id) FROM awa.jobs GROUP BY 1"
    return dict(conn.execute(query).fetchall())


@contextmanager
def their_worker(
    their: Interop, url: str, ledger: Ledger, inserted: Ledger, end: Path
) -> Iterator[subprocess.Popen[str]]:
    """Run their worker, which also inserts; no more inserts follow once ``end`` exists."""
    process = their.start(WORKER, str(ledger.path), str(inserted.path), str(end), url=url)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line == "ready\n", line + process.stdout.read()
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def tables(conn: psycopg.Connection) -> list[tuple]:
    """Return what beside jobs must stay: schedules, paused queues, the killed worker's row."""
    return [
        conn.execute(f"SELECT to_jsonb(t) - 'updated_at' FROM awa.{table} AS t").fetchall()
        for table in ("cron_jobs", "queue_meta")
    ] + [conn.execute("SELECT min(started_at) FROM awa.runtime_instances").fetchone()]


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_database_of_theirs_is_migrated_under_load(
    version: str, empty_database_url: str, process, tmp_path: Path
) -> None:
    their, url = installed(version), empty_database_url
    their.awa("migrate", url=url)
    ledger, inserted, end = (
        Ledger(tmp_path / "ran"),
        Ledger(tmp_path / "inserted"),
        tmp_path / "end",
    )
    with connection(url) as conn, awa.Client(url) as producer:
        filled = fill(their, conn, url)
        resting = [job_id for how in RESTING for job_id in filled[how]]
        before, kept = snapshot(conn, resting), tables(conn)
        client = awa.AsyncClient(url)

        async def ends(job: awa.Job) -> None:
            ledger.write(job.id)

        for queue in ("work", "fill", "paused"):
            client.task(Ends, queue=queue)(ends)
        queues = [("work", 4), ("fill", 4), ("paused", 2)]
        # As theirs: on a busy machine a job may wait for a second between claim and end.
        options = QUICK | {"heartbeat_staleness_ms": 90_000}

        with pytest.raises(SchemaNotMigrated, match="pending") as refusal:
            await client.start(queues, **options)
        assert refusal.value.hint == "apply them: awa migrate"

        with (
            their_worker(their, url, ledger, inserted, end) as worker,
            Load(lambda n: producer.insert(Ends("ours", n), queue="work").id) as load,
        ):
            starting = asyncio.create_task(
                start_when_it_may(lambda: client.start(queues, **options))
            )
            await aeventually(load.more(30), timeout=30)
            done = await asyncio.to_thread(process, "migrate", url=url)
            assert (done.status, schema_findings(conn)) == (0, [])
            assert await starting
            await aeventually(load.more(30), timeout=30)
            end.touch()
            load.stop()
            assert worker.stdout is not None
            assert await asyncio.to_thread(worker.stdout.readline) == "no more\n"

            theirs = list(inserted.counts())
            active = filled["available"] + filled["due"] + filled["running"] + load.ids + theirs
            await aeventually(
                lambda: states(conn, active) == {"completed": len(active)}, timeout=60
            )
            assert theirs
            assert snapshot(conn, resting) == before
            assert tables(conn) == kept
            assert load.longest < LONGEST_WAIT
            await goes_on(client, conn, filled)
        await client.shutdown(2000)
        await client.close()

        everything = active + filled["paused"] + filled["unique"]
        assert ledger.counts() == dict.fromkeys(everything, 1)
        assert deadlocks(conn) == 0


async def goes_on(
    client: awa.AsyncClient, conn: psycopg.Connection, filled: dict[str, list[int]]
) -> None:
    """What rested during the migration can still be used: keys, callbacks, retries, pauses."""
    for n in range(4):
        with pytest.raises(awa.UniqueConflict):
            await client.insert(Ends("unique", n), queue="paused", unique_opts=UNIQUE)
    for job in snapshot(conn, filled["waiting_external"]):
        await client.complete_external(job["callback_id"])
    assert states(conn, filled["waiting_external"]) == {"completed": 4}
    paused = filled["paused"] + filled["unique"]
    assert states(conn, paused) == {"available": 8}
    await client.resume_queue("paused")
    await aeventually(lambda: states(conn, paused) == {"completed": 8})


def test_0_5_5_migrates_a_database_of_ours_and_ours_again(
    empty_database_url: str, database_url: str, process
) -> None:
    """awa 0.5.5 repeats its scripts over ours: jobs stay, and our next migration mends the rest."""
    their, url = installed("0.5.5"), empty_database_url
    with connection(url) as conn, connection(database_url) as fresh, awa.Client(url) as client:
        client.migrate()
        ids = [client.insert(Ends("ours", n), unique_opts=UNIQUE).id for n in range(3)]
        before = snapshot(conn, ids)

        their.awa("migrate", url=url)
        findings = schema_findings(conn)
        assert [(one.check, one.do) for one in findings][:1] == [("migrations", "awa migrate")]
        assert process("migrate", url=url).status == 0

        assert (schema_findings(conn), snapshot(conn, ids)) == ([], before)
        with pytest.raises(awa.UniqueConflict):
            client.insert(Ends("ours", 0), unique_opts=UNIQUE)
        # Those hold how many jobs there were.
        names = CATALOGS.keys() - {"sequences"}
        assert catalog(conn, *names) == catalog(fresh, *names)
