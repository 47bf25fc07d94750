"""Our migrations and those of awa 0.5.7 end in the same schema, and its programs work with ours."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from fix_wait import eventually

from awa_lib.db.drive import run
from awa_lib.doctor import doctor
from awa_lib.schema.migrate import apply, check, migrations, plan
from awa_lib.schema.scripts import load

pytestmark = pytest.mark.interop

CATALOGS = {
    "columns": """
        SELECT c.relname, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod),
               a.attnotnull, pg_get_expr(d.adbin, d.adrelid)
        FROM pg_attribute a
        JOIN pg_class c ON c.oid = a.attrelid
        LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        WHERE c.relnamespace = 'awa'::regnamespace AND c.relkind IN ('r', 'v', 'S')
          AND a.attnum > 0 AND NOT a.attisdropped
    """,
    "constraints": """
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid)
        FROM pg_constraint
        WHERE connamespace = 'awa'::regnamespace AND contype <> 'n'
    """,
    "types": """
        SELECT t.typname, e.enumlabel, e.enumsortorder
        FROM pg_type t JOIN pg_enum e ON e.enumtypid = t.oid
        WHERE t.typnamespace = 'awa'::regnamespace
    """,
    "sequences": "SELECT * FROM pg_sequences WHERE schemaname = 'awa'",
    "indexes": "SELECT indexdef FROM pg_indexes WHERE schemaname = 'awa'",
    "triggers": """
        SELECT pg_get_triggerdef(t.oid)
        FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
        WHERE c.relnamespace = 'awa'::regnamespace AND NOT t.tgisinternal
    """,
    "functions": """
        SELECT p.proname, pg_get_function_arguments(p.oid), pg_get_function_result(p.oid),
               l.lanname, p.provolatile::text, p.prosecdef, p.proconfig::text
        FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
        WHERE p.pronamespace = 'awa'::regnamespace
    """,
    "view": "SELECT pg_get_viewdef('awa.jobs'::regclass)",
    "storage options": """
        SELECT relname, relkind::text, reloptions::text FROM pg_class
        WHERE relnamespace = 'awa'::regnamespace
    """,
    "versions": "SELECT version, description FROM awa.schema_version",
    "transition": """
        SELECT singleton, current_engine, prepared_engine, state, transition_epoch, details::text,
               finalized_at
        FROM awa.storage_transition_state
    """,
}
SAME_WITH_TOOLKIT = ("columns", "constraints", "types", "sequences", "view", "versions")


def catalog(conn, *names: str) -> dict[str, set]:
    return {name: set(conn.execute(CATALOGS[name]).fetchall()) for name in names}


@contextmanager
def connection(url) -> Iterator[psycopg.Connection]:
    with psycopg.connect(url, autocommit=True) as conn:
        yield conn


@pytest.fixture
def theirs(interop, empty_database_url) -> str:
    interop.awa("migrate", url=empty_database_url)
    return empty_database_url


@pytest.fixture
def their_catalog(theirs) -> dict[str, set]:
    with connection(theirs) as conn:
        return catalog(conn, *CATALOGS)


def test_canonical_track_ends_in_their_catalog(their_catalog, database_url) -> None:
    with connection(database_url) as conn:
        conn.execute("DROP SCHEMA awa CASCADE")
        for _, _, script in migrations():
            conn.execute(script)

        assert catalog(conn, *CATALOGS) == their_catalog


def test_toolkit_track_keeps_columns_types_and_constraints(their_catalog, database_url) -> None:
    with connection(database_url) as conn:
        ours = catalog(conn, *SAME_WITH_TOOLKIT)
    scripts = "".join(item.sql for item in load() if item.track == "toolkit")
    own = set(re.findall(r"CREATE (?:UNLOGGED )?TABLE (?:IF NOT EXISTS )?awa\.(\w+)", scripts))
    own |= {f"{table}_id_seq" for table in own}
    for name in ("columns", "constraints"):
        ours[name] = {row for row in ours[name] if row[0].removeprefix("awa.") not in own}
    ours["sequences"] = {row for row in ours["sequences"] if row[1] not in own}

    assert ours == {name: their_catalog[name] for name in SAME_WITH_TOOLKIT}


def test_every_version_of_theirs_from_0_5_5_takes_the_toolkit(
    interop, empty_database_url, database_url
) -> None:
    """Their scripts up to 10 are the layout of 0.5.5; our 11 and the toolkit go on top."""
    scripts = interop.awa("migrate", "--sql", "--to", "10", url=empty_database_url).stdout
    with connection(empty_database_url) as conn, connection(database_url) as fresh:
        conn.execute(scripts)

        assert [item.label for item in plan(conn).pending][:2] == ["T0000", "V11"]
        apply(conn)
        assert run(conn, check()).version == 11
        assert catalog(conn, *CATALOGS) == catalog(fresh, *CATALOGS)


def test_toolkit_goes_on_top_of_their_0_5_7(theirs, database_url) -> None:
    with connection(theirs) as conn, connection(database_url) as fresh:
        assert {item.track for item in apply(conn)} == {"toolkit"}
        assert catalog(conn, *CATALOGS) == catalog(fresh, *CATALOGS)


def test_their_older_scripts_are_refused(interop, empty_database_url) -> None:
    from awa_lib.errors import SchemaUnsupported

    scripts = interop.awa("migrate", "--sql", "--to", "7", url=empty_database_url).stdout
    with connection(empty_database_url) as conn:
        conn.execute(scripts)
        before = catalog(conn, "columns", "functions", "triggers", "versions")
        with pytest.raises(SchemaUnsupported, match=r"before 0\.5\.5"):
            apply(conn)

        assert catalog(conn, "columns", "functions", "triggers", "versions") == before


def test_their_migrate_leaves_ours_alone(interop, database_url) -> None:
    with connection(database_url) as conn:
        before = catalog(conn, *CATALOGS)
        pending = interop.awa("migrate", "--pending", url=database_url)
        interop.awa("migrate", url=database_url)

        assert "Schema is up to date (version 11)." in pending.stdout
        assert catalog(conn, *CATALOGS) == before
        assert run(conn, check()).current


def test_their_migrate_finishes_what_ours_began(interop, empty_database_url, database_url) -> None:
    with connection(empty_database_url) as conn, connection(database_url) as fresh:
        apply(conn, to=5)
        interop.awa("migrate", url=empty_database_url)
        apply(conn)

        assert catalog(conn, *CATALOGS) == catalog(fresh, *CATALOGS)


def test_their_commands_work_on_ours(interop, database_url) -> None:
    with connection(database_url) as conn:
        conn.execute(
            "INSERT INTO awa.jobs (id, kind, queue, state) VALUES"
            " (1, 'k', 'q', 'failed'), (2, 'k', 'q', 'available'), (3, 'k', 'q', 'retryable')"
        )
        conn.execute("SELECT awa.refresh_admin_metadata()")
        listing = interop.awa("job", "list", url=database_url).stdout
        interop.awa("job", "retry", "1", url=database_url)
        interop.awa("job", "cancel", "3", url=database_url)
        dump = json.loads(interop.awa("job", "dump", "2", url=database_url).stdout)
        stats = interop.awa("queue", "stats", url=database_url).stdout
        storage = json.loads(interop.awa("storage", "status", url=database_url).stdout)
        states = conn.execute("SELECT id, state::text FROM awa.jobs ORDER BY id").fetchall()

    assert all(f"{job_id}" in listing for job_id in (1, 2, 3))
    assert states == [(1, "available"), (2, "available"), (3, "cancelled")]
    assert dump["job"]["id"] == 2
    assert "q" in stats
    assert storage["active_engine"] == "canonical"


WORKER = """
import asyncio, os, sys, awa
from dataclasses import dataclass

