"""Resolving callbacks: guards, columns and payloads, through both clients."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pytest

import awa_lib as awa

ID = "6e7fd6d2-15b5-4b12-9dd5-2d5a41f8c001"
CLEARED = (
    "callback_id", "callback_timeout_at", "callback_filter", "callback_on_complete",
    "callback_on_fail", "callback_transform",
)  # fmt: skip


@pytest.fixture
def put(database_url: str) -> Callable[..., int]:
    """Insert a waiting job; values are SQL."""

    def insert(**columns: str) -> int:
        columns = {
            "kind": "'k'", "state": "'waiting_external'", "attempt": "2", "run_lease": "5",
            "callback_id": f"'{ID}'", "callback_timeout_at": "now() + interval '1 h'",
            "progress": """'{"percent": 3}'""", **columns,
        }  # fmt: skip
        names, values = ", ".join(columns), ", ".join(columns.values())
        with psycopg.connect(database_url) as conn:
            row = conn.execute(
                f"INSERT INTO awa.jobs ({names}) VALUES ({values}) RETURNING id"
            ).fetchone()
        return row[0]

    return insert


def row_of(look, job_id: int) -> dict[str, Any]:
    (row,) = look(f"SELECT * FROM awa.jobs WHERE id = {job_id}")
    return row


@pytest.mark.parametrize("state", ["waiting_external", "running"])
async def test_complete_keeps_the_payload(client, look, heard, put, state: str) -> None:
    job_id = put(state=f"'{state}'", heartbeat_at="now()", deadline_at="now()",
                 metadata="""'{"a": 1, "_awa_reenter": true}'""")  # fmt: skip

    job = await client.complete_external(ID, {"paid": True})

    row = row_of(look, job_id)
    assert (job.id, job.state) == (job_id, awa.JobState.Completed)
    assert row["metadata"] == {"a": 1, "_awa_callback_result": {"paid": True}}
    assert {row[name] for name in CLEARED} == {None}
    assert (row["heartbeat_at"], row["deadline_at"], row["progress"]) == (None, None, None)
    assert row["finalized_at"] is not None


async def test_fail_is_final_and_keeps_progress(client, look, put) -> None:
    job_id = put()

    job = await client.fail_external(ID, "card declined")

    row = row_of(look, job_id)
    assert job.state == awa.JobState.Failed
    assert row["progress"] == {"percent": 3}
    (error,) = row["errors"]
    assert (error["error"], error["attempt"]) == ("card declined", 2)
    assert "terminal" not in error
    assert error["at"].endswith("+00:00")


async def test_retry_starts_over(client, look, heard, put) -> None:
    job_id = put(metadata="""'{"_awa_callbacks": [{"id": "x"}], "b": 2}'""")

    job = await client.retry_external(ID)

    row = row_of(look, job_id)
    assert (job.state, job.attempt, row["run_lease"]) == (awa.JobState.Available, 0, 5)
    assert row["metadata"] == {"b": 2}
    assert ("awa:default", "") in heard()


async def test_resume_of_a_job_that_is_waited_for_runs_on(client, look, put) -> None:
    job_id = put()

    job = await client.resume_external(ID, [1, "two"])

    row = row_of(look, job_id)
    assert (job.state, job.attempt) == (awa.JobState.Running, 2)
    assert row["metadata"] == {"_awa_callback_result": [1, "two"]}
    assert row["heartbeat_at"] is not None


async def test_resume_of_a_job_that_nobody_waits_for_starts_an_attempt(
    client, look, heard, put
) -> None:
    job_id = put(metadata="""'{"_awa_reenter": true}'""")

    job = await client.resume_external(ID)

    row = row_of(look, job_id)
    assert (job.state, job.attempt) == (awa.JobState.Available, 1)
    assert (row["heartbeat_at"], row["metadata"]) == (None, {"_awa_callback_result": None})
    assert ("awa:default", "") in heard()


async def test_heartbeat_moves_the_timeout(client, look, put) -> None:
    job_id = put()

    await client.heartbeat_callback(ID, 7200.5)

    (row,) = look(f"SELECT callback_timeout_at - now() AS left FROM awa.jobs WHERE id = {job_id}")
    assert 7190 < row["left"].total_seconds() < 7201


async def test_heartbeat_and_retry_are_for_waiting_jobs_only(client, put) -> None:
    put(state="'running'")

    for call in (client.heartbeat_callback, client.retry_external):
        with pytest.raises(awa.CallbackNotFound):
            await call(ID)


@pytest.mark.parametrize(
    "verb",
    ["complete_external", "fail_external", "retry_external", "resume_external",
     "heartbeat_callback", "resolve_callback"],
)  # fmt: skip
async def test_unknown_and_malformed_ids(client, put, look, verb: str) -> None:
    job_id = put()
    before = row_of(look, job_id)
    more = ["x"] if verb == "fail_external" else []
    unknown = str(uuid4())

    with pytest.raises(awa.CallbackNotFound, match=f"callback not found: {unknown}"):
        await getattr(client, verb)(unknown, *more)
    for bad in ("7", None, 7, b"x"):
        with pytest.raises(awa.ValidationError, match=r"invalid callback id: .* is not a UUID"):
            await getattr(client, verb)(bad, *more)

    assert row_of(look, job_id) == before


async def test_a_callback_is_resolved_once(client, put) -> None:
    put()
    await client.complete_external(ID)

    with pytest.raises(awa.CallbackNotFound):
        await client.fail_external(ID, "too late")


@pytest.mark.parametrize(
    ("verb", "args", "error"),
    [
        ("heartbeat_callback", [-1], "timeout_seconds must not be negative or NaN, got -1"),
        ("heartbeat_callback", [float("nan")], "timeout_seconds must not be negative or NaN"),
        ("heartbeat_callback", ["1"], "timeout_seconds must be a number, got '1'"),
        ("fail_external", [7], "error must be text, got int"),
        ("complete_external", [{"a": {"b": float("nan")}}], r"payload\.a\.b"),
        ("resume_external", [{"a": "\x00"}], r"payload\.a"),
        ("resolve_callback", [object()], "payload"),
        ("resolve_callback", [None, "maybe"], "default_action must be one of"),
    ],
)
async def test_bad_input_changes_nothing(client, look, put, verb, args, error) -> None:
    job_id = put()
    before = row_of(look, job_id)

    with pytest.raises((awa.AwaError, ValueError), match=error):
        await getattr(client, verb)(ID, *args)

    assert row_of(look, job_id) == before


async def test_resolve_by_expressions(client, look, put) -> None:
    job_id = put(
        callback_filter="'has(payload.status)'",
        callback_on_fail="""'payload.status == "declined"'""",
        callback_on_complete="""'payload.status == "paid"'""",
        callback_transform="""'{"amount": payload.amount * 2}'""",
    )

    ignored = await client.resolve_callback(ID, {})
    waiting = await client.resolve_callback(ID, {"status": "pending"})
    done = await client.resolve_callback(ID, {"status": "paid", "amount": 21})

    assert (ignored.outcome, ignored.reason) == ("ignored", "filter expression returned false")
    assert waiting.is_ignored()
    assert waiting.job is None
    assert (done.outcome, done.payload) == ("completed", {"amount": 42})
    assert repr(done) == "ResolveResult(outcome='completed')"
    assert done.job.id == job_id
    assert row_of(look, job_id)["metadata"] == {"_awa_callback_result": {"amount": 42}}


async def test_resolve_by_on_fail_records_the_expression(client, look, put) -> None:
    job_id = put(callback_on_fail="'payload.bad'")

    result = await client.resolve_callback(ID, {"bad": True})

    (error,) = row_of(look, job_id)["errors"]
    assert result.is_failed()
    assert error["error"] == "callback failed: on_fail expression matched"
    assert error["expression"] == "payload.bad"


@pytest.mark.parametrize(
    ("action", "state"),
    [("complete", "completed"), ("fail", "failed"), ("ignore", "waiting_external")],
)
async def test_resolve_by_default_action(client, look, put, action: str, state: str) -> None:
    job_id = put()

    await client.resolve_callback(ID, None, action)

    assert row_of(look, job_id)["state"] == state


async def test_request_signature_is_accepted_once(client, look) -> None:
    key, body = b"k" * 32, json.dumps({"payload": 1}).encode()
    signature = awa.sign_callback_request(key, ID, "complete", body)

    assert await client.verify_callback_request(key, ID, "complete", body, signature)
    assert not await client.verify_callback_request(key, ID, "complete", body, signature)
    assert not await client.verify_callback_request(key, ID, "fail", body, signature)
    (row,) = look("SELECT count(*) AS n FROM awa.callback_signatures")
    assert row["n"] == 1


JOURNAL = (
    """'{"a": 1, "_awa_callbacks": [{"id": "x", "result": 1}], "_awa_callback_result": 1,"""
    """ "_awa_reenter": true, "_awa_crashes": 2}'"""
)


