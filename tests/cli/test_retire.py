"""``awa migrate --retire`` and ``--restore``: an index that only workers of awa 0.5 need."""

from __future__ import annotations

import threading

import psycopg
import pytest
from fix_doctor import brief, instance
from fix_interop import Interop
from fix_wait import aeventually, eventually

import awa_lib as awa
from awa_lib.db.drive import run
from awa_lib.doctor import Limits, doctor
from awa_lib.schema.locks import OWN_LOCK
from awa_lib.schema.migrate import apply

INDEX = "idx_awa_jobs_hot_dequeue"
RETIRE = ("migrate", "--retire", "dequeue-index")
RESTORE = ("migrate", "--restore", "dequeue-index")


@pytest.fixture
def usable(db):
    """Return whether the index can be used; None without it."""

    def usable() -> bool | None:
        found = db.execute(
            "SELECT x.indisvalid FROM pg_index AS x WHERE x.indexrelid = to_regclass(%s)",
            [f"awa.{INDEX}"],
        ).fetchone()
        return None if found is None else found[0]

    return usable


@pytest.fixture
def advice(db):
    """What the doctor says of the schema."""

    def advice(inserts: int = 1_000_000):
        limits = Limits(dequeue_inserts=inserts)
        return run(db, doctor(["drift", "migrations", "dequeue-index"], limits=limits))

    return advice


def test_it_is_retired_and_restored(cli, usable, advice) -> None:
    assert (
        cli(*RETIRE, "--dry-run").out == f"Pending: DROP INDEX CONCURRENTLY IF EXISTS awa.{INDEX}\n"
    )
    assert usable() is True

    gone = cli(*RETIRE)
    assert (gone.status, gone.out) == (0, "Retired the dequeue-index.\n")
    assert usable() is None
    assert cli(*RETIRE).out == "The dequeue-index is retired already.\n"
    assert cli("migrate", "--check").status == 0
    assert advice() == []

    built = cli(*RESTORE, "-o", "json").data
    assert (built["index"], built["dry_run"], built["changed"]) == ("dequeue-index", False, True)
    assert built["statements"][0].startswith("CREATE INDEX CONCURRENTLY")
    assert usable() is True
    assert advice() == []
    assert cli(*RESTORE).out == "The dequeue-index is in place already.\n"


def test_a_broken_index_is_replaced(cli, db, usable) -> None:
    db.execute(
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = to_regclass(%s)",
        [f"awa.{INDEX}"],
    )
    shown = cli(*RESTORE, "--dry-run")
    assert [line.split()[1] for line in shown.out.splitlines()] == ["DROP", "CREATE"]

    assert cli(*RESTORE).status == 0
    assert usable() is True


def test_another_index_of_its_name_is_replaced(cli, db, advice) -> None:
    db.execute(f"DROP INDEX awa.{INDEX}")
    db.execute(f"CREATE INDEX {INDEX} ON awa.jobs_hot (queue) WHERE state = 'available'")

    assert cli(*RESTORE).status == 0
    assert advice() == []


def test_no_migration_brings_it_back(cli, db, usable) -> None:
    cli(*RETIRE)
    # As after a migration by awa 0.5.5: all scripts of the toolkit are applied again.
    db.execute("UPDATE awa.toolkit_migrations SET applied_at = 'epoch' WHERE version > 0")
    assert len(apply(db)) > 20

    assert usable() is None
    assert cli("migrate", "--check").status == 0


def test_it_stays_for_a_worker_of_awa_05(cli, db, usable, interop: Interop, database_url) -> None:
    worker = interop.start(THEIR_WORKER, url=database_url)
    try:
        assert worker.stdout is not None
        assert worker.stdout.readline().strip() == "ready"
        eventually(lambda: db.execute("SELECT FROM awa.runtime_instances").fetchone() is not None)
        for line in (RETIRE, (*RETIRE, "--dry-run")):
            refused = cli(*line)
            assert refused.status == 1
            assert "workers of awa 0.5, which claim by the dequeue index" in refused.err
            assert "(awa 0.5.7), last seen 20" in refused.err
            assert "a day after the last of them was stopped" in refused.err
        assert usable() is True
        assert cli("audit", "-o", "json").data == []
    finally:
        worker.kill()
        worker.wait()
        worker.stdout.close()
    # Killed, it may be started again; a day later it is forgotten.
    assert cli(*RETIRE).status == 1
    db.execute("UPDATE awa.runtime_instances SET last_seen_at = now() - interval '25 hours'")
    assert cli(*RETIRE).status == 0


