"""The audit log: in the transaction of the change, added to and never rewritten."""

from __future__ import annotations

import psycopg
import pytest

from awa_lib.db.drive import arun, run
from awa_lib.errors import InvalidTransition
from awa_lib.ops.audit import Entry, announced, audited, forget_audit
from awa_lib.ops.jobs import cancel, retry
from awa_lib.ops.queues import drain_queue
from awa_lib.reads.audit import audit_entries

ENTRY = Entry("alice", "cli", "job.cancel", "1", {"why": "test"})


@pytest.fixture
def conn(database_url):
    with psycopg.connect(database_url, autocommit=True) as conn:
        yield conn


def test_a_change_and_its_entry_are_one_transaction(conn, put) -> None:
    job = put(state="available")

    done = run(conn, audited(cancel(job["id"]), ENTRY, lambda job: {"state": str(job.state)}))

    (entry,) = run(conn, audit_entries())
    assert str(done.state) == "cancelled"
    assert (entry.actor, entry.via, entry.action, entry.target) == (
        "alice",
        "cli",
        "job.cancel",
        "1",
    )
    assert entry.detail == {"why": "test", "state": "cancelled"}
    assert entry.database_user == conn.execute("SELECT session_user").fetchone()[0]
    # now() is the time at which a transaction began.
    (ended,) = conn.execute("SELECT finalized_at FROM awa.jobs_hot").fetchone()
    assert entry.at == ended


def test_a_change_that_fails_leaves_no_entry(conn, put) -> None:
    job = put(state="completed")

    with pytest.raises(InvalidTransition):
        run(conn, audited(retry(job["id"]), ENTRY))

    assert run(conn, audit_entries()) == []


def test_an_entry_that_cannot_be_written_takes_the_change_back(conn, put) -> None:
    job = put(state="available")
    conn.execute("ALTER TABLE awa.audit_log ADD CHECK (actor <> 'alice')")

    with pytest.raises(Exception, match="audit_log"):
        run(conn, audited(cancel(job["id"]), ENTRY))

    assert conn.execute("SELECT state::text FROM awa.jobs_hot").fetchone() == ("available",)


def test_what_works_in_pages_is_written_down_before(conn, put) -> None:
    put(state="available", queue="q")
    conn.execute(
        "CREATE FUNCTION pg_temp.no() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN RAISE EXCEPTION ''no''; END'"
    )
    conn.execute(
        "CREATE TRIGGER no BEFORE UPDATE ON awa.jobs_hot FOR EACH ROW EXECUTE FUNCTION pg_temp.no()"
    )

    with pytest.raises(Exception, match="no"):
        run(conn, announced(drain_queue("q"), ENTRY))

    assert len(run(conn, audit_entries())) == 1


def test_a_database_that_was_not_migrated_yet_takes_changes(conn, put) -> None:
    job = put(state="available")
    conn.execute("DROP TABLE awa.audit_log")

    assert str(run(conn, audited(cancel(job["id"]), ENTRY)).state) == "cancelled"


async def test_the_async_driver_does_the_same(database_url, put, look) -> None:
    job = put(state="available")
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as conn:
        await arun(conn, audited(cancel(job["id"]), ENTRY))

        assert [one.target for one in await arun(conn, audit_entries())] == ["1"]


def test_long_and_strange_texts_are_kept_as_far_as_they_fit(conn, put) -> None:
    job = put(state="available")
    entry = Entry("a\x00b\ud800" + "x" * 500, "cli", "job.cancel", "y" * 500)

    run(conn, audited(cancel(job["id"]), entry))

    (found,) = run(conn, audit_entries())
    assert found.actor == ("a?b?" + "x" * 500)[:200]
    assert found.target == "y" * 300


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, ["queue.pause", "job.retry"]),
        ({"action": "job"}, ["job.retry"]),
        ({"action": "job.retry"}, ["job.retry"]),
        ({"action": "jo"}, []),
        ({"actor": "bob"}, ["queue.pause"]),
        ({"target": "7"}, ["job.retry"]),
        ({"limit": 1}, ["queue.pause"]),
        ({"before_id": 2}, ["job.retry"]),
    ],
)
def test_entries_are_filtered(conn, query, found) -> None:
    conn.execute(
        "INSERT INTO awa.audit_log (actor, via, action, target) VALUES"
        " ('alice', 'cli', 'job.retry', '7'), ('bob', 'tui', 'queue.pause', 'q')"
    )

    assert [one.action for one in run(conn, audit_entries(**query))] == found


def test_entries_can_be_added_and_read_but_not_changed(database_url, conn) -> None:
    role = "awa_audit_" + database_url.rpartition("/")[2].replace("-", "_")[:40]
    conn.execute(f'CREATE ROLE "{role}"')
    try:
        conn.execute(f'GRANT SELECT, INSERT, UPDATE, DELETE ON awa.jobs_hot TO "{role}"')
        conn.execute("DELETE FROM awa.toolkit_migrations WHERE version = 13")
        from awa_lib.schema.migrate import apply

        apply(conn)
        rights = conn.execute(
            "SELECT array_agg(p ORDER BY p) FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE',"
            " 'TRUNCATE']) AS p WHERE has_table_privilege(%s, 'awa.audit_log', p)",
            [role],
        ).fetchone()[0]
        assert rights == ["INSERT", "SELECT"]
    finally:
        conn.execute(f'DROP OWNED BY "{role}"')
        conn.execute(f'DROP ROLE "{role}"')


def test_old_entries_are_forgotten_and_none_younger_than_90_days(conn) -> None:
    conn.execute(
        "INSERT INTO awa.audit_log (at, actor, via, action, target)"
        " SELECT now() - make_interval(days => d), 'a', 'cli', 'job.retry', d::text"
        " FROM unnest(ARRAY[400, 200, 80]) AS d"
    )

    assert run(conn, forget_audit(365)) == 1
    assert run(conn, forget_audit(1)) == 1
    assert [one.target for one in run(conn, audit_entries())] == ["80"]
