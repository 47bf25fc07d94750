"""Callbacks over HTTP: both signatures, once, within a bound, and nothing else at the edge."""

from __future__ import annotations

import time
from typing import Any
from uuid import uuid4

import pytest
from fix_web import web_client

from awa_cli.web.app import callback_app
from awa_cli.web.settings import Settings
from awa_lib.callbacks.signatures import sign_callback, sign_callback_request

KEY = b"\x01" * 32
OTHER = b"\x02" * 32


@pytest.fixture
def waiting(db):
    """Make a job that waits for a callback; return (job id, callback id)."""

    def make() -> tuple[int, str]:
        callback_id = str(uuid4())
        (job_id,) = db.execute(
            "INSERT INTO awa.jobs_hot (kind, queue, state, callback_id, callback_timeout_at)"
            " VALUES ('k', 'q', 'waiting_external', %s, now() + interval '1 hour') RETURNING id",
            [callback_id],
        ).fetchone()
        return job_id, callback_id

    return make


@pytest.fixture
def state_of(db):
    def look(job_id: int) -> str:
        return db.execute("SELECT state::text FROM awa.jobs WHERE id = %s", [job_id]).fetchone()[0]

    return look


@pytest.fixture
async def edge(database_url):
    """The receiver alone, called from afar."""
    app = callback_app(database_url, Settings(secret=KEY, hosts=frozenset({"*"})))
    async with web_client(database_url, peer="203.0.113.5", host="hooks.example", app=app) as one:
        yield one


@pytest.mark.parametrize(
    ("action", "body", "answer", "state"),
    [
        ("complete", {"payload": {"paid": True}}, "Completed", "completed"),
        ("complete", None, "Completed", "completed"),
        ("fail", {"error": "declined"}, "Failed", "failed"),
        ("heartbeat", {"timeout_seconds": 60}, "WaitingExternal", "waiting_external"),
        ("heartbeat", None, "WaitingExternal", "waiting_external"),
        ("resume", {"payload": 1}, None, None),
    ],
)
async def test_an_answer_is_taken_with_the_published_signature(
    edge, waiting, state_of, action, body, answer, state
) -> None:
    job_id, callback_id = waiting()

    response = await edge.post(
        f"/api/callbacks/{callback_id}/{action}",
        json=body,
        headers={"X-Awa-Signature": sign_callback(KEY, callback_id)},
    )

    assert response.status_code == 200, response.text
    assert response.json()["id"] == job_id
    if answer:
        assert response.json() == {"id": job_id, "state": answer, "repeated": False}
        assert state_of(job_id) == state


def test_the_published_signature_is_the_golden_one() -> None:
    found = sign_callback(KEY, "00000000-0000-0000-0000-000000000000")

    assert found == "0188ba6647bd278b5fe59c0457aa27c621334a397eec9d1a3c0a9d5d22eba15d"


@pytest.mark.parametrize(
    ("headers", "what"),
    [
        ({}, "missing X-Awa-Signature header"),
        ({"X-Awa-Signature": "00" * 32}, "invalid callback signature"),
        ({"X-Awa-Signature": "zz"}, "invalid callback signature"),
        ({"X-Awa-Request-Signature": "t=1,n=2,s=3"}, "invalid callback signature"),
    ],
)
async def test_without_a_right_signature_nobody_gets_in(
    edge, waiting, state_of, headers, what
) -> None:
    job_id, callback_id = waiting()

    response = await edge.post(f"/api/callbacks/{callback_id}/complete", headers=headers)

    assert (response.status_code, response.json()["error"]) == (401, what)
    assert state_of(job_id) == "waiting_external"


async def test_a_signature_of_another_secret_or_id_is_wrong(edge, waiting, state_of) -> None:
    job_id, callback_id = waiting()
    _, other_id = waiting()

    for signature in (sign_callback(OTHER, callback_id), sign_callback(KEY, other_id)):
        response = await edge.post(
            f"/api/callbacks/{callback_id}/complete", headers={"X-Awa-Signature": signature}
        )
        assert response.status_code == 401
    assert state_of(job_id) == "waiting_external"


async def send(client, callback_id, action, body, *, signed=None, now=None):
    signature = sign_callback_request(KEY, callback_id, action, signed or body, now=now)
    return await client.post(
        f"/api/callbacks/{callback_id}/{action}",
        content=body,
        headers={"X-Awa-Request-Signature": signature, "Content-Type": "application/json"},
    )


