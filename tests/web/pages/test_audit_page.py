"""The audit log in a browser."""

from __future__ import annotations

import psycopg
import pytest
from fix_browser import check_access
from playwright.sync_api import expect

WRITTEN = """
INSERT INTO awa.audit_log (actor, via, action, target, detail)
SELECT CASE WHEN n %% 2 = 0 THEN 'ada' ELSE 'bob' END, 'cli', %s, %s || n, '{"why": "because"}'
FROM generate_series(1, %s) AS n
"""


@pytest.fixture(scope="module")
def entries(site) -> None:
    with psycopg.connect(site.database_url, autocommit=True) as conn:
        conn.execute(WRITTEN, ("job.retry", "7", 60))
        conn.execute(WRITTEN, ("queue.pause", "mail", 2))


def test_everybody_can_use_it(entries, visit) -> None:
    check_access(visit("/audit"))


def test_pages_lead_on_and_back_to_the_newest(entries, visit) -> None:
    page = visit("/audit?action=job")
    expect(page.locator("tbody tr")).to_have_count(50)

    page.get_by_role("link", name="Older").click()
    expect(page.locator("tbody tr")).to_have_count(10)
    page.get_by_role("link", name="Newest").click()
    page.wait_for_url("**/audit?action=job")


def test_filters_narrow_and_links_lead_to_what_was_changed(entries, visit) -> None:
    page = visit("/audit")

    page.keyboard.press("/")
    page.keyboard.type("ada")
    page.get_by_label("Action", exact=True).fill("queue")
    page.get_by_label("Since").fill("1h")
    page.keyboard.press("Enter")
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.locator("tbody tr")).to_contain_text('{"why": "because"}')
    expect(page.locator(".head .cli code")).to_have_text(
        "awa audit --actor ada --action queue --since 1h"
    )
    expect(page.get_by_role("link", name="mail2")).to_have_attribute("href", "/queues/mail2")
    page.goto("/audit?target=71")
    expect(page.get_by_role("link", name="71", exact=True)).to_have_attribute("href", "/jobs/71")


@pytest.mark.parametrize("query", ["since=yesterday", "action=NO", "before_id=x"])
def test_an_unusable_value_is_said_in_place(entries, visit, query) -> None:
    page = visit(f"/audit?{query}")

    expect(page.get_by_role("alert").last).to_contain_text(query.partition("=")[0])
