"""What the toolkit's own migrations change: indexes, notifications, counters, storage."""

from __future__ import annotations

import psycopg
import pytest

LONGEST = "ä" * 29 + "q"
# On a busy machine a recount may take so long that the next one would wait.
NOT_DEAR = "UPDATE awa.toolkit_counts SET cost_ms = 0"


@pytest.fixture
def conn(database_url):
    with psycopg.connect(database_url, autocommit=True) as conn:
        yield conn


@pytest.fixture
def heard(database_url):
    """Return a function that gives the channels notified since the last call."""
    with psycopg.connect(database_url, autocommit=True) as listener:
        for name in ("awa:a", "awa:b", f"awa:{LONGEST}"):
            listener.execute(f'LISTEN "{name}"')

        def channels() -> list[str]:
            listener.execute("SELECT 1")
            notes = list(listener.notifies(timeout=0.3))
            assert all(note.payload == "" for note in notes)
            return sorted(note.channel for note in notes)

        yield channels


def counts(conn) -> dict:
    rows = conn.execute("SELECT * FROM awa.queue_state_counts ORDER BY queue").fetchall()
    return {row[0]: list(row[1:]) for row in rows}


def test_one_notification_per_queue_and_statement(conn, heard) -> None:
    with conn.transaction():
        conn.execute(
            "INSERT INTO awa.jobs_hot (kind, queue)"
            " SELECT 'k', q FROM unnest(ARRAY['a', 'b']) AS q, generate_series(1, 1000)"
        )

    assert heard() == ["awa:a", "awa:b"]


def test_one_statement_sends_each_queue_once(conn) -> None:
    """Postgres drops duplicates of a transaction, so count what the function sends."""
    conn.execute("SET track_functions = 'all'")
    definition = conn.execute(
        "SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgname = 'trg_awa_notify'"
    ).fetchone()

    assert "FOR EACH STATEMENT" in definition[0]
    with conn.transaction():
        conn.execute(
            "INSERT INTO awa.jobs_hot (kind, queue) SELECT 'k', 'a' FROM generate_series(1, 500)"
        )
        calls = conn.execute(
            "SELECT pg_stat_get_xact_function_calls('awa.notify_new_jobs'::regproc)"
        ).fetchone()
    assert calls == (1,)


def test_copy_and_moves_notify_too(conn, heard) -> None:
    with conn.cursor().copy("COPY awa.jobs_hot (kind, queue) FROM STDIN") as copy:
        copy.write("k\ta\nk\ta\n")
    assert heard() == ["awa:a"]

    conn.execute("INSERT INTO awa.jobs (kind, queue, state) VALUES ('k', 'b', 'retryable')")
    assert heard() == []
    conn.execute("UPDATE awa.jobs SET state = 'available' WHERE queue = 'b'")
    assert heard() == ["awa:b"]


def test_jobs_that_cannot_run_yet_notify_nobody(conn, heard) -> None:
    conn.execute(
        "INSERT INTO awa.jobs_hot (kind, queue, state, run_at) VALUES"
        " ('k', 'a', 'available', now() + interval '1 hour'), ('k', 'b', 'failed', now())"
    )
    conn.execute("UPDATE awa.jobs_hot SET priority = 1")

    assert heard() == []


def test_queue_name_too_long_for_a_channel_is_stored_and_stops_nobody(conn, heard) -> None:
    conn.execute(
        "INSERT INTO awa.jobs_hot (kind, queue) VALUES ('k', %s), ('k', %s), ('k', 'a')",
        (LONGEST, LONGEST + "q"),
    )

    assert len(LONGEST.encode()) == 59
    assert heard() == ["awa:a", f"awa:{LONGEST}"]
    assert conn.execute("SELECT count(*) FROM awa.jobs_hot").fetchone() == (3,)


