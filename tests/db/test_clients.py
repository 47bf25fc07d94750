"""Pools, transactions, borrowed connections, restarts and errors, on both clients."""

from __future__ import annotations

import asyncio
import inspect
import os
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from fix_clients import make_client
from psycopg.conninfo import conninfo_to_dict, make_conninfo

import awa_lib as awa
from awa_lib.db.connect import Purpose, connect, settings_for

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


def test_options_of_the_url_win_over_a_purpose_but_not_over_what_is_required(database_url) -> None:
    ours = "work_mem=5MB", "timezone=Asia/Kolkata", "default_transaction_isolation=serializable"
    url = make_conninfo(database_url, options=" ".join(f"-c {setting}" for setting in ours))
    purpose = Purpose("test", (("work_mem", "6MB"), ("statement_timeout", "7s")))
    with connect(url, purpose) as conn:
        shown = conn.execute(
            "SELECT current_setting('work_mem'), current_setting('statement_timeout'),"
            " current_setting('timezone'), current_setting('transaction_isolation'),"
            " current_setting('application_name')"
        ).fetchone()

        assert settings_for(conn) == ()
    assert shown == ("5MB", "7s", "UTC", "serializable", "test")


async def test_other_date_styles_and_zones_of_the_database(flavour, database_url, look) -> None:
    name = conninfo_to_dict(database_url)["dbname"]
    look(f"ALTER DATABASE {name} SET datestyle = 'SQL, DMY'")
    look(f"ALTER DATABASE {name} SET timezone = 'Asia/Kolkata'")
    when = datetime(2999, 2, 3, 4, 5, 6, 7, UTC)
    async with make_client(flavour, database_url) as client:
        job = await client.insert({"n": 1}, run_at=when)

        assert (await client.get_job(job.id)).run_at == job.run_at == when.isoformat()


async def test_every_connection_in_use(flavour, database_url, monkeypatch) -> None:
    monkeypatch.setattr("awa_lib.db.pool.WAIT_SECONDS", 0.3)
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
    assert time.monotonic() - started < 3


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


def test_client_outlives_an_event_loop_that_has_ended(database_url) -> None:
    out = run_python(
        "import asyncio, os, awa_lib as awa\n"
        "client = awa.AsyncClient(os.environ['DATABASE_URL'])\n"
        "async def insert():\n"
        "    print((await client.insert({'n': 1})).id)\n"
        "asyncio.run(insert())\n"
        "asyncio.run(insert())\n"
        "asyncio.run(client.close())\n",
        database_url,
    )

    assert out == "1\n2\n"


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
        "enqueue", "follow_up", "http_worker", "job_kind_descriptor", "middleware", "on_event",
        "periodic",
        "queue", "queue_descriptor", "shutdown", "start",
        "task", "worker",
    }  # fmt: skip

    assert verbs(awa.AsyncClient) - verbs(awa.Client) == worker
    assert verbs(awa.Client) - verbs(awa.AsyncClient) == set()


def test_public_names_resolve_and_are_sorted() -> None:
    assert awa.__all__ == sorted(awa.__all__)
    for name in awa.__all__:
        assert callable(getattr(awa, name)), name
    with pytest.raises(AttributeError, match="no_such_name"):
        awa.no_such_name


async def test_migrate_function(empty_database_url) -> None:
    await awa.migrate(empty_database_url)
    async with awa.AsyncClient(empty_database_url) as client:
        assert (await client.insert({"n": 1})).id == 1


@pytest.mark.parametrize("cls", [awa.Client, awa.AsyncClient])
def test_only_the_async_client_is_awaited(cls) -> None:
    """The ``client`` fixture awaits what it can, and would hide a verb of the wrong flavour."""
    plain = {"on", "using", "transaction", "task", "worker", "queue_descriptor",
             "job_kind_descriptor", "periodic", "on_event", "follow_up",
             "http_worker", "kind", "kinds", "queue", "middleware", "insert_middleware",
             "workflow", "extend_workflow", "task_results"}  # fmt: skip
    verbs = {name for name in dir(cls) if not name.startswith("_")} - plain
    awaited = {name for name in verbs if inspect.iscoroutinefunction(getattr(cls, name))}

    assert awaited == (verbs if cls is awa.AsyncClient else set())
