"""Pages below a path prefix, in a browser, behind a real nginx that speaks TLS."""

from __future__ import annotations

import re
from collections.abc import Iterator

import psycopg
import pytest
from fix_browser import Site
from fix_nginx import guide_config, nginx
from fix_wait import eventually
from fix_web import FRESH, running
from playwright.sync_api import expect

import awa_lib as awa
from awa_cli.web import create_app
from awa_cli.web.settings import Settings

JOB = "INSERT INTO awa.jobs_hot (kind, queue, args) VALUES ('email', 'a/b', '{}')"
# Its certificate is that of the tests.
TLS = {"ignore_https_errors": True}


@pytest.fixture(scope="module")
def site(postgres, template, tmp_path_factory) -> Iterator[Site]:
    with postgres.database(template) as database_url:
        settings = {**FRESH, "cache_seconds": 0.05, "event_seconds": 0.25}
        trusted = frozenset({"127.0.0.1"})
        app = create_app(database_url, Settings(**settings, trusted_proxies=trusted))
        place = tmp_path_factory.mktemp("nginx")
        with running(app) as server, nginx(place, server.port, guide_config()) as proxy:
            yield Site(f"https://localhost:{proxy.port}", database_url)


@pytest.fixture
def db(site) -> Iterator[psycopg.Connection]:
    with psycopg.connect(site.database_url, autocommit=True) as conn:
        yield conn


def test_pages_are_styled_and_their_links_lead_below_the_prefix(visit, site, db) -> None:
    db.execute(JOB)
    page = visit("/awa", **TLS)

    style = "() => getComputedStyle(document.querySelector('header.bar')).display"
    assert page.evaluate(style) == "flex"
    links = page.evaluate("() => [...document.querySelectorAll('a[href]')].map((one) => one.href)")
    assert links
    assert all(one.startswith(f"{site.url}/awa/") for one in links if "#main" not in one), links
    page.get_by_role("navigation", name="Navigation").get_by_text("Queues").click()
    expect(page).to_have_url(f"{site.url}/awa/queues")
    page.get_by_role("link", name="a/b", exact=True).click()
    expect(page).to_have_url(f"{site.url}/awa/queues/a%2Fb")
    page.keyboard.press("g")
    page.keyboard.press("j")
    expect(page).to_have_url(f"{site.url}/awa/jobs")
    icons = "() => performance.getEntriesByType('resource').map((one) => one.name)"
    assert all(one.startswith(f"{site.url}/awa/") for one in page.evaluate(icons))


def test_buttons_and_live_events_work_below_the_prefix(visit, db) -> None:
    db.execute(JOB)
    page = visit("/awa/queues/a%2Fb", **TLS)
    (cookie,) = page.context.cookies()
    assert (cookie["path"], cookie["secure"]) == ("/awa", True)

    page.get_by_role("button", name="Pause a/b").click()
    page.locator("#ask-yes").click()
    expect(page.locator("b.badge", has_text="paused")).to_be_visible()
    assert db.execute("SELECT paused FROM awa.queue_meta WHERE queue = 'a/b'").fetchone() == (True,)
    expect(page.locator("#updated")).to_contain_text("live")

    before = page.locator("a.tile.s-available .count").inner_text()
    db.execute(JOB)
    eventually(lambda: page.locator("a.tile.s-available .count").inner_text() != before)


def test_the_activity_links_below_the_prefix(visit, site, db) -> None:
    page = visit("/awa/activity", **TLS)
    db.execute(JOB)
    link = page.locator("#activity tbody a", has_text="a/b").first

    expect(link).to_have_attribute("href", "/awa/queues/a%2Fb")
    link.click()
    expect(page).to_have_url(f"{site.url}/awa/queues/a%2Fb")


def test_the_graph_links_below_the_prefix(visit, site) -> None:
    with awa.Client(site.database_url) as client, client.workflow("import") as flow:
        flow.add_many([{}, {}], name="parts", kind="part")
    page = visit(f"/awa/workflows/{flow.id}", **TLS)

    page.locator("#graph a").click()
    expect(page).to_have_url(f"{site.url}/awa/workflows/{flow.id}?group=parts#tasks")
    expect(page.locator("#graph use")).to_have_attribute("href", re.compile("^/awa/static/icons"))
