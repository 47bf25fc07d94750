"""Pools, transactions, borrowed connections, restarts and errors, on both clients."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import psycopg
import pytest
from fix_clients import AnyClient, make_client
from psycopg.conninfo import conninfo_to_dict, make_conninfo

import awa_lib as awa

MINE = "pid <> pg_backend_pid() AND datname = current_database() AND application_name = 'awa'"


def count(look) -> int:
    (row,) = look("SELECT count(*) AS n FROM awa.jobs")
    return row["n"]


def terminate(look) -> int:
    """Close the clients' connections from the server's side, and wait until they are gone."""
    (row,) = look(
        f"SELECT count(pg_terminate_backend(pid, 5000)) AS n FROM pg_stat_activity WHERE {MINE}"
    )
    return row["n"]


# -- connecting


def test_constructors_do_not_connect() -> None:
    for made in (awa.Client("postgresql://nobody@nowhere.invalid/x"), awa.AsyncClient("embedded:")):
        assert made is not None


async def test_connects_on_first_use_and_once(client, look) -> None:
    connected = f"SELECT count(*) AS n FROM pg_stat_activity WHERE {MINE}"
    before = look(connected)
    await client.insert({"n": 1})
    await client.insert({"n": 2})

    assert (before, look(connected)) == ([{"n": 0}], [{"n": 1}])


async def test_refused_connections_fail_at_once_and_say_where(flavour) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        started = time.monotonic()
        async with make_client(flavour, f"postgresql://me:S3cret@127.0.0.1:{port}/x") as client:
            with pytest.raises(awa.Unavailable) as caught:
                await client.get_job(1)
    error = caught.value

    assert str(error) == f"cannot connect to the database at 127.0.0.1:{port}"
    assert "refused" in error.why
    assert "S3cret" not in f"{error} {error.why} {error.hint}"
    assert time.monotonic() - started < 5


async def test_unknown_database_is_named(flavour, database_url) -> None:
    url = make_conninfo(database_url, dbname="no_such_database")
    async with make_client(flavour, url) as client:
        with pytest.raises(awa.Unavailable) as caught:
            await client.get_job(1)

    assert 'database "no_such_database" does not exist' in caught.value.why


@pytest.mark.parametrize("url", ["http://me:S3cret@x/y", "password=S3cret nonsense", "S3cret"])
async def test_unreadable_urls_are_not_echoed(flavour, url) -> None:
    async with make_client(flavour, url) as client:
        with pytest.raises(awa.ValidationError) as caught:
            await client.get_job(1)
    error = caught.value

    assert "S3cret" not in f"{error} {error.why} {error.hint}"
    assert error.__cause__ is None


@pytest.mark.parametrize("cls", [awa.Client, awa.AsyncClient])
@pytest.mark.parametrize(("url", "size"), [("", 1), (None, 1), ("postgresql://", 0)])
def test_bad_constructor_arguments(cls, url, size) -> None:
    with pytest.raises(awa.ValidationError):
        cls(url, size)


async def test_missing_schema_says_what_to_do(flavour, empty_database_url) -> None:
    async with make_client(flavour, empty_database_url) as client:
        with pytest.raises(awa.SchemaNotMigrated) as caught:
            await client.insert({"n": 1})
        assert "awa migrate" in caught.value.hint
        await client.migrate()
        await client.migrate()

        assert (await client.insert({"n": 1})).kind == "dict"


async def test_closed_client_refuses(client) -> None:
    await client.insert({"n": 1})
    await client.close()
    await client.close()
    with pytest.raises(awa.DatabaseError, match="the client is closed"):
        await client.insert({"n": 2})


async def test_settings_of_the_url_are_kept(flavour, database_url) -> None:
    url = make_conninfo(database_url, application_name="mine", options="-c work_mem=5MB")
    async with make_client(flavour, url) as client, client.transaction() as tx:
        shown = await tx.fetch_one(
            "SELECT current_setting('application_name') AS a, current_setting('work_mem') AS m,"
            " current_setting('timezone') AS z"
        )

    assert shown == {"a": "mine", "m": "5MB", "z": "UTC"}


async def test_other_date_styles_and_zones_of_the_database(flavour, database_url, look) -> None:
    name = conninfo_to_dict(database_url)["dbname"]
    look(f"ALTER DATABASE {name} SET datestyle = 'SQL, DMY'")
    look(f"ALTER DATABASE {name} SET timezone = 'Asia/Kolkata'")
    when = datetime(2999, 2, 3, 4, 5, 6, 7, UTC)
    async with make_client(flavour, database_url) as client:
        job = await client.insert({"n": 1}, run_at=when)

        assert (await client.get_job(job.id)).run_at == job.run_at == when.isoformat()


async def test_every_connection_in_use(flavour, database_url, monkeypatch) -> None:
    monkeypatch.setattr("awa_lib._pool.WAIT_SECONDS", 0.3)
    async with make_client(flavour, database_url, 1) as client, client.transaction() as tx:
        await tx.insert({"n": 1})
        with pytest.raises(awa.Unavailable, match="no connection was free") as caught:
            await client.insert({"n": 2})

    assert "all 1 connections" in caught.value.why


# -- losing connections


async def test_terminated_idle_connections_are_replaced(flavour, database_url, look) -> None:
    async with make_client(flavour, database_url, 6) as client:
        txs = [client.begin() for _ in range(6)]
        for tx in txs:
            await tx.execute("SELECT 1")
        for tx in txs:
            await tx.commit()
        assert terminate(look) == 6
        started = time.monotonic()
        jobs = [await client.insert({"n": n}) for n in range(8)]

    assert [job.args["n"] for job in jobs] == list(range(8))
    # psycopg's own check would have paused for 1, 2, 4, … seconds between dead connections.
    assert time.monotonic() - started < 1


async def test_connection_lost_inside_a_transaction(client, look) -> None:
    with pytest.raises(awa.Unavailable):
        async with client.transaction() as tx:
            await tx.insert({"n": 1})
            terminate(look)
            await tx.insert({"n": 2})

    assert count(look) == 0
    assert (await client.insert({"n": 3})).args == {"n": 3}


async def test_connection_lost_inside_an_atomic_verb(client, look) -> None:
    """The lock of the first chunk's trigger keeps the second one waiting for the axe."""
    await client.insert({"n": -1})
    look("""
        CREATE FUNCTION axe() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$
    """)
    look("CREATE TRIGGER axe AFTER INSERT ON awa.jobs_hot FOR EACH ROW"
         " WHEN (NEW.args = '{\"n\": 1500}') EXECUTE FUNCTION axe()")  # fmt: skip
    with pytest.raises(awa.Unavailable):
        await client.insert_many([{"n": n} for n in range(2000)])
    with pytest.raises(awa.Unavailable):
        await client.insert_many_copy([{"n": n} for n in range(2000)])

    assert count(look) == 1
    assert (await client.insert({"n": 3})).args == {"n": 3}


