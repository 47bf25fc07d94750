"""The page of a job in a browser, while a worker works on it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass

import pytest
from fix_browser import check_access, working
from fix_wait import eventually
from playwright.sync_api import expect

import awa_lib as awa


@dataclass
class Work:
    how: str
    note: str = "<b>plain</b>"


class Desk:
    """A worker whose jobs wait for a word of the test."""

    def __init__(self, database_url: str) -> None:
        self.database_url = database_url
        self.go_on: dict[int, asyncio.Event] = {}
        self.loop: asyncio.AbstractEventLoop | None = None

    async def handler(self, job):
        if job.args.how == "fails":
            raise ValueError(f"attempt {job.attempt} was wrong")
        if job.args.how == "returns":
            return {"pages": 3, "note": job.args.note}
        if job.args.how == "sleeps":
            await job.step("charge", dict)
            await job.sleep("cool-off", hours=3)
        if job.args.how == "waits":
            return awa.WaitForCallback(await job.register_callback(timeout_seconds=3600))
        word = self.go_on[job.id] = asyncio.Event()
        job.set_progress(30, "a third")
        job.update_metadata({"page": 7})
        await job.flush_progress()
        await word.wait()
        job.set_progress(100, "all of it")
        return None

    def put(self, how: str, **options) -> int:
        async def insert() -> int:
            async with awa.AsyncClient(self.database_url) as client:
                return (await client.insert(Work(how), queue="desk", **options)).id

        return asyncio.run_coroutine_threadsafe(insert(), self.loop).result(10)

    def say(self, job_id: int) -> None:
        self.loop.call_soon_threadsafe(eventually(lambda: self.go_on.get(job_id)).set)


@pytest.fixture(scope="module")
def desk(site):
    found = Desk(site.database_url)
    register = lambda client: client.task(Work, queue="desk", result=True)(found.handler)  # noqa: E731 - short
    with working(site.database_url, register, ("desk", 4)) as loop:
        found.loop = loop
        yield found


def ask(page, verb: str, question: str, answer: str) -> None:
    page.get_by_role("group", name="Change this job").get_by_role("button", name=verb).click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text(question)
    dialog.get_by_role("button", name=answer, exact=True).click()
    expect(dialog).to_be_hidden()


def test_it_is_followed_from_begin_to_end(desk, visit) -> None:
    job_id = desk.put("works", tags=["vip"])
    page = visit(f"/jobs/{job_id}")

    expect(page.get_by_role("progressbar")).to_have_attribute("value", "30")
    expect(page.locator(".progress")).to_contain_text("a third")
    expect(page.locator("section", has_text="Checkpoint")).to_contain_text("page 7")
    expect(page.get_by_role("group", name="Change this job")).not_to_contain_text("Retry")
    check_access(page)
    page.get_by_text("As JSON").click()
    # What is being read and marked is left alone until it is not.
    page.evaluate("getSelection().selectAllChildren(document.querySelector('.job-head'))")
    desk.say(job_id)
    page.wait_for_event("response", lambda one: one.url.endswith(f"/jobs/{job_id}"))
    expect(page.locator(".job-head .badge")).to_contain_text("running")
    page.evaluate("getSelection().empty()")

    expect(page.locator(".job-head .badge")).to_contain_text("completed")
    expect(page.locator(".timeline")).to_contain_text("Completed (attempt 1)")
    # What was opened stays open.
    assert json.loads(page.locator("#job-json").inner_text())["id"] == job_id
    assert page.locator("main b b").count() == 0


def test_the_result_is_shown_with_its_end(desk, visit) -> None:
    page = visit(f"/jobs/{desk.put('returns')}")

    section = page.locator("section", has_text="bytes, kept until 20")
    expect(section).to_contain_text("pages 3")
    expect(section).to_contain_text("<b>plain</b>")
    expect(section.locator("h2 time")).to_contain_text("in 6d")
    check_access(page)


def test_steps_are_listed_with_the_end_of_a_sleep(desk, visit) -> None:
    job_id = desk.put("sleeps")
    page = visit(f"/jobs/{job_id}")

    rows = page.get_by_role("region", name="Steps with their times").locator("tbody tr")
    expect(rows).to_have_count(2)
    expect(rows.nth(1)).to_contain_text("cool-off")
    expect(rows.nth(1)).to_contain_text("3h")
    expect(rows.nth(1)).to_contain_text("over in 2h")
    check_access(page)


def test_a_running_job_is_cancelled(desk, visit) -> None:
    job_id = desk.put("works")
    eventually(lambda: desk.go_on.get(job_id))
    page = visit(f"/jobs/{job_id}")

    ask(page, "Cancel", f"Cancel job {job_id}?", "Close")
    expect(page.locator(".job-head .badge")).to_contain_text("running")
    ask(page, "Cancel", f"Cancel job {job_id}?", "Cancel")

    expect(page.locator(".job-head .badge")).to_contain_text("cancelled")
    expect(page.locator("#notice")).to_have_text(f"Cancelled job {job_id}")


def test_attempts_stand_side_by_side(desk, visit) -> None:
    job_id = desk.put("fails", max_attempts=2)
    page = visit(f"/jobs/{job_id}")
    expect(page.locator(".job-head .badge")).to_contain_text("retryable")

    ask(page, "Retry", f"Retry job {job_id}?", "Retry")
    expect(page.locator(".job-head .badge")).to_contain_text("failed")

    expect(page.locator(".attempts article")).to_have_count(2)
    first = page.locator(".attempts article").last
    expect(first.locator(".t-cause")).to_have_text("ValueError")
    expect(first.locator(".trace")).to_contain_text("attempt 1 was wrong")
    expect(first.locator(".t-function").last).to_have_text("handler")
    check_access(page)
    ask(page, "Delete", "Permanently delete job", "Cancel")
    ask(page, "Delete", f"Permanently delete job {job_id}?", "Delete")
    page.wait_for_url("**/jobs")
    assert page.goto(f"/jobs/{job_id}").status == 404


def test_a_wait_is_counted_down_and_given_up(desk, visit) -> None:
    job_id = desk.put("waits")
    page = visit(f"/jobs/{job_id}")

    expect(page.locator(".note time")).to_contain_text("in 59m")
    check_access(page)
    commands = page.locator("section", has_text="Commands").locator(".cli code").all_inner_texts()
    assert any(line.startswith("awa callback complete ") for line in commands)
    ask(page, "Cancel", "Cancel job", "Cancel")
    expect(page.locator(".note")).to_have_count(0)


def test_a_waiting_job_gets_a_priority_and_a_queue(desk, visit) -> None:
    job_id = desk.put("works", run_at="2100-01-01T00:00:00Z")
    page = visit(f"/jobs/{job_id}")

    page.get_by_role("button", name="Set priority").click()
    page.get_by_role("dialog").get_by_label("Priority").select_option("1")
    page.get_by_role("dialog").get_by_role("button", name="Set priority").click()
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page.locator(".facts dd").nth(1)).to_have_text("1")
    page.get_by_role("button", name="Move").click()
    page.get_by_role("dialog").get_by_label("To queue").fill("attic")
    page.get_by_role("dialog").get_by_role("button", name="Move").click()

    expect(page.get_by_role("link", name="attic")).to_be_visible()


def test_it_is_copied(desk, visit) -> None:
    job_id = desk.put("works", run_at="2100-01-01T00:00:00Z")
    page = visit(f"/jobs/{job_id}", permissions=["clipboard-read", "clipboard-write"])

    page.get_by_text("As JSON").click()
    page.get_by_role("button", name="Copy", exact=True).click()
    expect(page.locator("#notice")).to_have_text("Copied.")
    copied = json.loads(page.evaluate("navigator.clipboard.readText()"))
    page.get_by_role("button", name=f"Copy the command awa job cancel {job_id}").click()

    assert (copied["id"], copied["args"]) == (job_id, {"how": "works", "note": "<b>plain</b>"})
    page.wait_for_function(
        f"async () => await navigator.clipboard.readText() === 'awa job cancel {job_id}'"
    )


def test_one_that_goes_while_looked_at(desk, visit) -> None:
    import psycopg

    job_id = desk.put("works", run_at="2100-01-01T00:00:00Z")
    page = visit(f"/jobs/{job_id}")
    expect(page.locator(".job-head .badge")).to_contain_text("scheduled")

    with psycopg.connect(desk.database_url, autocommit=True) as conn:
        conn.execute("DELETE FROM awa.scheduled_jobs WHERE id = %s", [job_id])

    expect(page.locator("#notice")).to_contain_text(f"job not found: {job_id}")


def test_it_reads_well_without_scripts(desk, visit) -> None:
    job_id = desk.put("fails", max_attempts=1)
    page = visit(f"/jobs/{job_id}", java_script_enabled=False)
    eventually(
        lambda: (
            page.reload() and "was wrong" in page.locator(".trace").first.inner_text(timeout=500)
        )
    )

    assert page.get_by_role("button").count() == 0
    assert "Failed after 1 attempt" in page.locator(".timeline").inner_text()
