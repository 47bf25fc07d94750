"""Failures in a browser: the list, one of them, its retry and its mute."""

from __future__ import annotations

import psycopg
import pytest
from fix_browser import check_access
from playwright.sync_api import expect
from psycopg.types.json import Jsonb

from awa_lib.db.drive import run
from awa_lib.ops.failures import EndCount, Sighting, count_ends
from awa_lib.telemetry.failures import Group

DOWN = Group.build("shop.MailDown", "mail server 'mx1' is down", ("shop/mail.py send",))
RARE = Group.build("shop.Rare", "a rare thing", ("shop/rare.py do",))


@pytest.fixture(scope="module")
def failing(site):
    with psycopg.connect(site.database_url, autocommit=True) as conn:
        for group, count in ((DOWN, 40), (RARE, 1)):
            text = group.message.replace("...", "mx1")
            error = Jsonb({"error": text, "attempt": 1, "failure": group.id})
            conn.execute(
                "INSERT INTO awa.jobs_hot (kind, queue, state, attempt, args, finalized_at, errors)"
                " SELECT 'send', 'mail', 'failed', 1, '{}', now(), ARRAY[%s]::jsonb[]"
                " FROM generate_series(1, %s)",
                [error, count],
            )
            ends = [EndCount(0, "mail", "send", "failed", group.id, count)]
            run(conn, count_ends(ends, [Sighting(group, "send", 1)]))
    return site


def test_everybody_can_use_it(failing, visit) -> None:
    page = visit("/failures")
    check_access(page)
    page.goto(f"/failures/{DOWN.id}")
    page.wait_for_selector(".plot canvas")
    check_access(page)


def test_a_failure_leads_to_its_jobs_and_is_retried(failing, visit) -> None:
    page = visit("/")
    page.get_by_role("link", name="MailDown mail server").click()
    page.wait_for_url(f"**/failures/{DOWN.id}")
    expect(page.locator("h1")).to_have_text("MailDown: mail server '...' is down")
    expect(page.get_by_role("region", name="Latest jobs").locator("tbody tr")).to_have_count(10)
    expect(page.locator(".facts")).to_contain_text("mail server 'mx1' is down")

    page.get_by_role("button", name="Retry the jobs of MailDown").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("heading")).to_have_text("Retry 40 failed jobs?")
    check_access(page)
    dialog.get_by_role("button", name="Retry", exact=True).click()
    expect(page.locator("#notice.shown")).to_contain_text("Retrying 40 failed jobs")
    page.get_by_role("link", name="Jobs", exact=True).last.click()
    page.wait_for_url(f"**/jobs?failure={DOWN.id}")


def test_a_failure_is_muted_and_its_badge_goes(failing, visit) -> None:
    page = visit("/failures")
    badge = page.locator("[data-badge=failures]")
    expect(badge).to_have_text("2")

    page.get_by_role("button", name="Mute Rare").click()
    page.get_by_role("dialog").get_by_role("button", name="Mute").click()

    page.get_by_role("link", name="Rare").wait_for(state="detached")
    expect(badge).to_have_text("1")
    page.get_by_role("link", name="Show muted failures").click()
    page.get_by_role("button", name="Unmute Rare").click()
    page.get_by_role("dialog").get_by_role("button", name="Unmute").click()
    expect(badge).to_have_text("2")
