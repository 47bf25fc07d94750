"""What the functions and triggers of the canonical schema do."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from fix_wait import eventually
from psycopg import errors as pg
from psycopg.rows import dict_row

import awa_lib as awa
from awa_lib._sql import column_lists

STATES = [
    "scheduled", "available", "running", "completed",
    "retryable", "failed", "cancelled", "waiting_external",
]  # fmt: skip
COLD = {"scheduled", "retryable"}
KEY = b"0123456789abcdef"
LIVE = "11111000"


@pytest.fixture
def conn(database_url):
    with psycopg.connect(database_url, autocommit=True, row_factory=dict_row) as conn:
        yield conn


def insert(conn, **columns) -> dict:
    columns = {"kind": "k", **columns}
    names = ", ".join(columns)
    marks = ", ".join(f"%({name})s" for name in columns)
    return conn.execute(
        f"INSERT INTO awa.jobs ({names}) VALUES ({marks}) RETURNING *", columns
    ).fetchone()


def where(conn, job_id) -> str:
    row = conn.execute(
        "SELECT tableoid::regclass::text AS t FROM awa.jobs_hot WHERE id = %(id)s UNION ALL"
        " SELECT tableoid::regclass::text FROM awa.scheduled_jobs WHERE id = %(id)s",
        {"id": job_id},
    ).fetchall()
    return " ".join(item["t"] for item in row)


def claims(conn) -> list[int]:
    return [row["job_id"] for row in conn.execute("SELECT job_id FROM awa.job_unique_claims")]


@pytest.mark.parametrize("state", STATES)
def test_view_inserts_into_the_table_of_the_state(conn, state) -> None:
    job = insert(conn, state=state)

    assert where(conn, job["id"]) == ("awa.scheduled_jobs" if state in COLD else "awa.jobs_hot")


def test_view_insert_fills_nulls(conn) -> None:
    job = insert(conn, queue=None, args=None, priority=None, tags=None, run_lease=None)
    now = conn.execute("SELECT now() - %s < interval '5 s' AS fresh", (job["run_at"],)).fetchone()

    assert now == {"fresh": True}
    assert (job["queue"], job["args"], job["state"], job["priority"]) == (
        "default", {}, "available", 2,
    )  # fmt: skip
    assert (job["attempt"], job["max_attempts"], job["run_lease"]) == (0, 25, 0)
    assert (job["errors"], job["metadata"], job["tags"]) == ([], {}, [])


@pytest.mark.parametrize(
    ("before", "after"), [("running", "retryable"), ("scheduled", "available")]
)
def test_view_update_moves_the_whole_row(conn, before, after) -> None:
    job = insert(
        conn, state=before, args='{"a": 1}', attempt=3, run_lease=4, progress='{"percent": 5}',
        tags=["x"], errors=['{"error": "e"}'], callback_filter="f", metadata='{"m": 1}',
    )  # fmt: skip
    moved = conn.execute(
        "UPDATE awa.jobs SET state = %s::awa.job_state WHERE id = %s RETURNING *",
        (after, job["id"]),
    ).fetchone()

    assert moved == job | {"state": after}
    assert where(conn, job["id"]) == ("awa.scheduled_jobs" if after in COLD else "awa.jobs_hot")


def test_view_update_of_a_row_that_changed_meanwhile_touches_nothing(database_url, conn) -> None:
    job = insert(conn, state="running", run_lease=1)
    with (
        psycopg.connect(database_url) as other,
        psycopg.connect(database_url, autocommit=True) as late,
        ThreadPoolExecutor(1) as pool,
    ):
        other.execute("UPDATE awa.jobs_hot SET run_lease = 2 WHERE id = %s", (job["id"],))
        cursor = pool.submit(late.execute, "UPDATE awa.jobs SET state = 'failed'")
        waiting(conn, late.info.backend_pid)
        other.commit()
        count = cursor.result(10).rowcount

    assert count == 0
    state = conn.execute("SELECT state::text, run_lease FROM awa.jobs").fetchone()
    assert state == {"state": "running", "run_lease": 2}


def waiting(conn, pid) -> None:
    for _ in range(1000):
        row = conn.execute(
            "SELECT pg_sleep(0.005), wait_event_type AS w FROM pg_stat_activity WHERE pid = %s",
            (pid,),
        ).fetchone()
        if row["w"] == "Lock":
            return
    pytest.fail("the update never waited")


@pytest.mark.parametrize("state", ["failed", "retryable"])
def test_view_delete_removes_from_the_table_of_the_state(conn, state) -> None:
    job = insert(conn, state=state)

    assert conn.execute("DELETE FROM awa.jobs WHERE id = %s", (job["id"],)).rowcount == 1
    assert where(conn, job["id"]) == ""
    assert conn.execute("DELETE FROM awa.jobs WHERE id = %s", (job["id"],)).rowcount == 0


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("priority", 0), ("priority", 5), ("max_attempts", 0), ("max_attempts", 1001),
        ("queue", "q" * 201), ("kind", "k" * 201), ("tags", ["t"] * 21),
    ],
)  # fmt: skip
@pytest.mark.parametrize("state", ["available", "scheduled"])
def test_checks_hold_in_both_tables(conn, state, column, value) -> None:
    with pytest.raises(pg.CheckViolation):
        insert(conn, state=state, **{column: value})


@pytest.mark.parametrize("number", range(8))
def test_bitmask_counts_from_the_left(conn, number) -> None:
    mask = "0" * number + "1" + "0" * (7 - number)
    held = conn.execute(
        "SELECT s::text FROM unnest(enum_range(NULL::awa.job_state)) AS s"
        " WHERE awa.job_state_in_bitmask(%s::text::bit(8), s)",
        (mask,),
    ).fetchall()

    assert [row["s"] for row in held] == [STATES[number]]


def test_claim_follows_the_states_of_the_mask(conn) -> None:
    job = insert(conn, unique_key=KEY, unique_states=LIVE)
    assert claims(conn) == [job["id"]]

    for state, held in [("retryable", True), ("failed", False), ("available", True)]:
        conn.execute("UPDATE awa.jobs SET state = %s::awa.job_state", (state,))
        assert bool(claims(conn)) is held

    conn.execute("DELETE FROM awa.jobs")
    assert claims(conn) == []


def test_claim_is_one_per_key(conn) -> None:
    insert(conn, unique_key=KEY, unique_states=LIVE)
    with pytest.raises(pg.UniqueViolation) as error:
        insert(conn, unique_key=KEY, unique_states=LIVE, state="scheduled")

    assert error.value.diag.constraint_name == "idx_awa_jobs_unique"
    assert error.value.diag.message_primary == (
        'duplicate key value violates unique constraint "idx_awa_jobs_unique"'
    )
    insert(conn, unique_key=KEY, unique_states=LIVE, state="failed")


def test_claim_survives_a_move_that_inserts_before_it_deletes(conn) -> None:
    job = insert(conn, unique_key=KEY, unique_states=LIVE, state="scheduled")
    columns = "id, kind, queue, unique_key, unique_states"
    conn.execute(
        f"WITH gone AS (DELETE FROM awa.scheduled_jobs RETURNING {columns})"
        f" INSERT INTO awa.jobs_hot ({columns}) SELECT {columns} FROM gone"
    )

    assert claims(conn) == [job["id"]]


@pytest.mark.parametrize(
    ("attempt", "least"), [(0, 1), (1, 2), (5, 32), (16, 65536), (17, 86400), (1000, 86400)]
)
def test_backoff_doubles_with_jitter_up_to_a_day(conn, attempt, least) -> None:
    rows = conn.execute(
        "SELECT extract(epoch FROM awa.backoff_duration(%s::smallint, 25::smallint))::float AS s"
        " FROM generate_series(1, 200)",
        (attempt,),
    ).fetchall()
    seconds = [row["s"] for row in rows]

    assert min(seconds) >= least
    assert max(seconds) <= min(least * 1.25, 86400)
    if least < 60000:
        assert max(seconds) - min(seconds) > least * 0.15


def test_insert_job_compat_takes_its_defaults(conn) -> None:
    job = conn.execute("SELECT * FROM awa.insert_job_compat('k')").fetchone()

    assert (job["queue"], job["state"], job["priority"], job["max_attempts"]) == (
        "default", "available", 2, 25,
    )  # fmt: skip
    assert job["run_at"] == job["created_at"]
    assert where(conn, job["id"]) == "awa.jobs_hot"


def test_insert_job_compat_is_closed_while_another_engine_writes(conn) -> None:
    conn.execute("SELECT awa.storage_prepare('queue_storage')")
    conn.execute("SELECT awa.insert_job_compat('k')")
    conn.execute("UPDATE awa.storage_transition_state SET state = 'mixed_transition'")
    with pytest.raises(pg.ObjectNotInPrerequisiteState) as error:
        conn.execute("SELECT awa.insert_job_compat('k')")

    assert error.value.diag.message_primary == (
        'storage engine "queue_storage" is not writable in this release'
    )


def test_missing_transition_row_means_canonical(conn) -> None:
    conn.execute("DELETE FROM awa.storage_transition_state")
    row = conn.execute(
        "SELECT awa.active_storage_engine() AS engine,"
        " awa.assert_writable_canonical_storage() AS writable"
    ).fetchone()

    assert row == {"engine": "canonical", "writable": True}
    assert conn.execute("SELECT * FROM awa.storage_status()").fetchall() == []


@pytest.mark.parametrize("state", [None, "canonical", "prepared", "mixed_transition", "active"])
def test_the_engine_of_an_insert_is_that_of_the_function(conn, state) -> None:
    """The statements of inserts have the body of the function written out."""
    conn.execute(
        "UPDATE awa.storage_transition_state SET state = coalesce(%s, state),"
        " prepared_engine = nullif('other', CASE %s WHEN 'canonical' THEN 'other' END)",
        [state, state],
    )
    if state is None:
        conn.execute("DELETE FROM awa.storage_transition_state")
    row = conn.execute(
        f"SELECT {column_lists()['engine']}, awa.active_storage_engine() AS function"
    ).fetchone()

    assert row["engine"] == row["function"]
    assert row["engine"] == ("other" if state in ("mixed_transition", "active") else "canonical")


def status(conn, call, *args) -> dict:
    marks = ", ".join(["%s"] * len(args))
    return conn.execute(f"SELECT * FROM awa.{call}({marks})", args).fetchone()


def test_storage_prepare_and_abort_walk_the_epoch(conn) -> None:
    first = status(conn, "storage_prepare", " queue_storage ")
    again = status(conn, "storage_prepare", "queue_storage")
    other = status(conn, "storage_prepare", "queue_storage", '{"schema": "x"}')
    back = status(conn, "storage_abort")
    same = status(conn, "storage_abort")

    assert (first["state"], first["prepared_engine"], first["transition_epoch"]) == (
        "prepared", "queue_storage", 1,
    )  # fmt: skip
    assert first["active_engine"] == "canonical"
    assert (again["transition_epoch"], again["entered_at"]) == (1, first["entered_at"])
    assert again["updated_at"] > first["updated_at"]
    assert (other["transition_epoch"], other["details"]) == (2, {"schema": "x"})
    assert (back["state"], back["prepared_engine"], back["details"]) == ("canonical", None, {})
    assert (back["transition_epoch"], same["transition_epoch"]) == (3, 3)
    assert same["entered_at"] == back["entered_at"]


@pytest.mark.parametrize(
    ("call", "args", "state", "sqlstate", "message"),
    [
        ("storage_prepare", ["  "], None, "22023", "storage engine must not be blank"),
        ("storage_prepare", [None], None, "22023", "storage engine must not be blank"),
        ("storage_prepare", ["canonical"], None, "22023",
         'storage engine "canonical" is already active'),
        ("storage_prepare", ["x"], "active", "55000",
         "storage prepare is only allowed from canonical or prepared state"),
        ("storage_enter_mixed_transition", [], None, "55000",
         "storage mixed transition is not supported in this release; requires 0.6"),
        ("storage_finalize", [], None, "55000",
         "storage finalization is not supported in this release; requires 0.6"),
    ],
)  # fmt: skip
def test_storage_refuses_with_published_codes(conn, call, args, state, sqlstate, message) -> None:
    if state:
        conn.execute(
            "UPDATE awa.storage_transition_state SET state = %s, prepared_engine = 'y'", (state,)
        )
    with pytest.raises(psycopg.Error) as error:
        status(conn, call, *args)

    assert (error.value.sqlstate, error.value.diag.message_primary) == (sqlstate, message)


@pytest.mark.parametrize("call", ["storage_prepare('other')", "storage_abort()"])
def test_a_change_of_the_engine_sees_what_it_waited_for(database_url, conn, call) -> None:
    """A later release finishes the change at the same moment."""
    conn.execute("SELECT awa.storage_prepare('queue_storage')")
    with psycopg.connect(database_url) as later, ThreadPoolExecutor() as threads:
        later.execute("UPDATE awa.storage_transition_state SET state = 'active'")
        waiting = threads.submit(conn.execute, f"SELECT * FROM awa.{call}")
        waits = "wait_event_type = 'Lock' AND datname = current_database()"
        eventually(lambda: later.execute(f"SELECT FROM pg_stat_activity WHERE {waits}").fetchall())
        later.commit()
        error = waiting.exception(10)

    assert (error is None) == (call == "storage_abort()")
    assert conn.execute("SELECT state FROM awa.storage_transition_state").fetchone() == {
        "state": "active"
    }


def test_a_copy_holds_up_a_change_of_the_engine(database_url, conn) -> None:
    with psycopg.connect(database_url) as producer:
        awa.Client.on(producer).insert_many_copy([{"n": n} for n in range(1001)], kind="k")
        conn.execute("SET lock_timeout = '50ms'")
        with pytest.raises(pg.LockNotAvailable):
            conn.execute("UPDATE awa.storage_transition_state SET state = 'canonical'")


@pytest.mark.parametrize("table", ["jobs_hot", "scheduled_jobs"])
def test_a_lock_of_the_tables_waits_for_inserts(database_url, conn, table) -> None:
    """So a later release can wait for transactions that inserted before it changed the engine."""
    run_at = "2050-01-01T00:00:00Z" if table == "scheduled_jobs" else None
    conn.execute("SET lock_timeout = '50ms'")
    with psycopg.connect(database_url) as producer:
        awa.Client.on(producer).insert({}, kind="k", run_at=run_at)
        with pytest.raises(pg.LockNotAvailable), conn.transaction():
            conn.execute(f"LOCK TABLE awa.{table} IN SHARE MODE")
        producer.commit()
    conn.execute(f"BEGIN; LOCK TABLE awa.{table} IN SHARE MODE; COMMIT")


def test_storage_abort_from_active_changes_nothing(conn) -> None:
    conn.execute("UPDATE awa.storage_transition_state SET state = 'active', prepared_engine = 'y'")
    before = status(conn, "storage_status")

    assert status(conn, "storage_abort") == before
    assert before["active_engine"] == "y"
