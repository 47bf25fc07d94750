"""The OWASP top ten of 2021, one test or more for each, against the real application.

A01 access control, A02 cryptography, A03 injection, A04 design, A05 configuration, A06 components,
A07 authentication, A08 integrity, A09 logging, A10 request forgery by the server.
"""

from __future__ import annotations

import ast
import base64
import logging
import re
from pathlib import Path

import pytest
from fix_web import web_client

from awa_cli.access import Access, Identity, Proxy, hash_password, hash_token
from awa_cli.web.api import table
from awa_cli.web.origins import COOKIE

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "correct horse battery"
HASH = hash_password(PASSWORD, b"0123456789abcdef")
TOKENS = {hash_token("read-token"): ("reader", "read"), hash_token("op-token"): ("op", "operate")}
ACCESS = Access({"alice": (HASH, "operate"), "bob": (HASH, "read")}, TOKENS)
READER = {"Authorization": "Bearer read-token"}
OPERATOR = {"Authorization": "Bearer op-token"}
FAR = "203.0.113.9"


def basic(name: str, password: str) -> dict[str, str]:
    value = base64.b64encode(f"{name}:{password}".encode()).decode()
    return {"Authorization": f"Basic {value}"}


@pytest.fixture
async def guarded(database_url):
    """A server with users and tokens, called from afar."""
    async with web_client(database_url, peer=FAR, host="jobs.example.org", access=ACCESS) as client:
        yield client


@pytest.fixture
async def alone():
    """The same without a database: who is refused at the door costs no query."""
    url = "postgresql://nobody@127.0.0.1:1/none"
    async with web_client(url, peer=FAR, host="jobs.example.org", access=ACCESS) as client:
        yield client


def paths() -> list[tuple[str, str]]:
    """Every endpoint with plausible arguments."""
    values = {
        "job_id": "1",
        "workflow_id": "1",
        "operation_id": "4e0c2c1e-0f5e-4e5b-8f5a-3f1f0c3f1a11",
        "callback_id": "4e0c2c1e-0f5e-4e5b-8f5a-3f1f0c3f1a11",
    }

    def filled(path: str) -> str:
        return re.sub(r"{(\w+)(:\w+)?}", lambda m: values.get(m[1], "x"), path)

    return [
        *[(one.method, "/api" + filled(one.path)) for one in table().endpoints],
        *[(method, filled(path)) for method, path in page_routes()],
        *[("GET", path) for path in ("/metrics", "/api/events", "/api/openapi.json")],
    ]


def page_routes() -> list[tuple[str, str]]:
    """Every page and every change that a page makes."""
    from starlette.routing import Route

    from awa_cli.web import pages

    found = [one for one in pages.routes() if isinstance(one, Route)]
    return [("GET" if "GET" in one.methods else "POST", one.path) for one in found]


PAGES = [path for method, path in page_routes() if method == "GET" and "{" not in path]


# A01: broken access control


@pytest.mark.parametrize(("method", "path"), paths())
async def test_a01_nothing_is_answered_to_strangers(alone, method, path) -> None:
    response = await alone.request(method, path)

    assert response.status_code == 401
    assert "www-authenticate" in response.headers


@pytest.mark.parametrize(("method", "path"), [one for one in paths() if one[0] == "POST"])
async def test_a01_who_may_read_changes_nothing(guarded, method, path) -> None:
    response = await guarded.request(method, path, headers=READER, json={})

    looks = path.endswith("/preview")
    assert response.status_code in ({404, 422} if looks else {403})


async def test_a01_without_an_access_file_only_this_machine_comes_in(database_url) -> None:
    async with web_client(database_url, peer=FAR) as client:
        response = await client.get("/api/stats")

    assert response.status_code == 403
    assert "only requests from this machine" in response.json()["what"]


@pytest.mark.parametrize("header", ["X-Forwarded-For", "X-Real-IP", "Forwarded"])
async def test_a01_a_header_does_not_make_a_stranger_local(database_url, header) -> None:
    async with web_client(database_url, peer=FAR) as client:
        response = await client.get("/api/stats", headers={header: "127.0.0.1"})

    assert response.status_code == 403


async def test_a01_a_proxy_is_believed_from_its_address_alone(database_url) -> None:
    from ipaddress import ip_network

    proxy = Proxy("x-forwarded-user", (ip_network("10.1.0.0/16"),), "operate")
    header = {"X-Forwarded-User": "carol"}
    async with web_client(database_url, peer="10.1.2.3", access=Access(proxy=proxy)) as client:
        assert (await client.get("/api/capabilities", headers=header)).json()["user"] == "carol"
        assert (await client.get("/api/capabilities")).status_code == 401
    async with web_client(database_url, peer="10.2.2.3", access=Access(proxy=proxy)) as client:
        assert (await client.get("/api/capabilities", headers=header)).status_code == 401


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/..%2f..%2fapp.py",
        "/static/%2e%2e/state.py",
        "/static//etc/passwd",
        "/static/..\\app.py",
    ],
)
async def test_a01_no_file_outside_the_static_ones(api, path) -> None:
    response = await api.get(path)

    assert response.status_code == 404
    assert "import" not in response.text


