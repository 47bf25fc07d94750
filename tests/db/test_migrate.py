"""Applying migrations: fresh, again, in parts, two at once, and never on a foreign schema."""

from __future__ import annotations

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from awa_lib.db.drive import run
from awa_lib.errors import (
    AccessDenied,
    Conflict,
    DatabaseError,
    SchemaNotMigrated,
    SchemaUnsupported,
    Unavailable,
    ValidationError,
)
from awa_lib.schema.migrate import apply, check, migrations, plan
from awa_lib.schema.scripts import load

CANONICAL = [1, 2, 3, 4, 5, 6, 7, 9, 10, 11]
LABELS = [migration.label for migration in load()]
CATALOG = """
    SELECT c.relname, c.relkind::text, c.reloptions::text, a.attname,
           format_type(a.atttypid, a.atttypmod)
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
    WHERE c.relnamespace = to_regnamespace('awa') AND a.attnum > 0
    UNION ALL
    SELECT proname, 'function', md5(prosrc), NULL, NULL
    FROM pg_proc WHERE pronamespace = to_regnamespace('awa')
    UNION ALL
    SELECT tgname, 'trigger', pg_get_triggerdef(t.oid), NULL, NULL
    FROM pg_trigger t JOIN pg_class c ON c.oid = tgrelid
    WHERE c.relnamespace = to_regnamespace('awa')
    ORDER BY 1, 2, 3, 4
"""


@contextmanager
def connection(url):
    with psycopg.connect(url, autocommit=True) as conn:
        yield conn


def versions(conn):
    return [row[0] for row in conn.execute("SELECT version FROM awa.schema_version ORDER BY 1")]


def labels(found):
    return [migration.label for migration in found]


def half_canonical(conn, upto):
    """Apply published scripts by hand: no ledger of ours."""
    for version, _, script in migrations():
        if version <= upto:
            conn.execute(script)


def test_empty_database_gets_both_tracks(empty_database_url) -> None:
    with connection(empty_database_url) as conn:
        applied = apply(conn)
        ledger = conn.execute(
            "SELECT version, name, breaking FROM awa.toolkit_migrations ORDER BY 1"
        ).fetchall()

        assert labels(applied) == LABELS
        assert versions(conn) == CANONICAL
        assert ledger == [
            (item.version, item.name, item.breaking) for item in load() if item.track == "toolkit"
        ]
        assert run(conn, check()).version == 11


def test_stored_descriptions_are_the_published_ones(empty_database_url) -> None:
    with connection(empty_database_url) as conn:
        apply(conn)
        stored = conn.execute("SELECT version, description FROM awa.schema_version ORDER BY 1")

        assert stored.fetchall() == [(version, text) for version, text, _ in migrations()]


def test_second_run_does_nothing(empty_database_url) -> None:
    with connection(empty_database_url) as conn:
        apply(conn)
        before = conn.execute(CATALOG).fetchall()

        assert apply(conn) == []
        assert conn.execute(CATALOG).fetchall() == before


def test_stops_at_to_and_goes_on_from_there(empty_database_url) -> None:
    with connection(empty_database_url) as conn:
        assert labels(apply(conn, to=5)) == ["T0000", "V1", "V2", "V3", "V4", "V5"]
        assert versions(conn) == [1, 2, 3, 4, 5]
        assert labels(apply(conn, to=8)) == ["V6", "V7"]
        assert apply(conn, to=3) == []

        with pytest.raises(SchemaNotMigrated, match=r"V9, V10, V11, T0001") as error:
            run(conn, check())
        assert error.value.hint == "apply them: awa migrate"

        assert labels(apply(conn)) == LABELS[LABELS.index("V9") :]
        assert run(conn, check()).current


def test_canonical_11_alone_leaves_the_toolkit_pending(empty_database_url) -> None:
    with connection(empty_database_url) as conn:
        half_canonical(conn, 11)

        assert labels(plan(conn).pending) == [label for label in LABELS if label[0] == "T"]
        apply(conn)
        assert run(conn, check()).current


@pytest.mark.parametrize("target", [0, 12, 99, -1])
def test_target_out_of_range_is_refused(empty_database_url, target) -> None:
    with (
        connection(empty_database_url) as conn,
        pytest.raises(ValidationError, match=rf"Version {target} is out of range"),
    ):
        apply(conn, to=target)