async def _bulk(client, job_id: int) -> None:
    operation = await client.submit_bulk_operation("retry", kind="k")
    await client.run_bulk_operation(operation.id)


async def _dead(client, job_id: int) -> None:
    await client.move_failed_to_dlq(job_id)
    await client.retry_from_dlq(job_id)


async def _dead_later(client, job_id: int) -> None:
    await client.move_failed_to_dlq(job_id)
    await client.retry_from_dlq(job_id, run_at=datetime.now(UTC) + timedelta(hours=1))


@pytest.mark.parametrize(
    ("state", "retry"),
    [
        ("failed", lambda client, job_id: client.retry(job_id)),
        ("cancelled", lambda client, job_id: client.retry(job_id)),
        ("waiting_external", lambda client, job_id: client.retry(job_id)),
        ("waiting_external", lambda client, job_id: client.retry_external(ID)),
        ("failed", lambda client, job_id: client.retry_failed(kind="k")),
        ("failed", _bulk),
        ("failed", _dead),
        ("failed", _dead_later),
    ],
    ids=[
        "failed",
        "cancelled",
        "waiting",
        "external",
        "retry_failed",
        "bulk",
        "dead",
        "dead_later",
    ],
)
async def test_new_life_begins_without_callbacks(client, look, put, state: str, retry) -> None:
    job_id = put(state=f"'{state}'", metadata=JOURNAL)

    await retry(client, job_id)

    row = row_of(look, job_id)
    assert str(row["state"]) in {"available", "scheduled"}
    assert (row["metadata"], row["attempt"]) == ({"a": 1}, 0)
    assert {row[name] for name in CLEARED} == {None}


