"""Dumps of a database in use, restored into another server."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from fix_own_server import OwnServer
from fix_upgrade import OTHERS, fill, migrate_until, rescued, schema_findings, states
from fix_wait import aeventually
from fix_worker import QUICK
from psycopg.conninfo import make_conninfo

import awa_lib as awa
from awa_lib.embedded.account import clean_environment, server_account
from awa_lib.embedded.binaries import reachable_binaries

# What a migrated database already holds.
LEDGERS = ("schema_version", "toolkit_migrations", "storage_transition_state", "toolkit_counts")
TABLES = ("jobs_hot", "scheduled_jobs", "job_unique_claims", *OTHERS)
UNIQUE = {"by_args": True}


@contextmanager
def connection(url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(url, autocommit=True) as conn:
        yield conn


@contextmanager
def server(place: Path) -> Iterator[OwnServer]:
    made = OwnServer(place)
    try:
        yield made
    finally:
        made.stop()
        shutil.rmtree(place)


@pytest.fixture(scope="module")
def origin(scratch: Path) -> Iterator[str]:
    """A database with rows of every kind and with roles, on a server of its own."""
    with server(scratch / "dumped-from") as made:
        with awa.Client(made.url) as client, connection(made.url) as conn:
            client.migrate()
            fill(conn)
        yield made.url


@pytest.fixture(scope="module")
def roles(origin: str) -> str:
    """The prefix of the roles of that database."""
    from awa_cli.main import main

    assert main(["roles", "--prefix", "app_", "--apply", "--database-url", origin]) == 0
    return "app_"


@pytest.fixture(scope="module")
def other(scratch: Path, origin: str, roles: str) -> Iterator[OwnServer]:
    """Another server, which has the roles of the first."""
    with server(scratch / "restored-into") as made:
        script = program("pg_dumpall", "--roles-only", "--dbname", origin)
        # The superuser exists there.
        program("psql", "--quiet", "--dbname", made.url, stdin=script)
        yield made


@pytest.fixture
def target(other: OwnServer, request: pytest.FixtureRequest) -> str:
    """An empty database there."""
    name = f"restored_{len(request.node.name)}_{request.node.name[-12:]}"
    with connection(other.url) as conn:
        conn.execute(f'CREATE DATABASE "{name}"')
    return make_conninfo(other.url, dbname=name)


def program(name: str, *words: object, stdin: str = "") -> str:
    """Run a program of PostgreSQL, of the servers' own version."""
    path = reachable_binaries(server_account()).program(name)
    if not path.exists():
        pytest.skip(f"{path} is not installed")
    done = subprocess.run(
        [str(path), *map(str, words)], input=stdin, text=True, capture_output=True, timeout=60,
        env=clean_environment() | {"LC_ALL": "C.UTF-8"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_reader_dumps_what_the_owner_dumps(origin: str, roles: str) -> None:
    def dump(url: str) -> list[str]:
        text = program("pg_dump", "--schema=awa", "--dbname", url)
        # A random word in each of both lines.
        return [one for one in text.splitlines() if not one.startswith(("\\restrict", "\\unres"))]

    reader = dump(make_conninfo(origin, user=f"{roles}readonly"))

    assert any(line.startswith("COPY awa.jobs_hot ") for line in reader)
    assert reader == dump(origin)


def plain(origin: str, target: str, place: Path) -> None:
    program("pg_dump", "--dbname", origin, "--file", place / "dump.sql")
    program("psql", "-v", "ON_ERROR_STOP=1", "--dbname", target, "--file", place / "dump.sql")


def custom(origin: str, target: str, place: Path, *words: object) -> None:
    program("pg_dump", "--format=custom", "--dbname", origin, "--file", place / "dump")
    program("pg_restore", "--exit-on-error", *words, "--dbname", target, place / "dump")


def parallel(origin: str, target: str, place: Path) -> None:
    custom(origin, target, place, "-j", 2)


def data_only(origin: str, target: str, place: Path, *words: str) -> None:
    with awa.Client(target) as client:
        client.migrate()
    without = [f"--exclude-table=awa.{table}" for table in LEDGERS]
    program("pg_dump", "--data-only", *words, "--schema=awa", *without,
            "--dbname", origin, "--file", place / "dump.sql")  # fmt: skip
    program("psql", "-v", "ON_ERROR_STOP=1", "--dbname", target, "--file", place / "dump.sql")


def without_triggers(origin: str, target: str, place: Path) -> None:
    data_only(origin, target, place, "--disable-triggers")


def rows(url: str) -> dict[str, list[str]]:
    """Return all rows of all tables, as text."""
    with connection(url) as conn:
        queries = {table: f"SELECT to_jsonb(t)::text FROM awa.{table} AS t" for table in TABLES}
        queries |= {
            "canonical": "SELECT version || description FROM awa.schema_version",
            "toolkit": "SELECT version || name FROM awa.toolkit_migrations",
        }
        return {
            name: sorted(row for (row,) in conn.execute(query)) for name, query in queries.items()
        }


Restore = Callable[[str, str, Path], None]


@pytest.mark.parametrize("restore", [plain, custom, parallel, data_only, without_triggers])
async def test_a_restored_database_is_whole_and_works(
    restore: Restore, origin: str, roles: str, target: str, tmp_path: Path, process
) -> None:
    restore(origin, target, tmp_path)

    assert rows(target) == rows(origin)
    with connection(target) as conn:
        conn.execute("ANALYZE")
        if restore in (data_only, without_triggers):
            # They are part of the schema, which this dump leaves out.
            assert process("roles", "--prefix", roles, "--apply", url=target).status == 0
        assert schema_findings(conn) == []
        grants(conn, roles)
        await works(target, conn, process, rescues=restore is plain)


def test_a_dump_of_an_older_schema_is_migrated_after_the_restore(
    origin: str, target: str, tmp_path: Path, process
) -> None:
    with connection(origin) as conn:
        conn.execute("CREATE DATABASE older")
    older = make_conninfo(origin, dbname="older")
    migrate_until(older, "T0008")
    with connection(older) as conn:
        fill(conn)

    plain(older, target, tmp_path)
    assert process("migrate", url=target).status == 0

    with connection(target) as conn, connection(older) as before:
        assert schema_findings(conn) == []
        jobs = "SELECT to_jsonb(j)::text FROM awa.jobs AS j"
        assert set(conn.execute(jobs)) == set(before.execute(jobs))


def grants(conn: psycopg.Connection[Any], roles: str) -> None:
    """A producer inserts and cannot read; a reader reads and cannot insert."""
    insert = "INSERT INTO awa.jobs_hot (kind, queue) VALUES ('granted', 'nobody')"
    read = "SELECT kind FROM awa.jobs_hot"
    for role, may, may_not in (("producer", insert, read), ("readonly", read, insert)):
        conn.execute(f"SET ROLE {roles}{role}")
        conn.execute(may)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute(may_not)
        conn.execute("RESET ROLE")


async def works(url: str, conn: psycopg.Connection[Any], process, *, rescues: bool) -> None:
    """Insert, be notified, claim, meet unique keys; ids go on after those of the dump."""
    highest = conn.execute("SELECT max(id) FROM awa.jobs").fetchone()[0]
    conn.execute('LISTEN "awa:new"')
    async with awa.AsyncClient(url) as client:

        async def handler(job: awa.Job) -> None: ...

        for queue in ("new", "work"):
            client.task(dict, kind="ends", queue=queue)(handler)
        job = await client.insert({"n": 1}, kind="ends", queue="new", unique_opts=UNIQUE)
        assert job.id == highest + 1
        assert [note.channel for note in conn.notifies(timeout=5, stop_after=1)] == ["awa:new"]
        for args in ({"n": 1}, {"how": "unique", "n": 1}):
            with pytest.raises(awa.UniqueConflict):
                await client.insert(args, kind="ends", queue="new", unique_opts=UNIQUE)
        held = conn.execute("SELECT count(*) FROM awa.job_unique_claims").fetchone()
        assert held == (2,)
        if not rescues:
            conn.execute("UPDATE awa.jobs_hot SET heartbeat_at = now() WHERE state = 'running'")
        options = QUICK | {"heartbeat_staleness_ms": 90_000}
        await client.start([("new", 2), ("work", 2)], **options)
        running = conn.execute(
            "SELECT id FROM awa.jobs WHERE args ->> 'how' = 'running'"
        ).fetchall()
        # A leader takes 5 s for a rescue, so one of the restores is enough.
        if rescues:
            await rescued(conn, [row[0] for row in running])
        ids = [row[0] for row in conn.execute(
            "SELECT id FROM awa.jobs WHERE queue = 'new' OR queue = 'work'"
            " AND args ->> 'how' IN ('available', 'running', 'due', 'due again')"
        )]  # fmt: skip
        ends = {"completed": 9} if rescues else {"completed": 7, "running": 2}
        await aeventually(lambda: states(conn, ids) == ends, timeout=30)
        found = process("doctor", "-o", "json", url=url).data
        # The server of a test does not sync to disk.
        assert {one["check"] for one in found if one["severity"] == "error"} == {"durability"}
        await client.shutdown(2000)