def test_check_of_an_empty_database_says_what_to_do(empty_database_url) -> None:
    with connection(empty_database_url) as conn:
        with pytest.raises(SchemaNotMigrated) as error:
            run(conn, check())

        assert str(error.value) == "this database has no awa schema"
        assert error.value.hint == "apply them: awa migrate"


def test_two_at_once_apply_each_script_once(empty_database_url) -> None:
    start = threading.Barrier(4)

    def migrate() -> list[str]:
        with connection(empty_database_url) as conn:
            start.wait(10)
            return labels(apply(conn))

    with ThreadPoolExecutor(4) as pool:
        done = [future.result(60) for future in [pool.submit(migrate) for _ in range(4)]]

    assert sorted(done, key=len) == [[], [], [], LABELS]


def refused(url, prepare) -> SchemaUnsupported:
    """Prepare a foreign schema, be refused, and show that nothing was touched."""
    with connection(url) as conn:
        prepare(conn)
        before = conn.execute(CATALOG).fetchall()
        rows = versions(conn)
        with pytest.raises(SchemaUnsupported) as error:
            apply(conn)
        with pytest.raises(SchemaUnsupported):
            run(conn, check())

        assert conn.execute(CATALOG).fetchall() == before
        assert versions(conn) == rows
    return error.value


def test_older_than_0_5_5_is_refused(empty_database_url) -> None:
    error = refused(empty_database_url, lambda conn: half_canonical(conn, 9))

    assert str(error) == "schema version 9 was found, made by a release of awa before 0.5.5"
    assert "awa-cli==0.5.7" in error.hint


@pytest.mark.parametrize(
    ("version", "maker"), [(12, "a release of awa after 0.5.7"), (40, "awa 0.6 or later")]
)
def test_newer_than_0_5_7_is_refused(empty_database_url, version, maker) -> None:
    def prepare(conn) -> None:
        apply(conn)
        conn.execute("INSERT INTO awa.schema_version VALUES (%s, 'later')", (version,))

    error = refused(empty_database_url, prepare)

    assert str(error) == f"schema version {version} was found, made by {maker}"
    assert error.why
    assert error.hint


def test_unknown_numbering_is_refused(empty_database_url) -> None:
    def prepare(conn) -> None:
        apply(conn)
        conn.execute("DELETE FROM awa.schema_version WHERE version IN (2, 7)")

    error = refused(empty_database_url, prepare)

    assert "1, 3, 4, 5, 6, 9, 10, 11" in str(error)


def test_job_tables_without_versions_are_refused(empty_database_url) -> None:
    def prepare(conn) -> None:
        half_canonical(conn, 11)
        conn.execute("DELETE FROM awa.schema_version")

    assert "no version rows" in str(refused(empty_database_url, prepare))


def test_later_toolkit_rows_are_fine_unless_breaking(database_url) -> None:
    with connection(database_url) as conn:
        conn.execute("INSERT INTO awa.toolkit_migrations VALUES (900, 'add_something', false)")
        assert run(conn, check()).current

        conn.execute("UPDATE awa.toolkit_migrations SET breaking = true WHERE version = 900")
        with pytest.raises(SchemaUnsupported, match=r"T0900 \(add_something\)") as error:
            run(conn, check())
        assert error.value.hint == "upgrade this program: pip install --upgrade awa-toolkit"


def test_toolkit_is_applied_again_after_awa_0_5_5_rewrote_the_schema(database_url) -> None:
    """awa 0.5.5 takes version 11 for pre-0.4 numbering: it forgets it and repeats its scripts."""
    with connection(database_url) as conn:
        before = conn.execute(CATALOG).fetchall()
        conn.execute("DELETE FROM awa.schema_version WHERE version = 11")
        conn.execute("DROP TRIGGER trg_awa_notify ON awa.jobs_hot")

        assert labels(apply(conn)) == LABELS[LABELS.index("V11") :]
        assert conn.execute(CATALOG).fetchall() == before


