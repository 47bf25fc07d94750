"""Jobs inside the transaction of any library's connection."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg
import pytest
from fix_bridge import ASYNC, BLOCKING, Lent, block, django_connection, lend, settle

import awa_lib as awa
from awa_lib import bridge


def kinds(look) -> list[str]:
    return [row["kind"] for row in look("SELECT kind FROM awa.jobs ORDER BY id")]


async def insert_job(lent: Lent, *args, **options):
    door = bridge.insert_job_sync if lent.blocking else bridge.insert_job
    return await settle(door(lent.conn, *args, **options))


async def test_commit_is_the_callers(lent: Lent, look, heard) -> None:
    job = await lent.client.insert({"n": 1}, kind="k")
    assert (kinds(look), heard()) == ([], [])
    await settle(lent.commit())

    assert look("SELECT id, args FROM awa.jobs") == [{"id": job.id, "args": {"n": 1}}]
    assert heard() == [("awa:default", "")]


async def test_rollback_leaves_nothing(lent: Lent, look, heard) -> None:
    await settle(lent.raw("CREATE TABLE mine (n int)"))
    await lent.client.insert({}, kind="k")
    await settle(lent.rollback())

    assert (kinds(look), heard()) == ([], [])
    assert look("SELECT to_regclass('mine') AS t") == [{"t": None}]


async def test_rollback_without_a_statement_of_the_callers(lent: Lent, look) -> None:
    await lent.client.insert({}, kind="k")
    await settle(lent.rollback())

    assert kinds(look) == []


async def test_savepoints_of_the_caller(lent: Lent, look) -> None:
    await lent.client.insert({}, kind="kept")
    with pytest.raises(ZeroDivisionError):
        async with block(lent.savepoint()):
            await lent.client.insert({}, kind="gone")
            raise ZeroDivisionError
    await lent.client.insert({}, kind="kept_too")
    await settle(lent.commit())

    assert kinds(look) == ["kept", "kept_too"]


async def test_values_come_back_as_on_our_own_connections(lent: Lent, look) -> None:
    later = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    job = await lent.client.insert(
        {"a": [1, 'é"\\']}, kind="k", queue="q", priority=1, max_attempts=3, tags=["x", "a,{"],
        metadata={"m": None}, run_at=later,
    )  # fmt: skip
    found = await lent.client.get_job(job.id)
    await settle(lent.commit())

    for one in (job, found):
        assert (one.id, one.kind, one.queue, one.max_attempts) == (job.id, "k", "q", 3)
        assert (one.args, one.tags, one.metadata) == (
            {"a": [1, 'é"\\']}, ["x", "a,{"], {"m": None},
        )  # fmt: skip
        assert (one.state, one.priority) == (awa.JobState.Scheduled, 1)
        assert datetime.fromisoformat(one.run_at) == later
        assert datetime.fromisoformat(one.created_at).utcoffset() == timedelta()


async def test_many_and_very_many(lent: Lent, look) -> None:
    few = await lent.client.insert_many([{"n": 1}, awa.NewJob({"n": 2}, queue="q")], kind="few")
    many = await lent.client.insert_many_copy([{"n": "\t\\x"}] * 1500, kind="many")
    streamed = await lent.client.enqueue_many_copy(({"n": n} for n in range(6000)), kind="stream")
    assert kinds(look) == []
    await settle(lent.commit())

    assert (len(few), len(many), streamed) == (2, 1500, 6000)
    assert look("SELECT kind, count(*) AS n FROM awa.jobs GROUP BY 1 ORDER BY 1") == [
        {"kind": "few", "n": 2}, {"kind": "many", "n": 1500}, {"kind": "stream", "n": 6000},
    ]  # fmt: skip


@pytest.mark.parametrize("count", [10, 1500])
async def test_a_workflow_of_any_size(lent: Lent, look, count: int) -> None:
    def fill(flow: awa.Workflow) -> None:
        parts = flow.add_many([{"n": "\t\\x"}] * count, kind="part", tags=["a,"])
        later = flow.add({}, kind="later", not_before="2100-01-01T00:00:00Z")
        flow.add({}, kind="end", after=[parts, later], wait=1.5)

    made = lent.client.inner.workflow("w")
    if lent.blocking:
        with made as flow:
            fill(flow)
    else:
        async with made as flow:
            fill(flow)
    assert kinds(look) == []
    await settle(lent.commit())

    assert look("SELECT kind, args, tags, count(*) AS n FROM awa.jobs GROUP BY 1, 2, 3 ORDER BY 1") == [
        {"kind": "later", "args": {}, "tags": [], "n": 1},
        {"kind": "part", "args": {"n": "\t\\x"}, "tags": ["a,"], "n": count},
    ]  # fmt: skip
    assert look("SELECT waiting, started FROM awa.workflows") == [
        {"waiting": 1, "started": count + 1}
    ]


@pytest.mark.parametrize("verb", ["insert_many", "enqueue_many_copy"])
async def test_a_bad_value_in_a_late_block_undoes_its_call_alone(lent: Lent, look, verb) -> None:
    """It is found while the server has the blocks before; the transaction goes on."""
    await lent.client.insert({}, kind="kept")
    jobs = [{"n": float("nan") if n == 1400 else n} for n in range(1500)]
    with pytest.raises(awa.SerializationError, match=r"args\.n"):
        await getattr(lent.client, verb)(jobs, kind="undone")
    made = await lent.client.insert_many(({"n": n} for n in range(1200)), kind="many")
    await settle(lent.commit())

    assert [job.args["n"] for job in made] == list(range(1200))
    assert look("SELECT id, kind, args FROM awa.jobs WHERE kind <> 'kept' ORDER BY id") == [
        {"id": job.id, "kind": "many", "args": job.args} for job in made
    ]
    assert kinds(look)[0] == "kept"


async def test_unique_jobs(lent: Lent, look) -> None:
    first = await lent.client.insert({"n": 1}, kind="k", unique_opts={})
    same = await lent.client.insert(
        {"n": 1}, kind="k", unique_opts={}, on_conflict="return_existing"
    )
    with pytest.raises(awa.UniqueConflict) as caught:
        async with block(lent.savepoint()):
            await lent.client.insert({"n": 1}, kind="k", unique_opts={})
    await lent.client.insert({}, kind="after")
    await settle(lent.commit())

    assert same.id == caught.value.job_id == first.id
    assert kinds(look) == ["k", "after"]


async def test_all_or_none_of_a_bulk_with_a_conflict(lent: Lent, look) -> None:
    await lent.client.insert({"n": 1}, kind="k", unique_opts={})
    made = await lent.client.insert_many(
        [{"n": n} for n in range(3)], kind="k", unique_opts={}, on_conflict="skip"
    )
    await settle(lent.commit())

    assert [job.args["n"] for job in made] == [0, 2]
    assert kinds(look) == ["k"] * 3


async def test_the_other_verbs(lent: Lent, look) -> None:
    job = await lent.client.insert({"n": 1}, kind="k", queue="q")
    listed = await lent.client.list_jobs(queue="q")
    (stat,) = await lent.client.queue_stats()
    cancelled = await lent.client.cancel(job.id)
    await lent.client.pause_queue("q", "me")
    await lent.client.set_queue_policy("q", max_running=1)
    with pytest.raises(awa.JobNotFound):
        await lent.client.get_job(10**9)
    await settle(lent.commit())

    assert [one.id for one in listed] == [cancelled.id] == [job.id]
    assert (stat.queue, stat.available) == ("q", 1)
    assert look("SELECT paused_by FROM awa.queue_meta") == [{"paused_by": "me"}]


async def test_a_table_that_is_missing_is_said(lent: Lent) -> None:
    await settle(lent.raw("ALTER SCHEMA awa RENAME TO elsewhere"))
    with pytest.raises(awa.SchemaNotMigrated, match="awa schema is missing") as caught:
        await lent.client.insert({}, kind="k")

    assert caught.value.hint == "apply the migrations: awa migrate"
    await settle(lent.rollback())


async def test_a_lost_connection_is_said(lent: Lent, look) -> None:
    await lent.client.insert({}, kind="k")
    look(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        " AND state = 'idle in transaction'"
    )
    with pytest.raises(awa.Unavailable):
        await lent.client.insert_many_copy([{}] * 1500, kind="k")

    assert kinds(look) == []


async def test_transactions_stay_with_the_library(lent: Lent) -> None:
    if isinstance(lent.conn, psycopg.Connection | psycopg.AsyncConnection):
        pytest.skip("client.transaction() is a savepoint there")
    with pytest.raises(awa.AwaError, match="this does not work on"):
        lent.client.begin()


async def test_published_doors(lent: Lent, look) -> None:
    row = await insert_job(
        lent, {"n": 1}, kind="k", queue="q", priority=1, max_attempts=2, tags=["t"],
        metadata={"m": 1}, run_at="2020-01-01T00:00:00", unique_opts={"by_queue": True},
    )  # fmt: skip
    own = await insert_job(lent, {"kind": "own", "id": UUID(int=1)})
    await settle(lent.commit())

    assert list(row) == [
        "id", "kind", "queue", "args", "state", "priority", "attempt", "max_attempts", "run_at",
        "created_at", "metadata", "tags",
    ]  # fmt: skip
    assert (row["kind"], row["args"], row["state"], row["tags"]) == (
        "k", {"n": 1}, "available", ["t"],
    )  # fmt: skip
    assert row["run_at"].isoformat() == "2020-01-01T00:00:00+00:00"
    assert own["args"] == {"kind": "own", "id": str(UUID(int=1))}
    assert kinds(look) == ["k", "own"]


@pytest.mark.parametrize(
    ("args", "options", "error", "sentence"),
    [
        ({}, {}, TypeError, "dict args need kind=..., or a 'kind' key in the dict"),
        ({"kind": 3}, {}, TypeError, "dict args need kind=..., or a 'kind' key in the dict"),
        ({"n": "\x00"}, {"kind": "k"}, ValueError, "NUL"),
        ({}, {"kind": "k", "run_at": 5}, TypeError, "run_at must be text or a datetime"),
        ({}, {"kind": "k", "priority": 9}, awa.ValidationError, "priority must be"),
    ],
)
async def test_published_doors_refuse(lent: Lent, look, args, options, error, sentence) -> None:
    with pytest.raises(error) as caught:
        await insert_job(lent, args, **options)
    await settle(lent.commit())

    assert sentence in f"{caught.value} {getattr(caught.value, 'why', '')}"
    assert kinds(look) == []


@pytest.mark.parametrize("name", BLOCKING + ASYNC)
async def test_the_other_flavour_is_named(name: str, database_url: str) -> None:
    async with lend(name, database_url) as lent:
        made = awa.AsyncClient if lent.blocking else awa.Client
        wanted = "use awa_lib.Client" if lent.blocking else "use awa_lib.AsyncClient"
        with pytest.raises(TypeError, match=wanted):
            made("embedded:").using(lent.conn)
        with pytest.raises(TypeError, match="insert_job"):
            door = bridge.insert_job if lent.blocking else bridge.insert_job_sync
            await settle(door(lent.conn, {}, kind="k"))


@pytest.mark.parametrize("wrong", [None, "postgresql://x", object(), psycopg])
async def test_anything_else_is_refused(wrong) -> None:
    for made in (awa.Client, awa.AsyncClient):
        with pytest.raises(TypeError, match="Unsupported connection type"):
            made("embedded:").using(wrong)
    with pytest.raises(TypeError, match="Unsupported connection type"):
        await bridge.insert_job(wrong, {}, kind="k")


def test_engines_are_not_connections(database_url) -> None:
    from sqlalchemy import create_engine

    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(database_url))
    with pytest.raises(TypeError, match=r"Unsupported connection type: sqlalchemy\.Engine"):
        awa.Client("embedded:").using(engine)


def test_other_databases_of_django_are_refused() -> None:
    from django.db.backends.sqlite3.base import DatabaseWrapper

    with pytest.raises(TypeError, match="Django's connection is to sqlite, not to PostgreSQL"):
        awa.Client("embedded:").using(DatabaseWrapper({"NAME": ":memory:"}))


def test_django_outside_a_transaction_commits_at_once(database_url, look) -> None:
    connection = django_connection(database_url)
    try:
        awa.Client("embedded:").using(connection).insert({}, kind="k")
        assert kinds(look) == ["k"]
    finally:
        connection.close()


def test_django_rolls_back_after_an_error_that_was_caught(database_url, look) -> None:
    """Postgres would answer the commit with a rollback, and nobody would know."""
    from django.db import transaction
    from django.db.transaction import TransactionManagementError

    connection = django_connection(database_url)
    client = awa.Client("embedded:").using(connection)
    try:
        with transaction.atomic():
            client.insert({}, kind="k", unique_opts={})
            with pytest.raises(awa.UniqueConflict):
                client.insert({}, kind="k", unique_opts={})
            with pytest.raises(TransactionManagementError):
                connection.cursor().execute("SELECT 1")
        assert kinds(look) == []
    finally:
        connection.close()


async def test_asyncpg_outside_a_transaction(database_url, look) -> None:
    import asyncpg
    from fix_bridge import asyncpg_target

    conn = await asyncpg.connect(**asyncpg_target(database_url))
    try:
        client = awa.AsyncClient("embedded:").using(conn)
        await client.insert({}, kind="k")
        with pytest.raises(awa.UniqueConflict):
            await client.insert_many([{}, {}], kind="u", unique_opts={})
        assert not conn.is_in_transaction()
    finally:
        await conn.close()

    assert kinds(look) == ["k"]


def test_no_library_is_loaded_unasked() -> None:
    code = (
        "import sys, awa_lib as awa, awa_lib.bridge; awa.Client, awa.AsyncClient\n"
        "print([m for m in ('asyncpg', 'sqlalchemy', 'django') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"
