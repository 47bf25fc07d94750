"""The storage transition in a browser."""

from __future__ import annotations

from typing import Any

import psycopg
from fix_browser import check_access
from playwright.sync_api import expect


def transition(site) -> tuple[Any, ...] | None:
    with psycopg.connect(site.database_url) as conn:
        return conn.execute(
            "SELECT state, prepared_engine FROM awa.storage_transition_state"
        ).fetchone()


def test_everybody_can_use_it(visit) -> None:
    check_access(visit("/storage"))


def test_an_engine_is_noted_and_forgotten(site, visit) -> None:
    page = visit("/storage")
    now = page.locator("[aria-current=step]")
    expect(now).to_contain_text("Canonical")
    expect(page.get_by_role("button", name="Abort")).to_have_count(0)

    page.get_by_role("button", name="Prepare").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("no job moves, and abort undoes it")
    dialog.get_by_label("Engine").fill("canonical")
    dialog.get_by_role("button", name="Prepare").click()
    expect(dialog.get_by_role("alert")).to_contain_text(
        'storage engine "canonical" is already active'
    )
    dialog.get_by_label("Engine").fill("queue_storage")
    dialog.get_by_role("button", name="Prepare").click()
    expect(now).to_contain_text("Prepared")
    expect(now).to_contain_text("Abort undoes it")
    assert ("prepared", "queue_storage") == transition(site)

    page.get_by_role("button", name="Abort the transition").click()
    page.get_by_role("dialog").get_by_role("button", name="Abort").click()
    expect(now).to_contain_text("Canonical")
    assert ("canonical", None) == transition(site)
    page.goto("/audit?action=storage")
    expect(page.locator("tbody tr")).to_have_count(2)
