"""Queues and kinds in a browser, while a worker works on them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import psycopg
import pytest
from fix_browser import check_access, working
from fix_wait import eventually
from playwright.sync_api import expect

import awa_lib as awa

ODD = "a/b c?d=é"


@dataclass
class Parcel:
    to: str = "Ada"


class Post:
    """An office with a worker: parcels are sent on, or refused while it rains."""

    def __init__(self, database_url: str) -> None:
        self.database_url = database_url
        self.rain = False
        self.loop: asyncio.AbstractEventLoop | None = None

    async def send(self, job) -> None:
        if self.rain:
            raise ConnectionError("the road is flooded")

    def register(self, client) -> None:
        client.task(Parcel, queue="post")(self.send)
        client.queue_descriptor("post", description="All that is sent.", owner="Grete")
        client.job_kind_descriptor("parcel", description="One parcel.", owner="Hans")

    def put(self, queue: str, count: int = 1, **options) -> list[int]:
        async def insert() -> list[int]:
            async with awa.AsyncClient(self.database_url) as client:
                return [
                    (await client.insert(Parcel(), queue=queue, **options)).id for _ in range(count)
                ]

        return asyncio.run_coroutine_threadsafe(insert(), self.loop).result(10)

    def ask(self, text: str, *values) -> list[tuple]:
        with psycopg.connect(self.database_url, autocommit=True) as conn:
            return conn.execute(text, values).fetchall()

    def states(self, ids: list[int]) -> set[str]:
        rows = self.ask("SELECT state::text FROM awa.jobs WHERE id = ANY(%s)", ids)
        return {state for (state,) in rows}

    def noted(self, action: str, target: str) -> list[tuple]:
        text = "SELECT actor, via FROM awa.audit_log WHERE action = %s AND target = %s"
        return self.ask(text, action, target)


@pytest.fixture(scope="module")
def post(site):
    found = Post(site.database_url)
    with working(site.database_url, found.register, ("post", 4), ("shed", 2), (ODD, 1)) as loop:
        found.loop = loop
        yield found


def agree(page, verb: str, question: str, answer: str = "") -> None:
    page.get_by_role("button", name=verb, exact=True).click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text(question)
    dialog.get_by_role("button", name=answer, exact=True).click()
    expect(dialog).to_be_hidden()


def cells(page, row: str) -> dict[str, str]:
    """Return what stands in a row, by column."""
    cells = page.locator("tbody tr", has_text=row).first.locator("td[data-column]")
    return dict(
        zip(
            cells.evaluate_all("all => all.map((one) => one.dataset.column)"),
            cells.all_inner_texts(),
            strict=True,
        )
    )


def test_a_queue_is_paused_and_goes_on(post, visit) -> None:
    page = visit("/queues")
    agree(page, "Pause shed", "Pause queue shed?", "Cancel")
    assert post.noted("queue.pause", "shed") == []
    agree(page, "Pause shed", "Pause queue shed?", "Pause")
    page.get_by_role("button", name="Resume shed").wait_for()
    expect(page.locator("#notice")).to_have_text("Paused queue 'shed'")
    ids = post.put("shed", 2)

    expect(page.locator("tr", has_text="shed").get_by_role("link", name="2")).to_have_attribute(
        "href", "/jobs?state=available&queue=shed"
    )
    assert "paused" in cells(page, "shed")["queue"]
    expect(page.locator("p.words")).to_contain_text("1 paused")
    check_access(page)
    assert post.states(ids) == {"available"}
    agree(page, "Resume shed", "Resume queue shed?", "Resume")

    eventually(lambda: post.states(ids) == {"completed"})
    page.get_by_role("button", name="Pause shed").wait_for()
    assert post.noted("queue.pause", "shed") == [("local", "web")]


def test_an_answer_counts_though_the_page_was_read_anew(post, visit) -> None:
    page = visit("/queues/post")
    page.get_by_role("button", name="Pause post").click()
    page.evaluate(
        "() => { const old = document.querySelector('[hx-post$=pause]');"
        " old.replaceWith(old.cloneNode(true)); }"
    )

    page.get_by_role("dialog").get_by_role("button", name="Pause").click()
    expect(page.locator(".subject .badge")).to_contain_text("paused")
    expect(page.locator("#notice")).to_have_text("Paused queue 'post'")
    agree(page, "Resume post", "Resume queue post?", "Resume")
    expect(page.locator(".subject .badge")).to_contain_text("open")


def test_what_waits_is_drained_after_a_question(post, visit) -> None:
    ids = post.put("shed", 3, run_at="2100-01-01T00:00:00Z")
    page = visit("/queues")
    expect(page.locator("tr", has_text="shed")).to_contain_text("3")

    question = "waiting jobs of queue 'shed'?Running jobs go on; cancelled jobs can be retried."
    agree(page, "Cancel waiting jobs of shed", question, "Close")
    assert post.states(ids) == {"scheduled"}
    agree(page, "Cancel waiting jobs of shed", question, "Cancel waiting")

    expect(page.locator("#notice")).to_have_text("Cancelled the waiting jobs of queue 'shed'")
    assert post.states(ids) == {"cancelled"}
    page.wait_for_function("() => document.querySelector('#queues').innerText.includes('queue')")


def test_a_queue_is_followed(post, visit) -> None:
    page = visit("/queues/post")
    expect(page.locator("section", has_text="Workers").first).to_contain_text("of 4")
    expect(page.locator(".facts").first).to_contain_text("Grete")
    before = int(cells(visit("/queues"), "post")["completed"].split()[0])

    post.put("post", 3)
    post.put("post", 1, run_at="2100-01-01T00:00:00Z")

    expect(page.locator(".subject")).to_contain_text(f"{before + 3} completed in the last hour")
    page.wait_for_selector(".ch-completed canvas")
    tile = page.locator(".tile.s-scheduled")
    expect(tile.locator(".count")).to_have_text("1")
    assert tile.get_attribute("href") == "/jobs?state=scheduled&queue=post"
    agree(page, "Pause post", "Pause queue", "Pause")
    expect(page.locator(".subject .badge")).to_contain_text("paused")
    check_access(page)
    agree(page, "Resume post", "Resume queue", "Resume")
    expect(page.locator(".subject .badge")).to_contain_text("open")
    agree(page, "Cancel waiting jobs of post", "waiting job", "Cancel waiting")
    expect(tile.locator(".count")).to_have_text("0")
    page.get_by_role("link", name="1h", exact=True).click()
    expect(page.locator(".ch-completed .words")).to_contain_text("in the last 1h")
    expect(page.locator(".head .cli code")).to_have_text("awa queue show post")


def field(page, label: str):
    return page.get_by_role("dialog").get_by_label(label)


def test_settings_are_set_and_unset(post, visit) -> None:
    page = visit("/queues/post")
    expect(
        page.get_by_text("None. Each worker uses the settings it was started with.")
    ).to_be_visible()
    given = {
        "Running jobs, at most": "0",
        "Starts per worker process, at most": "50/s:100",
        "Deadline of an attempt": "90s",
        "Poll interval of an idle worker": "250ms",
        "Retention of completed jobs": "90m",
        "Retention of failed jobs": "30d",
    }

    page.get_by_role("button", name="Set …").click()
    for label, text in given.items():
        field(page, label).fill(text)
    field(page, "Deadline of an attempt").fill("soon")
    page.get_by_role("dialog").get_by_role("button", name="Set").click()
    expect(page.locator("dialog .error")).to_contain_text("'soon' is not a duration")
    field(page, "Deadline of an attempt").fill("90s")
    field(page, "Failed jobs become dead letters").check()
    check_access(page)
    page.get_by_role("dialog").get_by_role("button", name="Set").click()

    settings = page.locator(".settings li")
    expect(settings).to_have_count(7)
    expect(settings.first).to_contain_text("at most 0 running")
    assert (0, 50.0, 100, 90.0, 250, 1.5, 720.0, True) == post.ask(
        "SELECT max_running, max_rate, burst, deadline_seconds, poll_interval_ms,"
        " completed_retention_hours, failed_retention_hours, dead_letters"
        " FROM awa.queue_policies WHERE queue = 'post'"
    )[0]
    # What was set reads back as it was written.
    page.get_by_role("button", name="Set …").click()
    for label, text in given.items():
        expect(field(page, label)).to_have_value(text)
    page.get_by_role("dialog").get_by_role("button", name="Set").click()
    expect(page.locator("dialog .error")).to_contain_text("nothing was changed")
    page.get_by_role("dialog").get_by_role("button", name="Close").click()
    # The worker goes by it: nothing starts until the limit is taken back.
    ids = post.put("post")
    expect(page.locator(".tile.s-available .count")).to_have_text("1")
    agree(page, "Unset: at most 0 running", "Change the settings of queue post?", "Unset")
    eventually(lambda: post.states(ids) == {"completed"})
    agree(page, "Unset: failed jobs become dead letters", "failed jobs become", "Unset")
    expect(settings).to_have_count(5)


def test_a_name_may_hold_anything(post, visit) -> None:
    page = visit("/queues")
    page.get_by_role("link", name=ODD).click()

    expect(page.get_by_role("heading", level=1)).to_have_text(ODD)
    agree(page, f"Pause {ODD}", f"Pause queue {ODD}?", "Pause")
    page.get_by_role("button", name=f"Resume {ODD}").wait_for()
    assert post.ask("SELECT paused FROM awa.queue_meta WHERE queue = %s", ODD) == [(True,)]


def test_failed_jobs_of_a_kind_run_again(post, visit) -> None:
    post.rain = True
    ids = post.put("post", 2, max_attempts=1)
    eventually(lambda: post.states(ids) == {"failed"})
    page = visit("/kinds")
    expect(page.locator("tr", has_text="parcel")).to_contain_text("2")
    row = cells(page, "parcel")
    assert (row["failed"], row["workers"], row["declared"]) == ("2", "1", "yes")
    check_access(page)

    page.get_by_role("link", name="parcel").click()
    failures = page.get_by_role("region", name="Failures", exact=True)
    expect(failures.locator("tbody tr")).to_have_count(1)
    expect(failures).to_contain_text("2 ×")
    expect(failures).to_contain_text("ConnectionError the road is flooded")
    expect(page.locator(".tile.s-failed")).to_have_attribute(
        "href", "/jobs?state=failed&kind=parcel"
    )
    expect(page.locator(".ch-failed .words")).to_contain_text(
        "2 for good, 0 tried again, in the last 15m"
    )
    expect(page.locator(".facts")).to_contain_text("Hans")
    check_access(page)
    post.rain = False
    agree(
        page,
        "Retry 2 failed jobs of kind parcel",
        "Retry 2 failed jobs of kind parcel?",
        "Retry 2 failed jobs",
    )

    expect(page.locator(".tile.s-failed .count")).to_have_text("0")
    eventually(lambda: post.states(ids) == {"completed"})
    expect(page.get_by_role("button", name="failed jobs of kind parcel")).to_have_count(0)


def test_drift_is_said(post, visit) -> None:
    page = visit("/kinds/parcel")
    expect(page.locator(".facts")).to_contain_text("One parcel.")

    def register(client) -> None:
        client.task(Parcel, queue="post")(post.send)
        client.job_kind_descriptor("parcel", description="A parcel of another release.")

    with working(post.database_url, register, ("post", 1)):
        expect(page.locator(".facts .c-yellow")).to_have_text("live workers declare it differently")
        assert cells(visit("/kinds"), "parcel")["declared"] == "drift"
        check_access(page)


@pytest.mark.parametrize(
    "path", ["/queues", "/queues/post", "/kinds", "/kinds/parcel"], ids=lambda path: path[1:]
)
def test_they_read_well_without_scripts(post, visit, path) -> None:
    page = visit(path, java_script_enabled=False)

    assert page.get_by_role("button").count() == 0
    assert page.locator("table, .tile, .empty").count()
