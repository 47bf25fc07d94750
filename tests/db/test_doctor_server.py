"""The doctor on the server, its tables and the rights of roles; each condition is real."""

from __future__ import annotations

import os
import uuid
from contextlib import ExitStack, contextmanager

import psycopg
import pytest
from fix_doctor import brief, instance, obey
from fix_wait import aeventually, eventually
from fix_worker import Noop, working
from psycopg.conninfo import make_conninfo

import awa_lib as awa
from awa_lib.db.drive import run
from awa_lib.doctor import CHECKS, doctor
from awa_lib.ops.roles import apply_roles

ERROR, WARNING, NOTE = "error", "warning", "note"
WORKING = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'awa worker%'"
MANY = "INSERT INTO awa.jobs_hot (kind, state, finalized_at) SELECT 'k', 'completed', now()"


# Our own server of the tests is as quick as can be; another one is as it was set up.
QUICK_SERVER = pytest.mark.skipif(
    "AWA_TEST_DATABASE_URL" in os.environ, reason="needs the settings of our own server"
)


def test_autovacuum_switched_off_is_found(sick, examined) -> None:
    sick.execute("ALTER TABLE awa.jobs_hot SET (autovacuum_enabled = off)")

    (found,) = examined("autovacuum")

    assert (found.severity, found.subject) == (ERROR, "jobs_hot")
    obey(sick, [found])
    assert examined("autovacuum") == []


@QUICK_SERVER
def test_a_server_without_autovacuum_is_found(database_url) -> None:
    with psycopg.connect(database_url, autocommit=True) as conn:
        (found,) = run(conn, doctor(["autovacuum"]))
    assert (found.severity, found.what) == (ERROR, "autovacuum is off")
    assert found.do == "ALTER SYSTEM SET autovacuum = on;\nSELECT pg_reload_conf();"


def change(url: str, *statements: str) -> None:
    """Run statements in a session that ends: then its counts of changes are known at once."""
    with psycopg.connect(url, autocommit=True) as conn:
        for statement in statements:
            conn.execute(statement)


def test_dead_rows_are_found(sick, examined, sound_url) -> None:
    change(sound_url, f"{MANY} FROM generate_series(1, 12000)", "DELETE FROM awa.jobs_hot")

    (found,) = eventually(lambda: examined("dead-rows"))

    assert (found.severity, found.subject) == (WARNING, "jobs_hot")
    assert found.what == "the table jobs_hot has 12,000 dead rows"
    obey(sick, [found])
    eventually(lambda: examined("dead-rows") == [])


def test_tables_and_indexes_too_large_are_found(sick, examined) -> None:
    sick.execute(
        "INSERT INTO awa.jobs_hot (kind, queue, args, run_at)"
        " SELECT 'k', repeat('q', 190), jsonb_build_object('pad', repeat('x', 300)), now()"
        " FROM generate_series(1, 40000)"
    )
    sick.execute("VACUUM (ANALYZE) awa.jobs_hot")
    limits = {"bloat_bytes": 8_000_000}
    assert examined("bloat", limits=limits) == []
    # The last row keeps the file from being cut.
    sick.execute("DELETE FROM awa.jobs_hot WHERE id < 40000")
    sick.execute("VACUUM (ANALYZE) awa.jobs_hot")

    findings = examined("bloat", limits=limits)

    assert ("bloat", NOTE, "jobs_hot") in brief(findings)
    assert ("bloat", WARNING, "idx_awa_jobs_hot_dequeue") in brief(findings)
    indexes = [one for one in findings if one.severity == WARNING]
    obey(sick, indexes)
    assert brief(examined("bloat", limits=limits)) == [("bloat", NOTE, "jobs_hot")]
    sick.execute("VACUUM (FULL, ANALYZE) awa.jobs_hot")
    assert examined("bloat", limits=limits) == []


def test_missing_and_old_statistics_are_found(sick, examined, sound_url) -> None:
    sick.execute(
        "INSERT INTO awa.cron_settings (name) SELECT repeat('x', 60) || n"
        " FROM generate_series(1, 12000) AS n"
    )
    sick.execute("VACUUM awa.cron_settings")

    (found,) = examined("statistics")

    assert (found.severity, found.subject) == (WARNING, "cron_settings")
    assert "has no statistics" in found.what
    obey(sick, [found])
    assert examined("statistics") == []
    change(sound_url, f"{MANY} FROM generate_series(1, 12000)")
    (found,) = eventually(lambda: examined("statistics"))
    assert "are old: 12,000 rows have changed" in found.what
    obey(sick, [found])
    eventually(lambda: examined("statistics") == [])


def test_a_long_transaction_is_found(sick, examined, sound_url) -> None:
    long = psycopg.connect(sound_url, application_name="report")
    long.execute("SELECT txid_current()")
    assert examined("horizon") == []

    (found,) = examined("horizon", limits={"transaction_seconds": 0})

    assert (found.severity, found.subject) == (WARNING, str(long.info.backend_pid))
    assert "(report) has a transaction open for 0 min, " in found.what
    assert "idle in transaction" in str(found.why)
    obey(sick, [found])
    eventually(lambda: examined("horizon", limits={"transaction_seconds": 0}) == [])
    long.close()


