"""Dead letters in a browser: the list, one of them, retry and purge of one, of some, of all."""

from __future__ import annotations

import re
from functools import partial
from operator import ne
from typing import Any

import psycopg
import pytest
from fix_browser import check_access
from playwright.sync_api import expect

import awa_lib as awa

FILL = """
INSERT INTO awa.jobs_hot (kind, queue, state, attempt, max_attempts, args, finalized_at, errors, tags)
SELECT %(kind)s, %(queue)s, 'failed', 2, 2, jsonb_build_object('n', n), now(),
       ARRAY['{"error": "no paper", "attempt": 1, "at": "2026-01-02T03:04:05Z"}'::jsonb,
             '{"error": "ValueError: jam\\n  File \\"/srv/print.py\\", line 7, in feed\\n    pull()", "attempt": 2}'],
       '{desk-1}'
FROM generate_series(1, %(count)s) AS n RETURNING id
"""


class Office:
    """A server whose database can be given dead letters."""

    def __init__(self, url: str) -> None:
        self.url = url

    def die(self, kind: str, count: int = 1, queue: str = "print") -> list[int]:
        with psycopg.connect(self.url, autocommit=True) as conn:
            rows = conn.execute(FILL, {"kind": kind, "queue": queue, "count": count}).fetchall()
        with awa.Client(self.url) as client:
            client.bulk_move_failed_to_dlq(kind=kind, reason="given up")
        return [row[0] for row in rows]

    def ask(self, text: str, *values: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url, autocommit=True) as conn:
            return conn.execute(text, values).fetchall()

    def dead(self, kind: str) -> int:
        with awa.Client(self.url) as client:
            return len(client.list_dlq(kind=kind, limit=200))

    def states(self, kind: str) -> list[str]:
        return [
            row[0] for row in self.ask("SELECT state::text FROM awa.jobs WHERE kind = %s", kind)
        ]

    def noted(self, action: str) -> list[str]:
        rows = self.ask(
            "SELECT target FROM awa.audit_log WHERE action = %s AND via = 'web'", action
        )
        return [row[0] for row in rows]


@pytest.fixture(scope="module")
def office(site) -> Office:
    office = Office(site.database_url)
    office.die("old", 120)
    return office


def agree(page: Any, verb: str) -> str:
    """Answer the dialog with its verb, wait until it was done, and return what was said."""
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name=verb, exact=True).click()
    dialog.wait_for(state="hidden")
    return page.locator("#notice.shown").inner_text()


def test_everybody_can_use_it(office, visit) -> None:
    (one,) = office.die("seen")
    page = visit("/dlq")
    page.locator("[data-all]").check()

    check_access(page)
    page.goto(f"/dlq/{one}")
    check_access(page)


def test_pages_lead_on_and_back_to_the_newest(office, visit) -> None:
    page = visit("/dlq?kind=old")
    seen = set()
    for count in (50, 50, 20):
        expect(page.locator("tbody tr")).to_have_count(count)
        ids = page.locator("tbody tr").evaluate_all("rows => rows.map((one) => one.dataset.key)")
        seen |= set(ids)
        if count == 50:
            elsewhere = partial(ne, page.url)
            page.get_by_role("link", name="Older").click()
            page.wait_for_url(elsewhere)

    assert len(seen) == 120
    expect(page.get_by_role("link", name="Older")).to_have_count(0)
    page.get_by_role("link", name="Newest").click()
    page.wait_for_url("**/dlq?kind=old")


def test_a_filter_is_typed_and_said_as_a_command(office, visit) -> None:
    office.die("fax", 2, queue="fax machine")
    page = visit("/dlq")

    page.keyboard.press("/")
    page.keyboard.type("fax")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/dlq\?kind=fax"))
    expect(page.locator("tbody tr")).to_have_count(2)
    page.get_by_role("navigation", name="Queues").get_by_role("link", name="fax machine").click()
    expect(page.locator(".head .cli code")).to_have_text(
        "awa dlq list --kind fax --queue 'fax machine'"
    )
    expect(page.locator("tbody tr")).to_have_count(2)


def test_an_unusable_value_is_said_in_place(office, visit) -> None:
    page = visit("/dlq?before_id=x")

    expect(page.get_by_role("alert").last).to_contain_text("before_id must be an integer")
    page.goto("/dlq?knd=old")
    expect(page.locator("main")).to_contain_text("there is no parameter 'knd'")


