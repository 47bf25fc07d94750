"""Databases at each of our own schema versions, migrated while workers and producers run."""

from __future__ import annotations

import asyncio
import threading
import uuid
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from fix_upgrade import (
    ACTIVE,
    RESTING,
    Load,
    deadlocks,
    fill,
    migrate_until,
    others,
    rescued,
    schema_findings,
    snapshot,
    start_when_it_may,
    states,
)
from fix_wait import aeventually, eventually
from fix_worker import QUICK

import awa_lib as awa
from awa_lib._sql import sql
from awa_lib.errors import SchemaNotMigrated
from awa_lib.schema.migrate import apply
from awa_lib.schema.scripts import load

# Every version but the newest.  T0000, the ledger, comes before V1 and holds no jobs.
OLDER = [item.label for item in load()][1:-1]
LONGEST_WAIT = 4.0
# A leader rescues nothing in the first 5 s of its term, so only two of the versions wait for it.
ABANDONED = (OLDER[0], OLDER[-1])
CLAIM = """
    UPDATE awa.jobs_hot SET state = 'running', attempt = attempt + 1, run_lease = run_lease + 1,
           attempted_at = now(), heartbeat_at = now()
    WHERE id = (
        SELECT id FROM awa.jobs_hot
        WHERE state = 'available' AND queue = 'work' AND run_at <= now()
        ORDER BY priority, run_at, id LIMIT 1 FOR UPDATE SKIP LOCKED
    )
    RETURNING id, run_lease
"""
COMPLETE = """
    UPDATE awa.jobs_hot SET state = 'completed', finalized_at = now()
    WHERE id = %s AND state = 'running' AND run_lease = %s
"""
INSERT = """
    INSERT INTO awa.jobs (kind, queue, args) VALUES ('ends', 'work', '{"how": "new"}') RETURNING id
"""
HALF_LOCKED = """
    SELECT count(*) FILTER (WHERE granted AND relation = 'awa.jobs_hot'::regclass) = 1
       AND count(*) FILTER (WHERE NOT granted) = 1
    FROM pg_locks WHERE pid = %s AND mode = 'AccessExclusiveLock'
"""
UNIQUE = {"by_args": True}


@contextmanager
def connection(url: str):
    with psycopg.connect(url, autocommit=True) as conn:
        yield conn


@pytest.fixture(scope="module")
def at_version(postgres) -> dict[str, str]:
    """A template database of each version: each begins where the one before it ended."""
    made: dict[str, str] = {}
    last = "template1"
    for label in OLDER:
        name = f"awa_test_{postgres.run_id}_at_{label.lower()}_{uuid.uuid4().hex[:8]}"
        postgres.execute(sql.testing("clone_files").query.text, name=name, template=last)
        migrate_until(postgres.url_of(name), label)
        made[label] = last = name
    return made


class Claims:
    """Claims and completes one job with the statements of the oldest version."""

    def __init__(self, conn: psycopg.Connection[Any]) -> None:
        self._conn = conn
        self.ended: list[int] = []

    def __call__(self, number: int) -> int:
        claimed = self._conn.execute(CLAIM).fetchone()
        if claimed is not None and self._conn.execute(COMPLETE, claimed).rowcount:
            self.ended.append(claimed[0])
        return number


@pytest.mark.parametrize("label", OLDER)
async def test_each_version_is_migrated_under_load(at_version, postgres, label) -> None:
    ran: list[int] = []
    with (
        postgres.database(at_version[label]) as url,
        connection(url) as conn,
        connection(url) as producer,
        connection(url) as worker,
    ):
        filled = fill(conn)
        acts, rests = (*ACTIVE, "running"), RESTING
        if label not in ABANDONED:
            conn.execute("UPDATE awa.jobs_hot SET heartbeat_at = now() WHERE state = 'running'")
            acts, rests = ACTIVE, (*RESTING, "running")
        resting = [job_id for how in rests for job_id in filled[how]]
        before, kept = snapshot(conn, resting), others(conn)
        claims = Claims(worker)
        async with awa.AsyncClient(url) as client:

            async def ends(job: awa.Job) -> None:
                ran.append(job.id)

            for queue in ("work", "paused"):
                client.task(dict, kind="ends", queue=queue)(ends)
            options = QUICK | {"heartbeat_staleness_ms": 90_000}
            queues = [("work", 4), ("paused", 2)]
            with pytest.raises(SchemaNotMigrated, match=f"{load()[-1].label} pending") as refusal:
                await client.start(queues, **options)
            assert refusal.value.hint == "apply them: awa migrate"

            with Load(lambda _n: producer.execute(INSERT).fetchone()[0]) as jobs, Load(claims):
                starting = asyncio.create_task(
                    start_when_it_may(lambda: client.start(queues, **options))
                )
                await aeventually(jobs.more(5))
                await client.migrate()
                await starting
                await aeventually(jobs.more(10))
                jobs.stop()
                if label in ABANDONED:
                    await rescued(conn, filled["running"])
                active = [job_id for how in acts for job_id in filled[how]] + jobs.ids
                await aeventually(
                    lambda: states(conn, active) == {"completed": len(active)}, timeout=30
                )

            assert sorted(ran + claims.ended) == sorted(active)
            assert snapshot(conn, resting) == before
            now = others(conn)
            for table, rows in kept.items():
                # A later version may add columns, and the worker a row of its own.
                found = [{name: row.get(name) for name in rows[0]} for row in now[table]]
                assert [row for row in rows if row not in found] == [], table
            assert schema_findings(conn) == []
            assert jobs.longest < LONGEST_WAIT
            assert deadlocks(conn) == 0
            await goes_on(client, conn, filled)
            await client.shutdown(2000)


