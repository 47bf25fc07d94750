"""The list of jobs in a browser, with a worker that does what is asked for."""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest
from fix_browser import check_access, working
from fix_wait import eventually
from fix_worker import Noop
from playwright.sync_api import expect

FILL = """
INSERT INTO awa.jobs_hot (kind, queue, state, attempt, args, run_at, attempted_at, finalized_at, errors, tags)
SELECT CASE WHEN n <= 120 THEN 'old' ELSE 'noop' END, 'shelf', 'failed', 1,
       jsonb_build_object('n', n), now(), now(), now() - n * interval '1 min',
       ARRAY['{"error": "no paper", "attempt": 1}'::jsonb], '{}'
FROM generate_series(1, 126) AS n
"""


@pytest.fixture(scope="module")
def shelf(site):
    """A shelf of failed jobs, and a worker of queue ``desk``."""
    with psycopg.connect(site.database_url, autocommit=True) as conn:
        conn.execute(FILL)

    async def handler(job) -> None: ...

    with working(
        site.database_url, lambda client: client.task(Noop, queue="desk")(handler), ("desk", 2)
    ):
        yield site


class Table:
    """The database, as a test asks it."""

    def __init__(self, url: str) -> None:
        self.url = url

    def ask(self, text: str, *values: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url, autocommit=True) as conn:
            return conn.execute(text, values).fetchall()

    def add(self, state: str = "failed", **columns: Any) -> int:
        given = {
            "kind": "noop",
            "queue": "desk",
            "state": state,
            "attempt": 1,
            "args": "{}",
            **columns,
        }
        if state in {"failed", "cancelled", "completed"}:
            given["finalized_at"] = "now"
        names, holes = ", ".join(given), ", ".join(["%s"] * len(given))
        table = "scheduled_jobs" if state in {"scheduled", "retryable"} else "jobs_hot"
        text = f"INSERT INTO awa.{table} ({names}) VALUES ({holes}) RETURNING id"
        return self.ask(text, *given.values())[0][0]

    def state(self, job_id: int) -> str | None:
        found = self.ask("SELECT state::text FROM awa.jobs WHERE id = %s", job_id)
        return found[0][0] if found else None


@pytest.fixture
def table(shelf) -> Table:
    return Table(shelf.database_url)


def tick(page, *ids: int) -> None:
    for job_id in ids:
        page.get_by_role("checkbox", name=f"Tick {job_id}", exact=True).check()


def agree(page, verb: str) -> str:
    """Answer the dialog with its verb, wait until it was done, and return what was said."""
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name=verb, exact=True).click()
    dialog.wait_for(state="hidden")
    return page.locator("#notice.shown").inner_text()


def bar(page):
    return page.get_by_role("group", name="Change the ticked jobs")


def test_everybody_can_use_it(shelf, visit) -> None:
    page = visit("/jobs?limit=3")
    page.locator("[data-all]").check()

    check_access(page)
    page.get_by_text("Columns", exact=True).click()
    page.goto("/jobs?state=nope")
    check_access(page)


def test_a_filter_is_typed_completed_and_shared(shelf, visit) -> None:
    page = visit("/jobs")

    page.keyboard.press("/")
    page.keyboard.type("kind:ol")
    expect(page.locator("#filter-words option")).to_have_attribute("value", "kind:old")
    page.keyboard.type("d args.n=7")
    page.keyboard.press("Enter")
    page.wait_for_url("**/jobs?kind=old&where=args.n%3D7")

    expect(page.locator("main tbody tr")).to_have_count(1)
    assert page.locator(
        ".cli code"
    ).first.inner_text() == "$ awa job list --kind old --where args.n=7".removeprefix("$ ")
    assert page.locator("[data-filter]").input_value() == "kind:old args.n=7"


def test_a_wrong_filter_says_what_to_write(shelf, visit) -> None:
    page = visit("/jobs")

    page.locator("[data-filter]").fill("stat:failed")
    page.keyboard.press("Enter")

    expect(page.locator("#filter-problem")).to_contain_text("did you mean: state:failed")
    assert page.locator("[data-filter]").input_value() == "stat:failed"


