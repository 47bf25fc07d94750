"""Bulk operations in a browser: carried out by a real leader, stopped by a button."""

from __future__ import annotations

import psycopg
import pytest
from fix_browser import check_access, working
from fix_worker import Noop
from playwright.sync_api import expect

import awa_lib as awa


@pytest.fixture(scope="module")
def shop(site):
    """Jobs that wait in queues that nobody works."""
    with psycopg.connect(site.database_url, autocommit=True) as conn:
        conn.execute(
            "INSERT INTO awa.jobs_hot (kind, queue, args)"
            " SELECT 'sell', 'shop', '{}' FROM generate_series(1, 1200)"
        )
    return site


@pytest.fixture
def submit(shop):
    """Submit a move of all jobs of the shop to another queue; returns its id."""

    def submit(to_queue: str) -> str:
        with awa.Client(shop.database_url) as client:
            return client.submit_bulk_operation(
                "move_queue", to_queue=to_queue, kind="sell", submitted_by="ada"
            ).id

    return submit


def test_everybody_can_use_it(submit, visit) -> None:
    one = submit("desk")
    page = visit("/batches")

    check_access(page)
    page.goto(f"/batches/{one}")
    check_access(page)


def test_one_says_in_words_what_it_does(submit, visit) -> None:
    one = submit("cellar")
    page = visit("/batches")

    row = page.locator("tbody tr", has_text="move to queue cellar")
    expect(row).to_contain_text("jobs of kind sell")
    expect(row).to_contain_text("0 of 1,200")
    row.get_by_role("link").click()
    page.wait_for_url(f"**/batches/{one}")
    expect(page.get_by_role("heading", level=1)).to_have_text(
        "Move to queue cellar: jobs of kind sell"
    )
    expect(page.locator(".note")).to_contain_text(f"awa batch run {one}")
    page.get_by_role("link", name="list the matching jobs").click()
    page.wait_for_url("**/jobs?kind=sell")


@pytest.mark.parametrize("where", ["list", "page"])
def test_one_is_stopped(shop, submit, visit, where) -> None:
    one = submit(f"attic-{where}")
    page = visit("/batches" if where == "list" else f"/batches/{one}")

    page.get_by_role("button", name=f"Stop move to queue attic-{where}").click()
    page.get_by_role("dialog").get_by_role("button", name="Stop").click()

    box = (
        page.locator("tbody tr", has_text=f"attic-{where}")
        if where == "list"
        else page.locator("#bulk-operation")
    )
    expect(box.locator(".badge")).to_contain_text("cancelled")
    expect(page.locator("#notice")).to_contain_text("Stopped bulk operation")
    with awa.Client(shop.database_url) as client:
        assert client.get_bulk_operation(one).state == "cancelled"


def test_it_is_followed_to_its_end(shop, submit, visit) -> None:
    one = submit("roof")
    page = visit(f"/batches/{one}")
    expect(page.locator(".badge")).to_contain_text("pending")

    with working(
        shop.database_url, lambda client: client.task(Noop, queue="idle")(_noop), ("idle", 1)
    ):
        expect(page.locator(".badge")).to_contain_text("completed", timeout=15_000)

    expect(page.locator(".progress")).to_contain_text("100% 1,200 of 1,200 jobs changed")
    expect(page.get_by_role("button", name="Stop")).to_have_count(0)
    expect(page.locator(".facts")).to_contain_text("took")


async def _noop(job) -> None: ...


def test_states_filter(submit, visit) -> None:
    page = visit("/batches?state=failed")

    expect(page.locator("main")).to_contain_text("No bulk operations in this state.")
    page.get_by_role("combobox", name="State").select_option("cancelled")
    page.get_by_role("button", name="Filter").click()
    page.wait_for_url("**/batches?state=cancelled")
    expect(page.locator(".head .cli code")).to_have_text("awa batch list --state cancelled")
    page.goto("/batches?state=ended")
    expect(page.get_by_role("alert").last).to_contain_text("state")


def test_an_unknown_one_is_a_page(shop, visit) -> None:
    page = visit("/batches/00000000-0000-0000-0000-000000000000")

    expect(page.locator(".problem")).to_contain_text("404")
    page.goto("/batches/nonsense")
    expect(page.locator(".problem .code")).to_contain_text("422")