@pytest.mark.parametrize(
    "path", ["//evil.example", "/queues/", "/api", "/\\evil.example", "/static"]
)
async def test_a01_no_redirect_at_all(api, path) -> None:
    response = await api.get(path)

    assert "location" not in response.headers
    assert response.status_code in {200, 404}


async def test_a01_a_page_of_another_site_changes_nothing(api, add) -> None:
    job_id = add("failed")
    page = await api.get("/")
    token = page.cookies[COOKIE]
    own = {"Origin": "http://127.0.0.1:3000", "X-CSRF-Token": token}
    attempts = [
        {"Origin": "http://evil.example", "X-CSRF-Token": token},
        {"Origin": "null", "X-CSRF-Token": token},
        {"Origin": "http://127.0.0.1:8000", "X-CSRF-Token": token},
        {"Origin": "http://127.0.0.1:3000.evil.example", "X-CSRF-Token": token},
        {"Sec-Fetch-Site": "cross-site", "X-CSRF-Token": token},
        {"Sec-Fetch-Site": "same-site", "X-CSRF-Token": token},
        {"Origin": "http://127.0.0.1:3000"},
        {"Origin": "http://127.0.0.1:3000", "X-CSRF-Token": "x" * 43},
        {"Referer": "http://127.0.0.1:3000/"},
    ]

    for headers in attempts:
        response = await api.post(f"/api/jobs/{job_id}/retry", headers=headers)
        assert response.status_code == 403, headers
    assert (await api.get(f"/api/jobs/{job_id}")).json()["state"] == "failed"

    assert (await api.post(f"/api/jobs/{job_id}/retry", headers=own)).status_code == 200


async def test_a01_a_form_cannot_stand_in_for_json(api) -> None:
    for kind in ("application/x-www-form-urlencoded", "text/plain", "multipart/form-data"):
        response = await api.post(
            "/api/jobs", content=b'{"kind": "k"}', headers={"Content-Type": kind}
        )
        assert response.status_code == 415


async def test_a01_cors_is_off_and_then_for_listed_origins_alone(database_url, api) -> None:
    origin = {"Origin": "https://app.example.org"}
    assert (
        "access-control-allow-origin" not in (await api.get("/api/stats", headers=origin)).headers
    )
    async with web_client(
        database_url, origins=frozenset({"https://app.example.org"}), access=ACCESS
    ) as client:
        listed = await client.get("/api/stats", headers={**origin, **READER})
        other = await client.get("/api/stats", headers={"Origin": "https://evil.example", **READER})
        ask = {"Access-Control-Request-Method": "POST", **origin}
        before = await client.request("OPTIONS", "/api/queues/q/pause", headers=ask)

    assert listed.headers["access-control-allow-origin"] == "https://app.example.org"
    assert "access-control-allow-credentials" not in listed.headers
    assert "access-control-allow-origin" not in other.headers
    assert before.status_code == 204
    assert before.headers["access-control-allow-methods"] == "GET, POST"


# A02: cryptographic failures


def test_a02_nothing_in_the_access_file_is_a_secret(tmp_path) -> None:
    assert PASSWORD not in HASH
    assert HASH.startswith("scrypt:16384:8:1:")
    assert hash_password(PASSWORD) != HASH
    assert "op-token" not in repr(ACCESS)


async def test_a02_cookies_are_kept_from_scripts_and_other_sites(database_url) -> None:
    async with web_client(database_url) as client:
        cookie = (await client.get("/")).headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        secure = await client.get("https://127.0.0.1:3000/", headers={"Cookie": ""})
    assert "secure" in secure.headers["set-cookie"].lower()


# A03: injection


NASTY = "x'; DROP TABLE awa.jobs_hot; --"


async def test_a03_values_reach_the_database_as_values(api, db, add) -> None:
    add("failed", kind=NASTY, queue=NASTY)
    for path in ("/api/jobs", "/api/dlq"):
        for name in ("kind", "queue", "tag"):
            response = await api.get(path, params={name: NASTY})
            assert response.status_code == 200
    await api.get("/api/jobs", params={"where": f"args.a={NASTY}", "error": NASTY})
    await api.post(f"/api/queues/{NASTY.replace(' ', '%20')}/pause")

    assert db.execute("SELECT count(*) FROM awa.jobs_hot").fetchone() == (1,)


SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(1)>"


async def test_a03_pages_show_names_as_text(api, add) -> None:
    add(
        "failed",
        kind=SCRIPT,
        queue=SCRIPT,
        finalized_at="now",
        errors=[f'{{"error": "{SCRIPT}", "attempt": 1}}'],
    )

    for path in ("/", "/queues", "/jobs", "/jobs/1"):
        page = await api.get(path)
        assert "&lt;script&gt;" in page.text
        assert "<script>alert" not in page.text
        assert "<img" not in page.text


async def test_a03_answers_cannot_be_taken_for_pages(api) -> None:
    response = await api.get(f"/api/queues/{SCRIPT.replace('/', '%2F')}")

    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-content-type-options"] == "nosniff"


async def test_a03_no_header_can_be_added_by_a_value(api) -> None:
    response = await api.get("/api/jobs?limit=1&kind=a%0d%0aSet-Cookie:%20x=1")

    assert "set-cookie" not in response.headers


# A04: insecure design


async def test_a04_passwords_cannot_be_tried_without_end(guarded) -> None:
    codes = [
        (await guarded.get("/api/stats", headers=basic("alice", f"guess {n}"))).status_code
        for n in range(14)
    ]

    assert codes[0] == 401
    assert codes[-1] == 429
    # Others are not locked out, and who has a token neither.
    assert (await guarded.get("/api/stats", headers=basic("bob", PASSWORD))).status_code == 200
    assert (await guarded.get("/api/stats", headers=READER)).status_code == 200


async def test_a04_an_unknown_name_takes_as_long_as_a_wrong_password(monkeypatch) -> None:
    import hashlib

    calls = []
    real = hashlib.scrypt
    monkeypatch.setattr(hashlib, "scrypt", lambda *a, **k: calls.append(1) or real(*a, **k))

    assert ACCESS.by_password("alice", "wrong") is None
    assert ACCESS.by_password("nobody", "wrong") is None
    assert len(calls) == 2


async def test_a04_a_hidden_value_cannot_be_guessed_by_filters(database_url, add) -> None:
    from awa_cli.redact import Redactor

    add("failed", args='{"password": "s3cret", "user": "u"}')
    async with web_client(database_url, redactor=Redactor("password")) as client:
        listed = await client.get("/api/jobs")
        asked = await client.get("/api/jobs", params={"where": "args.password=s3cret"})
        previewed = await client.post(
            "/api/batch-ops/preview", json={"operation": "retry", "args": {"password": "s3cret"}}
        )

    assert listed.json()[0]["args"] == {"password": "***", "user": "u"}
    assert "s3cret" not in listed.text
    assert (asked.status_code, previewed.status_code) == (422, 422)


# A05: security misconfiguration


@pytest.mark.parametrize(
    "path", [*PAGES, "/api/stats", "/api/nope", "/nope", "/healthz", "/static/app.css"]
)
async def test_a05_every_answer_carries_the_security_headers(api, path) -> None:
    headers = (await api.get(path)).headers

    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert "server" not in headers


async def test_a05_pages_hold_no_inline_code(api) -> None:
    for path in PAGES:
        text = (await api.get(path)).text
        assert not re.search(r"<script(?![^>]* src=)[^>]*>|<style|\sstyle=|\son[a-z]+=", text)


async def test_a05_faults_tell_nothing_of_the_inside(database_url, caplog) -> None:
    async with web_client(database_url.replace("/awa", "/nope_") + "x") as client:
        response = await client.get("/api/stats")

    assert response.status_code == 503
    assert "Traceback" not in response.text
    assert "password" not in response.text.lower()


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:3000",
        "127.0.0.1.evil.example",
        "",
        "127.0.0.1:3111.evil.com",
        "127.0.0.1:x",
        "evil.example@127.0.0.1",
        "[::1].evil.com",
    ],
)
async def test_a05_a_name_that_was_made_to_lead_here_is_refused(api, host) -> None:
    response = await api.get("/api/stats", headers={"Host": host})

    assert response.status_code == 421


@pytest.mark.parametrize("host", ["localhost:3000", "127.0.0.1", "127.8.8.8:1", "[::1]:3000"])
async def test_a05_the_names_of_this_machine_are_taken(api, host) -> None:
    assert (await api.get("/api/stats", headers={"Host": host})).status_code == 200


def test_a05_beyond_this_machine_it_does_not_start_without_an_access_file(cli) -> None:
    for host in ("0.0.0.0", "192.0.2.1", "::"):
        ran = cli("serve", "--host", host)
        assert ran.status == 2
        assert "needs --auth" in ran.err
        assert "--auth access.toml" in ran.err


