"""Raw callbacks: the whole body is the payload, and a function of the user checks its signature."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from cli.serving import serving
from fix_web import running, web_client

from awa_cli.access import Access
from awa_cli.web import raw_check
from awa_cli.web.app import callback_app, create_app
from awa_cli.web.settings import Settings
from awa_lib.callbacks.signatures import sign_callback

KEY = b"\x01" * 32
GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "callbacks.md"
SIGNED = {"X-Provider": "signed"}


def check(body: bytes, headers: Any) -> bool:
    return bool(headers.get("x-provider") == "signed")


@pytest.fixture
def waiting(db) -> Callable[[], tuple[int, str]]:
    """Make a job that waits for a callback; return (job id, callback id)."""

    def make() -> tuple[int, str]:
        callback_id = str(uuid4())
        (job_id,) = db.execute(
            "INSERT INTO awa.jobs_hot (kind, queue, state, attempt, callback_id,"
            " callback_timeout_at) VALUES ('k', 'q', 'waiting_external', 1, %s,"
            " now() + interval '1 hour') RETURNING id",
            [callback_id],
        ).fetchone()
        return job_id, callback_id

    return make


@pytest.fixture
def states(db) -> Callable[[], list[str]]:
    def look() -> list[str]:
        return [one for (one,) in db.execute("SELECT state::text FROM awa.jobs ORDER BY id")]

    return look


@contextmanager
def receiving(url: str, **settings: Any) -> Iterator[httpx.Client]:
    """Give a client of a receiver that runs."""
    found = Settings(**{"verify": check, "hosts": frozenset({"*"}), **settings})
    with running(callback_app(url, found)) as one, httpx.Client(base_url=one.url) as client:
        yield client


@pytest.fixture
def provider(database_url: str) -> Iterator[httpx.Client]:
    with receiving(database_url) as client:
        yield client


def post(
    client: httpx.Client,
    callback_id: str,
    body: bytes = b"{}",
    action: str = "complete",
    **more: Any,
) -> httpx.Response:
    path = f"/api/callbacks/{callback_id}/{action}?raw=1"
    return client.post(path, content=body, **{"headers": SIGNED, **more})


@pytest.mark.parametrize("action", ["complete", "resume"])
@pytest.mark.parametrize(
    ("body", "kind", "payload"),
    [
        (b'{"type": "paid", "data": [1, 2.5, null]}', "application/json", None),
        (b'{"type": "paid"}', "text/plain", None),
        (b"[1]", None, None),
        (b"12", None, None),
        ("Körper=1&b=2".encode(), "application/x-www-form-urlencoded", "Körper=1&b=2"),
        (b'{"n": NaN}', "application/json", '{"n": NaN}'),
        (b"{", "application/json", "{"),
    ],
)
def test_the_body_is_the_payload(provider, waiting, db, action, body, kind, payload) -> None:
    job_id, callback_id = waiting()
    headers = SIGNED if kind is None else {**SIGNED, "Content-Type": kind}

    answer = post(provider, callback_id, body, action, headers=headers)

    assert (answer.status_code, answer.json()["id"]) == (200, job_id)
    found = db.execute("SELECT metadata -> '_awa_callback_result' FROM awa.jobs").fetchone()
    assert found == (json.loads(body) if payload is None else payload,)


def test_an_empty_body_is_no_payload(provider, waiting, db) -> None:
    assert post(provider, waiting()[1], b"").status_code == 200
    assert db.execute("SELECT metadata::text FROM awa.jobs").fetchone() == (
        '{"_awa_callback_result": null}',
    )


def test_the_body_of_fail_is_the_error(provider, waiting, db, states) -> None:
    assert post(provider, waiting()[1], b'{"declined": 1}', "fail").status_code == 200
    assert states() == ["failed"]
    assert db.execute("SELECT errors[1] ->> 'error' FROM awa.jobs").fetchone() == (
        '{"declined": 1}',
    )


@pytest.mark.parametrize(
    ("body", "action", "query", "status", "what"),
    [
        (b"\xff\xfe", "complete", "raw=1", 415, "neither JSON nor text"),
        (b"a\x00b", "complete", "raw=1", 422, "cannot store"),
        (b"[" * 100_000, "complete", "raw=1", 400, "not JSON"),
        (b"x" * 3_000_000, "complete", "raw=1", 413, "too long"),
        (b"", "fail", "raw=1", 422, "error is missing"),
        (b"x" * 100_001, "fail", "raw=1", 422, "100000 characters"),
        (b"1", "heartbeat", "raw=1", 422, "there is no parameter 'raw'"),
        (b"1", "complete", "raw=1&row=1", 422, "there is no parameter 'row'"),
    ],
)
def test_a_body_that_cannot_be_taken_is_refused(
    provider, waiting, states, body, action, query, status, what
) -> None:
    path = f"/api/callbacks/{waiting()[1]}/{action}?{query}"
    answer = provider.post(path, content=body, headers=SIGNED)

    assert (answer.status_code, what in answer.json()["what"]) == (status, True), answer.text
    assert states() == ["waiting_external"]


def test_deliveries_are_repeated_as_others_are(provider, waiting) -> None:
    job_id, callback_id = waiting()

    first = post(provider, callback_id, b'"a"')
    again = post(provider, callback_id, b'"b"')
    other = post(provider, callback_id, b"no", "fail")
    stale = post(provider, str(uuid4()))

    assert (first.status_code, first.json()["repeated"]) == (200, False)
    assert again.json() == {"id": job_id, "state": "Completed", "repeated": True}
    assert (other.status_code, stale.status_code) == (409, 404)


def raises(body: bytes, headers: Any) -> bool:
    raise ValueError(f"a secret: {body!r}")


def exits(body: bytes, headers: Any) -> bool:
    raise SystemExit(1)


async def raises_later(body: bytes, headers: Any) -> bool:
    await asyncio.sleep(0)
    return raises(body, headers)


async def refuses_later(body: bytes, headers: Any) -> bool:
    await asyncio.sleep(0)
    return False


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (lambda *_: False, None),
        (lambda *_: None, "returned NoneType, not True or False"),
        (lambda *_: 1, "returned int, not True or False"),
        (lambda *_: "yes", "returned str, not True or False"),
        (raises, "raised ValueError in .*test_raw_callbacks.py, line [0-9]+"),
        (exits, "raised SystemExit"),
        (lambda _, headers: headers["Absent"], "raised KeyError"),
        (raises_later, "raised ValueError in .*test_raw_callbacks.py, line [0-9]+"),
        (refuses_later, None),
    ],
)
def test_only_true_is_accepted(database_url, waiting, states, caplog, function, says) -> None:
    """The log says why, without the body."""
    caplog.set_level(logging.INFO)
    with receiving(database_url, verify=function) as client:
        answer = post(client, waiting()[1], b'"sesame"')

        assert (answer.status_code, answer.json()["what"]) == (
            401,
            "invalid signature of a raw callback",
        )
        assert client.get("/healthz").status_code == 200
    logged = [one.getMessage() for one in caplog.records if one.name == raw_check.__name__]
    assert [re.search(says, one) is not None for one in logged] == ([] if says is None else [True])
    assert "sesame" not in caplog.text + answer.text
    assert states() == ["waiting_external"]


def test_it_gets_the_bytes_and_the_headers(database_url, waiting) -> None:
    found: list[Any] = []

    def keep(body: bytes, headers: Any) -> bool:
        found.append((body, headers["X-PROVIDER"], threading.current_thread().name))
        return True

    with receiving(database_url, verify=keep) as client:
        assert post(client, waiting()[1], b' {"a" :1}\n').status_code == 200

    assert found == [(b' {"a" :1}\n', "signed", "awa callback check")]


def test_an_async_function_is_awaited(database_url, waiting, states) -> None:
    async def later(body: bytes, headers: Any) -> bool:
        await asyncio.sleep(0)
        return check(body, headers)

    with receiving(database_url, verify=later) as client:
        assert post(client, waiting()[1]).status_code == 200
        assert post(client, waiting()[1], headers={}).status_code == 401
    assert states() == ["completed", "waiting_external"]


async def never(body: bytes, headers: Any) -> bool:
    await asyncio.Event().wait()
    return True


def test_a_function_that_hangs_stops_nothing_else(
    database_url, waiting, states, monkeypatch
) -> None:
    """A plain one keeps its thread: of later callbacks, eight hang and the others wait."""
    monkeypatch.setattr(raw_check, "_SECONDS", 0.3)
    for function in (never, lambda *_: threading.Event().wait()):
        with receiving(database_url, verify=function, secret=KEY) as client:
            answers = [post(client, waiting()[1]) for _ in range(10)]
            assert {one.status_code for one in answers} == {503}
            assert answers[0].headers["Retry-After"] == "1"

            _, other = waiting()
            headers = {"X-Awa-Signature": sign_callback(KEY, other)}
            path = f"/api/callbacks/{other}/complete"
            assert client.post(path, headers=headers).status_code == 200
    assert states().count("completed") == 2


def test_many_wrong_signatures_are_limited_and_right_ones_are_not(provider, waiting) -> None:
    _, callback_id = waiting()

    codes = [post(provider, callback_id, headers={}).status_code for _ in range(40)]

    assert set(codes) == {401, 429}
    assert post(provider, callback_id).status_code == 200


def test_a_server_with_a_secret_alone_takes_no_raw_callback(database_url, waiting, states) -> None:
    _, callback_id = waiting()
    with receiving(database_url, secret=KEY, verify=None) as client:
        signed = {"X-Awa-Signature": sign_callback(KEY, callback_id)}
        answer = post(client, callback_id, headers=signed)

    assert (answer.status_code, answer.json()["what"]) == (403, "raw callbacks are not accepted")
    assert "--verify MODULE:FUNCTION" in answer.json()["do"]
    assert states() == ["waiting_external"]


def test_without_a_secret_others_than_raw_ones_are_refused(provider, waiting, states) -> None:
    _, callback_id = waiting()
    for query in ("", "?raw=0", "?raw=true", "?RAW=1"):
        answer = provider.post(f"/api/callbacks/{callback_id}/complete{query}", headers=SIGNED)
        assert (answer.status_code, answer.json()["what"]) == (
            401,
            "only raw callbacks are accepted",
        )
    assert states() == ["waiting_external"]


def test_with_a_secret_each_has_its_own_check(database_url, waiting, states) -> None:
    (_, ours), (_, theirs) = waiting(), waiting()
    with receiving(database_url, secret=KEY) as client:
        signed = {"X-Awa-Signature": sign_callback(KEY, ours)}
        assert post(client, ours, headers=signed).status_code == 401
        plain = client.post(f"/api/callbacks/{theirs}/complete", headers=SIGNED)
        assert plain.status_code == 401
        assert post(client, theirs).status_code == 200
        path = f"/api/callbacks/{ours}/complete"
        assert client.post(path, headers=signed).status_code == 200
    assert states() == ["completed", "completed"]


def test_a_server_that_checks_nothing_takes_them(database_url, waiting, states) -> None:
    with receiving(database_url, verify=None) as client:
        assert post(client, waiting()[1], headers={}).status_code == 200
    assert states() == ["completed"]


async def test_a_provider_needs_no_account_of_awa_serve_and_gets_nothing_else(
    database_url, waiting, states
) -> None:
    _, callback_id = waiting()
    settings = Settings(verify=check, access=Access(), hosts=frozenset({"*"}))
    app = create_app(database_url, settings)
    async with web_client(database_url, peer="203.0.113.5", app=app) as client:
        path = f"/api/callbacks/{callback_id}"
        for other in ("/api/jobs?raw=1", "/api/callbacks?raw=1", "/jobs?raw=1"):
            assert (await client.get(other, headers=SIGNED)).status_code in {401, 422}
        wrong = [
            await client.post(f"{path}/complete", headers=SIGNED),
            await client.post(f"{path}/complete?raw=1"),
            await client.post(f"{path}/../../jobs/1/cancel?raw=1", headers=SIGNED),
        ]
        assert [one.status_code for one in wrong] == [401, 401, 401]
        assert (await client.post(f"{path}/complete?raw=1", headers=SIGNED)).status_code == 200
    assert states() == ["completed"]


async def test_an_operator_may_send_one_and_it_is_audited(api, waiting) -> None:
    """Without a secret and a function, a raw callback is as good as its sender."""
    _, callback_id = waiting()
    path = f"/api/callbacks/{callback_id}/complete?raw=1"

    assert (await api.post(path, content=b"text")).status_code == 200
    entries = (await api.get("/api/audit")).json()
    assert [one["action"] for one in entries] == ["callback.complete"]


async def test_the_document_tells_of_it(api) -> None:
    paths = (await api.get("/api/openapi.json")).json()["paths"]
    takes = {
        verb: [one["name"] for one in paths[f"/api/callbacks/{{callback_id}}/{verb}"]["post"]["parameters"]]
        for verb in ("complete", "fail", "resume", "heartbeat")
    }  # fmt: skip

    assert takes == {
        "complete": ["callback_id", "raw"],
        "fail": ["callback_id", "raw"],
        "resume": ["callback_id", "raw"],
        "heartbeat": ["callback_id"],
    }


def stripe(secret: bytes, body: bytes, at: float) -> str:
    signature = hmac.new(secret, f"{int(at)}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={int(at)},v1={'0' * 64},v1={signature},v0=x"


def send(url: str, body: bytes, signature: str) -> int:
    request = urllib.request.Request(
        url, data=body, headers={"Stripe-Signature": signature}, method="POST"
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.parametrize("command", [["serve"], ["callbacks", "serve"]])
def test_the_function_of_the_guide_checks_what_stripe_sends(
    database_url, waiting, states, tmp_path, monkeypatch, command
) -> None:
    text = GUIDE.read_text(encoding="utf-8").split("## Callbacks that a provider signs")[1]
    (tmp_path / "hooks.py").write_text(re.findall(r"^```python\n(.*?)^```$", text, re.S | re.M)[0])
    monkeypatch.chdir(tmp_path)
    body, now = b'{"type": "charge.succeeded"}', time.time()
    right = stripe(b"whsec_1", body, now)
    _, callback_id = waiting()
    words = [*command, "--port", "0", "--verify", "hooks:check"]
    with serving(*words, url=database_url, STRIPE_WEBHOOK_SECRET="whsec_1") as (_, address, _):
        url = f"{address}/api/callbacks/{callback_id}/complete?raw=1"
        wrong = [
            send(url, body, stripe(b"whsec_2", body, now)),
            send(url, body, stripe(b"whsec_1", body, now - 301)),
            send(url, body + b" ", right),
            send(url, body, ""),
            send(url, body, "t=é,v1=ü"),
        ]
        assert (wrong, states()) == ([401] * 5, ["waiting_external"])
        assert send(url, body, right) == 200
    assert states() == ["completed"]


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("hooks.py", "'hooks.py' does not name a function"),
        ("hooks", "the form is MODULE:FUNCTION"),
        ("nothing_here:check", "cannot import module 'nothing_here'"),
        ("hooks:chek", "did you mean: --verify hooks:check"),
        ("hooks:SECRET", "hooks:SECRET is a str, not a function"),
        ("hooks:nothing", "hooks:nothing does not take the body and the headers"),
    ],
)
def test_a_wrong_function_is_told_before_the_start(cli, tmp_path, monkeypatch, place, says) -> None:
    (tmp_path / "hooks.py").write_text(
        "SECRET = 'x'\ndef check(body, headers): return True\ndef nothing(): return True\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "hooks", raising=False)
    for command in (["serve"], ["callbacks", "serve"]):
        ran = cli(*command, "--verify", place)
        assert (ran.status, says in ran.err) == (2, True), ran.err
