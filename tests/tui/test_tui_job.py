"""The page of a job: what it shows, its actions, and how it is kept up to date."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass

import psycopg
from fix_wait import aeventually
from fix_worker import working
from psycopg.types.json import Jsonb

import awa_lib as awa
from awa_lib.db.drive import run
from awa_lib.ops.job_logs import RunLog, write_job_logs


@dataclass
class Import:
    path: str


async def test_a_job_is_live_from_its_start_to_its_traceback(monitor, aclient) -> None:
    go = asyncio.Event()

    @aclient.task(Import, queue="default")
    async def load(job: awa.Job) -> None:
        job.set_progress(40, "half of it")
        job.update_metadata({"line": 7})
        await job.flush_progress()
        await go.wait()
        raise ValueError("line 8 is no number")

    job = await aclient.insert(Import("orders.csv"), max_attempts=1)
    async with working(aclient), monitor(screen="jobs") as driver:
        await driver.at("jobs")
        await driver.press("enter")
        await driver.shows(f"Job {job.id}", "running", "40% half of it", "line: 7", '"orders.csv"')
        go.set()
        text = await driver.shows("failed", "ValueError: line 8 is no number", "test_tui_job.py")

        assert "attempt 1 of 1" in text


async def test_attempts_are_counted_to_the_limit_of_the_kind(monitor, put) -> None:
    entry = Jsonb({"error": "no", "attempt": 1, "max_attempts": 2})
    put(state="retryable", attempt=1, errors=[entry])
    async with monitor(screen="jobs") as driver:
        await driver.at("jobs")
        await driver.press("enter")
        await driver.shows("attempt 1 of 2")


async def test_what_can_be_done_depends_on_the_state(monitor, put) -> None:
    put(state="completed", finalized_at="2026-01-01T00:00:00Z")
    async with monitor(screen="jobs") as driver:
        await driver.at("jobs")
        await driver.press("enter")
        page = await driver.at("job")

        assert (False, False) == (page.check_action("retry", ()), page.check_action("cancel", ()))
        assert page.check_action("discard", ())


async def test_a_deleted_job_is_reported(monitor, put, look) -> None:
    job_id = put()["id"]
    async with monitor(screen="jobs") as driver:
        await driver.at("jobs")
        await driver.press("enter")
        await driver.at("job")
        look("DELETE FROM awa.jobs WHERE id = %s", job_id)
        await driver.shows(f"job not found: {job_id}")

        assert driver.page.has_class("-old")


async def test_attempts_stand_side_by_side(monitor, put, look) -> None:
    job_id = put(state="failed", attempt=2, max_attempts=2)["id"]
    entry = '{{"attempt": {}, "at": "2026-01-01T00:0{}:00Z", "error": "{}"}}'
    errors = [entry.format(1, 1, "OSError: first"), entry.format(2, 2, "KeyError: second")]
    look("UPDATE awa.jobs_hot SET errors = %s::jsonb[] WHERE id = %s", errors, job_id)
    async with monitor(screen="jobs", size=(120, 30)) as driver:
        await driver.at("jobs")
        await driver.press("enter")
        await driver.at("job")
        await driver.press("a")

        await driver.shows("Attempt 2", "Attempt 1", "OSError: first", "KeyError: second")
        await driver.shows("retry     none: it was the last of 2 attempts", "retry     yes")


async def test_logs_are_shown_as_they_arrive(monitor, put, database_url) -> None:
    job_id = put(state="running", attempt=2)["id"]

    def log(*messages: str) -> None:
        line = {"time": "2026-01-01T11:30:00+00:00", "level": "INFO", "logger": "shop"}
        lines = "\n".join(json.dumps(line | {"message": text}) for text in messages)
        with psycopg.connect(database_url, autocommit=True) as conn:
            count = len(messages) + 4
            run(conn, write_job_logs([RunLog(job_id, 9, 2, lines, count, 4)]))

    async with monitor(screen="jobs", size=(120, 30)) as driver:
        await driver.at("jobs")
        await driver.press("enter")
        await driver.at("job")
        await driver.press("l")
        await driver.shows("Nothing is kept. Logs are kept of kinds and queues with capture_logs.")
        log("begun [b]x[/b]\x1b")
        await driver.shows(
            "Attempt 2", "… 4 earlier records dropped", "11:30:00 INFO    shop: begun [b]x[/b]\\x1b"
        )
        log("begun", *(f"line {n}" for n in range(60)))
        await driver.shows("shop: line 59")
        await driver.press("l")
        await driver.at("job")


async def test_a_callback_counts_down(monitor, put, look) -> None:
    put(state="waiting_external", attempt=1)
    look(
        "UPDATE awa.jobs_hot SET callback_id = gen_random_uuid(), "
        "callback_timeout_at = now() + interval '65 minutes'"
    )
    async with monitor(screen="jobs") as driver:
        await driver.at("jobs")
        await driver.press("enter")
        await driver.shows("callback times out in 1h4m")


async def test_a_job_is_copied_as_json_and_as_a_command(monitor, put) -> None:
    import json

    job_id = put(args='{"to": "x"}')["id"]
    async with monitor(screen="jobs") as driver:
        await driver.at("jobs")
        await driver.press("enter")
        await driver.at("job")
        await driver.press("y")
        await driver.shows("as JSON", f"awa job show {job_id}")
        await driver.press("enter")
        await aeventually(lambda: driver.app.clipboard)
        assert {"to": "x"} == json.loads(driver.app.clipboard)["args"]
        await driver.press("y")
        await driver.shows("as JSON")
        await driver.press("down", "enter")
        await aeventually(lambda: driver.app.clipboard == f"awa job show {job_id}")


async def test_control_characters_of_a_job_draw_nothing(monitor, put) -> None:
    put(kind="k\x1b[31mred", args='{"a": "\\u001b[2J\\u0007"}', tags=["[bold]x[/]"])
    async with monitor(screen="jobs") as driver:
        await driver.at("jobs")
        await driver.press("enter")
        text = await driver.shows("k\\x1b[31mred", "[bold]x[/]")

        assert "\x1b" not in text


async def test_the_ends_of_a_long_job_are_a_key_away(monitor, put, look) -> None:
    job_id = put(state="failed", attempt=1, max_attempts=1)["id"]
    text = "ValueError: x\\n" + "\\n".join(f"  line {number}" for number in range(60))
    entry = f'{{"attempt": 1, "at": "2026-01-01T00:01:00Z", "error": "{text}"}}'
    look("UPDATE awa.jobs_hot SET errors = %s::jsonb[] WHERE id = %s", [entry], job_id)
    async with monitor(screen="jobs", size=(120, 30)) as driver:
        await driver.at("jobs")
        await driver.press("enter")
        await driver.shows("queue", "line 1")
        await driver.press("G")
        await driver.shows("line 59")
        await driver.press("g")
        await driver.shows("queue", "line 1")


async def test_the_result_comes_with_the_end(monitor, aclient, put) -> None:
    @aclient.task(Import, queue="default", result=True)
    async def load(job: awa.Job) -> dict[str, int] | None:
        return {"lines": 8} if job.args.path == "orders.csv" else None

    for path, words in (("orders.csv", "lines: 8"), ("empty.csv", "null")):
        async with working(aclient):
            await aclient.result(await aclient.insert(Import(path)))
        async with monitor(screen="jobs") as driver:
            await driver.at("jobs")
            await driver.press("enter")
            await driver.shows("completed", "Result", words)