def test_a_prepared_transaction_is_found(sick, examined, sound_url) -> None:
    with psycopg.connect(sound_url, autocommit=True) as conn:
        conn.execute("BEGIN")
        conn.execute("CREATE TABLE mine ()")
        conn.execute("PREPARE TRANSACTION 'it''s'")
    assert examined("horizon") == []

    (found,) = examined("horizon", limits={"transaction_seconds": 0})

    assert found.severity == WARNING
    assert "the prepared transaction" in found.what
    obey(sick, [found])
    assert examined("horizon", limits={"transaction_seconds": 0}) == []


def test_a_slot_that_is_behind_is_found(sick, examined) -> None:
    sick.execute("SELECT pg_create_logical_replication_slot('idle', 'pgoutput')")
    for _ in range(20):
        sick.execute("SELECT txid_current()")
    assert examined("horizon") == []

    (found,) = examined("horizon", limits={"pinned_xids": 10})

    assert (found.severity, found.subject) == (WARNING, "idle")
    assert found.do == "SELECT pg_drop_replication_slot('idle');  -- if it is no longer needed"
    obey(sick, [found])
    assert examined("horizon", limits={"pinned_xids": 10}) == []


def test_a_standby_is_examined_and_one_that_pins_is_found(sick, examined, standby_url) -> None:
    with psycopg.connect(standby_url, autocommit=True) as conn:
        assert brief(run(conn, doctor())) == [("workers", NOTE, None), ("standby", NOTE, None)]
        conn.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        conn.execute("SELECT 1 FROM awa.jobs_hot")
        for _ in range(20):
            sick.execute("SELECT txid_current()")

        (found,) = eventually(lambda: examined("horizon", limits={"pinned_xids": 10}))

    assert (found.severity, found.what[:12]) == (WARNING, "the standby ")
    assert str(found.do).startswith("ALTER SYSTEM SET hot_standby_feedback = off;")
    eventually(lambda: examined("horizon", limits={"pinned_xids": 10}) == [])


def test_what_does_not_survive_a_crash_is_found(sick, examined, sound_url) -> None:
    assert examined("durability") == []
    sick.execute("ALTER TABLE awa.queue_meta SET UNLOGGED")

    (found,) = examined("durability")

    assert (found.severity, found.subject) == (ERROR, "queue_meta")
    obey(sick, [found])
    assert examined("durability") == []
    with psycopg.connect(sound_url, autocommit=True, options="-c synchronous_commit=off") as conn:
        assert brief(run(conn, doctor(["durability"]))) == [
            ("durability", NOTE, "synchronous_commit")
        ]


@QUICK_SERVER
def test_a_server_that_does_not_survive_a_crash_is_found(database_url) -> None:
    with psycopg.connect(database_url, autocommit=True) as conn:
        assert brief(run(conn, doctor(["durability"]))) == [
            ("durability", ERROR, "fsync"),
            ("durability", ERROR, "full_page_writes"),
            ("durability", NOTE, "synchronous_commit"),
        ]


def test_old_rows_that_are_not_frozen_are_found(sick, examined) -> None:
    for _ in range(30):
        sick.execute("SELECT txid_current()")
    assert examined("wraparound") == []
    limits = {"frozen_xids": 20}

    findings = examined("wraparound", limits=limits)

    assert ("wraparound", WARNING, "jobs_hot") in brief(findings)
    obey(sick, findings)
    assert {one.subject for one in examined("wraparound", limits=limits)} <= {sick.info.dbname}


def test_connection_slots_that_run_out_are_found(sick, examined, sound_url) -> None:
    assert examined("connections") == []
    with ExitStack() as stack:

        def fill(share: float) -> None:
            used = "SELECT sum(numbackends) FROM pg_stat_database"
            while sick.execute(used).fetchone()[0] < share * 27:
                stack.enter_context(psycopg.connect(sound_url))

        fill(0.8)
        assert brief(examined("connections")) == [("connections", WARNING, None)]
        fill(0.9)
        (found,) = examined("connections")
        assert (found.severity, found.what) == (ERROR, "25 of 27 connection slots are used")
        obey(sick, [found])


def test_a_transaction_pooler_is_found(pooled_url, sound_url) -> None:
    def beside(url: str):
        @contextmanager
        def second():
            with psycopg.connect(url, prepare_threshold=None) as conn:
                conn.execute("SELECT 1")
                yield

        return second

    for url, expected in ((pooled_url, [("pooler", WARNING, None)]), (sound_url, [])):
        with psycopg.connect(url, autocommit=True, prepare_threshold=None) as conn:
            assert brief(run(conn, doctor(["pooler"], beside=beside(url)))) == expected
            # All other checks work through it.
            rest = [name for name in CHECKS if name != "pooler"]
            assert brief(run(conn, doctor(rest))) == [("workers", NOTE, None)]


