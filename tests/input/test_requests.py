"""Requests with wild headers, queries, bodies and forms: every one is answered, none with a fault."""

from __future__ import annotations

import httpx
import pytest
from fix_web import web_client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from input.wild import JSON_TEXT, WILD, mutated
from web.every_row import fill

from awa_cli.access import Access, Proxy, hash_token
from awa_cli.web.api import table
from awa_cli.web.origins import COOKIE

TOKEN = "a" * 43
ID = "8feaec61-ea03-4e4c-ab3d-f63350329dc6"
HEADERS = {
    "Host": mutated("127.0.0.1:3000", "localhost", "[::1]:3000", "evil.example"),
    "Origin": mutated("http://127.0.0.1:3000", "http://[", "null", "http://[::1", "https://a@b:x"),
    "Sec-Fetch-Site": mutated("same-origin", "cross-site"),
    "Cookie": mutated(f"{COOKIE}={TOKEN}", "a=b; c", "=;=;", '"'),
    "X-CSRF-Token": mutated(TOKEN),
    "Authorization": mutated(
        "Bearer op", "Basic YTpi", "Basic !!", "Basic", "Digest x", "Basic /w=="
    ),
    "Content-Type": mutated("application/json", "application/x-www-form-urlencoded", "a;b;c"),
    "X-Awa-Signature": mutated("0" * 64),
    "X-Awa-Request-Signature": mutated(f"t=1,n={'0' * 32},s={'0' * 64}"),
    "X-Forwarded-User": mutated("alice"),
    "X-Forwarded-For": mutated("10.0.0.1, ::1"),
    "Last-Event-ID": mutated("7"),
    "HX-Request": mutated("true"),
    "Accept": mutated("text/html", "application/json;q=x"),
    "Content-Length": mutated("7"),
    "Range": mutated("bytes=0-", "bytes=9-1"),
    "If-None-Match": mutated('"x"'),
}
SIGNS = st.fixed_dictionaries({}, optional=HEADERS)
GETS = [one.path for one in table().endpoints if one.method == "GET"]
POSTS = [one.path for one in table().endpoints if one.method == "POST"]
PAGES = ["/", "/jobs", "/queues", "/kinds", "/cron", "/dead-letters", "/bulk-operations", "/workers",
         "/activity", "/audit", "/doctor", "/storage", "/jobs/1", "/queues/queue-1", "/static/app.css",
         "/metrics", "/healthz"]  # fmt: skip
FORMS = ["/jobs/1/retry", "/jobs/cancel", "/queues/queue-1/settings", "/queues/queue-1/pause",
         "/cron/nightly/pause", "/bulk-operations", "/dead-letters/retry"]  # fmt: skip
NAMES = ["state", "kind", "queue", "tag", "since", "until", "where", "error", "filter", "sort", "limit",
         "before_id", "ids", "max_running", "max_rate", "minutes", "actor", "target", "v", "view"]  # fmt: skip
WORDS = mutated(
    "failed", "2h", "args.a=1", "1", "10", "kind:email", "id", "2026-01-01T00:00:00Z", "5/s"
)
QUERY = st.lists(st.tuples(st.sampled_from(NAMES) | WILD, WORDS), max_size=3)
SEGMENT = mutated("1", ID, "email", "queue-1", "nightly", "%00", "%ff", "~2e", "%2f..%2f")
ACCESS = Access(tokens={hash_token("op"): ("op", "operate")},
                proxy=Proxy("X-Forwarded-User", (), "operate"))  # fmt: skip


def bounded(examples: int) -> settings:
    return settings(
        max_examples=examples, deadline=None, derandomize=True, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip


def line(text: str) -> bytes:
    """A header as it may be sent: servers refuse NUL and line ends before us."""
    return text.encode("latin-1", "replace").translate(None, b"\x00\r\n")


def text_of(text: str) -> str:
    return text.encode(errors="replace").decode()


@pytest.fixture
async def clients(database_url):
    """Servers with and without users; requests to the first come from this machine."""
    fill(database_url)
    async with (
        web_client(database_url) as near,
        web_client(database_url, access=ACCESS, secret=b"k" * 32, strict=True) as guarded,
    ):
        yield near, guarded


async def ask(clients, method: str, path: str, signs: dict[str, str], **more) -> None:
    headers = [(name.encode(), line(value)) for name, value in signs.items()]
    for client in clients:
        request = client.build_request(method, path, **more)
        kept = [
            pair
            for pair in request.headers.raw
            if pair[0].lower() not in {h.lower() for h, _ in headers}
        ]
        request.headers = httpx.Headers(kept + headers)
        answer = await client.send(request)
        assert answer.status_code < 500, (method, path, signs, answer.text[:300])
        assert answer.headers["x-content-type-options"] == "nosniff"


@bounded(30)
@given(
    path=st.sampled_from([f"/api{one}" for one in GETS] + PAGES),
    part=SEGMENT,
    query=QUERY,
    signs=SIGNS,
)
async def test_reads(clients, path, part, query, signs) -> None:
    await ask(clients, "GET", filled(path, part), signs,
              params=[(text_of(name), text_of(value)) for name, value in query])  # fmt: skip


@bounded(25)
@given(path=st.sampled_from(POSTS), part=SEGMENT, signs=SIGNS, body=JSON_TEXT | st.binary(max_size=40).map(
    lambda raw: raw.decode("latin-1")))  # fmt: skip
async def test_changes(clients, path, part, signs, body) -> None:
    await ask(clients, "POST", filled(f"/api{path}", part), {"Content-Type": "application/json", **signs},
              content=body.encode(errors="replace"))  # fmt: skip


@bounded(20)
@given(path=st.sampled_from(FORMS), pairs=QUERY, signs=SIGNS)
async def test_forms(clients, path, pairs, signs) -> None:
    fields = {text_of(name): text_of(value) for name, value in pairs}
    page = {"Cookie": f"{COOKIE}={TOKEN}", "X-CSRF-Token": TOKEN}
    await ask(clients, "POST", path, {**page, **signs}, data=fields)


def filled(path: str, part: str) -> str:
    from urllib.parse import quote

    head, brace, rest = path.partition("{")
    segment = quote(part.encode(errors="replace"), safe="%~")
    return head + segment + rest.partition("}")[2] if brace else path


@pytest.mark.parametrize("origin", ["http://[", "http://[::1", "http://[x]"])
async def test_an_origin_that_is_no_address_is_another_site(api, origin) -> None:
    answer = await api.post("/api/queues/q/pause", json={}, headers={"Origin": origin})

    assert answer.status_code == 403
