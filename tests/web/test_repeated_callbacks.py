"""A delivery of a callback that comes again is told what the first one did."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest
from fix_web import running, web_client

import awa_lib as awa
from awa_cli.web.app import callback_app
from awa_cli.web.settings import Settings
from awa_lib.callbacks.signatures import sign_callback, sign_callback_request
from awa_lib.db.drive import run
from awa_lib.ops import callbacks

KEY = b"\x01" * 32
BODIES = {
    "complete": {"payload": {"paid": True}},
    "fail": {"error": "declined"},
    "resume": {"payload": 1},
}
STATES = {"complete": "Completed", "fail": "Failed", "resume": "Running"}
JOBS = "SELECT id, state::text, metadata, errors, xmin::text FROM awa.jobs_hot ORDER BY id"


@pytest.fixture
def waiting(db) -> Callable[..., tuple[int, str]]:
    """Make a job that waits for a callback; return (job id, callback id)."""

    def make(metadata: str = "{}", timeout: str = "1 hour") -> tuple[int, str]:
        callback_id = str(uuid4())
        (job_id,) = db.execute(
            "INSERT INTO awa.jobs_hot (kind, queue, state, attempt, callback_id,"
            " callback_timeout_at, metadata) VALUES ('k', 'q', 'waiting_external', 1, %s,"
            " now() + %s::interval, %s) RETURNING id",
            [callback_id, timeout, metadata],
        ).fetchone()
        return job_id, callback_id

    return make


@pytest.fixture
def receiver(database_url: str) -> Iterator[str]:
    """The URL of a receiver that runs."""
    with running(callback_app(database_url, Settings(secret=KEY))) as one:
        yield one.url


@pytest.fixture
async def sender(receiver: str):
    async with httpx.AsyncClient(base_url=receiver, timeout=30) as one:
        yield one


async def deliver(sender: httpx.AsyncClient, callback_id: str, action: str, **body: Any) -> Any:
    return await sender.post(
        f"/api/callbacks/{callback_id}/{action}",
        json=body or BODIES.get(action),
        headers={"X-Awa-Signature": sign_callback(KEY, callback_id)},
    )


@pytest.mark.parametrize("action", BODIES)
async def test_a_repeated_delivery_is_told_what_the_first_one_did(
    sender, waiting, db, action: str
) -> None:
    job_id, callback_id = waiting()
    told = {"id": job_id, "state": STATES[action]}

    first = await deliver(sender, callback_id, action)
    after = db.execute(JOBS).fetchall()
    again = [await deliver(sender, callback_id, action) for _ in range(2)]

    assert (first.status_code, first.json()) == (200, {**told, "repeated": False})
    assert [one.status_code for one in again] == [200, 200]
    assert [one.json() for one in again] == [{**told, "repeated": True}] * 2
    assert db.execute(JOBS).fetchall() == after


async def test_the_first_payload_counts(sender, waiting, db) -> None:
    _, callback_id = waiting()

    await deliver(sender, callback_id, "complete", payload=1)
    again = await deliver(sender, callback_id, "complete", payload=2)

    assert again.json()["repeated"] is True
    assert db.execute("SELECT metadata FROM awa.jobs").fetchall() == [
        ({"_awa_callback_result": 1},)
    ]


async def test_it_is_told_the_state_of_then(sender, waiting, db) -> None:
    """Also when the job has gone on, or is gone."""
    job_id, callback_id = waiting('{"_awa_reenter": true}')

    first = await deliver(sender, callback_id, "resume")
    db.execute("UPDATE awa.jobs_hot SET state = 'completed', finalized_at = now()")
    later = await deliver(sender, callback_id, "resume")
    db.execute("DELETE FROM awa.jobs_hot")
    gone = await deliver(sender, callback_id, "resume")

    assert first.json()["state"] == "Available"
    assert later.json() == {"id": job_id, "state": "Available", "repeated": True}
    assert gone.json() == later.json()


@pytest.mark.parametrize(
    ("action", "later"),
    [(one, other) for one in BODIES for other in (*BODIES, "heartbeat") if one != other],
)
async def test_another_verb_is_refused_and_told_the_answer(
    sender, waiting, db, action: str, later: str
) -> None:
    job_id, callback_id = waiting()
    await deliver(sender, callback_id, action)
    after = db.execute(JOBS).fetchall()

    refused = await deliver(sender, callback_id, later)

    assert refused.status_code == 409
    assert refused.json() == {
        "error": f"callback already answered: {callback_id}",
        "what": f"callback already answered: {callback_id}",
        "why": f"an earlier {action} made job {job_id} {STATES[action]}; a callback has one answer",
        "do": f"look at the job: awa job show {job_id}",
    }
    assert db.execute(JOBS).fetchall() == after


@pytest.mark.parametrize("action", BODIES)
async def test_of_two_deliveries_at_once_one_changes_the_job(
    sender, waiting, db, database_url: str, action: str
) -> None:
    job_id, callback_id = waiting()
    held = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND wait_event_type = 'Lock'"
    )
    with psycopg.connect(database_url) as other:
        other.execute("SELECT FROM awa.jobs_hot WHERE id = %s FOR UPDATE", [job_id])
        both = [asyncio.create_task(deliver(sender, callback_id, action)) for _ in range(2)]
        async with asyncio.timeout(20):
            while db.execute(held).fetchone() != (2,):
                await asyncio.sleep(0.01)
    found = [one.json() for one in await asyncio.gather(*both)]

    assert sorted(one["repeated"] for one in found) == [False, True]
    assert {(one["id"], one["state"]) for one in found} == {(job_id, STATES[action])}
    assert db.execute("SELECT count(*) FROM awa.answered_callbacks").fetchone() == (1,)


async def test_an_answer_through_the_library_is_an_earlier_delivery(
    sender, waiting, database_url: str
) -> None:
    job_id, callback_id = waiting()
    async with awa.AsyncClient(database_url) as client:
        await client.complete_external(callback_id, 1)
        with pytest.raises(awa.CallbackNotFound):
            await client.complete_external(callback_id, 1)

    again = await deliver(sender, callback_id, "complete")

    assert again.json() == {"id": job_id, "state": "Completed", "repeated": True}


@pytest.mark.parametrize(
    ("action", "state"), [("complete", "Completed"), ("fail", "Failed"), ("ignore", None)]
)
async def test_an_answer_by_expressions_is_one_too(
    sender, waiting, database_url: str, action: str, state: str | None
) -> None:
    job_id, callback_id = waiting()
    async with awa.AsyncClient(database_url) as client:
        await client.resolve_callback(callback_id, 1, action)

    if state:
        again = await deliver(sender, callback_id, action)
        assert again.json() == {"id": job_id, "state": state, "repeated": True}
    else:
        assert (await deliver(sender, callback_id, "complete")).json()["repeated"] is False


async def test_a_callback_that_ended_otherwise_is_not_found(
    sender, waiting, db, database_url: str
) -> None:
    """It was replaced, withdrawn, retried by an operator, or answered by awa 0.5."""
    _, replaced = waiting()
    db.execute("UPDATE awa.jobs_hot SET callback_id = %s", [uuid4()])
    _, retried = waiting()
    async with awa.AsyncClient(database_url) as client:
        await client.retry_external(retried)

    for callback_id in (replaced, retried):
        assert (await deliver(sender, callback_id, "complete")).status_code == 404
    assert db.execute("SELECT count(*) FROM awa.answered_callbacks").fetchone() == (0,)


async def test_after_thirty_days_a_repeat_is_not_found(
    sender, waiting, db, database_url: str, monkeypatch
) -> None:
    monkeypatch.setattr(callbacks, "ANSWERS_BATCH", 2)
    old, kept = [waiting()[1] for _ in range(3)], waiting()[1]
    for callback_id in (*old, kept):
        await deliver(sender, callback_id, "complete")
    age = "UPDATE awa.answered_callbacks SET answered_at = now() - %s::interval"
    db.execute(age, ["29 days 23 hours"])
    db.execute(f"{age} WHERE callback_id <> %s", ["30 days 1 minute", kept])

    with psycopg.connect(database_url, autocommit=True) as conn:
        gone = [run(conn, callbacks.forget_answers()) for _ in range(3)]
    codes = [(await deliver(sender, one, "complete")).status_code for one in (*old, kept)]

    assert gone == [2, 1, 0]
    assert codes == [404, 404, 404, 200]


async def signed(
    sender: httpx.AsyncClient, callback_id: str, action: str, signature: str, body: bytes
) -> httpx.Response:
    return await sender.post(
        f"/api/callbacks/{callback_id}/{action}",
        content=body,
        headers={"X-Awa-Request-Signature": signature, "Content-Type": "application/json"},
    )


@pytest.mark.parametrize("action", BODIES)
async def test_the_very_same_request_is_a_repeat_too(sender, waiting, db, action: str) -> None:
    """Its signature is used up, but nothing is changed."""
    job_id, callback_id = waiting()
    body = json.dumps(BODIES[action]).encode()
    signature = sign_callback_request(KEY, callback_id, action, body)

    first, *again = await asyncio.gather(
        *(signed(sender, callback_id, action, signature, body) for _ in range(3))
    )
    found = [first.json(), *(one.json() for one in again)]
    after = db.execute(JOBS).fetchall()
    last = await signed(sender, callback_id, action, signature, body)

    assert sorted(one["repeated"] for one in found) == [False, True, True]
    assert last.json() == {"id": job_id, "state": STATES[action], "repeated": True}
    assert db.execute(JOBS).fetchall() == after


async def test_a_used_signature_opens_nothing_that_waits(sender, waiting) -> None:
    _, callback_id = waiting()
    signature = sign_callback_request(KEY, callback_id, "heartbeat", b"")

    codes = [
        (await signed(sender, callback_id, "heartbeat", signature, b"")).status_code
        for _ in range(2)
    ]

    assert codes == [200, 401]


async def test_without_a_right_signature_a_repeat_is_told_nothing(sender, waiting) -> None:
    _, callback_id = waiting()
    await deliver(sender, callback_id, "complete")
    path = f"/api/callbacks/{callback_id}/complete"
    stale = sign_callback_request(KEY, callback_id, "complete", b"", now=1)

    for headers in (
        {},
        {"X-Awa-Signature": "00" * 32},
        {"X-Awa-Request-Signature": stale},
    ):
        assert (await sender.post(path, headers=headers)).status_code == 401


async def test_a_repeat_by_an_operator_is_no_change_in_the_audit_log(
    database_url: str, waiting
) -> None:
    _, callback_id = waiting()
    async with web_client(database_url) as client:
        path = f"/api/callbacks/{callback_id}/complete"
        found = [(await client.post(path)).json()["repeated"] for _ in range(2)]
        entries = (await client.get("/api/audit")).json()

    assert found == [False, True]
    assert [one["action"] for one in entries] == ["callback.complete"]
