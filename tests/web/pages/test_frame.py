"""What all pages share: files, compression, errors, the frame."""

from __future__ import annotations

import re

import pytest
from fix_web import web_client

from awa_cli.redact import Redactor
from awa_cli.web.pages.navigation import NAVIGATION

SMALL = {"Accept-Encoding": "gzip"}
PAGE = {"Accept": "text/html"}


async def test_a_stamped_file_is_kept_and_another_address_is_not(api) -> None:
    address = re.search(r'href="(/static/app\.css\?v=\w+)"', (await api.get("/")).text)[1]

    stamped = await api.get(address)
    plain = await api.get("/static/app.css")
    wrong = await api.get("/static/app.css?v=1")

    assert stamped.headers["cache-control"] == "private, max-age=31536000, immutable"
    assert {plain.headers["cache-control"], wrong.headers["cache-control"]} == {"no-cache"}


async def test_a_file_that_is_not_there(api) -> None:
    missing = await api.get("/static/nope.js", headers=PAGE)

    assert missing.status_code == 404
    # The path below the mount is not taken for the place of the server.
    assert 'href="/static/app.css?v=' in missing.text


async def test_the_first_page_is_small_over_the_wire(api) -> None:
    page = await api.get("/", headers=SMALL)
    files = re.findall(r'(?:href|src)="(/static/[^"#]+)', page.text)
    sizes = {}
    for address in {"/", *files, *re.findall(r'href="(/static/icons[^"#]+)', page.text)}:
        async with api.stream("GET", address, headers=SMALL) as answer:
            sizes[address] = sum([len(one) async for one in answer.aiter_raw()])

    assert len(sizes) > 7
    assert sum(sizes.values()) < 120_000, sizes


@pytest.mark.parametrize("path", ["/", "/static/app.css"])
async def test_pages_and_files_are_compressed(api, path) -> None:
    assert (await api.get(path, headers=SMALL)).headers["content-encoding"] == "gzip"


async def test_the_event_stream_is_not_compressed(server) -> None:
    import httpx

    async with (
        httpx.AsyncClient() as client,
        client.stream("GET", f"{server().url}/api/events?topic=stats", headers=SMALL) as stream,
    ):
        first = await anext(stream.aiter_bytes())

    assert "content-encoding" not in stream.headers
    assert first == b"retry: 2000\n\n"


async def test_what_is_not_there_is_a_page_for_people(api) -> None:
    page = await api.get("/nope", headers=PAGE)

    assert page.status_code == 404
    assert "there is nothing at this path" in page.text
    assert 'aria-label="Navigation"' in page.text


async def test_strangers_are_not_shown_the_places(database_url) -> None:
    async with web_client(database_url, peer="203.0.113.9") as client:
        page = await client.get("/", headers=PAGE)

    assert page.status_code == 403
    assert "only requests from this machine are accepted" in page.text
    assert "Navigation" not in page.text


async def test_a_lost_database_is_a_page_too() -> None:
    async with web_client("postgresql://nobody@127.0.0.1:1/none") as client:
        page = await client.get("/", headers=PAGE)

    assert page.status_code == 503
    assert "check that the server runs" in page.text


async def test_only_the_part_is_answered_where_htmx_asks(api) -> None:
    part = await api.get("/queues", headers={"HX-Request": "true"})
    restored = await api.get(
        "/queues", headers={"HX-Request": "true", "HX-History-Restore-Request": "true"}
    )

    assert "<html" not in part.text
    assert "<html" in restored.text


@pytest.mark.parametrize(
    ("path", "button"),
    [("/dlq", 'hx-get="/dlq/bulk"'), ("/storage", 'hx-get="/storage/prepare"')],
)
async def test_buttons_are_off_where_nothing_can_be_changed(database_url, path, button) -> None:
    async with web_client(database_url, read_only=True) as client:
        page = await client.get(path)

    assert re.search(f"{button}[^>]* disabled", page.text)


async def test_what_is_hidden_is_hidden_in_the_audit_log_too(database_url) -> None:
    hidden = {"redactor": Redactor("password")}
    async with web_client(database_url) as client:
        where = {"operation": "cancel", "args": {"password": "geheim"}}
        assert (await client.post("/api/batch-ops", json=where)).status_code == 200
    async with web_client(database_url, **hidden) as client:
        pages = [await client.get(path) for path in ("/audit", "/batches")]
        (one,) = (await client.get("/api/batch-ops")).json()
        pages.append(await client.get(f"/batches/{one['id']}"))

    assert all("password" in page.text and "geheim" not in page.text for page in pages)


def test_places_have_a_letter_of_their_own_and_an_icon() -> None:
    from awa_cli.tui.navigation import PAGES as SCREENS
    from awa_cli.web.pages._static import FOLDER

    icons = (FOLDER / "icons.svg").read_text()

    assert len({place.key for place in NAVIGATION}) == len(NAVIGATION)
    assert all(f'id="{place.id}"' in icons for place in NAVIGATION)
    # The same words, letters and order as the monitor's, which lacks some.
    tabs = [
        (screen.id, screen.title, screen.keys[-1].lower())
        for screen in SCREENS.values()
        if screen.keys
    ]
    shared = {tab[0] for tab in tabs}
    assert {place.id for place in NAVIGATION} - shared == {"audit"}
    assert tabs == [
        (place.id, place.title, place.key) for place in NAVIGATION if place.id in shared
    ]


@pytest.mark.parametrize("query", ["tag=a&" * 2_001, "tag=%ff"])
async def test_an_address_that_cannot_be_read_is_said(api, query) -> None:
    answer = await api.get(f"/jobs?{query}", headers=PAGE)

    assert answer.status_code == 422
    assert "the query cannot be read" in answer.text
