"""Names that are very long, or that a browser would take for something else."""

from __future__ import annotations

import asyncio

import psycopg
import pytest
from playwright.sync_api import expect

import awa_lib as awa
from awa_cli.web.path_names import step

LONG = "n" * 200
ODD = ["..", ".", "a/b", "two\nlines", "a/pause", "~2e2e", "50%?#é"]


@pytest.fixture(scope="module")
def named(site):
    """Jobs of queues and kinds with such names; one has failed."""

    async def put() -> None:
        async with awa.AsyncClient(site.database_url) as client:
            for name in [LONG, *ODD]:
                await client.enqueue({}, kind="odd", queue=name)
            await client.enqueue({}, kind=LONG, queue=LONG)

    asyncio.run(put())
    with psycopg.connect(site.database_url, autocommit=True) as conn:
        conn.execute(
            "UPDATE awa.jobs_hot SET state = 'failed', finalized_at = now(), attempt = 1, "
            "errors = ARRAY[jsonb_build_object('attempt', 1, 'error', repeat('e', 300))] "
            "WHERE kind = %s",
            [LONG],
        )
    return site


@pytest.mark.parametrize("name", ODD)
def test_a_queue_of_any_name_has_a_page_and_buttons(named, visit, name) -> None:
    page = visit(f"/queues/{step(name)}")
    expect(page.locator("h1")).to_contain_text(name.partition("\n")[2] or name)
    page.locator('button[data-verb="Pause"]').click()
    page.locator("#ask-yes").click()
    expect(page.locator(".subject")).to_contain_text("paused")


def test_the_link_of_a_list_leads_to_a_name_of_dots(named, visit) -> None:
    page = visit("/queues")
    page.get_by_role("link", name="..", exact=True).click()
    expect(page.locator("h1")).to_have_text("..")


@pytest.mark.parametrize(("size", "theme"), [("phone", "dark"), ("desktop", "light")])
def test_a_long_name_leaves_room_for_the_columns_beside_it(named, visit, size, theme) -> None:
    # Six at most: each keeps a live stream, of which a browser has six.
    paths = ("/", "/jobs", "/queues", "/kinds", f"/queues/{LONG}", f"/kinds/{LONG}")
    for path in paths:
        page = visit(path, size=size, theme=theme)
        found = page.evaluate(
            """() => ({
              page: document.documentElement.scrollWidth - innerWidth,
              cells: [...document.querySelectorAll("td")].map((one) => one.offsetWidth),
            })"""
        )
        assert found["page"] <= 0, path
        if size == "phone":
            assert max(found["cells"], default=0) <= 260, path


def test_the_whole_of_a_long_name_is_in_its_title(named, visit) -> None:
    page = visit("/queues", size="phone")
    expect(page.locator(f'td[title="{LONG}"]')).to_have_count(1)