@dataclass
class Noop:
    n: int

async def main():
    client = awa.AsyncClient(os.environ["DATABASE_URL"])
    @client.task(Noop, queue="q")
    async def handle(job):
        if job.args.n == 3:
            raise ValueError("once") if job.attempt == 1 else awa.TerminalError("no")
    await client.start([("q", 4)], promote_interval_ms=50, leader_election_interval_ms=100)
    for n in range(20):
        await client.insert(Noop(n), queue="q", max_attempts=2)
    for _ in range(600):
        await asyncio.sleep(0.05)
        jobs = await client.list_jobs(queue="q", limit=100)
        if sum(str(j.state).lower().endswith(("completed", "failed")) for j in jobs) == 20:
            break
    await client.flush_admin_metadata()
    await client.shutdown()
    sys.stdout.flush()
    os._exit(0)

asyncio.run(main())
"""


def test_their_worker_and_leader_work_on_ours(interop, database_url) -> None:
    interop.python(WORKER, url=database_url)
    with connection(database_url) as conn:
        states = dict(conn.execute("SELECT state::text, count(*) FROM awa.jobs GROUP BY 1"))
        assert states == {"completed": 19, "failed": 1}

        # A recount that was dear, on a busy machine, puts the next one off.
        eventually(lambda: cached(conn) == (19, 1, 0))


def cached(conn) -> tuple[int, int, int] | None:
    conn.execute("SELECT awa.refresh_admin_metadata()")
    return conn.execute(
        "SELECT completed, failed, available FROM awa.queue_state_counts WHERE queue = 'q'"
    ).fetchone()


def test_the_doctor_finds_nothing_after_their_migrations_and_ours(theirs) -> None:
    with connection(theirs) as conn:
        (before,) = run(conn, doctor(["migrations", "drift", "storage"]))
        assert (before.check, before.do) == ("migrations", "awa migrate")
        apply(conn)

        assert run(conn, doctor(["migrations", "drift", "storage", "rights", "public"])) == []