def test_failed_script_keeps_nothing_of_itself(empty_database_url) -> None:
    with connection(empty_database_url) as conn:
        apply(conn, to=1)
        conn.execute("CREATE TABLE awa.job_queue_catalog (mine int)")
        with pytest.raises(DatabaseError, match=r"migration V4 .* already exists") as error:
            apply(conn)

        assert error.value.why == "it was rolled back"
        assert versions(conn) == [1, 2, 3]
        assert conn.execute("SELECT to_regclass('awa.queue_state_counts')").fetchone() == (None,)

        conn.execute("DROP TABLE awa.job_queue_catalog")
        apply(conn)
        assert run(conn, check()).current


def test_another_migrator_is_named_after_a_bounded_wait(empty_database_url) -> None:
    told = []
    with (
        psycopg.connect(empty_database_url, autocommit=True, application_name="the other") as other,
        connection(empty_database_url) as conn,
    ):
        other.execute("SELECT pg_advisory_lock(4708303813013489490)")
        with pytest.raises(Conflict) as error:
            apply(conn, wait_seconds=0.2, on_step=told.append)

        assert f"process {other.info.backend_pid} " in error.value.why
        assert "the other" in error.value.why
        assert [step.status for step in told] == ["waiting"]
        other.execute("SELECT pg_advisory_unlock(4708303813013489490)")
        assert labels(apply(conn)) == LABELS


def test_awa_0_5_may_wait_for_its_lock_while_indexes_are_built(empty_database_url) -> None:
    """Its wait holds a snapshot that the index build waits for: a deadlock if we kept the lock."""
    with (
        connection(empty_database_url) as conn,
        connection(empty_database_url) as other,
        ThreadPoolExecutor(1) as pool,
    ):
        futures = []

        def on_step(step) -> None:
            if step.status == "applying" and step.migration.label == "V11":
                futures.append(
                    pool.submit(other.execute, "SELECT pg_advisory_lock(4708303813013489490)")
                )

        assert labels(apply(conn, on_step=on_step)) == LABELS
        assert futures[0].result(10).fetchone() == ("",)


def test_lock_and_settings_are_given_back(empty_database_url) -> None:
    with psycopg.connect(empty_database_url) as conn:
        conn.execute("SET lock_timeout = '7s'")
        conn.execute("SET statement_timeout = '9s'")
        conn.commit()
        apply(conn)

        assert conn.autocommit is False
        assert conn.execute(
            "SELECT current_setting('lock_timeout'), current_setting('statement_timeout')"
        ).fetchone() == ("7s", "9s")
        held = conn.execute(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
        )
        assert held.fetchone() == (0,)


def test_open_transaction_is_refused(empty_database_url) -> None:
    with psycopg.connect(empty_database_url) as conn:
        conn.execute("SELECT 1")
        with pytest.raises(ValidationError, match="inside a transaction"):
            apply(conn)


def migrated_but_for_notify(conn) -> None:
    apply(conn)
    conn.execute("DELETE FROM awa.toolkit_migrations WHERE version = 2")


def test_locked_table_is_tried_again_until_it_is_free(empty_database_url) -> None:
    with connection(empty_database_url) as conn, connection(empty_database_url) as other:
        migrated_but_for_notify(conn)
        other.execute("BEGIN")
        other.execute("LOCK TABLE awa.jobs_hot IN ROW EXCLUSIVE MODE")
        told = []

        def on_step(step) -> None:
            told.append(step)
            if step.status == "waiting":
                other.execute("COMMIT")

        assert labels(apply(conn, on_step=on_step)) == ["T0002"]
        assert [step.status for step in told] == ["applying", "waiting", "applied"]
        assert str(other.info.backend_pid) in told[1].note


def test_locked_table_ends_in_a_sentence(empty_database_url, monkeypatch) -> None:
    monkeypatch.setattr("awa_lib.schema.locks._LOCK_MS", 50)
    monkeypatch.setattr("awa_lib.schema.locks._LOCK_TRIES", 2)
    with connection(empty_database_url) as conn, connection(empty_database_url) as other:
        migrated_but_for_notify(conn)
        other.execute("BEGIN")
        other.execute("LOCK TABLE awa.jobs_hot IN ROW EXCLUSIVE MODE")
        with pytest.raises(Unavailable) as error:
            apply(conn)

        assert str(error.value) == "migration T0002 could not lock its tables"
        assert f"process {other.info.backend_pid} " in error.value.why
        assert labels(plan(conn).pending) == ["T0002"]


