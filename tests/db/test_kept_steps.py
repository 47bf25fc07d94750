"""Durable steps in the database: whose are kept, what a second write does, when they go."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

import awa_lib as awa
from awa_lib.db.drive import run
from awa_lib.ops import steps
from awa_lib.ops.claims import Missed
from awa_lib.ops.steps import NewStep, forget_steps, write_steps

CALLBACK = "00000000-0000-0000-0000-000000000007"
OWNED = {
    "running": {"heartbeat_at": "2026-01-01"},
    "waiting_external": {"callback_id": CALLBACK},
}
TAKEN_AWAY = {
    "another lease": {"state": "running", "run_lease": 8},
    "handed back": {"state": "available"},
    "completed": {"state": "completed"},
    "failed": {"state": "failed"},
    "cancelled": {"state": "cancelled"},
}


@pytest.fixture
def conn(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    """The worker's connection: it waits for nobody."""
    with psycopg.connect(database_url, autocommit=True, options="-c lock_timeout=100") as conn:
        yield conn


@pytest.fixture
def job(put) -> Callable[..., int]:
    """Insert a job of lease 7; return its id."""
    return lambda state, **columns: put(
        **{"state": state, "run_lease": 7, "attempt": 1, **columns}
    )["id"]


@pytest.fixture
def kept(look) -> Callable[[], list[tuple[int, str, int, Any]]]:
    """Return the steps that are kept: job, name, number and value."""
    text = "SELECT job_id, name, number, value FROM awa.job_steps ORDER BY job_id, number"
    return lambda: [tuple(row.values()) for row in look(text)]


def step(job_id: int, name: str = "a", number: int = 1, text: str = "1") -> NewStep:
    return NewStep(job_id, 7, number, name, text, 0.0, 0.0)


@pytest.mark.parametrize("skip_locked", [False, True])
@pytest.mark.parametrize("state", OWNED)
def test_an_attempt_that_owns_its_job_keeps_its_step(
    conn, look, job, kept, state: str, skip_locked: bool
) -> None:
    """Also while it waits for a callback, when it has no lease to renew."""
    job_id = job(state, **OWNED[state])

    assert run(conn, write_steps([step(job_id)], skip_locked=skip_locked)) == Missed([], [])
    assert kept() == [(job_id, "a", 1, 1)]
    (row,) = look(
        "SELECT state::text AS state, heartbeat_at > now() - interval '1 min' AS renewed"
        " FROM awa.jobs_hot"
    )
    assert row == {"state": state, "renewed": True if state == "running" else None}


@pytest.mark.parametrize("skip_locked", [False, True])
@pytest.mark.parametrize("taken", TAKEN_AWAY.values(), ids=TAKEN_AWAY)
def test_only_an_attempt_that_owns_its_job_keeps_a_step(
    conn, look, job, kept, taken: dict[str, Any], skip_locked: bool
) -> None:
    first, lost, last = job("running"), job(**taken), job("running")
    before = look("SELECT * FROM awa.jobs_hot WHERE id = %s", lost)
    missed = run(
        conn, write_steps([step(one) for one in (first, lost, last)], skip_locked=skip_locked)
    )

    assert missed == Missed([lost], [])
    assert [row[0] for row in kept()] == [first, last]
    assert look("SELECT * FROM awa.jobs_hot WHERE id = %s", lost) == before


def test_a_locked_job_is_told_from_one_that_is_gone(conn, database_url, job, kept) -> None:
    locked, free, gone = job("running"), job("running"), job("running", run_lease=8)
    batch = [step(one) for one in (locked, free, gone)]
    with psycopg.connect(database_url) as other:
        other.execute("SELECT FROM awa.jobs_hot WHERE id = %s FOR UPDATE", [locked])
        with pytest.raises(awa.Transient):
            run(conn, write_steps(batch))
        assert run(conn, write_steps(batch, skip_locked=True)) == Missed([gone], [locked])
    assert [row[0] for row in kept()] == [free]


def test_a_step_whose_answer_was_lost_can_be_written_again(conn, job, kept) -> None:
    job_id = job("running")
    for text in ("1", "2"):
        assert run(conn, write_steps([step(job_id, text=text)])) == Missed([], [])

    assert kept() == [(job_id, "a", 1, 1)]


def test_a_retry_from_a_step_takes_it_and_those_after_it(client_of, conn, job, kept) -> None:
    """In the order of their numbers, which is not that of the names."""
    job_id, other = job("running"), job("running")
    for number, name in enumerate(("c", "a", "b"), 1):
        run(conn, write_steps([step(job_id, name, number), step(other, name, number)]))
    conn.execute("UPDATE awa.jobs_hot SET state = 'failed', finalized_at = now()")
    client_of.retry(job_id, from_step="a")

    assert [row[:2] for row in kept()] == [
        (job_id, "c"), (other, "c"), (other, "a"), (other, "b"),
    ]  # fmt: skip


def test_steps_of_a_job_that_runs_are_not_forgotten(client_of, conn, job, kept) -> None:
    job_id = job("running")
    run(conn, write_steps([step(job_id)]))
    with pytest.raises(awa.InvalidTransition):
        client_of.retry(job_id, from_step="a")

    assert kept() == [(job_id, "a", 1, 1)]


def test_a_retry_from_an_unknown_step_changes_nothing(client_of, conn, job, look) -> None:
    job_id = job("failed")
    with pytest.raises(awa.ValidationError, match="has no step"):
        client_of.retry(job_id, from_step="a")

    assert look("SELECT state::text AS state FROM awa.jobs") == [{"state": "failed"}]


@pytest.fixture
def client_of(database_url: str) -> Iterator[awa.Client]:
    with awa.Client(database_url) as client:
        yield client


@pytest.mark.parametrize("place", ["hot", "scheduled", "retryable", "dead"])
def test_steps_stay_as_long_as_their_job(client_of, conn, look, job, kept, place: str) -> None:
    """Wherever it is; those of a job that is gone are deleted with the next look."""
    job_id = job("failed" if place in ("hot", "dead") else place)
    if place == "dead":
        client_of.move_failed_to_dlq(job_id)
    keep(look, job_id, 900)

    assert run(conn, forget_steps()) == 2
    assert [row[0] for row in kept()] == [job_id]
    assert run(conn, forget_steps()) == 0
    assert look("SELECT purge_at > now() + interval '23 hours' AS later FROM awa.job_steps") == [
        {"later": True}
    ]


def keep(look, *ids: int) -> None:
    look(
        "INSERT INTO awa.job_steps"
        " (job_id, number, name, value, attempt, started_at, ended_at, purge_at)"
        " SELECT n, 1, 'a', '1', 1, now(), now(), now() FROM unnest(%s::bigint[]) AS n",
        list(ids),
    )


def test_a_look_at_old_steps_is_short_and_waits_for_nobody(
    conn, database_url, look, kept, monkeypatch
) -> None:
    monkeypatch.setattr(steps, "FORGET_BATCH", 2)
    keep(look, *range(900, 905))
    with psycopg.connect(database_url) as other:
        other.execute("SELECT FROM awa.job_steps WHERE job_id = 901 FOR UPDATE")
        assert [run(conn, forget_steps()) for _ in range(3)] == [2, 2, 0]
        assert [row[0] for row in kept()] == [901]
    assert run(conn, forget_steps()) == 1