# A06: vulnerable and outdated components


def test_a06_the_server_needs_few_packages() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = {re.split(r"[<>=]", one)[0] for one in project["optional-dependencies"]["serve"]}
    assert needed == {"jinja2", "starlette", "uvicorn"}


# A07: identification and authentication failures


async def test_a07_right_credentials_come_in_and_wrong_ones_do_not(guarded) -> None:
    right = [basic("alice", PASSWORD), READER, OPERATOR]
    wrong = [
        basic("alice", "wrong"),
        basic("ALICE", PASSWORD),
        basic("", ""),
        basic("alice", ""),
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer op-token2"},
        {"Authorization": "Bearer " + hash_token("op-token")},
        {"Authorization": "Basic !!!"},
        {"Authorization": "Digest x"},
        {"Authorization": "Basic " + "A" * 5000},
        {"Authorization": "Basic " + base64.b64encode(b"\xff\xfe").decode()},
    ]

    for headers in right:
        assert (await guarded.get("/api/stats", headers=headers)).status_code == 200
    for headers in wrong:
        assert (await guarded.get("/api/stats", headers=headers)).status_code in {401, 429}, headers


async def test_a07_a_browser_with_a_password_still_needs_the_token_of_a_page(guarded, add) -> None:
    job_id = add("failed")
    headers = {**basic("alice", PASSWORD), "Origin": "http://jobs.example.org"}

    bare = await guarded.post(f"/api/jobs/{job_id}/retry", headers=headers)
    page = await guarded.get("/", headers=basic("alice", PASSWORD))
    token = {"X-CSRF-Token": page.cookies[COOKIE]}
    whole = await guarded.post(f"/api/jobs/{job_id}/retry", headers={**headers, **token})

    assert (bare.status_code, whole.status_code) == (403, 200)


async def test_a07_an_application_says_who_its_users_are(database_url) -> None:
    from awa_cli.web import create_app
    from awa_cli.web.settings import Settings

    def user(scope):
        name = dict(scope["headers"]).get(b"x-session")
        return Identity(name.decode(), "operate", "app") if name else None

    app = create_app(database_url, Settings(hosts=frozenset({"*"})), user=user)
    async with web_client(database_url, peer=FAR, app=app) as client:
        assert (await client.get("/api/stats")).status_code == 401
        found = await client.get("/api/capabilities", headers={"X-Session": "dora"})
    assert found.json()["user"] == "dora"


# A08: software and data integrity failures: tests/web/test_callbacks.py, and


def test_a08_nothing_is_unpickled_or_evaluated() -> None:
    wrong = []
    for path in (ROOT / "awa_cli" / "web").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Name) and node.id in {"eval", "exec", "__import__"}:
                wrong.append(f"{path.name}:{node.lineno}")
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = {alias.name for alias in node.names} | {getattr(node, "module", None)}
                wrong += [f"{path.name}: {n}" for n in names & {"pickle", "marshal", "shelve"}]
    assert wrong == []


# A09: security logging and monitoring failures


async def test_a09_who_changed_what_is_written_down(guarded, add) -> None:
    job_id = add("failed")

    await guarded.post(f"/api/jobs/{job_id}/retry", headers=OPERATOR)
    await guarded.post("/api/queues/q/pause", headers=READER)

    (entry,) = (await guarded.get("/api/audit", headers=READER)).json()
    assert (entry["actor"], entry["via"], entry["action"]) == ("op", "web", "job.retry")
    assert entry["target"] == str(job_id)
    assert entry["detail"]["way"] == "token"


async def test_a09_no_secret_reaches_the_log(database_url, caplog) -> None:
    caplog.set_level(logging.DEBUG)
    async with web_client(database_url, peer=FAR, access=ACCESS, secret=b"\x07" * 32) as client:
        await client.get("/api/stats", headers=basic("alice", PASSWORD))
        await client.get("/api/stats", headers=OPERATOR)
        await client.post("/api/callbacks/x/complete", headers={"X-Awa-Signature": "bad-one"})

    for secret in (PASSWORD, "op-token", "07" * 32, "bad-one"):
        assert secret not in caplog.text


# A10: server-side request forgery


def test_a10_the_server_sends_no_requests() -> None:
    clients = {"httpx", "urllib.request", "requests", "aiohttp", "http.client", "urllib3"}
    wrong = []
    for path in (ROOT / "awa_cli" / "web").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                wrong += [alias.name for alias in node.names if alias.name in clients]
            elif isinstance(node, ast.ImportFrom) and node.module in clients:
                wrong.append(node.module)
    assert wrong == []