def test_one_tells_why_it_died(office, visit) -> None:
    (one,) = office.die("told")
    page = visit("/dlq?kind=told")

    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/dlq/{one}")

    expect(page.locator("main")).to_contain_text("given up")
    expect(page.locator("main")).to_contain_text("2 of 2 attempts")
    expect(page.locator(".t-file")).to_have_text("/srv/print.py")
    page.get_by_text("Attempt 1").click()
    expect(page.locator("#attempt-2 pre")).to_contain_text("no paper")
    expect(page.locator("#attempt-2 time")).to_have_attribute(
        "datetime", "2026-01-02T03:04:05+00:00"
    )
    expect(page.locator(".json").first).to_contain_text("n 1")


def test_one_is_retried_and_followed(office, visit) -> None:
    (one,) = office.die("again")
    page = visit(f"/dlq/{one}")

    page.get_by_role("button", name="Retry dead letter").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text(f"Retry dead letter {one} (again)?")
    dialog.get_by_role("button", name="Retry").click()
    page.wait_for_url(f"**/jobs/{one}")

    assert ["available"] == office.states("again")
    assert str(one) in office.noted("dlq.retry")


def test_one_is_purged_after_a_warning(office, visit) -> None:
    (one,) = office.die("waste")
    page = visit(f"/dlq/{one}")

    page.get_by_role("button", name="Purge dead letter").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("This cannot be undone.")
    page.keyboard.press("Enter")
    dialog.wait_for(state="hidden")
    assert 1 == office.dead("waste")
    page.get_by_role("button", name="Purge dead letter").click()
    dialog.get_by_role("button", name="Purge").click()
    page.wait_for_url("**/dlq")

    assert 0 == office.dead("waste")
    assert str(one) in office.noted("dlq.purge")
    page.goto(f"/dlq/{one}")
    expect(page.locator("main")).to_contain_text("no dead letter has this id")


@pytest.mark.parametrize(("verb", "said"), [("Retry", "Retried"), ("Purge", "Purged")])
def test_ticked_ones_are_changed(office, visit, verb, said) -> None:
    kind = f"ticked-{verb}"
    ids = office.die(kind, 3)
    page = visit(f"/dlq?kind={kind}")
    for one in ids[:2]:
        page.get_by_role("checkbox", name=f"Tick {one}").check()
    bar = page.get_by_role("group", name="Change the ticked dead letters")
    expect(bar).to_contain_text("2 ticked")
    bar.get_by_role("button", name=verb).click()
    expect(page.get_by_role("dialog")).to_contain_text("2 dead letters")
    # One goes meanwhile: the other is changed all the same.
    with awa.Client(office.url) as client:
        client.purge_dlq_job(ids[0])

    assert agree(page, verb).startswith(f"{said} 1 dead letter; 1 refused: ")
    expect(page.locator("tbody tr")).to_have_count(1)
    assert office.states(kind) == (["available"] if verb == "Retry" else [])


@pytest.mark.parametrize(("verb", "said"), [("Retry", "Retried"), ("Purge", "Purged")])
def test_all_that_fit_are_changed_after_a_look(office, visit, verb, said) -> None:
    kind = f"all-{verb}"
    office.die(kind, 12)
    page = visit(f"/dlq?kind={kind}")

    page.get_by_text("All matching", exact=True).click()
    page.get_by_role("button", name=f"{verb} all").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("12 dead letters")
    expect(dialog).to_contain_text(f"All with kind {kind}.")
    expect(dialog).to_contain_text("and 2 more.")
    check_access(page)

    assert agree(page, verb) == f"{said} 12 dead letters"
    expect(page.locator("main")).to_contain_text("No dead letters match.")
    assert office.dead("old") == 120
    assert len(office.states(kind)) == (12 if verb == "Retry" else 0)


def test_nothing_that_fits_is_said_so(office, visit) -> None:
    page = visit("/dlq?kind=none")

    page.get_by_text("All matching", exact=True).click()
    page.get_by_role("button", name="Retry all").click()

    expect(page.get_by_role("dialog")).to_contain_text("no dead letter matches")
    expect(page.get_by_role("dialog").get_by_role("button")).to_have_count(1)


def test_a_new_one_comes_by_itself(office, visit) -> None:
    page = visit("/dlq?kind=fresh")
    expect(page.locator("main")).to_contain_text("No dead letters match.")

    (one,) = office.die("fresh")
    # What counts by state changed too, which is what the page listens to.
    office.ask("INSERT INTO awa.jobs_hot (kind, queue, args) VALUES ('x', 'y', '{}') RETURNING id")

    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.locator("tbody tr")).to_contain_text(str(one))


def test_it_reads_well_without_scripts(office, visit) -> None:
    page = visit("/dlq?kind=old", java_script_enabled=False)

    expect(page.locator("tbody tr")).to_have_count(50)
    assert 1 == page.locator("button:visible").count()
    page.get_by_role("link", name="Older").click()
    expect(page.locator("tbody tr")).to_have_count(50)
