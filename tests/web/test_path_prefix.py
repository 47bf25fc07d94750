"""The server below a path prefix: of a proxy, of a mount point, and of both."""

from __future__ import annotations

import html
import json
import re
from urllib.parse import quote, urlsplit

import httpx
import pytest
from every_row import fill
from fastapi import FastAPI
from fix_web import FRESH, web_client
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.routing import Mount, Route

from awa_cli.web import create_app, pages
from awa_cli.web.app import callback_app
from awa_cli.web.origins import COOKIE
from awa_cli.web.place import placed
from awa_cli.web.prefix import OWN, read_callback_path, read_prefix
from awa_cli.web.problems import Refused
from awa_cli.web.scope import PATH, ROOT
from awa_cli.web.settings import Settings
from awa_lib.errors import InvalidInput

PAGE = {"Accept": "text/html"}
LOCAL = frozenset({"localhost"})
URLS = re.compile(r'\s(?:href|src|action|hx-get|hx-post|sse-connect)="([^"]+)"')
CALLBACK = "4e0c2c1e-0f5e-4e5b-8f5a-3f1f0c3f1a11"


def urls(page: httpx.Response) -> list[str]:
    """Return the URLs of a page, without those within it and those of other sites."""
    found = [html.unescape(one) for one in URLS.findall(page.text)]
    return [one for one in found if not one.startswith(("#", "?", "https://", "http://"))]


async def change(client: httpx.AsyncClient, at: str, path: str, **more: object) -> httpx.Response:
    """Press a button of the page at ``at``."""
    page = await client.get(at, headers=PAGE)
    token = re.search(r'"X-CSRF-Token": "([^"]+)"', page.text)[1]
    origin = str(client.base_url).rstrip("/")
    headers = {"Origin": origin, "X-CSRF-Token": token, "Sec-Fetch-Site": "same-origin"}
    # The path of the cookie is that of the browser, before a proxy removes the prefix.
    client.cookies.clear()
    headers["Cookie"] = f"{COOKIE}={token}"
    return await client.post(path, headers=headers, **more)


async def check(client: httpx.AsyncClient, sent: str, root: str, add) -> None:
    """Try all kinds of URLs: ``sent`` is the prefix that requests have, ``root`` that of links."""
    job_id = add("failed", queue="a/b", finalized_at="now")
    page = await client.get(f"{sent}/queues/a%2Fb", headers=PAGE)
    assert page.status_code == 200
    assert all(one.startswith(f"{root}/") for one in urls(page)), urls(page)
    assert f"{root}/queues/a%2Fb/pause" in urls(page)
    assert f"path={root or '/'};" in page.headers["set-cookie"].lower() + ";"
    assert (await client.get(sent + "/static/app.css")).status_code == 200

    paused = await change(client, f"{sent}/queues", f"{sent}/queues/a%2Fb/pause")
    assert paused.status_code == 204, paused.text
    removed = await change(client, f"{sent}/jobs", f"{sent}/jobs/{job_id}/delete")
    assert removed.headers["hx-redirect"] == f"{root}/jobs"
    typed = await client.get(f"{sent}/jobs?filter=state:failed")
    assert typed.headers["location"] == f"{root}/jobs?state=failed"

    document = (await client.get(f"{sent}/api/openapi.json")).json()
    assert document.get("servers", [{"url": ""}]) == [{"url": root}]
    for _ in range(2):
        add()
    listed = await client.get(f"{sent}/api/jobs?limit=1")
    assert re.match(rf"<{root}/api/jobs\?limit=1&before_id=\d+>", listed.headers["link"])
    assert (await client.get(f"{sent}/api/queues/a%2Fb")).json()["queue"] == "a/b"
    missing = await client.get(f"{sent}/api/nope", headers=PAGE)
    assert missing.headers["content-type"] == "application/json"
    lost = await client.get(f"{sent}/nope", headers=PAGE)
    assert (lost.status_code, f'href="{root}/static/app.css' in lost.text) == (404, True)
    assert (await client.get(f"{sent}/healthz")).text == "ok\n"
    assert (await client.get(f"{sent}/readyz")).json()["ready"] is True
    assert (await client.get(f"{sent}/metrics")).status_code == 200


@pytest.mark.parametrize("sent", ["", "/awa", "/tools/awa"])
@pytest.mark.parametrize("by", ["option", "header"])
async def test_a_prefix_that_is_removed_or_not(database_url, add, sent, by) -> None:
    root = sent or "/awa"
    told = {"path_prefix": root} if by == "option" else {"trusted_proxies": LOCAL}
    async with web_client(database_url, **told) as client:
        if by == "header":
            client.headers["X-Forwarded-Prefix"] = f"{root}/"
        await check(client, sent, root, add)


