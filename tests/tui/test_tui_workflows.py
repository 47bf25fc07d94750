"""Workflows: the list, the graph of one, its tasks by the thousand, and what is done to them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from fix_wait import aeventually
from textual.widgets import Input, OptionList

import awa_lib as awa
from awa_cli.tui.widgets.confirm import Confirm
from awa_cli.tui.widgets.dialogs import AskText, Pick

PARTS = 1_500
WIDE = (140, 40)


@dataclass
class Step:
    name: str


@pytest.fixture
async def flow(aclient: awa.AsyncClient) -> awa.Workflow:
    """An import of many parts, a merge that waits for a signal too, a report, and an alert."""
    async with aclient.workflow("import", key="2026-11-29") as flow:
        parts = flow.add_many((Step(f"{n}") for n in range(PARTS)), name="parts")
        merged = flow.add(
            Step("merge"), name="merge", after=parts, on_parent_failure="wait", signal="approved"
        )
        flow.add(Step("report"), name="report", after=merged)
        flow.add(Step("alert"), name="alert", after=parts, when="any_failed")
    return flow


@pytest.fixture
def end(look: Callable[..., Any], flow: awa.Workflow) -> Callable[..., None]:
    """End jobs of members of the group as a worker does, and move the workflow on."""

    def end(state: str, first: int, last: int) -> None:
        ids = [
            row["job_id"]
            for row in look(
                "SELECT job_id FROM awa.workflow_nodes"
                " WHERE workflow_id = %s AND group_number = 1 AND number BETWEEN %s AND %s",
                flow.id,
                first + 2,
                last + 2,
            )
        ]
        look(
            "UPDATE awa.jobs_hot SET state = %s, attempt = 1, errors = %s,"
            " attempted_at = now() - interval '3 seconds', finalized_at = now() WHERE id = ANY (%s)",
            state,
            [json.dumps({"error": "disk full\nat y", "attempt": 1})],
            ids,
        )
        look("INSERT INTO awa.workflow_events (workflow_id, job_ids) VALUES (%s, %s)", flow.id, ids)
        look("SELECT awa.resolve_workflow(%s)", flow.id)

    return end


async def choose(driver: Any, words: str) -> None:
    """Choose from a list of choices by its words."""
    await aeventually(lambda: isinstance(driver.app.screen, Pick))
    await driver.pilot.pause()
    options = driver.app.screen.query_one(OptionList)
    prompts = [str(option.prompt) for option in options.options]
    options.highlighted = prompts.index(words)
    await driver.press("enter")


async def test_the_list_leads_to_the_graph(monitor, aclient, flow, end) -> None:
    async with aclient.workflow("other") as other:
        other.add(Step("x"), name="x")
    end("completed", 0, 9)
    async with monitor(size=WIDE) as driver:
        await driver.at("overview")
        await driver.press("L")
        page = await driver.at("workflows")
        await driver.shows("import", "2026-11-29", "open", "10/1,503", "LEFT")
        assert [other.id, flow.id] == [row.id for row in page.grid.rows]

        await driver.press("/", *"name:im", "tab", "enter")
        await aeventually(lambda: [flow.id] == [row.id for row in page.grid.rows])
        await driver.press("enter")
        await driver.at("workflow")
        text = await driver.shows(
            f"Workflow {flow.id}",
            "▶ open  import 2026-11-29",
            "10/1,503",
            "3 waiting · 1,490 started · 10 succeeded",
            "▶ parts",
            "├ · merge",
            "│ └ · report",
            "└ · alert",
            "waits for parts and for signal approved",
            "· approved",
            "not sent",
        )
    assert text.index("▶ parts") < text.index("· merge") < text.index("· report")


async def test_a_filter_that_is_wrong_says_why(monitor, flow) -> None:
    async with monitor(screen="workflows", size=WIDE) as driver:
        await driver.at("workflows")
        await driver.press("/", *"state:opne ")
        await driver.shows("'opne' is not a state of workflows", "did you mean: state:open")
        await driver.press(*["backspace"] * 11, *"kind:x ")
        await driver.shows("kind", "does not filter workflows")


async def test_what_failed_is_told_at_once_and_one_key_away(monitor, flow, end) -> None:
    end("completed", 0, 6)
    end("failed", 7, 7)
    async with monitor(screen="workflows", size=WIDE) as driver:
        page = await driver.at("workflows")
        await driver.press("enter")
        page = await driver.at("workflow")
        job_id = page.details.failed[0].job_id
        await driver.shows(f"✗ parts[7]  job {job_id}  disk full", "8/1,500 · 1 failed")

        await driver.press("e")
        page = await driver.at("tasks")
        await driver.shows("parts[7]", "disk full", "3s")
        assert ["parts[7]"] == [row.name for row in page.grid.rows]
        await driver.press("enter")
        page = await driver.at("job")
        assert job_id == page.visit.subject
        await driver.shows(f"{flow.id} import, task parts[7]")

        await driver.press("w")
        page = await driver.at("workflow")
        assert flow.id == page.visit.subject


async def test_thousands_of_tasks_are_loaded_in_parts(monitor, flow) -> None:
    async with monitor(screen="workflows", size=WIDE) as driver:
        await driver.at("workflows")
        await driver.press("enter")
        await driver.at("workflow")
        await driver.press("enter")
        page = await driver.at("tasks")
        await aeventually(lambda: len(page.grid.rows) == 600)
        seen = 600

        async def at_end() -> bool:
            nonlocal seen
            await driver.press("G")
            await driver.pilot.pause()
            seen = max(seen, len(page.grid.rows))
            return page.grid.row.name == f"parts[{PARTS - 1}]"

        await aeventually(at_end, timeout=30)
        assert seen == 600
        assert len({row.number for row in page.grid.rows}) == len(page.grid.rows)

        async def at_start() -> bool:
            await driver.press("g")
            await driver.pilot.pause()
            return page.grid.row.name == "parts[0]"

        await aeventually(at_start, timeout=30)
        assert len(page.grid.rows) == 600


async def test_a_task_that_waits_says_for_what(monitor, flow) -> None:
    async with monitor(screen="workflows", size=WIDE) as driver:
        await driver.at("workflows")
        await driver.press("enter")
        await driver.at("workflow")
        await driver.press("j")
        await driver.shows("parts and for signal approved", "waits when a parent fails")
        await driver.press("enter")
        await driver.shows("merge has not started")
        await driver.press("j", "j")
        await driver.shows("any_failed")


async def test_what_failed_is_retried_after_a_preview(monitor, flow, end, look) -> None:
    end("failed", 7, 9)
    async with monitor(screen="workflows", size=WIDE) as driver:
        await driver.at("workflows")
        await driver.press("enter")
        await driver.at("workflow")
        await driver.press("r")
        await choose(driver, "all failed and cancelled")
        await aeventually(lambda: isinstance(driver.app.screen, Confirm))
        await driver.shows("parts[7], parts[8], parts[9]")
        question = await driver.answer("y")
        assert question == f"Retry 3 tasks of workflow {flow.id} (import 2026-11-29)?"
        await driver.shows("Retried 3 tasks of workflow")

    assert [] == look("SELECT number FROM awa.workflow_nodes WHERE state = 'failed'")
    (entry,) = look("SELECT action, target, via, detail FROM awa.audit_log")
    assert (entry["action"], entry["target"], entry["via"]) == (
        "workflow.retry", str(flow.id), "tui"
    )  # fmt: skip
    assert entry["detail"]["names"] == ["parts[7]", "parts[8]", "parts[9]"]


async def test_marked_tasks_are_retried(monitor, flow, end, look) -> None:
    end("failed", 7, 9)
    async with monitor(screen="workflows", size=WIDE) as driver:
        await driver.at("workflows")
        await driver.press("e")
        page = await driver.at("tasks")
        await aeventually(lambda: len(page.grid.rows) == 3)
        await driver.press("space", "space", "r")
        await choose(driver, "2 tasks")
        await driver.answer("y")
        await driver.shows("Retried 2 tasks of workflow")
        await aeventually(lambda: len(page.grid.rows) == 1)

    assert 1 == len(look("SELECT number FROM awa.workflow_nodes WHERE state = 'failed'"))


async def test_a_signal_is_sent_with_data(monitor, flow, look) -> None:
    async with monitor(screen="workflows", size=WIDE) as driver:
        await driver.at("workflows")
        await driver.press("enter")
        await driver.at("workflow")
        await driver.press("i")
        await aeventually(lambda: isinstance(driver.app.screen, AskText))
        await driver.pilot.pause()
        driver.app.screen.query_one(Input).value = '{"by": '
        await driver.press("enter")
        await driver.shows("This is not JSON")
        driver.app.screen.query_one(Input).value = '{"by": "ann"}'
        await driver.press("enter")
        await aeventually(lambda: isinstance(driver.app.screen, Confirm))
        await driver.shows('Signal approved with {"by": "ann"}')
        await driver.answer("y")
        await driver.shows("✓ approved", "sent")

    assert [{"args": {"by": "ann"}}] == look(
        "SELECT args FROM awa.workflow_nodes WHERE type = 'signal'"
    )
    (entry,) = look("SELECT action, detail FROM awa.audit_log")
    assert (entry["action"], entry["detail"]["signal"]) == ("workflow.signal", "approved")


async def test_a_workflow_is_cancelled(monitor, flow, look) -> None:
    async with monitor(screen="workflows", size=WIDE) as driver:
        page = await driver.at("workflows")
        await driver.press("c")
        question = await driver.answer("y")
        assert question == (
            f"Cancel workflow {flow.id} (import 2026-11-29, {PARTS + 3:,} open tasks)?"
        )
        await driver.shows("Cancelled workflow", "cancelled")
        await aeventually(lambda: not page.check_action("cancel", ()))

    assert [{"state": "cancelled"}] == look("SELECT state FROM awa.workflows")
    (entry,) = look("SELECT action, target, detail FROM awa.audit_log")
    assert (entry["target"], entry["detail"]) == (
        str(flow.id), {"jobs": PARTS, "name": "import"}
    )  # fmt: skip


async def test_read_only_nothing_is_offered(monitor, flow, end) -> None:
    end("failed", 7, 7)
    async with monitor(screen="workflows", read_only=True, size=WIDE) as driver:
        for page_id, key, changes in (
            ("workflows", "enter", ("cancel", "retry")),
            ("workflow", "e", ("cancel", "retry", "signal")),
            ("tasks", "", ("retry",)),
        ):
            page = await driver.at(page_id)
            for action in changes:
                assert not page.check_action(action, ()), action
            assert page.check_action("failed", ())
            if key:
                await driver.press(key)


async def test_a_plain_terminal_draws_the_graph(database_url, flow) -> None:
    from awa_cli.database.target import describe
    from awa_cli.tui.app import Monitor

    app = Monitor(describe(database_url), interval=0.1, ascii_only=True, screen="workflows")
    async with app.run_test(size=(80, 24)) as pilot:
        await aeventually(lambda: app.page is not None and app.page.value is not None)
        await pilot.press("enter")
        await aeventually(lambda: app.page.entry.id == "workflow" and app.page.value is not None)
        await pilot.pause()
        text = "\n".join(strip.text for strip in app.screen._compositor.render_strips())
    assert "> parts" in text
    assert "| . merge" in text
    assert "` . alert" in text
    assert "?" not in text.replace("? Help", "")


async def test_the_steps_of_a_job_have_their_durations(monitor, put, look) -> None:
    job_id = put(state="failed", attempt=2, finalized_at="2026-01-01T10:00:00Z")["id"]
    look(
        "INSERT INTO awa.job_steps (job_id, number, name, value, attempt, started_at, ended_at)"
        " VALUES (%s, 1, 'reserve', '1', 1, '2026-01-01T09:00:00Z', '2026-01-01T09:00:02Z'),"
        " (%s, 2, 'cool-off', 'null', 2, '2026-01-01T09:30:00Z', now() + interval '150 minutes')",
        job_id,
        job_id,
    )
    async with monitor(screen="jobs", size=WIDE) as driver:
        await driver.at("jobs")
        await driver.press("enter")
        text = await driver.shows(
            "Steps", "2s  reserve  attempt 1", "cool-off  attempt 2  over in 2h"
        )
    timeline = text.partition("Timeline")[2].partition("Steps")[0]
    assert "Step reserve" in timeline
    assert "cool-off" not in timeline


async def test_a_task_without_a_job_says_why(monitor, aclient, look) -> None:
    async with aclient.workflow("skips") as flow:
        bad = flow.add(Step("bad"), name="bad")
        flow.add(Step("report"), name="report", after=bad)
        flow.add(Step("merge"), name="merge", signal="go")
    look("UPDATE awa.jobs_hot SET state = 'failed', finalized_at = now() WHERE id = %s", bad.job_id)
    look(
        "INSERT INTO awa.workflow_events (workflow_id, job_ids) VALUES (%s, %s)",
        flow.id,
        [bad.job_id],
    )
    look("SELECT awa.resolve_workflow(%s)", flow.id)
    await aclient.signal(flow.id, "go")
    async with monitor(screen="workflows", size=WIDE) as driver:
        await driver.at("workflows")
        await driver.press("enter")
        await driver.at("workflow")
        await driver.press("j", "enter")
        await driver.shows("report was skipped because bad failed, and has no job.")
        await driver.press("G", "enter")
        await driver.shows("go is a signal; it was sent")
        await driver.press("a")
        await driver.at("tasks")
        await driver.press("G")
        await driver.shows("sent")
        await driver.press("enter")
        await driver.shows("go is a signal; it was sent")


async def test_data_that_is_nested_too_deep_is_refused(monitor, flow) -> None:
    async with monitor(screen="workflows", size=WIDE) as driver:
        await driver.at("workflows")
        await driver.press("enter")
        await driver.at("workflow")
        await driver.press("i")
        await aeventually(lambda: isinstance(driver.app.screen, AskText))
        await driver.pilot.pause()
        driver.app.screen.query_one(Input).value = "[" * 100_000 + "]" * 100_000
        await driver.press("enter")
        await driver.shows("This is nested too deep.")


async def test_what_is_being_cancelled_is_not_cancelled_again(monitor, aclient) -> None:
    async with aclient.workflow("cleans") as flow:
        flow.add(Step("clean"), name="clean", after=flow.add(Step("x"), name="x"), when="always")
    await aclient.cancel_workflow(flow.id)
    async with monitor(screen="workflows", size=WIDE) as driver:
        page = await driver.at("workflows")
        assert not page.check_action("cancel", ())
        await driver.press("enter")
        page = await driver.at("workflow")
        await driver.shows("being cancelled")
        assert not page.check_action("cancel", ())
        assert page.check_action("signal", ())


async def test_a_list_is_as_long_as_it_was_left(monitor, aclient) -> None:
    for number in range(250):
        async with aclient.workflow("many", key=f"{number}") as flow:
            flow.add(Step("x"))
    async with monitor(screen="workflows", size=WIDE) as driver:
        page = await driver.at("workflows")
        assert len(page.grid.rows) == 200
        await driver.press("G")
        await aeventually(lambda: len(page.grid.rows) == 250)
        await driver.press("G")
        last = page.grid.row.id
        await driver.press("enter")
        await driver.at("workflow")
        await driver.press("escape")
        page = await driver.at("workflows")
        await aeventually(lambda: len(page.grid.rows) == 250 and page.settled)
        assert page.grid.row.id == last

        await driver.press("/", *"key:7", "tab", "enter")
        await aeventually(lambda: len(page.grid.rows) == 1)
