"""The doctor's findings in a browser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from fix_browser import check_access
from playwright.sync_api import expect


@pytest.fixture(scope="module")
def lonely(site) -> Callable[[str], None]:
    """A database with a job in a queue without workers; return what runs statements in it."""

    def ask(text: str) -> None:
        with psycopg.connect(site.database_url, autocommit=True) as conn:
            conn.execute(text)

    ask("INSERT INTO awa.jobs_hot (kind, queue, args) VALUES ('x', 'lonely', '{}')")
    ask("UPDATE awa.jobs_hot SET run_at = now() - interval '1 h'")
    return ask


def test_everybody_can_use_it(lonely, visit) -> None:
    check_access(visit("/doctor?all=true"))


def test_a_finding_has_the_command_that_mends_it(lonely, visit) -> None:
    page = visit("/doctor", permissions=["clipboard-read", "clipboard-write"])

    finding = page.locator(".finding", has_text="no worker works the queue lonely")
    expect(finding).to_contain_text("error")
    expect(finding.locator("pre")).to_have_text("awa worker MODULE:CLIENT --queue lonely")
    finding.get_by_role("button", name="Copy what to do about queues of lonely").click()
    expect(page.locator("#notice")).to_have_text("Copied.")
    assert (
        page.evaluate("navigator.clipboard.readText()") == "awa worker MODULE:CLIENT --queue lonely"
    )


def test_it_looks_again_and_says_that_it_does(lonely, visit) -> None:
    page = visit("/doctor")
    expect(page.locator(".finding", has_text="lonely")).to_have_count(1)
    expect(page.get_by_text("Running the checks")).to_be_hidden()
    lonely("UPDATE awa.jobs_hot SET queue = 'crowded' WHERE queue = 'lonely'")
    held: list[Any] = []

    def hold(route: Any) -> None:
        held.append(route)

    page.route("**/doctor", hold)

    page.get_by_role("link", name="Run again").click()
    expect(page.get_by_text("Running the checks")).to_be_visible()
    held[0].continue_()

    expect(page.locator(".finding", has_text="crowded")).to_have_count(1)
    expect(page.locator(".finding", has_text="lonely")).to_have_count(0)
    expect(page.get_by_text("Running the checks")).to_be_hidden()
    lonely("UPDATE awa.jobs_hot SET queue = 'lonely'")


def test_checks_that_found_nothing_are_shown_on_request(lonely, visit) -> None:
    page = visit("/doctor", java_script_enabled=False)
    expect(page.locator(".fine")).to_have_count(0)

    page.get_by_role("link", name="All checks").click()

    expect(page.locator(".fine", has_text="all migrations are applied")).to_have_count(1)
    expect(page.locator(".head .cli code")).to_have_text("awa doctor --all")