def mounted(kind: str, inner: object) -> tuple[object, str, str]:
    """Return (application, prefix of requests, prefix of links)."""
    if kind == "starlette":
        return Starlette(routes=[Mount("/awa", inner)]), "/awa", "/awa"
    if kind == "nested":
        outer = Starlette(routes=[Mount("/tools", routes=[Mount("/awa", inner)])])
        return outer, "/tools/awa", "/tools/awa"
    if kind == "named":
        return Starlette(routes=[Mount("/{tenant}/awa", inner)]), "/a%20%22b/awa", "/a%20%22b/awa"
    outer = FastAPI()
    outer.mount("/awa", inner)
    if kind == "fastapi behind a proxy":
        outer.root_path = "/proxy"
        return outer, "/awa", "/proxy/awa"
    return outer, "/awa", "/awa"


@pytest.mark.parametrize(
    "kind", ["starlette", "nested", "named", "fastapi", "fastapi behind a proxy"]
)
async def test_mounted_in_an_application(database_url, add, kind) -> None:
    inner = create_app(database_url, Settings(**FRESH))
    app, sent, root = mounted(kind, inner)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        await check(client, sent, root, add)
    await inner.state.awa.close()


async def test_mounted_below_the_prefix_of_a_proxy(database_url, add) -> None:
    inner = create_app(database_url, Settings(**FRESH, trusted_proxies=LOCAL))
    transport = httpx.ASGITransport(Starlette(routes=[Mount("/awa", inner)]))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        client.headers["X-Forwarded-Prefix"] = "/tools"
        await check(client, "/awa", "/tools/awa", add)
    await inner.state.awa.close()


@pytest.mark.parametrize("full", [True, False], ids=["with the path", "without it"])
@pytest.mark.parametrize("root", ["/awa", "/a"])
async def test_the_root_path_of_a_server(database_url, add, root, full) -> None:
    """Uvicorn adds root_path to the path, other servers do not; "/a" begins "/api" too."""
    inner = create_app(database_url, Settings(**FRESH))
    transport = httpx.ASGITransport(inner, root_path=root)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        await check(client, root if full else "", root, add)
    await inner.state.awa.close()


async def test_every_link_of_every_page_has_the_prefix(database_url) -> None:
    fill(database_url)
    async with web_client(database_url, path_prefix="/awa") as client:
        seen, ahead, wrong = set(), ["/awa/"], []
        while ahead:
            path = ahead.pop()
            page = await client.get(path, headers=PAGE)
            assert page.status_code < 500, path
            for one in urls(page):
                parts = urlsplit(one)
                if not one.startswith("/awa/"):
                    wrong.append((path, one))
                # Filters and orders of a list lead to no new kind of page.
                elif parts.path not in seen and "/static/" not in one and "/api/" not in one:
                    seen.add(parts.path)
                    ahead.append(one)

    assert wrong == []
    assert len({one.split("/")[2] for one in seen}) == len(OWN - {"api", "static", "metrics"}) - 1


async def test_the_path_itself_is_the_first_page(database_url) -> None:
    async with web_client(database_url, path_prefix="/awa") as client:
        pages_ = [await client.get(path, headers=PAGE) for path in ("/awa", "/awa/", "/")]

    assert {one.status_code for one in pages_} == {200}
    assert all("<h1>Overview</h1>" in one.text for one in pages_)


async def test_a_path_that_only_begins_like_the_prefix_is_none(database_url) -> None:
    async with web_client(database_url, path_prefix="/awa") as client:
        page = await client.get("/awatar/jobs", headers=PAGE)

    assert page.status_code == 404


async def test_a_prefix_told_by_a_stranger_is_ignored(api, caplog) -> None:
    headers = {**PAGE, "X-Forwarded-Prefix": "/awa"}
    page = await api.get("/jobs", headers=headers)
    await api.get("/jobs", headers=headers)

    assert "/awa/" not in page.text
    (said,) = [one.getMessage() for one in caplog.records if "ignored" in one.getMessage()]
    assert said.startswith(
        "ignored X-Forwarded-Prefix from 127.0.0.1, which is not a trusted proxy"
    )
    assert said.endswith("awa serve --trusted-proxy 127.0.0.1")


async def test_the_option_goes_before_the_header(database_url) -> None:
    async with web_client(database_url, path_prefix="/one", trusted_proxies=LOCAL) as client:
        page = await client.get("/jobs", headers={**PAGE, "X-Forwarded-Prefix": "/other"})

    assert 'href="/one/jobs"' in page.text