async def test_a_request_signature_is_good_once(edge, waiting, state_of) -> None:
    job_id, callback_id = waiting()
    signature = sign_callback_request(KEY, callback_id, "heartbeat", b"")
    headers = {"X-Awa-Request-Signature": signature}

    codes = [
        (await edge.post(f"/api/callbacks/{callback_id}/heartbeat", headers=headers)).status_code
        for _ in range(2)
    ]

    assert codes == [200, 401]
    assert state_of(job_id) == "waiting_external"


async def test_a_request_signature_covers_body_action_and_time(edge, waiting, state_of) -> None:
    job_id, callback_id = waiting()
    body = b'{"payload": 1}'

    changed = await send(edge, callback_id, "complete", b'{"payload": 2}', signed=body)
    late = await send(edge, callback_id, "complete", body, now=time.time() - 301)
    early = await send(edge, callback_id, "complete", body, now=time.time() + 301)

    assert [one.status_code for one in (changed, late, early)] == [401, 401, 401]
    assert state_of(job_id) == "waiting_external"
    assert (await send(edge, callback_id, "complete", body)).status_code == 200


async def test_a_request_that_failed_can_be_sent_again(edge, waiting, db) -> None:
    """Its signature is used up in the transaction of the change."""
    _, callback_id = waiting()
    signature = sign_callback_request(KEY, callback_id, "complete", b"")
    headers = {"X-Awa-Request-Signature": signature}
    path = f"/api/callbacks/{callback_id}/complete"
    db.execute("UPDATE awa.jobs_hot SET callback_id = NULL")

    missing = await edge.post(path, headers=headers)
    db.execute("UPDATE awa.jobs_hot SET callback_id = %s", [callback_id])
    again = await edge.post(path, headers=headers)

    assert (missing.status_code, again.status_code) == (404, 200)


async def test_strict_servers_take_signatures_of_whole_requests_alone(
    database_url, waiting
) -> None:
    _, callback_id = waiting()
    async with web_client(database_url, secret=KEY, strict=True) as client:
        weak = await client.post(
            f"/api/callbacks/{callback_id}/complete",
            headers={"X-Awa-Signature": sign_callback(KEY, callback_id)},
        )
        strong = await send(client, callback_id, "complete", b"")

    assert (weak.status_code, strong.status_code) == (401, 200)
    assert weak.json()["error"] == "missing X-Awa-Request-Signature header"


@pytest.mark.parametrize(
    ("action", "content", "kind", "status"),
    [
        ("fail", b"", "application/json", 422),
        ("fail", b"{}", "application/json", 422),
        ("fail", b'{"error": 1}', "application/json", 422),
        ("complete", b"{", "application/json", 400),
        ("complete", b"[1]", "application/json", 422),
        ("complete", b'{"payload": NaN}', "application/json", 400),
        ("complete", b'{"paylod": 1}', "application/json", 422),
        ("complete", b'{"payload": 1}', "text/plain", 415),
        ("heartbeat", b'{"timeout_seconds": -1}', "application/json", 422),
        ("heartbeat", b'{"timeout_seconds": 1e999}', "application/json", 422),
        ("complete", b"[" * 100_000, "application/json", 400),
        ("complete", b'{"payload": "' + b"x" * 3_000_000 + b'"}', "application/json", 413),
        ("explode", b"", "application/json", 404),
    ],
)
async def test_bad_bodies_get_clear_answers(
    edge, waiting, state_of, action, content, kind, status
) -> None:
    job_id, callback_id = waiting()

    response = await edge.post(
        f"/api/callbacks/{callback_id}/{action}",
        content=content,
        headers={"X-Awa-Signature": sign_callback(KEY, callback_id), "Content-Type": kind},
    )

    assert response.status_code == status
    assert set(response.json()) == {"error", "what", "why", "do"}
    assert state_of(job_id) == "waiting_external"


async def test_strangers_learn_nothing_from_their_bodies(edge) -> None:
    """A wrong signature is told before what is wrong with the body."""
    response = await edge.post(
        f"/api/callbacks/{uuid4()}/fail",
        content=b"{",
        headers={"X-Awa-Signature": "00" * 32, "Content-Type": "application/json"},
    )

    assert response.status_code == 401


async def test_an_unknown_callback_is_not_found_and_a_bad_id_is_told(edge) -> None:
    unknown, bad = str(uuid4()), "not-a-uuid"

    for callback_id, status in ((unknown, 404), (bad, 422)):
        response = await edge.post(
            f"/api/callbacks/{callback_id}/complete",
            headers={"X-Awa-Signature": sign_callback(KEY, callback_id)},
        )
        assert response.status_code == status