@pytest.mark.parametrize("verb", ["complete_external", "fail_external", "resume_external"])
async def test_job_that_was_handed_back_takes_its_answer(client, look, put, verb: str) -> None:
    """Its callback is open until the next attempt registers it again."""
    journal = f"""'{{"_awa_callbacks": [{{"id": "{ID}"}}]}}'"""
    job_id = put(state="'available'", attempt="0", metadata=journal)

    await getattr(client, verb)(ID, "answer")

    row = row_of(look, job_id)
    state = {"c": "completed", "f": "failed", "r": "available"}[verb[0]]
    assert (str(row["state"]), row["attempt"]) == (state, 0)
    assert row["heartbeat_at"] is None
    assert {row[name] for name in CLEARED} == {None}
    if state == "available":
        assert row["metadata"] == {
            "_awa_callbacks": [{"id": ID, "result": "answer"}],
            "_awa_callback_result": "answer",
        }
    with pytest.raises(awa.CallbackNotFound):
        await client.resume_external(ID, "again")


async def test_answer_is_journaled_under_its_callback(client, look, put) -> None:
    journal = f"""'{{"_awa_callbacks": [{{"id": "x"}}, {{"id": "{ID}"}}, {{"id": "y"}}]}}'"""
    job_id = put(metadata=journal)

    await client.resume_external(ID)

    kept = row_of(look, job_id)["metadata"]["_awa_callbacks"]
    assert kept == [{"id": "x"}, {"id": ID, "result": None}, {"id": "y"}]


def test_a_lease_begins_with_the_answer_and_not_with_its_transaction(database_url, put) -> None:
    """Else a sender that waited for a lock would hand over a job that looks abandoned."""
    job_id = put()
    with psycopg.connect(database_url) as conn:
        conn.execute("SELECT pg_sleep(0.3)")
        awa.Client.on(conn).resume_external(ID, {"paid": True})
        fresh = conn.execute(
            "SELECT heartbeat_at > now() + interval '0.2 s' FROM awa.jobs WHERE id = %s", [job_id]
        ).fetchone()

    assert fresh == (True,)
