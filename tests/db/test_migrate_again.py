"""The toolkit track applied once more under a working fleet, and migrators that are killed."""

from __future__ import annotations

import os
import signal
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
import pytest
from fix_wait import eventually

import awa_lib as awa
from awa_lib.db.drive import run
from awa_lib.doctor import doctor
from awa_lib.errors import SchemaNotMigrated, SchemaUnsupported, Unavailable
from awa_lib.schema.migrate import apply, check, plan
from awa_lib.schema.scripts import load

CLAIM = "awa_jobs_hot_claim_by_kind"
OIDS = """
    SELECT i.relname::text, i.oid FROM pg_index AS x JOIN pg_class AS i ON i.oid = x.indexrelid
    WHERE i.relnamespace = 'awa'::regnamespace AND x.indisvalid AND i.relname LIKE 'awa_jobs%'
"""
ODD = """
    SELECT count(*) FROM pg_index AS x JOIN pg_class AS i ON i.oid = x.indexrelid
    WHERE NOT x.indisvalid OR i.relname LIKE '%\\_before' OR i.relname = 'awa_jobs_hot_running'
"""


@contextmanager
def connection(url):
    with psycopg.connect(url, autocommit=True) as conn:
        yield conn


def oids(conn) -> dict[str, int]:
    return dict(conn.execute(OIDS).fetchall())


def rewritten(conn) -> None:
    """Leave what an older awa's migrate leaves."""
    conn.execute("DELETE FROM awa.schema_version WHERE version = 11")
    conn.execute("CREATE INDEX IF NOT EXISTS idx_awa_jobs_hot_heartbeat ON awa.jobs_hot (id)")


def test_indexes_that_are_right_stay_and_workers_start_meanwhile(database_url, monkeypatch) -> None:
    monkeypatch.setattr("awa_lib.schema.locks._LOCK_MS", 50)
    monkeypatch.setattr("awa_lib.schema.locks._LOCK_TRIES", 2)
    with connection(database_url) as conn, connection(database_url) as reader:
        before = oids(conn)
        conn.execute("DELETE FROM awa.schema_version WHERE version = 11")
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM awa.jobs_hot")

        with pytest.raises(Unavailable, match="T0002 could not lock"):
            apply(conn)

        assert oids(conn) == before
        assert plan(conn).pending[0].label == "T0002"
        assert not run(conn, check()).current
        reader.execute("ROLLBACK")
        apply(conn)
        assert oids(conn) == before
        assert run(conn, check()).current


async def test_a_worker_starts_while_scripts_are_applied_again(database_url, aclient) -> None:
    with connection(database_url) as conn:
        conn.execute("UPDATE awa.toolkit_migrations SET applied_at = 'epoch' WHERE version > 5")

        @aclient.task(dict, kind="any")
        async def handler(job: awa.Job) -> None: ...

        await aclient.start([("default", 1)])
        await aclient.shutdown(1000)

        conn.execute("DELETE FROM awa.toolkit_migrations WHERE version = 13")
        with pytest.raises(SchemaNotMigrated, match="T0013 pending"):
            await aclient.start([("default", 1)])


def test_another_index_works_until_ours_is_built(database_url) -> None:
    with (
        connection(database_url) as conn,
        connection(database_url) as writer,
        connection(database_url) as look,
        ThreadPoolExecutor(1) as pool,
    ):
        right = oids(conn)
        conn.execute(f"DROP INDEX awa.{CLAIM}")
        conn.execute(f"CREATE INDEX {CLAIM} ON awa.jobs_hot (queue, kind)")
        rewritten(conn)
        writer.execute("BEGIN")
        writer.execute("INSERT INTO awa.jobs_hot (kind) VALUES ('a')")
        done = pool.submit(apply, conn)

        eventually(lambda: f"{CLAIM}_before" in oids(look))
        eventually(
            lambda: (
                look.execute(
                    "SELECT wait_event_type FROM pg_stat_activity WHERE pid = %s",
                    (conn.info.backend_pid,),
                ).fetchone()
                == ("Lock",)
            )
        )
        assert CLAIM not in oids(look)
        writer.execute("COMMIT")
        done.result(30)

        assert oids(conn).keys() == right.keys()
        assert conn.execute(ODD).fetchone() == (0,)
        keys = conn.execute(f"SELECT pg_get_indexdef('awa.{CLAIM}'::regclass)").fetchone()
        assert "(queue, kind, priority, run_at, id)" in keys[0]


