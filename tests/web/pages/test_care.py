"""Doctor, storage and audit log in a browser."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from fix_browser import check_access
from playwright.sync_api import expect

from awa_cli.web.pages.navigation import PLACES

WRITTEN = """
INSERT INTO awa.audit_log (actor, via, action, target, detail)
SELECT CASE WHEN n %% 2 = 0 THEN 'ada' ELSE 'bob' END, 'cli', %s, %s || n, '{"why": "because"}'
FROM generate_series(1, %s) AS n
"""


class House:
    """The database of the server."""

    def __init__(self, url: str) -> None:
        self.url = url

    def ask(self, text: str, *values: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url, autocommit=True) as conn:
            found = conn.execute(text, values)
            return found.fetchall() if found.description else []

    def storage(self) -> tuple[Any, ...]:
        return self.ask("SELECT state, prepared_engine FROM awa.storage_transition_state")[0]


@pytest.fixture(scope="module")
def house(site) -> House:
    house = House(site.database_url)
    house.ask("INSERT INTO awa.jobs_hot (kind, queue, args) VALUES ('x', 'lonely', '{}')")
    house.ask("UPDATE awa.jobs_hot SET run_at = now() - interval '1 h'")
    house.ask(WRITTEN, "job.retry", "7", 60)
    house.ask(WRITTEN, "queue.pause", "mail", 2)
    return house


@pytest.mark.parametrize("path", ["/doctor?all=true", "/storage", "/audit"])
def test_everybody_can_use_it(house, visit, path) -> None:
    check_access(visit(path))


# The doctor


def test_a_finding_has_the_command_that_mends_it(house, visit) -> None:
    page = visit("/doctor", permissions=["clipboard-read", "clipboard-write"])

    finding = page.locator(".finding", has_text="no worker works the queue lonely")
    expect(finding).to_contain_text("error")
    expect(finding.locator("pre")).to_have_text("awa worker MODULE:CLIENT --queue lonely")
    finding.get_by_role("button", name="Copy what to do about queues of lonely").click()
    expect(page.locator("#said")).to_have_text("Copied.")
    assert (
        page.evaluate("navigator.clipboard.readText()") == "awa worker MODULE:CLIENT --queue lonely"
    )


def test_it_looks_again_and_says_that_it_does(house, visit) -> None:
    page = visit("/doctor")
    expect(page.locator(".finding", has_text="lonely")).to_have_count(1)
    expect(page.get_by_text("Every table is looked at")).to_be_hidden()
    house.ask("UPDATE awa.jobs_hot SET queue = 'crowded' WHERE queue = 'lonely'")
    held: list[Any] = []
    page.route("**/doctor", lambda route: held.append(route))  # noqa: PLW0108 - it looks at what it is given

    page.get_by_role("link", name="Look again").click()
    expect(page.get_by_text("Every table is looked at")).to_be_visible()
    held[0].continue_()

    expect(page.locator(".finding", has_text="crowded")).to_have_count(1)
    expect(page.locator(".finding", has_text="lonely")).to_have_count(0)
    expect(page.get_by_text("Every table is looked at")).to_be_hidden()
    house.ask("UPDATE awa.jobs_hot SET queue = 'lonely'")


def test_checks_that_found_nothing_are_shown_on_request(house, visit) -> None:
    page = visit("/doctor", java_script_enabled=False)
    expect(page.locator(".fine")).to_have_count(0)

    page.get_by_role("link", name="All checks").click()

    expect(page.locator(".fine", has_text="all migrations are applied")).to_have_count(1)
    expect(page.locator(".head .cli code")).to_have_text("awa doctor --all")


# Storage


def test_an_engine_is_noted_and_forgotten(house, visit) -> None:
    page = visit("/storage")
    now = page.locator("[aria-current=step]")
    expect(now).to_contain_text("Canonical")
    expect(page.get_by_role("button", name="Abort")).to_have_count(0)

    page.get_by_role("button", name="Prepare").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("jobs go on as before, and abort forgets it again")
    dialog.get_by_label("Engine").fill("canonical")
    dialog.get_by_role("button", name="Prepare").click()
    expect(dialog.get_by_role("alert")).to_contain_text(
        'storage engine "canonical" is already active'
    )
    dialog.get_by_label("Engine").fill("queue_storage")
    dialog.get_by_role("button", name="Prepare").click()
    expect(now).to_contain_text("Prepared")
    expect(now).to_contain_text("Can be taken back")
    assert ("prepared", "queue_storage") == house.storage()

    page.get_by_role("button", name="Abort the transition").click()
    page.get_by_role("dialog").get_by_role("button", name="Abort").click()
    expect(now).to_contain_text("Canonical")
    assert ("canonical", None) == house.storage()
    page.goto("/audit?action=storage")
    expect(page.locator("tbody tr")).to_have_count(2)


# The audit log


def test_pages_lead_on_and_back_to_the_newest(house, visit) -> None:
    page = visit("/audit?action=job")
    expect(page.locator("tbody tr")).to_have_count(50)

    page.get_by_role("link", name="Older").click()
    expect(page.locator("tbody tr")).to_have_count(10)
    page.get_by_role("link", name="Newest").click()
    page.wait_for_url("**/audit?action=job")


def test_filters_narrow_and_links_lead_to_what_was_changed(house, visit) -> None:
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
def test_an_unusable_value_is_said_in_place(house, visit, query) -> None:
    page = visit(f"/audit?{query}")

    expect(page.get_by_role("alert").last).to_contain_text(query.partition("=")[0])


# Keys


def test_keys_lead_to_every_one_of_these_pages(house, visit) -> None:
    page = visit("/doctor")

    for place in PLACES:
        if place.id in {"dlq", "batches", "storage", "doctor", "audit"}:
            page.keyboard.press("g")
            page.keyboard.press(place.key)
            page.wait_for_url(f"**{place.path}")
            page.keyboard.press("?")
            expect(page.get_by_role("dialog")).to_contain_text("these keys")
            page.keyboard.press("Escape")