def test_a_pooler_that_is_full_is_not_waited_for(sound_url) -> None:
    @contextmanager
    def refused():
        raise awa.Unavailable("too many connections")
        yield

    with psycopg.connect(sound_url, autocommit=True) as conn:
        (found,) = run(conn, doctor(["pooler"], beside=refused))

    assert found.what == "not checked: cannot open a second connection: too many connections"


@pytest.fixture
def prefix(sick) -> str:
    prefix = f"d{uuid.uuid4().hex[:8]}_"
    run(sick, apply_roles(prefix))
    return prefix


async def test_workers_that_are_superusers_are_found(sick, examined, sound_url, prefix) -> None:
    for user, expected in (
        ("postgres", [("superuser", WARNING, "postgres")]),
        (f"{prefix}runtime", []),
    ):
        async with awa.AsyncClient(make_conninfo(sound_url, user=user)) as client:

            @client.task(Noop)
            async def noop(job: awa.Job) -> None:
                pass

            async with working(client):
                assert brief(examined("superuser", "rights")) == expected
        await aeventually(lambda: sick.execute(WORKING).fetchone() == (0,))


def test_what_everybody_may_do_is_found(sick, examined) -> None:
    sick.execute("GRANT SELECT, INSERT ON awa.jobs_hot TO PUBLIC")

    (found,) = examined("public")

    assert (found.severity, found.subject) == (WARNING, "jobs_hot")
    assert found.what == "PUBLIC has INSERT and SELECT on jobs_hot"
    obey(sick, [found])
    assert examined("public") == []


def test_functions_that_everybody_may_call_are_found(sick, examined) -> None:
    sick.execute("GRANT EXECUTE ON FUNCTION awa.forget_audit TO PUBLIC")

    (found,) = examined("public")

    assert (found.severity, found.subject) == (WARNING, "forget_audit")
    assert found.what == "PUBLIC has EXECUTE on forget_audit"
    obey(sick, [found])
    assert examined("public") == []


def test_roles_with_less_or_more_than_their_purpose_are_found(sick, examined, prefix) -> None:
    assert examined("rights") == []
    sick.execute(f"REVOKE DELETE ON awa.jobs_hot FROM {prefix}runtime")
    sick.execute(f"REVOKE INSERT (args) ON awa.jobs_hot FROM {prefix}producer")
    sick.execute(f"GRANT UPDATE ON awa.queue_meta, awa.cron_jobs TO {prefix}readonly")
    sick.execute(f"GRANT SELECT (args) ON awa.jobs_hot TO {prefix}producer")
    sick.execute(f"CREATE TABLE awa.mine (); GRANT ALL ON awa.mine TO {prefix}readonly")

    findings = {(one.subject, one.what): one for one in examined("rights")}

    assert set(findings) == {
        (f"{prefix}runtime", f"the role {prefix}runtime lacks rights: DELETE on jobs_hot"),
        (f"{prefix}producer", f"the role {prefix}producer lacks rights: INSERT on jobs_hot.args"),
        (
            f"{prefix}producer",
            f"the role {prefix}producer has rights beyond its purpose: SELECT on jobs_hot.args",
        ),
        (
            f"{prefix}readonly",
            (
                f"the role {prefix}readonly has rights beyond its purpose: "
                "UPDATE on cron_jobs, UPDATE on queue_meta"
            ),
        ),
    }
    assert {one.do for one in findings.values()} == {f"awa roles --apply --prefix {prefix}"}
    run(sick, apply_roles(prefix))
    assert examined("rights") == []


def test_a_reader_sees_all_but_the_sessions_of_others(sick, sound_url, prefix) -> None:
    instance(sick)
    url = make_conninfo(sound_url, user=f"{prefix}readonly")
    with psycopg.connect(url, autocommit=True) as conn:
        findings = run(conn, doctor())
        assert brief(findings) == [
            ("leader", ERROR, None), ("horizon", NOTE, f"{prefix}readonly"),
        ]  # fmt: skip
        obey(sick, [findings[1]])
    with psycopg.connect(url, autocommit=True) as conn:
        assert brief(run(conn, doctor())) == [("leader", ERROR, None)]


def test_who_may_not_look_is_told_check_by_check(sick, sound_url, prefix) -> None:
    with psycopg.connect(
        make_conninfo(sound_url, user=f"{prefix}producer"), autocommit=True
    ) as conn:
        findings = run(conn, doctor(everything=True))

    blind = {one.check for one in findings if one.what.startswith("not checked: permission")}
    assert {"migrations", "stuck", "queues", "leader", "batches"} <= blind
    assert {one.severity for one in findings if one.check in blind} == {WARNING}
    assert all("awa roles" in str(one.do) for one in findings if one.check in blind)
    seeing = {one.check for one in findings if one.severity == "ok"}
    assert {"durability", "connections", "autovacuum", "rights", "pooler"} <= seeing
    sick.execute(f"CREATE ROLE {prefix}nobody LOGIN")
    with psycopg.connect(make_conninfo(sound_url, user=f"{prefix}nobody"), autocommit=True) as conn:
        findings = run(conn, doctor())
    assert ("rights", NOTE, f"{prefix}nobody") in brief(findings)