@pytest.mark.parametrize(
    "call", ["recompute_dirty_admin_metadata(100)", "refresh_admin_metadata()",
             "rebuild_admin_metadata()"]
)  # fmt: skip
def test_recount_is_exact(conn, call) -> None:
    conn.execute(
        "INSERT INTO awa.jobs (kind, queue, state)"
        " SELECT 'k' || (n % 3), 'q' || (n % 2), s FROM generate_series(1, 12) AS n,"
        " unnest(enum_range(NULL::awa.job_state)) AS s"
    )
    conn.execute(f"SELECT awa.{call}")
    assert counts(conn) == {"q0": [6] * 8, "q1": [6] * 8}

    conn.execute("DELETE FROM awa.jobs WHERE queue = 'q0'")
    conn.execute("UPDATE awa.jobs SET state = 'completed', kind = 'k0' WHERE state = 'running'")
    conn.execute("UPDATE awa.jobs SET kind = 'k1' WHERE kind = 'k2'")
    conn.execute(NOT_DEAR)
    conn.execute(f"SELECT awa.{call}")
    truth = conn.execute("SELECT kind, count(*) FROM awa.jobs GROUP BY kind ORDER BY kind")

    assert counts(conn) == {"q1": [6, 6, 0, 12, 6, 6, 6, 6]}
    kinds = conn.execute("SELECT kind, ref_count FROM awa.job_kind_catalog ORDER BY kind")
    assert kinds.fetchall() == truth.fetchall()
    queues = conn.execute("SELECT queue, ref_count FROM awa.job_queue_catalog").fetchall()
    assert queues == [("q1", 48)]


def test_recompute_returns_zero_so_that_a_flush_ends(conn) -> None:
    conn.execute("INSERT INTO awa.jobs (kind) VALUES ('k')")

    row = conn.execute("SELECT awa.recompute_dirty_admin_metadata(100)").fetchone()
    assert row == (0,)
    assert counts(conn) == {"default": [0, 1, 0, 0, 0, 0, 0, 0]}


def test_recount_leaves_rows_alone_that_did_not_change(conn) -> None:
    conn.execute("INSERT INTO awa.jobs (kind, queue) VALUES ('k', 'a'), ('k', 'b')")
    conn.execute("SELECT awa.refresh_admin_metadata()")
    place = (
        "SELECT queue, ctid::text, xmin::text, xmax::text FROM awa.queue_state_counts ORDER BY 1"
    )
    before = conn.execute(place).fetchall()
    conn.execute("INSERT INTO awa.jobs (kind, queue) VALUES ('k', 'b')")
    conn.execute(NOT_DEAR)
    conn.execute("SELECT awa.refresh_admin_metadata()")
    after = conn.execute(place).fetchall()

    assert before[0] == after[0]
    assert before[1] != after[1]


def test_dear_recount_waits_until_it_is_a_twentieth_of_the_time(conn) -> None:
    conn.execute("INSERT INTO awa.jobs (kind) VALUES ('k')")
    conn.execute("UPDATE awa.toolkit_counts SET recounted_at = now(), cost_ms = 1000")
    for call in ("recompute_dirty_admin_metadata(1)", "refresh_admin_metadata()"):
        conn.execute(f"SELECT awa.{call}")
    assert counts(conn) == {}

    conn.execute("UPDATE awa.toolkit_counts SET recounted_at = now() - interval '21 s'")
    conn.execute("SELECT awa.recompute_dirty_admin_metadata(1)")
    assert counts(conn) == {"default": [0, 1, 0, 0, 0, 0, 0, 0]}
    fresh = conn.execute(
        "SELECT now() - recounted_at < interval '5 s', cost_ms < 1000 FROM awa.toolkit_counts"
    )
    assert fresh.fetchone() == (True, True)


def test_rebuild_by_hand_recounts_whatever_it_costs(conn) -> None:
    conn.execute("INSERT INTO awa.jobs (kind) VALUES ('k')")
    conn.execute("UPDATE awa.toolkit_counts SET recounted_at = now(), cost_ms = 1e6")
    conn.execute("SELECT awa.rebuild_admin_metadata()")

    assert counts(conn) == {"default": [0, 1, 0, 0, 0, 0, 0, 0]}


