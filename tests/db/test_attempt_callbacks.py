"""What a worker's attempt does to its callback: only while it owns the job."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

import awa_lib as awa
from awa_lib.callbacks.cel import Expressions
from awa_lib.db.drive import run
from awa_lib.ops import callbacks as ops
from awa_lib.ops import claims

ID = "6e7fd6d2-15b5-4b12-9dd5-2d5a41f8c001"
OTHER = "6e7fd6d2-15b5-4b12-9dd5-2d5a41f8c002"
OPEN = {"callback_id": f"'{ID}'", "callback_timeout_at": "now() + interval '1 h'"}
JOURNAL = f"""'{{"_awa_callbacks": [{{"id": "{ID}"}}]}}'"""
ANSWERED = f"""'{{"_awa_callbacks": [{{"id": "{ID}", "result": 1}}]}}'"""
# The op, and the row that it would change.
OPS: dict[str, tuple[Callable[[int, int], Any], dict[str, str]]] = {
    "register_callback": (
        lambda job_id, lease: ops.register_callback(job_id, lease, ID, 60, Expressions()),
        {"state": "'running'"},
    ),
    "cancel_callback": (
        lambda job_id, lease: ops.cancel_callback(job_id, lease, ID),
        {"state": "'running'", **OPEN},
    ),
    "enter_wait": (
        lambda job_id, lease: ops.enter_wait(job_id, lease, ID, None),
        {"state": "'running'", **OPEN},
    ),
    "leave_wait": (
        lambda job_id, lease: ops.leave_wait(job_id, lease, ID, 60),
        {"state": "'waiting_external'", **OPEN},
    ),
    "abandon_wait": (
        ops.abandon_wait,
        {"state": "'waiting_external'", **OPEN},
    ),
    "take_answer": (
        lambda job_id, lease: ops.take_answer(job_id, lease, ID, 60),
        {"state": "'running'", "metadata": ANSWERED},
    ),
}


@pytest.fixture
def conn(database_url: str):
    with psycopg.connect(database_url, autocommit=True) as conn:
        yield conn


@pytest.fixture
def put(conn) -> Callable[..., int]:
    """Insert a job of the lease 5; values are SQL."""

    def insert(**columns: str) -> int:
        columns = {"kind": "'k'", "attempt": "1", "run_lease": "5", **columns}
        names, values = ", ".join(columns), ", ".join(columns.values())
        text = f"INSERT INTO awa.jobs_hot ({names}) VALUES ({values}) RETURNING id"
        return conn.execute(text).fetchone()[0]

    return insert


@pytest.fixture
def row(conn) -> Callable[[int], Any]:
    return lambda job_id: conn.execute(
        "SELECT * FROM awa.jobs_hot WHERE id = %s", [job_id]
    ).fetchone()


@pytest.mark.parametrize("op", OPS)
def test_the_attempt_that_owns_the_job_may(conn, put, op: str) -> None:
    make, columns = OPS[op]

    assert run(conn, make(put(**columns), 5))


@pytest.mark.parametrize("op", OPS)
def test_an_attempt_of_another_lease_changes_nothing(conn, put, row, op: str) -> None:
    make, columns = OPS[op]
    job_id = put(**columns)
    before = row(job_id)

    assert not run(conn, make(job_id, 4))
    assert row(job_id) == before


@pytest.mark.parametrize("state", ["available", "completed", "failed", "cancelled"])
@pytest.mark.parametrize("op", OPS)
def test_an_attempt_that_has_ended_changes_nothing(conn, put, row, op: str, state: str) -> None:
    """The lease stays in the row until the next claim."""
    make, columns = OPS[op]
    job_id = put(**{**columns, "state": f"'{state}'"})
    before = row(job_id)

    assert not run(conn, make(job_id, 5))
    assert row(job_id) == before


@pytest.mark.parametrize("op", ["enter_wait", "leave_wait"])
def test_a_wait_is_for_the_callback_of_the_row(conn, put, row, op: str) -> None:
    make, columns = OPS[op]
    job_id = put(**{**columns, "callback_id": f"'{OTHER}'"})
    before = row(job_id)

    assert not run(conn, make(job_id, 5))
    assert row(job_id) == before


@pytest.mark.parametrize("state", ["completed", "failed", "cancelled"])
@pytest.mark.parametrize(
    "verb", ["complete_external", "fail_external", "resume_external", "retry_external",
             "heartbeat_callback"],
)  # fmt: skip
def test_an_answer_is_for_a_job_that_has_not_ended(conn, put, row, verb: str, state: str) -> None:
    """A handler may end without its answer: the id stays in the row."""
    job_id = put(state=f"'{state}'", finalized_at="now()", **OPEN)
    before = row(job_id)
    given = {"fail_external": ("no",)}.get(verb, ())

    with pytest.raises(awa.CallbackNotFound):
        getattr(awa.Client.on(conn), verb)(ID, *given)
    assert row(job_id) == before


def test_an_answer_outside_the_journal_stays_when_it_was_taken(conn, put) -> None:
    """The worker that took it dies; the next attempt registers the callback again."""
    pending = JOURNAL[:-2] + ', "_awa_callback_result": {"n": 1}}\''
    job_id = put(state="'running'", metadata=pending)
    assert run(conn, ops.take_answer(job_id, 5, ID, 60)) == '{"n": 1}'

    assert run(conn, ops.register_callback(job_id, 5, ID, 60, Expressions()))
    assert run(conn, ops.take_answer(job_id, 5, ID, 60)) == '{"n": 1}'
    found = conn.execute("SELECT callback_id FROM awa.jobs_hot WHERE id = %s", [job_id])
    assert found.fetchone() == (None,)


def test_an_answer_to_a_job_that_its_worker_left_starts_an_attempt(conn, put) -> None:
    """The handler has returned WaitForCallback."""
    job_id = put(state="'running'", **OPEN)
    attempt = SimpleNamespace(
        job=SimpleNamespace(id=job_id, workflow_id=None), lease=5, progress_text=None, trace=None
    )
    waits = SimpleNamespace(
        limit=None,
        target="waiting_external", error=None, terminal=True, error_type=None, delay=None,
        attempt_back=0,
    )  # fmt: skip
    assert run(conn, claims.finish_attempts([(attempt, waits)])) == claims.Missed([], [])

    job = awa.Client.on(conn).resume_external(ID)
    assert (job.state, job.attempt) == (awa.JobState.Available, 0)
