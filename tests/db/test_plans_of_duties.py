"""What the leader sends reads what it needs, whatever the statistics say.

Statistics of a queue are always stale: taken while the table was empty, or while its rows were in
other states.  Each statement is run on such a table, with the settings of the worker's connections
and without, as a generic and as a custom plan; what it read is counted in pages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql as compose

from awa_lib import _sql

ROWS = 20_000
# Ids of one change.
IDS = 200
# A look goes down an index and along a page of it; the whole table has 430 pages, each row of it
# fetched by an index would be 20,000.
LOOK = 1_500
# A change visits each row, its indexes and its new place.
CHANGE = 15_000
VALUES: dict[str, Any] = {
    "interval_seconds": 30.0, "staleness_seconds": 90.0, "silent": False,
    "limit": 200, "page": 200, "after": 0, "seconds": 86_400.0, "queue": None,
    "except_queues": [], "ended_after": "-infinity", "begin": "-infinity", "scheduled_from": "-infinity",
    "retryable_from": "-infinity", "threshold": 60.0, "apart": [], "cause": "heartbeat", "error": "e",
    "spent": False, "failure": None, "reason": None, "priority": 1, "to_queue": "z", "kind": None, "tag": None,
    "state": None, "created_after": None, "created_before": None, "args": None,
    "states": ["failed", "cancelled", "waiting_external", "retryable"],
}  # fmt: skip
HOT_LOOKS = [
    ("maintenance", "expired_callback_ids", {}),
    ("maintenance", "old_completed", {}),
    ("maintenance", "old_unsuccessful", {}),
    ("dead_letters", "failed_ids_of_policies", {}),
    ("dead_letters", "failed_ids", {}),
]
HOT_CHANGES = [
    ("maintenance", "delete_completed", {}),
    ("maintenance", "delete_unsuccessful", {}),
    ("maintenance", "free_ids", {}),
    ("maintenance", "once_locked_ids", {}),
    ("maintenance", "rescue", {}),
    ("maintenance", "delete_old", {}),
    ("maintenance", "age", {}),
    ("dead_letters", "move_failed", {}),
    ("bulk", "still_fit", {}),
    ("bulk", "lock_jobs", {}),
    ("bulk", "delete", {}),
    ("bulk", "set_priority", {}),
    ("bulk", "move_queue", {}),
    ("queues", "drain", {"queue": "q1"}),
]
# Each running job is visited once, down the index and to its row.
WALK = 4 * ROWS
WALKS = [("maintenance", "stale_ids", {}), ("maintenance", "overdue_ids", {})]
COLD_LOOKS = [
    ("maintenance", "due_states", {}),
    ("maintenance", "due_states_and_others", {}),
    ("maintenance", "due_scheduled", {}),
    ("maintenance", "due_retryable", {}),
]
COLD_CHANGES = [
    ("maintenance", "promote", {}),
    ("bulk", "lock_jobs", {}),
    ("bulk", "set_priority", {}),
    ("queues", "drain", {"queue": "q1"}),
]
STATISTICS = ["never", "empty", "same", "stale"]
HOT_STATES = ["available", "running", "completed", "failed", "waiting_external"]


@pytest.fixture
def conn(database_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("SET jit = off")
        for table in ("jobs_hot", "scheduled_jobs"):
            connection.execute(f"ALTER TABLE awa.{table} SET (autovacuum_enabled = off)")
            connection.execute(f"ALTER TABLE awa.{table} DISABLE TRIGGER USER")
        connection.execute(
            "INSERT INTO awa.queue_policies (queue, dead_letters) VALUES ('q0', true)"
        )
        yield connection


@pytest.fixture
def fill(conn: psycopg.Connection) -> Callable[..., None]:
    """Fill a table with jobs of one state, with statistics of other days."""

    def fill(table: str, state: str, statistics: str, others: list[str]) -> None:
        conn.execute(f"TRUNCATE awa.{table}")
        conn.execute("DELETE FROM pg_statistic WHERE starelid = %s::regclass", [f"awa.{table}"])
        if statistics == "empty":
            conn.execute(f"ANALYZE awa.{table}")
        first = others if statistics == "stale" else [state]
        ended = "now() - interval '3 days'" if table == "jobs_hot" else "NULL"
        conn.execute(
            f"INSERT INTO awa.{table} (kind, queue, state, run_at, heartbeat_at, deadline_at,"
            " finalized_at, callback_timeout_at)"
            " SELECT 'k', 'q' || n %% 5, (%s::text[])[1 + n %% %s]::awa.job_state,"
            " now() - interval '1 h', now() - interval '1 h', now() - interval '1 h',"
            f" {ended}, now() - interval '1 h' FROM generate_series(1, %s) AS n",
            [first, len(first), ROWS],
        )
        if statistics in ("same", "stale"):
            conn.execute(f"ANALYZE awa.{table}")
        if statistics == "stale":
            conn.execute(f"UPDATE awa.{table} SET state = %s", [state])
            # Without it a scan meets the dead entries of the other state first.
            conn.execute(f"VACUUM awa.{table}")

    return fill


@pytest.fixture
def pages(conn: psycopg.Connection) -> Callable[..., int]:
    """Run a statement and return how many pages it read; nothing is kept."""

    def pages(noun: str, name: str, *, generic: bool, settings: bool, **values: Any) -> int:
        query = _sql.query(noun, name)
        given = [compose.Literal(values[key]) for key in query.params]
        call = compose.SQL("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE planned")
        if given:
            call += compose.SQL("({})").format(compose.SQL(", ").join(given))
        mode = "force_generic_plan" if generic else "force_custom_plan"
        conn.execute(f"SET plan_cache_mode = {mode}")
        conn.execute(f"SET enable_seqscan = {'off' if settings else 'on'}")
        conn.execute(f"SET enable_bitmapscan = {'off' if settings else 'on'}")
        conn.execute(f"PREPARE planned AS {query.text}")
        try:
            with conn.transaction(force_rollback=True):
                plan = conn.execute(call).fetchone()[0][0]["Plan"]
        finally:
            conn.execute("DEALLOCATE planned")
        return plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]

    return pages


def beyond(conn, pages, table: str, looks, changes) -> list[str]:
    """Return the statements that read more than they may."""
    (low,) = conn.execute(f"SELECT min(id) FROM awa.{table}").fetchone()
    values = {**VALUES, "ids": list(range(low, low + IDS)), "upto": 10**12}
    found = []
    for statements, most in ((looks, LOOK), (changes, CHANGE), (WALKS, WALK)):
        for noun, name, more in statements:
            for generic in (True, False):
                for settings in (True, False):
                    read = pages(
                        noun, name, generic=generic, settings=settings, **{**values, **more}
                    )
                    if read > most:
                        found.append(f"{noun}.{name} {generic=} {settings=}: {read} pages")
    return found


@pytest.mark.parametrize("statistics", STATISTICS)
@pytest.mark.parametrize("state", HOT_STATES)
def test_statements_of_the_hot_table(conn, fill, pages, state: str, statistics: str) -> None:
    fill("jobs_hot", state, statistics, [one for one in HOT_STATES if one != state])

    assert beyond(conn, pages, "jobs_hot", HOT_LOOKS, HOT_CHANGES) == []


@pytest.mark.parametrize("statistics", STATISTICS)
@pytest.mark.parametrize("state", ["scheduled", "retryable"])
def test_statements_of_the_cold_table(conn, fill, pages, state: str, statistics: str) -> None:
    other = {"scheduled": "retryable", "retryable": "scheduled"}[state]
    fill("scheduled_jobs", state, statistics, [other])

    assert beyond(conn, pages, "scheduled_jobs", COLD_LOOKS, COLD_CHANGES) == []


@pytest.mark.parametrize("statistics", STATISTICS)
def test_the_process_of_each_job_is_found_by_its_number(conn, fill, pages, statistics: str) -> None:
    """Beside each step of the walk: down one more index, and to the row of the process."""
    fill("jobs_hot", "running", statistics, ["completed"])
    conn.execute(
        "INSERT INTO awa.worker_processes (number, instance_id, hostname, pid, version,"
        " heartbeat_interval_ms, heartbeat_staleness_ms, started_at, last_seen_at)"
        " SELECT n, gen_random_uuid(), 'h', n, '1', 3000, 10000, '2000-01-01', now()"
        " FROM generate_series(1, 5000) AS n"
    )
    conn.execute("UPDATE awa.jobs_hot SET run_lease = (1 + id % 5000) << 29, attempted_at = now()")
    conn.execute("VACUUM awa.jobs_hot")
    for generic in (True, False):
        read = pages("maintenance", "stale_ids", generic=generic, settings=True, **VALUES)
        assert read < WALK + 4 * ROWS