EVIL = [
    "//evil.example", "https://evil.example", "/\\evil.example", "\\\\evil.example", "/..", "/a/../b",
    "/.", "/a//b", "/a%2fb", "/%2e%2e", '/"><script>', "/'x", "/a b", "/a;b", "/a,/b", "/a?b", "/a#b",
    "awa", "/ä", "/a\tb", "/" + "a" * 300, "/jobs", "/api/x", "javascript:alert(1)", "/@evil",
]  # fmt: skip


@pytest.mark.parametrize("prefix", EVIL)
async def test_a_wicked_prefix_is_refused_with_its_reason(database_url, prefix) -> None:
    async with web_client(database_url, trusted_proxies=LOCAL) as client:
        told = prefix.encode("latin-1")
        for headers in ({b"Accept": b"text/html"}, {}):
            answer = await client.get("/jobs", headers={**headers, b"X-Forwarded-Prefix": told})
            assert answer.status_code == 421
            assert not headers or "<script>" not in answer.text
            assert "location" not in answer.headers
            assert "the header X-Forwarded-Prefix" in html.unescape(answer.text)


@given(st.text(max_size=40) | st.from_regex(r"[/\\.%a-z:;,\r\n\"'<>]{1,30}", fullmatch=True))
def test_a_prefix_leads_nowhere_else_and_is_no_markup(text) -> None:
    for read in (read_prefix, read_callback_path):
        try:
            prefix = read(text, "it")
        except InvalidInput:
            continue
        assert re.fullmatch(r"(/[A-Za-z0-9._~-]+)*", prefix)
        assert not {".", ".."} & set(prefix.split("/"))
        base = "https://jobs.example.org/x"
        found = httpx.URL(base).join(f"{prefix}/jobs")
        assert (found.host, found.path) == ("jobs.example.org", f"{prefix}/jobs")
        assert read(prefix, "it") == prefix


MOUNTS = st.text(alphabet='/a.%\\é"<\r\n ?#~', max_size=8).map(lambda text: "/" + text)


@given(
    MOUNTS, st.text(alphabet='/a.%\\é"? ', max_size=12).map(lambda text: "/" + text), st.booleans()
)
def test_any_mount_point_and_path(mount, path, full) -> None:
    sent = mount.rstrip("/") + path if full else path
    scope = {"type": "http", "root_path": mount, "path": sent, "raw_path": quote(sent).encode()}
    refused = False
    try:
        found = placed(scope)
    except Refused:
        refused = True
    assert refused == mount.rstrip("/").startswith("//")
    if refused:
        return

    root = found[ROOT]
    assert root.startswith("/") or root == mount.rstrip("/") == ""
    assert not root.startswith("//")
    assert not set(root) & set('"<>\r\n ?#;,\\')
    assert found["path"] == found["root_path"] + found[PATH]
    assert found["raw_path"].startswith(root.encode() + b"/")


async def test_a_mount_point_that_names_a_host_leads_nowhere(database_url) -> None:
    inner = create_app(database_url, Settings(**FRESH))
    transport = httpx.ASGITransport(Starlette(routes=[Mount("/{any:path}", inner)]))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        page = await client.get("http://127.0.0.1//evil.example/jobs", headers=PAGE)
    await inner.state.awa.close()

    assert page.status_code == 404
    assert '"//' not in page.text


async def test_two_slashes_lead_to_no_other_host(api) -> None:
    page = await api.get("http://127.0.0.1:3000//evil.example", headers=PAGE)

    assert page.status_code == 404
    assert 'href="/%2Fevil.example"' in page.text
    assert '"//' not in page.text


def test_the_own_paths_are_known() -> None:
    """A prefix that begins like one could not be told from it."""
    found = {one.path.split("/")[1] for one in pages.routes() if isinstance(one, Route | Mount)}

    assert found - {""} | {"api", "metrics", "healthz", "readyz"} == OWN


async def test_callbacks_need_no_word_of_a_prefix(database_url, add) -> None:
    settings = Settings(**FRESH, hosts=frozenset({"*"}), trusted_proxies=LOCAL)
    for own, path in (("", ""), ("/hooks", "/hooks"), ("/api/callbacks", "/api/callbacks")):
        app = callback_app(database_url, settings, prefix=own)
        async with web_client(database_url, app=app) as client:
            client.headers.update({"X-Forwarded-Prefix": own or "/hooks", **PAGE})
            answer = await client.post(f"{path}/{CALLBACK}/complete", json={})
            other = await client.get("/nope")
            alive = await client.get("/healthz")

        # There is no such callback, and no page either.
        assert (answer.status_code, "callback" in json.dumps(answer.json())) == (404, True), own
        assert other.headers["content-type"] == "application/json"
        assert alive.status_code == 200
