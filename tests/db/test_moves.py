"""Changes that first look and then lock: what changed in between is tested again."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from fix_wait import eventually

import awa_lib as awa
from awa_lib._sql import sql
from awa_lib.db.drive import run
from awa_lib.ops import maintenance

STATES = [
    "available", "running", "completed", "failed", "cancelled", "waiting_external",
]  # fmt: skip
# A promotion keeps the time when an attempt failed.
LONG_AGO = {"finalized_at": "2020-01-01", "queue": "q"}


def changed(conn: Any, noun: str, name: str, **given: Any) -> list[int]:
    def op():
        return (yield getattr(sql, noun)(name, **given))

    return [row[0] for row in run(conn, op())]


def array(ids: list[int]) -> str:
    return "{" + ",".join(map(str, ids)) + "}"


@pytest.fixture
def each(put: Callable[..., Any]) -> dict[str, int]:
    """A job of each state of the hot table, by state."""
    return {state: put(state=state, **LONG_AGO)["id"] for state in STATES}


def test_only_failed_jobs_become_dead_letters(look, each) -> None:
    ids = array(list(each.values()))

    assert changed(look.conn, "dead_letters", "move_failed", ids=ids, reason=None) == [
        each["failed"]
    ]


def test_only_ended_jobs_are_deleted_by_retention(look, each) -> None:
    ids = array(list(each.values()))
    ended = [each[state] for state in ("completed", "failed", "cancelled")]

    assert sorted(changed(look.conn, "maintenance", "delete_old", ids=ids, seconds=1.0)) == ended


@pytest.mark.parametrize(
    ("name", "states"),
    [("delete_completed", ["completed"]), ("delete_unsuccessful", ["failed", "cancelled"])],
)
def test_each_retention_deletes_its_own_states(look, each, name, states) -> None:
    scope = {"seconds": 1.0, "queue": None, "except_queues": [], "limit": 9,
             "ended_after": "-infinity"}  # fmt: skip
    assert changed(look.conn, "maintenance", name, **scope) == [len(states)]

    left = {row["id"] for row in look("SELECT id FROM awa.jobs")}
    assert left == set(each.values()) - {each[state] for state in states}


def test_only_ended_jobs_are_deleted_in_bulk(look, each) -> None:
    ids = array(list(each.values()))
    ended = [each[state] for state in ("completed", "failed", "cancelled")]

    assert sorted(changed(look.conn, "bulk", "delete", ids=ids)) == ended


def test_only_waiting_jobs_are_drained(look, each) -> None:
    ids = array(list(each.values()))
    waiting = [each[state] for state in ("available", "waiting_external")]

    assert sorted(changed(look.conn, "queues", "drain", ids=ids, queue="q")) == waiting


def test_a_job_that_was_put_off_while_it_is_promoted_is_not(look, put, database_url) -> None:
    """The promotion has its snapshot, and waits; the job gets another time; then it is locked."""
    off, due = (put(state="scheduled", run_at="2020-01-01")["id"] for _ in range(2))
    look(
        "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " PERFORM pg_advisory_xact_lock(1); RETURN NULL; END $$"
    )
    look(
        "CREATE TRIGGER wait BEFORE DELETE ON awa.scheduled_jobs"
        " FOR EACH STATEMENT EXECUTE FUNCTION wait()"
    )
    look("SELECT pg_advisory_lock(1)")
    waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'advisory'"
    waiting += " AND datname = current_database()"
    with (
        psycopg.connect(database_url, autocommit=True) as leader,
        ThreadPoolExecutor() as threads,
    ):
        promoting = threads.submit(changed, leader, "maintenance", "promote", ids=array([off, due]))
        eventually(lambda: look(waiting))
        look("UPDATE awa.scheduled_jobs SET run_at = '2050-01-01' WHERE id = %s", off)
        look("SELECT pg_advisory_unlock(1)")

        assert promoting.result(10) == [due]
    assert look("SELECT id FROM awa.jobs_hot") == [{"id": due}]


def test_a_move_between_the_tables_is_one_statement(look, put, database_url) -> None:
    """No look in between finds a job nowhere, or twice."""
    with awa.Client(database_url) as client:
        client.set_dead_letters("q", True)
        due = put(state="retryable", run_at="2020-01-01", queue="q")["id"]
        run(look.conn, maintenance.promote("promote_retryable"))
        look("UPDATE awa.jobs_hot SET state = 'failed', finalized_at = now()")
        changed(look.conn, "dead_letters", "move_failed", ids=array([due]), reason=None)
        assert [row["id"] for row in look("SELECT id FROM awa.dead_letters")] == [due]
        assert look("SELECT id FROM awa.jobs") == []
        assert client.retry_from_dlq(due) is not None
    assert look("SELECT id FROM awa.dead_letters") == []
    assert [row["id"] for row in look("SELECT id FROM awa.jobs")] == [due]
