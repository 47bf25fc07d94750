"""Values too large for a page: what is shown at once, and what is loaded as it is opened."""

from __future__ import annotations

import asyncio

from fix_browser import check_access, working
from fix_web import big, put_big
from playwright.sync_api import expect

import awa_lib as awa


def test_a_page_of_forty_thousand_objects_is_small_and_opens_them(site, visit) -> None:
    job_id = put_big(site.database_url, big(10_000))
    page = visit(f"/jobs/{job_id}")
    args = page.locator("section", has=page.locator("h2#args"))

    assert len(page.content()) < 200_000
    check_access(page)
    args.get_by_text("items 10,000 items").click()
    expect(args).to_contain_text("and 9,800 more")
    args.get_by_text("and 9,800 more").click()
    expect(args).to_contain_text("and 9,600 more")
    args.get_by_text("399 2 keys").click()
    expect(args).to_contain_text("s-399")
    args.get_by_text("~odd/key 1 key").click()
    expect(args).to_contain_text('end "here"')
    expect(args).to_contain_text("more characters")


def test_what_was_opened_stays_open_while_the_job_goes_on(site, visit) -> None:
    async def handler(job) -> None:
        job.set_progress(10, "begun")
        await job.flush_progress()
        while not job.is_cancelled():
            await asyncio.sleep(0.05)

    register = lambda client: client.task(dict, kind="long", queue="long")(handler)  # noqa: E731
    with awa.Client(site.database_url) as client:
        job = client.insert({"items": [{"n": n} for n in range(1_000)]}, kind="long", queue="long")
        page = visit(f"/jobs/{job.id}")
        page.get_by_text("items 1,000 items").click()
        page.get_by_text("7 1 key", exact=True).click()
        with working(site.database_url, register, ("long", 1)):
            expect(page.get_by_role("progressbar")).to_have_attribute("value", "10")
            expect(page.locator("details[open]", has_text="items").first).to_be_visible()
            expect(page.get_by_text("7 1 key", exact=True)).to_be_visible()
            client.cancel(job.id)


def test_it_can_be_read_without_javascript(site, contexts) -> None:
    job_id = put_big(site.database_url, big())
    page = contexts(java_script_enabled=False).new_page()
    page.goto(f"/jobs/{job_id}")

    page.get_by_text("items 1,000 items").click()
    member = page.locator("details", has=page.get_by_text("150 2 keys", exact=True)).last
    member.locator("summary").first.click()
    member.get_by_role("link", name="Show").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("args/items/150")
    expect(page.locator("main")).to_contain_text('sku "s-150"')
    page.goto(f"/jobs/{job_id}?value=args&at=/items")
    page.get_by_role("link", name="and 800 more").click()
    expect(page.locator("main")).to_contain_text('sku "s-240"')
    page.close()