async def goes_on(client, conn, filled: dict[str, list[int]]) -> None:
    """Keys, callbacks, pauses and retries of rows from before the migration still work."""
    with pytest.raises(awa.UniqueConflict):
        await client.insert({"how": "unique", "n": 1}, kind="ends", unique_opts=UNIQUE)
    for job in snapshot(conn, filled["waiting_external"]):
        await client.complete_external(job["callback_id"])
    await client.retry_failed(kind="ends")
    await client.resume_queue("paused")
    again = [
        job_id
        for how in ("waiting_external", "failed", "paused", "unique")
        for job_id in filled[how]
    ]
    await aeventually(lambda: states(conn, again) == {"completed": len(again)})


def test_writers_wait_for_a_migration_no_longer_than_its_lock_timeout(
    at_version, postgres, monkeypatch
) -> None:
    """A migration that cannot get its lock gives way and tries again; writers go on between."""
    monkeypatch.setattr("awa_lib.schema.locks._LOCK_MS", 300)
    monkeypatch.setattr("awa_lib.schema.locks._LOCK_TRIES", 100)
    waits: list[str] = []
    with (
        # Before T0003, inserts into one queue wait for each other.
        postgres.database(at_version["T0011"]) as url,
        connection(url) as conn,
        connection(url) as producer,
        connection(url) as holder,
    ):
        holder.execute("BEGIN")
        holder.execute(INSERT)
        thread = threading.Thread(
            target=apply, args=(conn,), kwargs={"on_step": lambda step: waits.append(step.note)}
        )
        with Load(lambda _n: producer.execute(INSERT).fetchone()[0]) as jobs:
            thread.start()
            eventually(lambda: sum("tables are locked" in note for note in waits) >= 3)
            eventually(jobs.more(10))
            holder.execute("COMMIT")
            thread.join(30)

        assert not thread.is_alive()
        assert str(holder.info.backend_pid) in "".join(waits)
        assert schema_findings(conn) == []
        # It did wait, and it did not wait until the holder's end.
        assert 0.2 < jobs.longest < 2


@pytest.mark.parametrize("deadlock_timeout", ["1s", "40ms"])
def test_a_migration_gives_way_before_the_server_looks_for_a_deadlock(
    at_version, postgres, deadlock_timeout
) -> None:
    """The migration waits for a table of a session that then needs a table of the migration."""
    steps: list[str] = []
    with postgres.database(at_version["T0002"]) as url, connection(url) as holder:
        name = holder.info.dbname
        holder.execute(f"ALTER DATABASE \"{name}\" SET deadlock_timeout = '{deadlock_timeout}'")
        with connection(url) as conn, connection(url) as looker:
            holder.execute("BEGIN")
            holder.execute("LOCK TABLE awa.scheduled_jobs IN ROW EXCLUSIVE MODE")
            thread = threading.Thread(
                target=apply, args=(conn,), kwargs={"on_step": lambda step: steps.append(step.note)}
            )
            thread.start()
            eventually(lambda: looker.execute(HALF_LOCKED, [conn.info.backend_pid]).fetchone()[0])
            # The table that the migration has: without a time-out of its own.
            holder.execute("LOCK TABLE awa.jobs_hot IN ROW EXCLUSIVE MODE")
            holder.execute("COMMIT")
            thread.join(30)

            assert not thread.is_alive()
            assert any("tables are locked" in note for note in steps)
            assert deadlocks(looker) == 0
            assert schema_findings(looker) == []


def test_the_command_refuses_an_older_schema_in_a_sentence(
    at_version, postgres, process, tmp_path
) -> None:
    (tmp_path / "app.py").write_text(
        "import os\nimport awa_lib as awa\nclient = awa.AsyncClient(os.environ['DATABASE_URL'])\n"
        "@client.task(dict, kind='k')\nasync def handle(job): ...\n"
    )
    with postgres.database(at_version[OLDER[-1]]) as url:
        ran = process("worker", "app:client", url=url, cwd=tmp_path)

    assert ran.status == 4, ran.err
    assert "not up to date" in ran.err
    assert "awa migrate" in ran.err