async def status_of(app: Any, path: str, signature: str) -> int:
    """Post to a path as the client does, which takes three times as long for each request."""
    sent: list[dict[str, Any]] = []
    headers = {"host": "hooks.example", "content-length": "0", "x-awa-signature": signature}
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST",
        "scheme": "http", "path": path, "raw_path": path.encode(), "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "server": ("hooks.example", None), "client": ("203.0.113.5", 50000), "root_path": "",
    }  # fmt: skip

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return int(sent[0]["status"])


async def test_ten_thousand_wrong_signatures_cost_no_query_and_stop_no_right_one(
    edge, waiting, state_of, db
) -> None:
    job_id, callback_id = waiting()
    right = {"X-Awa-Signature": sign_callback(KEY, callback_id)}
    path = f"/api/callbacks/{callback_id}/heartbeat"
    await edge.post(path, headers=right)

    app = edge._transport.app
    codes = {await status_of(app, path, f"{n:064x}") for n in range(10_000)}

    assert codes == {401, 429}
    assert (await edge.post(path, headers=right)).status_code == 200
    assert state_of(job_id) == "waiting_external"
    assert db.execute("SELECT count(*) FROM awa.callback_signatures").fetchone() == (0,)


async def test_the_edge_serves_nothing_else(edge) -> None:
    for path in (
        "/",
        "/api/jobs",
        "/api/stats",
        "/metrics",
        "/api/openapi.json",
        "/static/app.css",
    ):
        assert (await edge.get(path)).status_code in {401, 404}
        assert "awa" not in (await edge.get(path)).headers.get("www-authenticate", "")
    assert (await edge.get("/healthz")).status_code == 200
    assert (await edge.get("/readyz")).json() == {"ready": True, "reasons": []}


async def test_the_prefix_can_be_another(database_url, waiting) -> None:
    _, callback_id = waiting()
    app = callback_app(database_url, Settings(secret=KEY), prefix="/hooks")
    headers = {"X-Awa-Signature": sign_callback(KEY, callback_id)}
    async with web_client(database_url, app=app) as client:
        assert (await client.post(f"/hooks/{callback_id}/complete", headers=headers)).is_success
        assert (await client.post(f"/api/callbacks/{callback_id}/complete")).status_code == 404


async def test_unsigned_callbacks_are_taken_when_told_and_not_from_a_page(
    database_url, waiting
) -> None:
    _, callback_id = waiting()
    app = callback_app(database_url, Settings(hosts=frozenset({"*"})))
    path = f"/api/callbacks/{callback_id}/complete"
    async with web_client(database_url, peer="203.0.113.5", app=app) as client:
        page = await client.post(path, headers={"Origin": "https://evil.example"})
        assert page.status_code == 403
        assert (await client.post(path)).status_code == 200


def test_it_does_not_start_unsigned_unless_told(cli, monkeypatch) -> None:
    ran = cli("callbacks", "serve")

    assert ran.status == 2
    assert "no callback secret was given" in ran.err
    assert "--allow-unsigned" in ran.err


@pytest.mark.parametrize("secret", ["xyz", "00" * 31, "0g" * 32])
def test_a_bad_secret_is_refused_without_showing_it(cli, secret) -> None:
    for line in (["serve"], ["callbacks", "serve"]):
        ran = cli(*line, "--callback-hmac-secret", secret)
        assert ran.status == 2
        assert "invalid callback HMAC secret" in ran.err
        assert secret not in ran.err


async def test_what_machines_answer_is_no_change_by_people(database_url, waiting) -> None:
    _, callback_id = waiting()
    async with web_client(database_url, secret=KEY) as client:
        headers = {"X-Awa-Signature": sign_callback(KEY, callback_id)}
        await client.post(f"/api/callbacks/{callback_id}/complete", headers=headers)

        assert (await client.get("/api/audit")).json() == []


async def test_a_read_only_server_takes_no_callbacks(database_url, waiting, state_of) -> None:
    job_id, callback_id = waiting()
    async with web_client(database_url, secret=KEY, read_only=True) as client:
        headers = {"X-Awa-Signature": sign_callback(KEY, callback_id)}
        response = await client.post(f"/api/callbacks/{callback_id}/complete", headers=headers)

    assert response.status_code == 503
    assert state_of(job_id) == "waiting_external"