def test_refresh_waits_for_no_writer_and_no_writer_for_it(database_url, conn) -> None:
    with psycopg.connect(database_url) as writer, psycopg.connect(database_url) as second:
        writer.execute("INSERT INTO awa.jobs (kind, queue) VALUES ('k', 'a')")
        conn.execute("SET lock_timeout = '200ms'")
        conn.execute("BEGIN")
        conn.execute("SELECT awa.refresh_admin_metadata()")
        second.execute("SET lock_timeout = '200ms'")
        second.execute("INSERT INTO awa.jobs (kind, queue) VALUES ('k', 'b')")
        second.commit()
        conn.execute("COMMIT")


def test_claims_and_completions_write_nothing_but_their_rows(conn) -> None:
    conn.execute("INSERT INTO awa.jobs (kind) VALUES ('k')")
    conn.execute("UPDATE awa.jobs_hot SET state = 'running'")
    marks = conn.execute(
        "SELECT (SELECT count(*) FROM awa.admin_dirty_queues),"
        " (SELECT count(*) FROM awa.admin_dirty_kinds)"
    )

    assert marks.fetchone() == (0, 0)


def test_heartbeats_are_heap_only_updates(conn) -> None:
    conn.execute(
        "INSERT INTO awa.jobs_hot (kind, state, heartbeat_at)"
        " SELECT 'k', 'running', now() FROM generate_series(1, 10)"
    )
    with conn.transaction():
        conn.execute("UPDATE awa.jobs_hot SET heartbeat_at = clock_timestamp(), progress = '{}'")
        updates = conn.execute(
            "SELECT pg_stat_get_xact_tuples_hot_updated('awa.jobs_hot'::regclass)"
        ).fetchone()

    assert updates == (10,)


@pytest.mark.parametrize(
    ("query", "index"),
    [
        (("SELECT id FROM awa.jobs_hot WHERE state = 'available' AND queue = 'q'"
         " AND run_at <= now() ORDER BY priority, run_at, id LIMIT 9"), "idx_awa_jobs_hot_dequeue"),
        (("SELECT id FROM awa.jobs_hot WHERE state = 'available' AND queue = 'q' AND kind = 'k'"
         " AND run_at <= now() ORDER BY priority, run_at, id LIMIT 9"),
         "awa_jobs_hot_claim_by_kind"),
        ("SELECT id FROM awa.jobs_hot WHERE state = 'running' AND heartbeat_at < now() LIMIT 9",
         "awa_jobs_hot_running_by_queue"),
        ("SELECT id FROM awa.jobs_hot WHERE state = 'failed' AND kind = 'k' ORDER BY id",
         "awa_jobs_hot_unsuccessful"),
        (("SELECT id FROM awa.jobs_hot WHERE state = 'failed'"
         " AND queue = ANY (ARRAY(SELECT queue FROM awa.queue_policies)) ORDER BY id LIMIT 9"),
         "awa_jobs_hot_unsuccessful"),
        (("SELECT id FROM awa.jobs_hot WHERE state IN ('failed', 'cancelled')"
         " AND finalized_at < now() ORDER BY finalized_at LIMIT 9"),
         "awa_jobs_hot_unsuccessful_finalized"),
        (("SELECT id FROM awa.jobs_hot WHERE state = 'completed' AND finalized_at < now()"
         " ORDER BY finalized_at DESC LIMIT 9"), "idx_awa_jobs_hot_completed_finalized"),
        (("SELECT id FROM awa.scheduled_jobs WHERE state = 'scheduled' AND run_at <= now()"
         " ORDER BY run_at, id LIMIT 9"), "idx_awa_scheduled_jobs_run_at_scheduled"),
    ],
)  # fmt: skip
def test_statement_walks_its_index(conn, query, index) -> None:
    """A long head of foreign kinds stands before the few jobs of ours, in every state."""
    conn.execute(
        "INSERT INTO awa.jobs (kind, queue, state, finalized_at)"
        " SELECT CASE WHEN n > 600 THEN 'k' ELSE 'foreign' END, 'q', s, now()"
        " FROM generate_series(1, 620) AS n, unnest(enum_range(NULL::awa.job_state)) AS s"
    )
    conn.execute("ANALYZE awa.jobs_hot, awa.scheduled_jobs")
    conn.execute("SET enable_seqscan = off")
    conn.execute("SET enable_bitmapscan = off")
    conn.execute("SET enable_sort = off")
    steps = conn.execute(f"EXPLAIN {query}").fetchall()

    assert index in "\n".join(step[0] for step in steps)


