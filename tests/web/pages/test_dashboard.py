"""The first page in a browser."""

from __future__ import annotations

import asyncio

import psycopg
import pytest
from fix_browser import check_access, working
from fix_worker import Noop
from playwright.sync_api import expect

import awa_lib as awa
from awa_cli.web.pages.navigation import NAVIGATION

TROUBLE = """
INSERT INTO awa.jobs_hot (kind, queue, state, attempt, args, run_at, attempted_at, finalized_at, errors)
SELECT 'send_email', 'email', (CASE WHEN n % 5 = 0 THEN 'failed' ELSE 'completed' END)::awa.job_state,
       1, '{}', now() - n * interval '10 s', now() - n * interval '10 s', now() - n * interval '10 s',
       CASE WHEN n % 5 = 0 THEN ARRAY['{"error": "smtp is away", "attempt": 1}'::jsonb] ELSE '{}' END
FROM generate_series(1, 50) AS n
"""


@pytest.fixture(scope="module")
def busy(site):
    with psycopg.connect(site.database_url, autocommit=True) as conn:
        conn.execute(TROUBLE)
        conn.execute(
            "INSERT INTO awa.jobs_hot (kind, queue, args, run_at)"
            " VALUES ('noop', 'default', '{}', now() - interval '2 minutes')"
        )
    return site


def test_everybody_can_use_it(busy, visit) -> None:
    page = visit("/")
    page.wait_for_selector(".plot canvas")

    check_access(page)


def test_it_says_how_things_are(busy, visit) -> None:
    page = visit("/")

    assert "10" in page.locator(".tile.s-failed").inner_text()
    assert "no worker is running" in page.locator(".alerts").inner_text()
    assert "smtp is away" in page.get_by_role("region", name="Failures", exact=True).inner_text()
    assert page.locator(".tile.s-failed").get_attribute("href") == "/jobs?state=failed"
    assert (
        page.get_by_role("region", name="Queues", exact=True)
        .locator("tbody a")
        .first.get_attribute("href")
        .startswith("/queues/")
    )
    assert "in the last 15m" in page.locator(".ch-failed .words").inner_text()
    page.get_by_role("link", name="24h").click()
    page.wait_for_url("**/?window=24h")
    assert (
        "10 for good, 0 tried again, in the last 24h"
        in page.locator(".ch-failed .words").inner_text()
    )


def test_it_reads_well_without_scripts(busy, visit) -> None:
    page = visit("/", java_script_enabled=False)

    assert page.locator(".tile").count() == 9
    assert page.locator(".chart polyline").count() == 3
    assert page.locator("button:visible").count() == 0


def test_it_changes_by_itself(busy, visit) -> None:
    page = visit("/")
    page.wait_for_selector(".ch-completed canvas")
    page.evaluate("document.querySelector('.ch-completed canvas').dataset.kept = 'yes'")

    with working(
        busy.database_url, lambda client: client.task(Noop, queue="default")(_noop)
    ) as loop:
        page.locator(".fleet", has_text="1 worker").wait_for()
        page.get_by_text("no worker is running").wait_for(state="detached")

        async def more() -> None:
            async with awa.AsyncClient(busy.database_url) as client:
                for number in range(3):
                    await client.insert(Noop(number))

        asyncio.run_coroutine_threadsafe(more(), loop).result(10)
        page.locator(".tile.s-completed .count", has_text="44").wait_for()

    # The charts are drawn on, not made anew.
    assert page.locator(".ch-completed canvas").get_attribute("data-kept") == "yes"


async def _noop(job) -> None: ...


def test_keys_lead_on(busy, visit) -> None:
    page = visit("/")

    page.keyboard.press("?")
    assert page.get_by_role("dialog").inner_text().startswith("Keyboard shortcuts")
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    page.keyboard.press("q")
    page.wait_for_url("**/queues")
    page.keyboard.press("j")
    assert page.evaluate("document.activeElement.tagName") == "TR"


def test_every_key_of_the_navigation_opens_its_page(site, visit) -> None:
    page = visit("/doctor")

    for entry in NAVIGATION:
        page.keyboard.press("g")
        page.keyboard.press(entry.key)
        page.wait_for_url(f"**{entry.path}")
        page.keyboard.press("?")
        expect(page.get_by_role("dialog")).to_contain_text("these shortcuts")
        page.keyboard.press("Escape")


def test_the_theme_is_kept(busy, visit) -> None:
    page = visit("/")
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)

    page.get_by_role("button", name="Switch between light and dark").click()
    dark = page.evaluate(ground)
    page.reload()

    assert light != dark == page.evaluate(ground)


def test_a_queue_is_paused_after_a_question(busy, visit) -> None:
    page = visit("/queues")

    page.get_by_role("button", name="Pause email").click()
    page.get_by_role("dialog").get_by_role("button", name="Pause").click()

    page.get_by_role("button", name="Resume email").wait_for()
    assert "Paused queue 'email'" in page.locator("#notice").inner_text()
    check_access(page)


def test_a_server_that_went_is_said(busy, contexts) -> None:
    from fix_web import FRESH, running

    from awa_cli.web import create_app
    from awa_cli.web.settings import Settings

    page = contexts().new_page()
    with running(create_app(busy.database_url, Settings(**FRESH))) as server:
        page.goto(server.url)
        page.locator("#updated", has_text="live").wait_for()
        assert page.locator("#lost").is_hidden()

    page.locator("#lost", has_text="The connection to the server is lost.").wait_for()
    # What was shown is still there to be read.
    assert page.locator(".tile").count() == 9
    page.close()


def test_a_lost_database_is_said_and_found_again(busy, visit) -> None:
    page = visit("/")
    page.locator("#updated", has_text="live").wait_for()

    lost = '{"what": "cannot reach the database", "why": "it is away"}'
    page.evaluate(
        """lost => document.dispatchEvent(new CustomEvent("htmx:sseOpen", {
        detail: {source: window.told = new EventTarget()}}))""",
        lost,
    )
    page.evaluate("lost => told.dispatchEvent(new MessageEvent('lost', {data: lost}))", lost)
    assert page.locator("#lost").inner_text() == "cannot reach the database: it is away. Retrying."
    check_access(page)
    page.evaluate("told.dispatchEvent(new MessageEvent('stats', {data: '{}'}))")

    assert page.locator("#lost").is_hidden()


COUNTED = """
const streams = window.streams = new Set();
window.EventSource = class extends EventSource {
  constructor(url) { super(url); streams.add(this); }
  close() { super.close(); streams.delete(this); }
};
window.look = (hidden) => {
  Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
};
"""


def test_a_hidden_page_rests_and_catches_up(busy, visit) -> None:
    """A browser keeps six connections to a server; forgotten tabs must not take them."""
    page = visit("/", before=COUNTED)
    page.wait_for_function("window.streams.size === 1")
    page.evaluate("look(true)")
    assert page.evaluate("window.streams.size") == 0

    with psycopg.connect(busy.database_url, autocommit=True) as conn:
        conn.execute(
            "INSERT INTO awa.scheduled_jobs (kind, queue, state, run_at)"
            " SELECT 'later', 'default', 'scheduled', now() + interval '1 day'"
            " FROM generate_series(1, 7)"
        )
    page.evaluate("look(false)")
    assert page.evaluate("window.streams.size") == 1
    page.locator(".tile.s-scheduled", has_text="7").wait_for()