class Mortal(psycopg.Connection):
    """Kills its process before statement number ``left``."""

    left = 0

    def cursor(self, *args, **kwargs):
        self.left -= 1
        if self.left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().cursor(*args, **kwargs)


def killed_migrator(url: str, statements: int) -> bool:
    """Migrate in a process that is killed at that statement; say whether it came to it."""
    child = os.fork()
    if child == 0:
        try:
            conn = Mortal.connect(url, autocommit=True)
            conn.left = statements
            apply(conn)
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("start", ["empty", "rewritten"])
def test_a_migrator_killed_at_any_statement_can_be_followed(
    empty_database_url, postgres, start
) -> None:
    url = empty_database_url
    with connection(url) as conn:
        if start == "rewritten":
            apply(conn)
            conn.execute(f"DROP INDEX awa.{CLAIM}")
            conn.execute(f"CREATE INDEX {CLAIM} ON awa.jobs_hot (queue, kind)")
            rewritten(conn)
        statements = 3
        while killed_migrator(url, statements):
            statements += 1
        assert statements > 10
        apply(conn, wait_seconds=10)

        assert run(conn, check()).current
        assert conn.execute(ODD).fetchone() == (0,)
        assert conn.execute("SELECT count(*) FROM awa.toolkit_migrations").fetchone() == (
            sum(item.track == "toolkit" for item in load()),
        )


@pytest.fixture
def encoded(postgres):
    """Make databases of an encoding."""

    def make(encoding: str) -> str:
        name = f"awa_test_{postgres.run_id}_{encoding.lower()}_{uuid.uuid4().hex[:8]}"
        postgres.execute(
            "CREATE DATABASE {name} TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
            f" ENCODING '{encoding}'"
            + " LOCALE_PROVIDER libc"
            * (postgres.admin.info.server_version >= 150_000),
            name=name,
        )
        postgres.left.append(name)
        return postgres.url_of(name)

    return make


def test_a_database_without_an_encoding_is_refused(encoded) -> None:
    with awa.Client(encoded("SQL_ASCII")) as client:
        with pytest.raises(SchemaUnsupported, match="has the encoding SQL_ASCII") as error:
            client.migrate()

    assert "createdb --encoding=UTF8 --template=template0 " in str(error.value.hint)


def test_a_worker_and_the_doctor_refuse_or_flag_it(encoded) -> None:
    with connection(encoded("SQL_ASCII")) as conn:
        for item in load():
            for statement in [item.sql] if item.transactional else item.statements():
                conn.execute(statement.encode())

        with pytest.raises(SchemaUnsupported, match="has the encoding SQL_ASCII"):
            run(conn, check())
        (found,) = run(conn, doctor(["encoding"]))
        assert (found.severity.value, found.check) == ("error", "encoding")
        assert "createdb --encoding=UTF8" in found.do


def test_an_encoding_of_one_language_is_accepted_and_said(encoded, process) -> None:
    url = encoded("LATIN1")

    ran = process("migrate", url=url)

    assert ran.status == 0
    assert "the encoding of the database is LATIN1" in ran.err
    with connection(url) as conn:
        assert run(conn, check()).current
        (found,) = run(conn, doctor(["encoding"]))
        assert found.severity.value == "warning"


def test_utf8_is_fine(database_url) -> None:
    with connection(database_url) as conn:
        assert run(conn, doctor(["encoding"])) == []