def test_grants_of_the_counts_are_those_of_the_cache(database_url, conn) -> None:
    """A 0.5 leader calls the functions with its own rights, so it needs the new tables too."""
    role = "awa_runtime_" + database_url.rpartition("/")[2].replace("-", "_")[:40]
    conn.execute(f'CREATE ROLE "{role}"')
    try:
        conn.execute(f'GRANT ALL ON awa.queue_state_counts TO "{role}"')
        conn.execute(f'GRANT SELECT ON awa.schema_version TO "{role}"')
        conn.execute("DELETE FROM awa.toolkit_migrations WHERE version = 3")
        from awa_lib.schema.migrate import apply

        apply(conn)
        row = conn.execute(
            "SELECT has_table_privilege(%(r)s, 'awa.toolkit_counts', 'UPDATE'),"
            " has_table_privilege(%(r)s, 'awa.toolkit_migrations', 'SELECT'),"
            " has_table_privilege(%(r)s, 'awa.toolkit_migrations', 'INSERT')",
            {"r": role},
        )
        assert row.fetchone() == (True, True, False)
    finally:
        conn.execute(f'DROP OWNED BY "{role}"')
        conn.execute(f'DROP ROLE "{role}"')


def test_who_may_change_jobs_may_change_what_belongs_to_them(database_url, conn) -> None:
    role = "awa_jobs_" + database_url.rpartition("/")[2].replace("-", "_")[:40]
    conn.execute(f'CREATE ROLE "{role}"')
    try:
        conn.execute(f'GRANT SELECT, DELETE ON awa.jobs_hot TO "{role}"')
        conn.execute(
            "DELETE FROM awa.toolkit_migrations WHERE version IN (5, 6, 8, 9, 17, 19, 21, 23)"
        )
        from awa_lib.schema.migrate import apply

        apply(conn)
        for table in (
            "callback_signatures", "cron_settings", "queue_policies", "dead_letters",
            "bulk_operations", "failures", "job_ends", "answered_callbacks", "uncounted_ends",
            "job_results",
        ):  # fmt: skip
            row = conn.execute(
                "SELECT has_table_privilege(%(r)s, %(t)s, 'SELECT'),"
                " has_table_privilege(%(r)s, %(t)s, 'DELETE'),"
                " has_table_privilege(%(r)s, %(t)s, 'INSERT')",
                {"r": role, "t": f"awa.{table}"},
            )
            assert row.fetchone() == (True, True, False), table
    finally:
        conn.execute(f'DROP OWNED BY "{role}"')
        conn.execute(f'DROP ROLE "{role}"')


def test_marks_come_to_policies_and_waits_that_are_there(conn) -> None:
    """A worker of the release before goes on: the functions keep their names and arguments."""
    conn.execute(
        "ALTER TABLE awa.queue_policies DROP COLUMN marks;"
        " DROP INDEX awa.awa_job_waits_expires_at;"
        " INSERT INTO awa.queue_policies (queue, max_running) VALUES ('q', 1);"
        " INSERT INTO awa.job_waits VALUES (1, 1, 'infinity');"
        " INSERT INTO awa.jobs_hot (kind, queue) VALUES ('k', 'q'), ('k', 'q')"
    )
    conn.execute("DELETE FROM awa.toolkit_migrations WHERE version = 22")
    from awa_lib.schema.migrate import apply

    apply(conn)
    claim = "SELECT state::text FROM awa.claim_within_limits('q', '{k}', 5, NULL)"

    assert conn.execute("SELECT marks, max_running FROM awa.queue_policies").fetchall() == [({}, 1)]
    assert conn.execute("SELECT job_id FROM awa.job_waits").fetchall() == [(1,)]
    assert [conn.execute(claim).fetchall() for _ in range(2)] == [[("running",)], []]