# -- transactions


async def test_commit_at_the_end_of_the_block(client, look, heard) -> None:
    async with client.transaction() as tx:
        job = await tx.insert({"n": 1})
        many = await tx.insert_many([{"n": 2}, {"n": 3}])
        assert (count(look), heard()) == (0, [])

    assert [row["id"] for row in look("SELECT id FROM awa.jobs ORDER BY id")] == [
        job.id, *(one.id for one in many),
    ]  # fmt: skip
    assert heard() == [("awa:default", "")]


async def test_rollback_on_an_exception(client, look, heard) -> None:
    with pytest.raises(ZeroDivisionError):
        async with client.transaction() as tx:
            await tx.insert({"n": 1})
            await tx.insert_many([{"n": n} for n in range(1500)])
            raise ZeroDivisionError

    assert (count(look), heard()) == (0, [])


@pytest.mark.parametrize(("end", "left"), [("commit", 1), ("rollback", 0)])
async def test_explicit_end(client, look, end, left) -> None:
    async with client.transaction() as tx:
        await tx.insert({"n": 1})
        await getattr(tx, end)()
        assert count(look) == left
        for verb, args in [("insert", [{}]), ("execute", ["SELECT 1"]), ("commit", []),
                           ("rollback", []), ("fetch_all", ["SELECT 1"])]:  # fmt: skip
            with pytest.raises(awa.AwaError, match="already committed or rolled back"):
                await getattr(tx, verb)(*args)

    assert count(look) == left