def test_indexes_are_built_while_others_write(empty_database_url) -> None:
    """An open write must not be waited for with a lock that stops other writers."""
    with (
        connection(empty_database_url) as conn,
        connection(empty_database_url) as writer,
        connection(empty_database_url) as second,
    ):
        apply(conn)
        conn.execute("DELETE FROM awa.toolkit_migrations WHERE version = 1")
        conn.execute("DROP INDEX awa.awa_jobs_hot_unsuccessful")
        writer.execute("BEGIN")
        writer.execute("INSERT INTO awa.jobs_hot (kind) VALUES ('a')")
        with ThreadPoolExecutor(1) as pool:
            done = pool.submit(apply, conn)
            eventually_waiting(second, conn.info.backend_pid)
            second.execute("SET lock_timeout = '1s'")
            second.execute("INSERT INTO awa.jobs_hot (kind) VALUES ('b')")
            writer.execute("COMMIT")

            assert labels(done.result(60)) == ["T0001"]


def eventually_waiting(conn, pid) -> None:
    for _ in range(1000):
        row = conn.execute(
            "SELECT pg_sleep(0.01), wait_event_type FROM pg_stat_activity WHERE pid = %s", (pid,)
        ).fetchone()
        if row and row[1] == "Lock":
            return
    pytest.fail("the migration never waited for the open transaction")


def test_invalid_index_of_a_cut_off_build_is_made_again(database_url) -> None:
    with connection(database_url) as conn:
        conn.execute("DELETE FROM awa.toolkit_migrations WHERE version = 1")
        conn.execute(
            "UPDATE pg_index SET indisvalid = false"
            " WHERE indexrelid = 'awa.awa_jobs_hot_claim_by_kind'::regclass"
        )
        apply(conn)
        invalid = conn.execute("SELECT count(*) FROM pg_index WHERE NOT indisvalid").fetchone()

        assert invalid == (0,)


def test_scripts_can_be_piped_into_psql_style_autocommit(empty_database_url) -> None:
    """Every script records itself: whoever runs them by hand has the ledgers right."""
    with connection(empty_database_url) as conn:
        for item in load():
            if item.transactional:
                conn.execute(item.sql)
            else:
                for statement in item.statements():
                    conn.execute(statement)

        assert run(conn, check()).current


@contextmanager
def a_role_of_an_administrator(sound):
    """Yield an administrator's connection to an empty database, and one of a role without rights."""
    role = f"dba_{uuid.uuid4().hex[:8]}"
    with sound.database() as url, psycopg.connect(url, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {role} LOGIN")
        try:
            with psycopg.connect(make_conninfo(url, user=role), autocommit=True) as conn:
                yield admin, conn
        finally:
            admin.execute(f"DROP OWNED BY {role} CASCADE")
            admin.execute(f"DROP ROLE {role}")


def test_a_schema_made_by_an_administrator_needs_no_right_on_the_database(sound) -> None:
    with a_role_of_an_administrator(sound) as (admin, conn):
        with pytest.raises(AccessDenied) as refused:
            apply(conn)
        assert refused.value.why.startswith("there is no schema awa, and ")
        _, _, statement = refused.value.hint.partition("as an administrator: ")

        admin.execute(statement)

        assert [one.label for one in apply(conn)] == LABELS
        assert plan(conn).current


def test_each_missing_right_is_named(sound) -> None:
    with a_role_of_an_administrator(sound) as (admin, conn):
        admin.execute("CREATE SCHEMA awa")
        with pytest.raises(AccessDenied, match="permission denied for schema") as refused:
            apply(conn)
        assert refused.value.why.endswith("may not CREATE in the schema awa")
        admin.execute(refused.value.hint.partition("as its owner: ")[2])
        assert len(apply(conn)) == len(LABELS)

        admin.execute("ALTER TABLE awa.jobs_hot OWNER TO CURRENT_USER")
        admin.execute("DELETE FROM awa.toolkit_migrations WHERE version = 16")
        admin.execute("ALTER TABLE awa.bulk_operations OWNER TO CURRENT_USER")
        with pytest.raises(AccessDenied) as refused:
            apply(conn)
        assert "does not own what the migration changes; " in refused.value.why