THEIR_WORKER = """
import asyncio, os
import awa

async def main():
    client = awa.AsyncClient(os.environ["DATABASE_URL"])

    @client.task(dict, kind="noop", queue="shared")
    async def noop(job):
        pass

    await client.start([("shared", 1)])
    print("ready", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_our_own_workers_do_without_it(cli, usable, database_url) -> None:
    async with awa.AsyncClient(database_url) as client:

        @client.task(dict, kind="noop", queue="q")
        async def noop(job: awa.Job) -> None:
            pass

        await client.start([("q", 4)])
        try:
            assert cli(*RETIRE).status == 0
            assert usable() is None
            jobs = await client.insert_many([{"n": n} for n in range(20)], kind="noop", queue="q")

            async def done() -> bool:
                return all([(await client.get_job(job.id)).state == "completed" for job in jobs])

            await aeventually(done)
        finally:
            await client.shutdown()


def test_the_doctor_says_when_it_could_be_retired_or_is_missed(cli, db, add, advice) -> None:
    add(queue="q")
    db.execute("SELECT pg_stat_force_next_flush()") if db.info.server_version >= 150000 else None
    assert advice() == []
    (could,) = eventually(lambda: advice(inserts=1))
    assert (could.severity.value, could.do) == ("note", "awa migrate --retire dequeue-index")
    assert "no worker of awa 0.5 was seen for a day" in could.what

    instance(db, version="'0.5.7'")
    assert advice(inserts=1) == []
    db.execute(f"DROP INDEX awa.{INDEX}")
    (missed,) = advice()
    assert brief([missed]) == [("dequeue-index", "warning", None)]
    assert missed.what == "workers of awa 0.5 run without the dequeue index"
    assert "host:1 (awa 0.5.7), last seen" in missed.why
    assert missed.do is not None
    assert cli(*missed.do.split()[1:]).status == 0
    assert advice() == []


def test_it_gives_way_and_names_who_is_in_its_way(
    cli, db, usable, database_url, monkeypatch
) -> None:
    monkeypatch.setattr("awa_lib.schema.locks._ONLINE_LOCK_TIMEOUT", "200ms")
    monkeypatch.setattr("awa_lib.schema.locks._ONLINE_LOCK_TRIES", 2)
    with psycopg.connect(database_url, application_name="slow report") as conn:
        conn.execute("SELECT FROM awa.jobs_hot")
        refused = cli(*RETIRE)
    assert refused.status == 3
    assert "Waiting: tables are locked: process" in refused.err
    assert "slow report" in refused.err
    assert "end that transaction and run again: awa migrate --retire dequeue-index" in refused.err
    # What was begun is ended by the next try, or taken back by a restore.
    assert cli(*RETIRE).status == 0
    assert usable() is None


def test_beside_another_migration_it_waits(cli, usable, database_url) -> None:
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute("SELECT pg_advisory_lock(%s)", [OWN_LOCK])
        ran: list[object] = []
        thread = threading.Thread(target=lambda: ran.append(cli(*RETIRE)))
        thread.start()
        eventually(
            lambda: conn.execute(
                "SELECT pid FROM pg_stat_activity WHERE query LIKE '%advisory%'"
                " AND pid <> pg_backend_pid() AND datname = current_database()"
            ).fetchone()
        )
        assert usable() is True
        conn.execute("SELECT pg_advisory_unlock(%s)", [OWN_LOCK])
        thread.join()
    assert usable() is None


def test_both_leave_entries_in_the_audit_log(cli) -> None:
    cli(*RETIRE)
    cli(*RETIRE)
    cli(*RESTORE)

    entries = cli("audit", "-o", "json").data
    assert [(one["action"], one["target"], one["detail"]) for one in reversed(entries)] == [
        ("index.retire", "dequeue-index", {}),
        ("index.retire", "dequeue-index", {"ended": True}),
        ("index.restore", "dequeue-index", {}),
        ("index.restore", "dequeue-index", {"ended": True}),
    ]


@pytest.mark.parametrize("more", [["--check"], ["--sql"], ["--to", "3"], [*RESTORE[1:]]])
def test_nothing_but_dry_run_goes_with_it(cli, more) -> None:
    refused = cli(*RETIRE, *more)

    assert refused.status == 2
    assert "--retire and --restore can be used with --dry-run and --output only" in refused.err
    assert cli("migrate", "--retire", "other").status == 2
