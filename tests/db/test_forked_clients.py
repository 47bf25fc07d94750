"""A forked child speaks to the server in its own name only; a script ends at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psycopg
import pytest
from fix_clients import make_client

import awa_lib as awa

BEFORE = """
import asyncio, os, sys, threading
import awa_lib as awa
client = awa.Client(os.environ["DATABASE_URL"], 3)
client.insert({"n": 1}, kind="k")
tx = client.transaction()
tx.insert({"n": 2}, kind="k")
# Another thread holds the client's lock at the moment of the fork.
held, go = threading.Event(), threading.Event()
def hold():
    with client._starting:
        held.set()
        go.wait()
threading.Thread(target=hold, daemon=True).start()
held.wait()
if (child := os.fork()) == 0:
    {child}
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
go.set()
tx.insert({"n": 3}, kind="k")
tx.commit()
client.insert({"n": 4}, kind="k")
client.close()
"""
CHILDREN = {
    "ends": ("pass", []),
    "uses it": ('client.insert({"n": 5}, kind="k")', [5]),
    "closes it": ("client.close()", []),
    "leaves the transaction's block": ("tx.__exit__(None, None, None)", []),
    "uses the transaction": (
        "try: tx.insert({}, kind='k')\n    except awa.AwaError as e: assert 'parent' in str(e)", [],
    ),
}  # fmt: skip


def run_python(source: str, url: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", source], text=True, capture_output=True, timeout=60,
        env={**os.environ, "DATABASE_URL": url, "PYTHONWARNINGS": "ignore::DeprecationWarning"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize("does", CHILDREN)
def test_child_of_a_blocking_client(database_url, look, does: str) -> None:
    code, more = CHILDREN[does]
    run_python(BEFORE.replace("{child}", code), database_url)

    found = sorted(row["args"]["n"] for row in look("SELECT args FROM awa.jobs"))
    assert found == [1, 2, 3, 4, *more]


def test_child_of_an_async_client(database_url, look) -> None:
    """As a web server that forks after it has loaded the app and used the client."""
    run_python(
        "import asyncio, os, sys\n"
        "import awa_lib as awa\n"
        "client = awa.AsyncClient(os.environ['DATABASE_URL'], 3)\n"
        "async def child():\n"
        "    await client.insert({'n': 2}, kind='k')\n"
        "    await client.enqueue({'n': 3}, kind='k')\n"
        "    await client.close()\n"
        "async def parent():\n"
        "    await client.enqueue({'n': 1}, kind='k')\n"
        "    def start():\n"
        "        if (pid := os.fork()) == 0:\n"
        "            asyncio.run(child())\n"
        "            os._exit(0)\n"
        "        return os.waitpid(pid, 0)[1]\n"
        "    assert await asyncio.to_thread(start) == 0\n"
        "    await client.enqueue({'n': 4}, kind='k')\n"
        "    await client.close()\n"
        "asyncio.run(parent())\n",
        database_url,
    )

    assert sorted(row["args"]["n"] for row in look("SELECT args FROM awa.jobs")) == [1, 2, 3, 4]


@pytest.mark.parametrize("used", ["insert", "transaction"])
def test_script_that_closes_nothing_ends_at_once_and_quietly(database_url, used: str) -> None:
    started = time.monotonic()
    run_python(
        "import os, awa_lib as awa\n"
        "client = awa.Client(os.environ['DATABASE_URL'])\n"
        + ("client.insert({}, kind='k')\n" if used == "insert"
           else "tx = client.transaction()\ntx.insert({}, kind='k')\n"),
        database_url,
    )  # fmt: skip

    assert time.monotonic() - started < 4


async def test_closing_while_the_server_hangs_is_bounded(flavour, database_url) -> None:
    async with make_client(flavour, database_url, 2) as client:
        tx = client.begin()
        await tx.insert({}, kind="k")
        await client.insert({}, kind="k")
        with psycopg.connect(database_url, autocommit=True) as conn:
            pids = [
                row[0]
                for row in conn.execute(
                    "SELECT pid FROM pg_stat_activity"
                    " WHERE datname = current_database() AND application_name = 'awa'"
                )
            ]
        try:
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            started = time.monotonic()
            await client.close()
            took = time.monotonic() - started
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    assert len(pids) == 2
    assert took < 4


async def test_connections_that_are_all_dead_end_the_search(
    flavour, database_url, monkeypatch
) -> None:
    """As behind a proxy that accepts and hangs up."""
    monkeypatch.setattr("awa_lib.db.pool.WAIT_SECONDS", 0.3)

    def dead(conn) -> None:
        raise psycopg.OperationalError("the server closed the connection")

    async with make_client(flavour, database_url, 2) as client:
        await client.insert({}, kind="k")
        monkeypatch.setattr("awa_lib.db.pool.check_socket", dead)
        with pytest.raises(awa.Unavailable, match="no connection"):
            await client.insert({}, kind="k")


async def test_connection_given_back_in_a_transaction_is_not_lent_again(client, look) -> None:
    tx = client.begin()
    await tx.execute("SET work_mem = '7MB'")
    tx.inner._conn.pgconn.exec_(b"SELECT nonsense")
    tx.inner._block = None
    if client.blocking:
        tx.inner._give_back()
    else:
        await tx.inner._give_back()
    async with client.transaction() as other:
        shown = await other.fetch_one("SELECT current_setting('work_mem') AS m")

    assert shown != {"m": "7MB"}