def test_pages_lead_there_and_back(shelf, visit) -> None:
    page = visit("/jobs?kind=old&state=failed")
    first = page.locator("main tbody tr").first.inner_text()

    page.get_by_role("link", name="Older").click()
    page.get_by_role("link", name="Older").click()
    expect(page.locator("main tbody tr")).to_have_count(20)
    expect(page.get_by_role("link", name="Older")).to_have_count(0)
    page.get_by_role("link", name="Newer").click()
    page.get_by_role("link", name="Newer").click()

    expect(page.locator("main tbody tr")).to_have_count(50)
    assert page.locator("main tbody tr").first.inner_text() == first
    expect(page.get_by_role("link", name="Newer")).to_have_count(0)


def test_states_columns_and_orders_are_chosen(shelf, visit) -> None:
    page = visit("/jobs")

    page.locator(".chip", has_text="failed").click()
    page.wait_for_url("**/jobs?state=failed")
    page.get_by_text("Columns", exact=True).click()
    page.get_by_label("Args").check()
    page.get_by_label("Note").uncheck()
    page.get_by_role("button", name="Apply").click()
    titles = page.locator("main thead th").all_inner_texts()
    page.get_by_role("link", name="WHEN").click()
    page.get_by_role("link", name="WHEN").click()
    page.wait_for_url("**&sort=finalized_at")

    assert "ARGS" in titles
    assert "NOTE" not in titles
    # The one that failed first.
    expect(page.locator("main tbody tr").first).to_contain_text('{"n": 126}')
    expect(page.locator("th[aria-sort=ascending]")).to_have_text("WHEN")


def test_the_ticked_jobs_are_run_again(table, visit) -> None:
    ids = [table.add(), table.add(), table.add("completed")]
    page = visit("/jobs?queue=desk&kind=noop")

    tick(page, *ids)
    expect(page.locator("[data-ticked]")).to_have_text("3 ticked")
    bar(page).get_by_role("button", name="Retry").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Retry 2 jobs?")
    expect(dialog).to_contain_text("2 of 3 ticked jobs can be changed.")
    expect(dialog.locator(".by-state")).to_have_text("2 failed")

    assert agree(page, "Retry") == "Retried 2 jobs"
    eventually(lambda: [table.state(one) for one in ids] == ["completed"] * 3)
    expect(bar(page)).to_be_hidden()
    audited = table.ask("SELECT action, via FROM awa.audit_log ORDER BY id DESC LIMIT 2")
    assert audited == [("job.retry", "web")] * 2


def test_ticks_stay_while_the_list_goes_on(table, visit) -> None:
    job_id = table.add()
    page = visit("/jobs?state=failed&limit=5")
    tick(page, job_id)

    new = [table.add() for _ in range(6)]
    page.locator(f"tr[data-key='{new[-1]}']").wait_for()

    expect(page.locator(f"tr[data-key='{job_id}']")).to_have_count(0)
    expect(page.locator("[data-ticked]")).to_have_text("1 ticked")
    bar(page).get_by_role("button", name="Discard").click()
    expect(page.get_by_role("dialog")).to_contain_text(f"Job {job_id}. This cannot be undone.")
    assert agree(page, "Discard") == "Discarded 1 job"
    assert table.state(job_id) is None
    assert table.state(new[0]) == "failed"


@pytest.mark.parametrize(
    ("verb", "label", "value", "column", "said"),
    [
        ("Set priority", "Priority", "4", "priority", "Gave 2 jobs priority 4"),
        ("Move", "To queue", "other", "queue", "Moved 2 jobs to queue other"),
    ],
)
def test_jobs_get_a_priority_and_a_queue(table, visit, verb, label, value, column, said) -> None:
    ids = [table.add("scheduled", run_at="tomorrow") for _ in range(2)]
    page = visit("/jobs?state=scheduled")

    tick(page, *ids)
    bar(page).get_by_role("button", name=verb).click()
    field = page.get_by_role("dialog").get_by_label(label)
    field.select_option(value) if label == "Priority" else field.fill(value)

    assert agree(page, verb) == said
    found = table.ask(f"SELECT DISTINCT {column}::text FROM awa.jobs WHERE id = ANY(%s)", ids)
    assert found == [(value,)]


