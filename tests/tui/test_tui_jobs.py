"""The list of jobs: filter, following, changes of selected jobs and of all that match."""

from __future__ import annotations

from fix_wait import aeventually
from textual.widgets import Input

from awa_cli.tui.widgets.confirm import Confirm
from awa_cli.tui.widgets.filter_bar import FilterBar

ERROR = {"attempt": 3, "at": "2026-01-01T00:00:00Z", "error": "TimeoutError: too slow\n  File x"}


def failed(put, count: int = 1, **columns):
    import json

    errors = [json.dumps(ERROR)]
    made = []
    for _ in range(count):
        row = put(kind="mail", queue="email", state="failed", attempt=3, max_attempts=3, **columns)
        made.append(row["id"])
    put.look(
        "UPDATE awa.jobs_hot SET errors = %s::jsonb[], finalized_at = now() WHERE state = 'failed'",
        errors,
    )
    return made


async def type_filter(driver, text: str) -> None:
    await driver.press("/")
    await aeventually(lambda: driver.page.query_one(FilterBar).is_open)
    driver.page.query_one(Input).value = text
    await driver.press("enter")


async def test_a_filter_is_typed_completed_and_remembered(monitor, put) -> None:
    put(kind="mail", queue="email")
    put(kind="resize", queue="images")
    async with monitor(screen="jobs") as driver:
        page = await driver.at("jobs")
        await aeventually(lambda: page.query_one(FilterBar).names)
        await driver.press("/", *"kind:re", "tab")
        await driver.shows("kind:resize")
        await aeventually(lambda: [row.kind for row in page.grid.rows] == ["resize"])
        await driver.press("enter")
        await aeventually(lambda: page.grid.has_focus)
    async with monitor(screen="jobs") as driver:
        page = await driver.at("jobs")

        assert ["resize"] == [row.kind for row in page.grid.rows]
        await driver.press("backspace")
        await aeventually(lambda: len(page.grid.rows) == 2)


async def test_a_filter_that_cannot_be_read_says_why_and_changes_nothing(monitor, put) -> None:
    put(kind="mail")
    async with monitor(screen="jobs") as driver:
        page = await driver.at("jobs")
        await type_filter(driver, "kinds:mail")
        await driver.shows("'kinds:mail' is no filter", "did you mean: kind:mail")

        assert [1] == [len(page.grid.rows)]
        await driver.press("escape")
        await aeventually(lambda: page.grid.has_focus)
        assert "" == page.query_one(FilterBar).text


async def test_the_newest_are_followed_until_the_cursor_moves(monitor, put) -> None:
    for _ in range(3):
        put()
    async with monitor(screen="jobs") as driver:
        page = await driver.at("jobs")
        newest = put()["id"]
        await aeventually(lambda: page.grid.rows[0].id == newest)
        await driver.press("j")
        row = page.grid.row
        other = put()["id"]
        await page.app.source.read(page.query_op())
        await driver.pilot.pause()

        assert (newest, row.id) == (page.grid.rows[0].id, page.grid.row.id)
        await driver.press("f")
        await aeventually(lambda: page.grid.rows[0].id == other)


async def test_a_failed_job_is_retried(monitor, put, look) -> None:
    put.look = look
    (job_id,) = failed(put)
    async with monitor(screen="jobs", filter_text="state:failed") as driver:
        await driver.at("jobs")
        await driver.press("r")
        question = await driver.answer("y")
        await driver.shows(f"Retried job {job_id} (mail)")

        assert f"Retry job {job_id} (mail)?" == question
        assert [{"state": "available"}] == look("SELECT state::text FROM awa.jobs")


async def test_marked_jobs_are_cancelled_and_a_refusal_is_reported(monitor, put, look) -> None:
    put(state="completed")
    for _ in range(2):
        put()
    async with monitor(screen="jobs") as driver:
        page = await driver.at("jobs")
        await driver.press("*", "c")
        question = await driver.answer("y")
        await driver.shows("2 jobs changed, 1 not", "cannot cancel")

        assert "Cancel 3 jobs?" == question
        cancelled = look("SELECT id::text AS id FROM awa.jobs WHERE state = 'cancelled' ORDER BY 1")
        noted = look(
            "SELECT target AS id FROM awa.audit_log WHERE action = 'job.cancel' ORDER BY 1"
        )
        assert 2 == len(cancelled)
        assert cancelled == noted
        await aeventually(lambda: not page.grid.marked)
        await driver.press("*")
        assert 3 == len(page.grid.marked)
        await driver.press("escape")
        assert {} == page.grid.marked
        assert "jobs" == driver.page.entry.id


async def test_priority_and_queue_can_be_undone(monitor, put, look) -> None:
    job_id = put(priority=3, queue="email")["id"]
    async with monitor(screen="jobs") as driver:
        await driver.at("jobs")
        await driver.press("p")
        await driver.shows("Which priority?")
        await driver.press("up", "enter")
        await driver.answer("y")
        await driver.shows(f"Gave job {job_id} (k) priority 1")
        await driver.press("v")
        await driver.shows("Move to which queue?")
        await driver.press(*"slow", "enter")
        await driver.answer("y")
        await driver.shows("to queue slow")
        changed = look("SELECT priority, queue FROM awa.jobs")
        await driver.press("u")
        await driver.answer("y")
        await aeventually(lambda: look("SELECT queue FROM awa.jobs") == [{"queue": "email"}])
        await driver.press("u")
        await driver.answer("y")
        await aeventually(lambda: look("SELECT priority FROM awa.jobs") == [{"priority": 3}])

        assert [{"priority": 1, "queue": "slow"}] == changed


async def test_all_that_match_are_retried_with_a_preview(monitor, put, look) -> None:
    put.look = look
    failed(put, 12)
    put(kind="other", state="failed")
    async with monitor(screen="jobs", filter_text="state:failed kind:mail") as driver:
        await driver.at("jobs")
        await driver.press("b")
        shown = await driver.shows("All jobs matching state:failed kind:mail", "Retry", "Discard")
        assert "Set priority" not in shown  # which is for jobs that wait
        await driver.press("enter")
        await aeventually(lambda: isinstance(driver.app.screen, Confirm))
        await driver.shows("Retry 12 jobs?", "Ids:")
        await driver.answer("y")
        await driver.shows("Retried 12 jobs")

        assert [{"kind": "other"}] == look("SELECT kind FROM awa.jobs WHERE state = 'failed'")


async def test_enter_leads_into_a_job_and_escape_out_to_the_same_row(monitor, put) -> None:
    made = [put()["id"] for _ in range(5)]
    async with monitor(screen="jobs") as driver:
        await driver.at("jobs")
        await driver.press("j", "j", "enter")
        page = await driver.at("job")

        assert made[2] == page.value.job.id
        await driver.press("escape")
        page = await driver.at("jobs")
        assert made[2] == page.grid.row.id


async def test_garbage_that_is_pasted_changes_nothing(monitor, put, look) -> None:
    from textual import events

    for _ in range(3):
        put()
    before = look("SELECT id, state::text, priority, queue FROM awa.jobs ORDER BY id")
    async with monitor(screen="jobs") as driver:
        await driver.at("jobs")
        driver.app.post_message(events.Paste("r y\ncxy\x1b[31m;DROP TABLE"))
        for key in [*"ryrycydyvyxy1p1\x7f~^$%", "enter", *"ydydy", "enter"]:
            driver.app.post_message(events.Key(key, key))
        for _ in range(5):
            await driver.pilot.pause(0.1)

        assert before == look("SELECT id, state::text, priority, queue FROM awa.jobs ORDER BY id")