async def test_transaction_outside_a_block(client, look) -> None:
    tx = client.begin()
    await tx.insert({"n": 1})
    await tx.commit()

    assert count(look) == 1


async def test_unused_transaction_takes_no_connection(client, look) -> None:
    await client.begin().commit()
    await client.begin().rollback()

    assert look(f"SELECT count(*) AS n FROM pg_stat_activity WHERE {MINE}") == [{"n": 0}]


async def test_swallowed_error_is_not_a_silent_rollback(client, look) -> None:
    with pytest.raises(awa.DatabaseError, match="rolled back, not committed"):
        async with client.transaction() as tx:
            await tx.insert({"n": 1})
            with pytest.raises(awa.DatabaseError):
                await tx.execute("SELECT 1/0")

    assert count(look) == 0
    assert (await client.insert({"n": 2})).args == {"n": 2}


async def test_deferred_constraint_fails_the_commit(client, look) -> None:
    look("CREATE TABLE t (a int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
    with pytest.raises(awa.DatabaseError, match="duplicate key") as caught:
        async with client.transaction() as tx:
            await tx.insert({"n": 1})
            await tx.execute("INSERT INTO t VALUES (1), (1)")

    assert caught.value.sqlstate == "23505"
    assert count(look) == 0


async def test_unique_conflict_in_a_transaction(client, look) -> None:
    await client.insert({"n": 1}, unique_opts={})
    with pytest.raises(awa.UniqueConflict):
        async with client.transaction() as tx:
            await tx.insert({"n": 2})
            await tx.insert({"n": 1}, unique_opts={})

    assert count(look) == 1


async def test_large_insert_in_a_transaction_is_a_savepoint(client, look) -> None:
    async with client.transaction() as tx:
        await tx.insert({"n": 1}, unique_opts={})
        with pytest.raises(awa.UniqueConflict):
            await tx.insert_many([{"n": n + 1} for n in reversed(range(1500))], unique_opts={})
        await tx.insert({"n": 9000})

    assert sorted(row["args"]["n"] for row in look("SELECT args FROM awa.jobs")) == [1, 9000]


async def test_statements_and_values(client, look) -> None:
    look("CREATE TABLE t (a int, b text, c jsonb, d timestamptz, e numeric, f uuid, g int[])")
    when, uuid = datetime(2020, 1, 2, tzinfo=UTC), UUID(int=7)
    async with client.transaction() as tx:
        done = await tx.execute(
            "INSERT INTO t VALUES ($1, $2, $3, $4, $5, $6, $7), ($1 + 1, $2, $3, $4, $5, $6, $7)",
            1, "x%s$1", {"k": [1]}, when, Decimal("1.50"), uuid, [1, 2],
        )  # fmt: skip
        one = await tx.fetch_one("SELECT * FROM t WHERE a = $1", 1)
        many = await tx.fetch_all("SELECT a FROM t WHERE a = ANY($1) ORDER BY a", [1, 2, 3])
        none = await tx.fetch_optional("SELECT a FROM t WHERE a = $1", None)
        some = await tx.fetch_optional("SELECT a FROM t ORDER BY a DESC")
        empty = await tx.fetch_all("SELECT a FROM t WHERE false")
        with pytest.raises(awa.DatabaseError, match="no rows returned"):
            await tx.fetch_one("SELECT a FROM t WHERE a = 99")
        gone = await tx.execute("DELETE FROM t WHERE b LIKE 'x%'")

    assert (done, gone) == (2, 2)
    assert one == {"a": 1, "b": "x%s$1", "c": {"k": [1]}, "d": when, "e": Decimal("1.50"),
                   "f": uuid, "g": [1, 2]}  # fmt: skip
    assert (many, none, some, empty) == ([{"a": 1}, {"a": 2}], None, {"a": 2}, [])


async def test_errors_of_statements_are_ours(client) -> None:
    with pytest.raises(awa.DatabaseError) as caught:
        async with client.transaction() as tx:
            await tx.execute("SELECT nonsense")
    assert caught.value.sqlstate == "42703"
    with pytest.raises(awa.DatabaseError, match="cannot adapt"):
        async with client.transaction() as tx:
            await tx.execute("SELECT $1", object())


async def test_both_ways_to_enter_an_async_transaction(database_url, look) -> None:
    async with awa.AsyncClient(database_url) as client:
        async with client.transaction() as tx:
            await tx.insert({"n": 1})
        async with await client.transaction() as tx:
            await tx.insert({"n": 2})
        tx = await client.transaction()
        await tx.insert({"n": 3})
        await tx.commit()

    assert count(look) == 3


async def test_cancelled_task_gives_its_connection_back(database_url, look) -> None:
    async with awa.AsyncClient(database_url, 1) as client:
        started = asyncio.Event()

        async def slow() -> None:
            async with client.transaction() as tx:
                await tx.insert({"n": 1})
                started.set()
                await tx.execute("SELECT pg_sleep(60)")

        task = asyncio.create_task(slow())
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await client.insert({"n": 2})

    assert [row["args"] for row in look("SELECT args FROM awa.jobs")] == [{"n": 2}]


# -- borrowed connections


@pytest.mark.parametrize("autocommit", [True, False])
async def test_using_stays_in_the_callers_transaction(
    client, database_url, look, autocommit
) -> None:
    async with client.using(database_url, autocommit=autocommit) as (conn, bound):
        if autocommit:
            await conn.execute("BEGIN")
        await bound.insert_many_copy([{"n": n} for n in range(3)])
        await bound.insert_many([{"n": n} for n in range(1500)])
        await bound.insert({"n": 1})
        async with bound.transaction() as tx:
            await tx.insert({"n": 2})
        await bound.close()
        assert count(look) == 0
        await conn.rollback()
        assert count(look) == 0

        await bound.insert({"n": 3})
        await conn.commit()

    assert count(look) == 1


async def test_using_keeps_the_work_before_a_failed_verb(client, database_url, look) -> None:
    await client.insert({"n": 1500}, unique_opts={})
    async with client.using(database_url, autocommit=False) as (conn, bound):
        with pytest.raises(awa.UniqueConflict):
            await bound.insert_many([{"n": n} for n in range(2000)], unique_opts={})
        await bound.insert({"n": 1})
        await conn.commit()

    assert count(look) == 2


async def test_using_a_savepoint_of_the_caller(client, database_url, look) -> None:
    async with client.using(database_url, autocommit=False) as (conn, bound):
        await bound.insert({"n": 1})
        await conn.execute("SAVEPOINT s")
        await bound.insert_many_copy([{"n": 2}])
        await conn.execute("ROLLBACK TO s")
        await conn.commit()

    assert [row["args"] for row in look("SELECT args FROM awa.jobs")] == [{"n": 1}]


async def test_using_needs_no_server_of_the_clients_own(flavour, database_url) -> None:
    async with (
        make_client(flavour, "postgresql://nowhere.invalid/x") as client,
        client.using(database_url) as (_, bound),
    ):
        assert (await bound.insert({"n": 1})).args == {"n": 1}


async def test_wrong_flavour_is_named(database_url) -> None:
    with (
        psycopg.connect(database_url) as conn,
        pytest.raises(TypeError, match=r"AsyncClient needs a psycopg.AsyncConnection, got Conn"),
    ):
        awa.AsyncClient("embedded:").using(conn)  # type: ignore[arg-type]
    async with await psycopg.AsyncConnection.connect(database_url) as aconn:
        with pytest.raises(TypeError, match=r"Client needs a psycopg.Connection, got Async"):
            awa.Client("embedded:").using(aconn)  # type: ignore[arg-type]


# -- threads, loops and processes


def test_client_is_shared_by_threads(database_url, look) -> None:
    with awa.Client(database_url, 3) as client, ThreadPoolExecutor(12) as pool:
        jobs = list(pool.map(lambda n: client.insert({"n": n}), range(200)))
        found = list(pool.map(lambda job: client.get_job(job.id).args["n"], jobs))

    assert found == list(range(200))
    assert count(look) == 200


async def test_async_client_is_shared_by_tasks(database_url) -> None:
    async with awa.AsyncClient(database_url, 3) as client:
        jobs = await asyncio.gather(*(client.insert({"n": n}) for n in range(200)))

    assert [job.args["n"] for job in jobs] == list(range(200))


async def test_another_event_loop_is_refused(database_url) -> None:
    async with awa.AsyncClient(database_url) as client:
        await client.insert({"n": 1})

        def elsewhere() -> None:
            asyncio.run(client.get_job(1))

        with pytest.raises(awa.AwaError, match="another event loop"):
            await asyncio.to_thread(elsewhere)
        assert (await client.insert({"n": 2})).args == {"n": 2}


def run_python(source: str, database_url: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", source], text=True, capture_output=True, timeout=30,
        env={**os.environ, "DATABASE_URL": database_url},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_script_that_never_closes_ends_quietly_and_at_once(database_url) -> None:
    started = time.monotonic()
    out = run_python(
        "import os, awa_lib as awa\n"
        "client = awa.Client(os.environ['DATABASE_URL'])\n"
        "print(client.insert({'n': 1}).kind)\n",
        database_url,
    )

    assert out == "dict\n"
    assert time.monotonic() - started < 4


def test_forked_child_makes_connections_of_its_own(database_url, look) -> None:
    run_python(
        "import os, awa_lib as awa\n"
        "client = awa.Client(os.environ['DATABASE_URL'])\n"
        "client.insert({'n': 1})\n"
        "child = os.fork()\n"
        "client.insert({'n': 2})\n"
        "if not child:\n"
        "    client.close()\n"
        "    os._exit(0)\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
        "client.insert({'n': 3})\n"
        "client.close()\n",
        database_url,
    )

    assert sorted(row["args"]["n"] for row in look("SELECT args FROM awa.jobs")) == [1, 2, 2, 3]


def test_importing_loads_no_driver_and_no_terminal() -> None:
    out = run_python(
        "import sys, awa_lib\n"
        "heavy = {'psycopg', 'psycopg_pool', 'asyncio', 'typer', 'rich', 'textual', 'croniter'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
        "awa_lib.Client, awa_lib.AsyncClient, awa_lib.run\n"
        "print(sorted({'typer', 'rich', 'textual'} & set(sys.modules)))\n",
        "",
    )

    assert out == "[]\n[]\n"


# -- health


async def test_health_of_a_client_without_a_worker(client, flavour) -> None:
    health = await client.health_check()

    assert health.postgres_connected is True
    assert not any((health.healthy, health.poll_loop_alive, health.heartbeat_alive,
                    health.shutting_down, health.leader))  # fmt: skip
    assert health.queues == {}
    async with make_client(flavour, "postgresql://127.0.0.1:1/x") as lost:
        assert (await lost.health_check()).postgres_connected is False


def test_the_clients_have_the_same_verbs() -> None:
    def verbs(cls) -> set[str]:
        return {name for name in dir(cls) if not name.startswith("_")}

    worker = {
        "job_kind_descriptor", "queue_descriptor", "shutdown", "start", "task", "worker",
    }  # fmt: skip

    assert verbs(awa.AsyncClient) - verbs(awa.Client) == worker
    assert verbs(awa.Client) - verbs(awa.AsyncClient) == set()


def test_public_names_resolve_and_are_sorted() -> None:
    assert awa.__all__ == sorted(awa.__all__)
    for name in awa.__all__:
        assert callable(getattr(awa, name)), name
    with pytest.raises(AttributeError, match="no_such_name"):
        awa.no_such_name  # noqa: B018


async def test_migrate_function(empty_database_url) -> None:
    await awa.migrate(empty_database_url)
    async with awa.AsyncClient(empty_database_url) as client:
        assert (await client.insert({"n": 1})).id == 1


def test_any_client_wrapper_awaits_both() -> None:
    """The fixture must not hide a verb that forgot to be async."""
    assert AnyClient(awa.Client("embedded:")).blocking
    assert not AnyClient(awa.AsyncClient("embedded:")).blocking