def test_a_refusal_is_said_in_the_dialog(table, visit) -> None:
    job_id = table.add("scheduled", run_at="tomorrow")
    page = visit("/jobs?state=scheduled")

    tick(page, job_id)
    bar(page).get_by_role("button", name="Cancel").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Cancel 1 job?")
    table.ask("DELETE FROM awa.scheduled_jobs WHERE id = %s RETURNING id", job_id)
    dialog.get_by_role("button", name="Cancel", exact=True).click()

    expect(dialog.locator(".error")).to_contain_text(f"job not found: {job_id}")
    check_access(page)
    dialog.get_by_role("button", name="Close", exact=True).click()
    expect(dialog).to_be_hidden()


def test_all_that_fit_are_changed_as_a_batch(table, visit) -> None:
    ids = [table.add(tags=["due"]) for _ in range(12)]
    page = visit("/jobs?tag=due&limit=3")

    page.get_by_text("All matching").click()
    page.get_by_role("group", name="Change all matching jobs").get_by_role(
        "button", name="Retry"
    ).click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Retry 12 jobs?")
    expect(dialog).to_contain_text("and 2 more.")
    check_access(page)

    assert agree(page, "Retry") == "Retry: 12 jobs, as a bulk operation Show"
    # The worker leads, and so carries it out; then it does the jobs.
    eventually(lambda: {table.state(one) for one in ids} == {"completed"}, timeout=20)
    submitted = table.ask(
        "SELECT detail ->> 'total_matched' FROM awa.audit_log WHERE action = 'batch.submit'"
    )
    assert submitted == [("12",)]


def test_jobs_that_are_well_are_named_before_all_that_fit_run_again(table, visit) -> None:
    for state in ["waiting_external"] * 9 + ["cancelled"] * 3 + ["completed"]:
        table.add(state, tags=["mixed"])
    page = visit("/jobs?tag=mixed")
    retry = page.get_by_role("group", name="Change all matching jobs").get_by_role(
        "button", name="Retry"
    )
    dialog = page.get_by_role("dialog")

    page.get_by_text("All matching").click()
    retry.click()
    expect(dialog).to_contain_text("Without a state in the filter, failed jobs are retried.")
    check_access(page)
    page.keyboard.press("Escape")
    page.goto("/jobs?tag=mixed&state=cancelled")
    page.get_by_text("All matching").click()
    retry.click()

    expect(dialog.locator(".by-state")).to_have_text("3 cancelled")


def test_it_reads_well_without_scripts(shelf, visit) -> None:
    page = visit("/jobs?kind=old", java_script_enabled=False)

    page.locator("[data-filter]").fill("state:failed kind:old")
    page.get_by_role("button", name="Filter").click()

    expect(page).to_have_url("/jobs?state=failed&kind=old")
    assert page.locator("main tbody tr").count() == 50
    assert page.get_by_role("checkbox").count() == 0
    page.locator("main tbody td a").first.click()
    assert "no paper" in page.locator("main").inner_text()


def test_what_the_address_says_is_data(shelf, visit) -> None:
    page = visit("/jobs?" + "kind=%3Cscript%3Ealert(1)%3C/script%3E")

    assert page.locator("[data-filter]").input_value() == "kind:<script>alert(1)</script>"
    expect(page.locator(".empty")).to_have_text("No jobs match.")
    assert json.loads(page.locator("[hx-vals]").first.get_attribute("hx-vals"))["kind"] == [
        "<script>alert(1)</script>"
    ]
