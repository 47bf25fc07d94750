"""What a client sends again by itself, and what it never does."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress

import pytest
from fix_clients import make_client
from fix_wait import aeventually
from psycopg.conninfo import conninfo_to_dict, make_conninfo

import awa_lib as awa


@pytest.fixture
def fails(look):
    """Make the next inserts fail with a code; the second call says how many were tried."""
    look("CREATE SEQUENCE tries")

    def fail(code: str, times: int) -> None:
        look(f"""
            CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                IF nextval('tries') <= {times} THEN
                    IF '{code}' = '57P01' THEN
                        PERFORM pg_terminate_backend(pg_backend_pid());
                    ELSE
                        RAISE EXCEPTION USING ERRCODE = '{code}', MESSAGE = 'not now';
                    END IF;
                END IF;
                RETURN NULL;
            END $$
        """)
        look("CREATE TRIGGER fail BEFORE INSERT ON awa.jobs_hot"
             " FOR EACH STATEMENT EXECUTE FUNCTION fail()")  # fmt: skip

    fail.tries = lambda: look("SELECT last_value AS n FROM tries")[0]["n"]
    return fail


@pytest.mark.parametrize("code", ["40001", "40P01", "55P03", "57014"])
async def test_insert_that_changed_nothing_is_sent_again(client, look, fails, code: str) -> None:
    fails(code, 2)
    job = await client.insert({"n": 1}, kind="k")

    assert fails.tries() == 3
    assert look("SELECT id FROM awa.jobs") == [{"id": job.id}]


async def test_tries_are_bounded(client, look, fails) -> None:
    fails("55P03", 99)
    started = time.monotonic()
    with pytest.raises(awa.Transient, match="not now"):
        await client.insert({"n": 1}, kind="k")

    assert fails.tries() == 3
    assert time.monotonic() - started < 5
    assert look("SELECT id FROM awa.jobs") == []


async def test_nothing_is_sent_again_in_a_transaction(client, fails, database_url) -> None:
    fails("40001", 99)
    with pytest.raises(awa.Transient):
        async with client.transaction() as tx:
            await tx.insert({"n": 1}, kind="k")
    assert fails.tries() == 1
    async with client.using(database_url, autocommit=False) as (_, bound):
        with pytest.raises(awa.Transient):
            await bound.insert({"n": 1}, kind="k")
    assert fails.tries() == 2
    # Several statements of one verb are a transaction too.
    with pytest.raises(awa.Transient):
        await client.insert_many([{"n": n} for n in range(1001)], kind="k")
    assert fails.tries() == 3


async def test_insert_whose_connection_was_cut_is_not_sent_again(client, look, fails) -> None:
    """The job may have been committed before the cut."""
    fails("57P01", 1)
    with pytest.raises(awa.Unavailable):
        await client.insert({"n": 1}, kind="k")

    assert fails.tries() == 1
    assert (await client.insert({"n": 2}, kind="k")).args == {"n": 2}


async def test_read_whose_connection_was_cut_is_sent_again(client, look) -> None:
    import asyncio

    job = await client.insert({"n": 1}, kind="k")
    look("BEGIN")
    look("LOCK TABLE awa.jobs_hot IN ACCESS EXCLUSIVE MODE")

    async def read():
        if client.blocking:
            return await asyncio.to_thread(client.inner.get_job, job.id)
        return await client.get_job(job.id)

    async def terminated() -> bool:
        (row,) = await asyncio.to_thread(
            look,
            "SELECT count(pg_terminate_backend(pid, 5000)) AS n FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'",
        )
        return row["n"] == 1

    reading = asyncio.create_task(read())
    await aeventually(terminated)
    look("ROLLBACK")

    assert (await reading).args == {"n": 1}


async def test_connection_that_could_not_be_opened(flavour, database_url) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    threading.Timer(0.02, forward, [port, conninfo_to_dict(database_url)]).start()
    url = make_conninfo(database_url, host="127.0.0.1", port=port)
    async with make_client(flavour, url) as client:
        assert (await client.insert({"n": 1}, kind="k")).args == {"n": 1}


def forward(port: int, target: dict) -> None:
    """Pass one connection on to the server."""
    with socket.create_server(("127.0.0.1", port)) as listener:
        listener.settimeout(10)
        inner, _ = listener.accept()
    host, number = target.get("host") or "127.0.0.1", int(target.get("port") or 5432)
    if host.startswith("/"):
        outer = socket.socket(socket.AF_UNIX)
        outer.connect(f"{host}/.s.PGSQL.{number}")
    else:
        outer = socket.create_connection((host, number))

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with source, sink, suppress(OSError):  # of the one that ends last
            while block := source.recv(65536):
                sink.sendall(block)

    for pair in ((inner, outer), (outer, inner)):
        threading.Thread(target=pump, args=pair, daemon=True).start()
