"""Hints do not depend on the language of the server."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack

import psycopg
import pytest
from fix_cli import Ran
from fix_own_server import OwnServer
from fix_wait import eventually
from psycopg.conninfo import make_conninfo

import awa_lib as awa

HOST = {"host": "127.0.0.1"}


def _url(server: OwnServer, **given: str) -> str:
    return make_conninfo(server.url, **(HOST | given))


def _admin(server: OwnServer) -> psycopg.Connection:
    return psycopg.connect(server.url, autocommit=True)


def test_the_server_speaks_german(german: OwnServer) -> None:
    def words() -> str:
        with _admin(german) as conn, pytest.raises(psycopg.Error) as refused:
            conn.execute("SELECT 1/0")
        return str(refused.value)

    eventually(lambda: "durch Null" in words())


REFUSALS = [
    ({"dbname": "nope"}, "existiert nicht", "createdb NAME", "3D000"),
    ({"user": "nobody"}, "existiert nicht", "a role that exists and has LOGIN", "28000"),
    ({"user": "asleep"}, "keine Berechtigung zum Einloggen", "exists and has LOGIN", "28000"),
    ({"user": "crowd"}, "zu viele Verbindungen", "close other connections", "53300"),
    ({"user": "stranger", "sslmode": "disable"}, "pg_hba.conf", "sslmode=verify-full", "28000"),
    ({"user": "secret", "password": "no"}, "Passwort", "check the user and password", "28P01"),
    ({"user": "guest", "dbname": "closed"}, "keine Berechtigung", "GRANT CONNECT", "42501"),
    ({"dbname": "shut"}, "keine Verbindungen", "ALLOW_CONNECTIONS", "55000"),
]


@pytest.fixture(scope="module")
def refusing(german: OwnServer) -> OwnServer:
    """The server with roles and databases that let nobody in, each for another reason."""
    rules = german.place / "data" / "pg_hba.conf"
    first = "host all stranger all reject\nhost all secret all scram-sha-256\n"
    rules.write_text(first + rules.read_text())
    with _admin(german) as conn:
        conn.execute("CREATE ROLE asleep")
        conn.execute("CREATE ROLE crowd LOGIN CONNECTION LIMIT 0")
        conn.execute("CREATE ROLE stranger LOGIN")
        conn.execute("CREATE ROLE guest LOGIN")
        conn.execute("CREATE ROLE secret LOGIN PASSWORD 'yes'")
        conn.execute("CREATE DATABASE closed")
        conn.execute("REVOKE CONNECT ON DATABASE closed FROM PUBLIC")
        conn.execute("CREATE DATABASE shut ALLOW_CONNECTIONS false")
        conn.execute("SELECT pg_reload_conf()")
    return german


@pytest.mark.parametrize(("given", "why", "do", "code"), REFUSALS, ids=[r[2] for r in REFUSALS])
def test_a_refused_connection_says_what_to_do(
    refusing: OwnServer, offline: Callable[..., Ran], given, why, do, code
) -> None:
    url = _url(refusing, **given)

    ran = offline("--database-url", url, "job", "list")
    with pytest.raises(awa.Unavailable) as refused:
        awa.Client(url).get_job(1)

    assert ran.status == 3
    what, cause, hint = ran.err.splitlines()
    assert what.startswith("error: cannot connect to ")
    assert why in cause
    assert "FATAL" not in cause
    assert do in hint
    assert do in (refused.value.hint or "")
    assert refused.value.sqlstate == code


async def test_an_async_client_is_told_the_same(refusing: OwnServer) -> None:
    async with awa.AsyncClient(_url(refusing, dbname="nope")) as client:
        with pytest.raises(awa.Unavailable) as refused:
            await client.get_job(1)

    assert refused.value.sqlstate == "3D000"
    assert "createdb NAME" in (refused.value.hint or "")


def test_a_process_with_many_files_is_told_the_same(refusing: OwnServer) -> None:
    """A socket with a number above 1023."""
    code = (
        "import os, sys, resource, awa_lib\n"
        "most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))\n"
        "held = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]\n"
        "try: awa_lib.Client(sys.argv[1]).get_job(1)\n"
        "except awa_lib.Unavailable as error: print(error.sqlstate)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, _url(refusing, dbname="nope")],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip

    assert (done.stdout, done.stderr) == ("3D000\n", "")


def test_a_full_server_says_so(german: OwnServer, offline: Callable[..., Ran]) -> None:
    with ExitStack() as held, _admin(german) as conn:
        conn.execute("CREATE ROLE many LOGIN")
        url = _url(german, user="many")
        with pytest.raises(psycopg.OperationalError):
            for _ in range(200):
                held.enter_context(psycopg.connect(url))
        ran = offline("--database-url", url, "job", "list")
        held.pop_all().close()

    assert "close other connections listed in pg_stat_activity" in ran.err


def test_an_empty_database_and_a_reader_are_told_the_same(
    german: OwnServer, offline: Callable[..., Ran]
) -> None:
    empty = offline("--database-url", german.url, "job", "list")
    assert "apply the migrations: awa migrate" in empty.err
    assert offline("--database-url", german.url, "migrate", "--yes").status == os.EX_OK
    with _admin(german) as conn:
        conn.execute("CREATE ROLE reader LOGIN")

    ran = offline("--database-url", _url(german, user="reader"), "job", "list")

    assert "lacks the privilege" in ran.err
