"""Workflows: tasks run in the order of their edges, whatever ends the jobs."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest
from fix_wait import aeventually
from fix_worker import Rows, working

import awa_lib as awa


@dataclass
class Part:
    n: int


@dataclass
class Step:
    name: str


def tasks(rows: Rows, flow: awa.Workflow) -> dict[str, str]:
    found = rows.all(
        "SELECT name, state FROM awa.workflow_nodes"
        " WHERE workflow_id = %s AND type = 'task' AND name IS NOT NULL ORDER BY number",
        flow.id,
    )
    return {row["name"]: row["state"] for row in found}


def state(rows: Rows, flow: awa.Workflow) -> str:
    return rows.one("SELECT state FROM awa.workflows WHERE id = %s", flow.id)["state"]


def counts(rows: Rows, flow: awa.Workflow) -> dict[str, int]:
    """The counts of the workflow's row, which must be those of its nodes."""
    (row,) = rows.all(
        "SELECT waiting, started, succeeded, failed, cancelled, skipped"
        " FROM awa.workflows WHERE id = %s",
        flow.id,
    )
    found = rows.all(
        "SELECT state, count(*) AS n FROM awa.workflow_nodes"
        " WHERE workflow_id = %s AND type = 'task' GROUP BY state",
        flow.id,
    )
    assert {name: n for name, n in row.items() if n} == {r["state"]: r["n"] for r in found}
    return row


@pytest.fixture
def ran(aclient: awa.AsyncClient) -> list[str]:
    """The names of the steps that have run; those that begin with "bad" fail."""
    names: list[str] = []

    @aclient.task(Step, max_attempts=1)
    async def step(job: awa.Job) -> None:
        names.append(job.args.name)
        if job.args.name.startswith("bad"):
            raise awa.TerminalError("bad")

    @aclient.task(Part)
    async def part(job: awa.Job) -> None:
        names.append(f"part {job.args.n}")

    return names


async def over(rows: Rows, flow: awa.Workflow) -> str:
    await aeventually(lambda: state(rows, flow) != "open", timeout=15)
    counts(rows, flow)
    return state(rows, flow)


async def test_a_nightly_import(aclient: awa.AsyncClient, rows: Rows, ran: list[str]) -> None:
    async with aclient.workflow("import", key="2026-11-29") as flow:
        parts = flow.add_many((Part(n) for n in range(50)), name="parts")
        merge = flow.add(Step("merge"), name="merge", after=parts)
        report = flow.add(Step("report"), name="report", after=merge)
        flow.add(Step("alert"), name="alert", after=parts, when="any_failed")

    assert (flow.created, len(parts.job_ids)) == (True, 50)
    assert rows.states() == {"available": 50}
    async with working(aclient):
        assert await over(rows, flow) == "succeeded"

    assert sorted(ran[:50]) == sorted(f"part {n}" for n in range(50))
    assert ran[50:] == ["merge", "report"]
    assert tasks(rows, flow) == {"merge": "succeeded", "report": "succeeded", "alert": "skipped"}
    assert rows.job(report.job_id)["state"] == "completed"


@pytest.mark.parametrize(
    ("when", "one_failed", "all_failed", "none_failed"),
    [
        ("all_succeeded", "skipped", "skipped", "succeeded"),
        ("all_done", "succeeded", "succeeded", "succeeded"),
        ("always", "succeeded", "succeeded", "succeeded"),
        ("any_failed", "succeeded", "succeeded", "skipped"),
        ("any_succeeded", "succeeded", "skipped", "succeeded"),
        ("all_failed", "skipped", "succeeded", "skipped"),
    ],
)
async def test_rules(
    aclient: awa.AsyncClient,
    rows: Rows,
    ran: list[str],
    when: Any,
    one_failed: str,
    all_failed: str,
    none_failed: str,
) -> None:
    flows = []
    for names in (("good", "bad"), ("bad 1", "bad 2"), ("good 1", "good 2")):
        for grouped in (False, True):
            async with aclient.workflow("rules") as flow:
                if grouped:
                    before: Any = flow.add_many([Step(name) for name in names])
                else:
                    before = [flow.add(Step(name), name=name) for name in names]
                flow.add(Step("child"), name="child", after=before, when=when)
                flow.add(Step("grandchild"), name="grandchild", after="child")
            flows.append(flow)
    async with working(aclient):
        for flow in flows:
            await over(rows, flow)

    found = [tasks(rows, flow)["child"] for flow in flows]
    assert found == [one_failed] * 2 + [all_failed] * 2 + [none_failed] * 2
    assert [tasks(rows, flow)["grandchild"] for flow in flows] == found


async def test_an_end_by_an_operator_moves_the_workflow_on(
    aclient: awa.AsyncClient, rows: Rows, ran: list[str]
) -> None:
    async with aclient.workflow("ops") as flow:
        first = flow.add(Step("first"), name="first", queue="elsewhere")
        flow.add(Step("clean up"), name="clean up", after=first, when="any_failed")
    await aclient.cancel(first.job_id)
    async with working(aclient):
        assert await over(rows, flow) == "failed"

    assert ran == ["clean up"]
    assert tasks(rows, flow) == {"first": "cancelled", "clean up": "succeeded"}


async def test_a_retry_of_a_parent_decides_skipped_children_anew(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    fails = True
    ran = []

    @aclient.task(Step, max_attempts=1)
    async def step(job: awa.Job) -> None:
        ran.append(job.args.name)
        if job.args.name == "first" and fails:
            raise awa.TerminalError("not yet")

    async with aclient.workflow("retry") as flow:
        first = flow.add(Step("first"), name="first")
        second = flow.add(Step("second"), name="second", after=first)
        flow.add(Step("third"), name="third", after=second)
        flow.add(Step("alert"), name="alert", after=first, when="any_failed")
    async with working(aclient):
        assert await over(rows, flow) == "failed"
        assert tasks(rows, flow) == {
            "first": "failed",
            "second": "skipped",
            "third": "skipped",
            "alert": "succeeded",
        }
        fails = False
        await aclient.retry(first.job_id)
        await aeventually(lambda: state(rows, flow) == "succeeded", timeout=15)

    assert tasks(rows, flow) == dict.fromkeys(("first", "second", "third", "alert"), "succeeded")
    assert ran == ["first", "alert", "first", "second", "third"]


async def test_a_signal_starts_a_task(aclient: awa.AsyncClient, rows: Rows, ran: list[str]) -> None:
    async with aclient.workflow("approval") as flow:
        first = flow.add(Step("first"), name="first")
        flow.add(Step("ship"), name="ship", after=first, signal="approved")
    async with working(aclient):
        await aeventually(lambda: tasks(rows, flow)["first"] == "succeeded")
        assert tasks(rows, flow)["ship"] == "waiting"
        assert await aclient.signal(flow.id, "approved", {"by": "ann"}) is True
        assert await aclient.signal(flow.id, "approved") is False
        assert await over(rows, flow) == "succeeded"

    assert ran == ["first", "ship"]


async def test_cancel_runs_only_what_runs_always(
    aclient: awa.AsyncClient, rows: Rows, ran: list[str]
) -> None:
    async with aclient.workflow("cancel") as flow:
        first = flow.add(Step("first"), name="first", queue="elsewhere")
        second = flow.add(Step("second"), name="second", after=first)
        flow.add(Step("alert"), name="alert", after=second, when="any_failed")
        flow.add(Step("clean up"), name="clean up", after=second, when="always")
    assert await aclient.cancel_workflow(flow.id) == 1
    async with working(aclient):
        assert await over(rows, flow) == "cancelled"

    assert ran == ["clean up"]
    assert tasks(rows, flow) == {
        "first": "cancelled",
        "second": "cancelled",
        "alert": "cancelled",
        "clean up": "succeeded",
    }


async def test_tasks_are_added_while_it_is_open(
    aclient: awa.AsyncClient, rows: Rows, ran: list[str]
) -> None:
    async with aclient.workflow("grow") as flow:
        flow.add(Step("first"), name="first")
        flow.add(Step("hold"), name="hold", signal="go")
    async with working(aclient):
        await aeventually(lambda: tasks(rows, flow)["first"] == "succeeded")
        async with aclient.extend_workflow(flow.id) as more:
            more.add(Step("second"), name="second", after="first")
            more.add(Step("third"), name="third", after=["second", "hold"])
        await aclient.signal(flow.id, "go")
        assert await over(rows, flow) == "succeeded"
        with pytest.raises(awa.Conflict, match="has ended"):
            async with aclient.extend_workflow(flow.id) as late:
                late.add(Step("late"))

    assert ran[0] == "first"
    assert ran[-1] == "third"
    assert sorted(ran) == ["first", "hold", "second", "third"]


async def test_tasks_without_a_name_are_added_beside_those_that_are_there(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    async with aclient.workflow("grow") as flow:
        flow.add(Step("a"), signal="go")
        flow.add(Step("b"))
    for _ in range(2):
        async with aclient.extend_workflow(flow.id) as more:
            first = more.add(Step("c"))
            second = more.add(Step("d"), after=first)
        assert second.name == f"step_{int(first.name[5:]) + 1}"

    assert list(tasks(rows, flow)) == ["step", *(f"step_{n}" for n in range(2, 7))]


async def test_random_graphs_keep_their_order(aclient: awa.AsyncClient, rows: Rows) -> None:
    import random

    dice = random.Random(3)
    ended: list[str] = []
    wrong: list[str] = []
    parents: dict[str, list[str]] = {}

    @aclient.task(Step, max_attempts=1)
    async def step(job: awa.Job) -> None:
        if set(parents[job.args.name]) - set(ended):
            wrong.append(job.args.name)
        await asyncio.sleep(0)
        ended.append(job.args.name)

    async with aclient.workflow("layers") as flow:
        before: list[Any] = []
        for layer in range(8):
            now = []
            for n in range(30):
                name = f"{layer}.{n}"
                picked = dice.sample(before, 3) if before else []
                parents[name] = [one.name for one in picked]
                now.append(flow.add(Step(name), name=name, after=picked))
            before = now
    async with working(aclient, ("default", 50)):
        assert await over(rows, flow) == "succeeded"

    assert wrong == []
    assert len(ended) == len(set(ended)) == 240


async def test_a_failed_part_is_retried_with_what_is_behind_it(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    bad = {3}
    ran: list[str] = []

    @aclient.task(Part, max_attempts=1)
    async def part(job: awa.Job) -> None:
        if job.args.n in bad:
            raise awa.TerminalError("bad part")

    @aclient.task(Step)
    async def step(job: awa.Job) -> None:
        ran.append(job.args.name)

    async with aclient.workflow("mend") as flow:
        parts = flow.add_many((Part(n) for n in range(6)), name="parts")
        summary = flow.add(Step("summary"), name="summary", after=parts, when="all_done")
        flow.add(Step("mail"), name="mail", after=summary)
        flow.add(Step("merge"), name="merge", after=parts)
    async with working(aclient):
        assert await over(rows, flow) == "failed"
        assert tasks(rows, flow) == {
            "summary": "succeeded",
            "mail": "succeeded",
            "merge": "skipped",
        }
        bad.clear()
        planned = await aclient.retry_workflow(flow.id, downstream=True, dry_run=True)
        assert planned == ["parts[3]", "summary", "mail"]
        assert state(rows, flow) == "failed"
        assert await aclient.retry_workflow(flow.id, downstream=True) == planned
        assert state(rows, flow) == "open"
        assert await over(rows, flow) == "succeeded"
        with pytest.raises(awa.Conflict, match="no task of workflow"):
            await aclient.retry_workflow(flow.id)

    assert sorted(ran) == ["mail", "mail", "merge", "summary", "summary"]
    assert rows.job(parts.job_ids[3])["attempt"] == 1


async def test_a_cancelled_workflow_goes_on_after_a_retry(
    aclient: awa.AsyncClient, rows: Rows, ran: list[str]
) -> None:
    async with aclient.workflow("resume") as flow:
        first = flow.add(Step("first"), name="first")
        flow.add(Step("second"), name="second", after=first)
    await aclient.cancel_workflow(flow.id)
    assert tasks(rows, flow) == {"first": "cancelled", "second": "cancelled"}
    assert await aclient.retry_workflow(flow.id) == ["first", "second"]
    async with working(aclient):
        assert await over(rows, flow) == "succeeded"
    assert ran == ["first", "second"]


async def test_tasks_read_the_results_of_their_parents(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    @aclient.task(Part, result=True, max_attempts=1)
    async def part(job: awa.Job) -> int | None:
        if job.args.n == 2:
            raise awa.TerminalError("no result")
        return job.args.n * 10

    @aclient.task(Step, result=True)
    async def step(job: awa.Job) -> list[int]:
        assert job.workflow_id is not None
        found = await aclient.task_result(job.workflow_id, "parts")
        return [one or 0 for one in found]

    @aclient.task(dict, kind="keeps nothing")
    async def nothing(job: awa.Job) -> None: ...

    async with aclient.workflow("results") as flow:
        parts = flow.add_many((Part(n) for n in range(4)), name="parts")
        total = flow.add(Step("total"), name="total", result_of=parts, when="all_done")
        flow.add(Step("never"), name="never", after=parts)
    async with working(aclient):
        assert await over(rows, flow) == "failed"
        assert await aclient.result(total.job_id) == [0, 10, 0, 30]
        assert await aclient.task_result(flow.id, "total") == [0, 10, 0, 30]
        with pytest.raises(awa.NoResult, match="has not run, and has no result"):
            await aclient.task_result(flow.id, "never")
        with pytest.raises(awa.ValidationError, match="has no task 'totl'"):
            await aclient.task_result(flow.id, "totl")
    with pytest.raises(awa.ValidationError, match="are not kept"):
        async with aclient.workflow("no results") as other:
            first = other.add({}, kind="keeps nothing")
            other.add(Step("x"), result_of=first)


async def test_handlers_go_through_the_results_of_a_group(
    aclient: awa.AsyncClient, rows: Rows, database_url: str
) -> None:
    @aclient.task(Part, result=True)
    async def part(job: awa.Job[Part]) -> int:
        return job.args.n

    @aclient.task(dict, kind="total", result=True)
    async def total(job: awa.Job) -> int:
        assert job.workflow_id is not None
        found = aclient.task_results(job.workflow_id, "parts", into=int)
        return sum([value or 0 async for value in found])

    @aclient.task(dict, kind="blocking total", result=True)
    def blocking_total(job: awa.Job) -> int:
        assert job.workflow_id is not None
        with awa.Client(database_url) as client:
            return sum(client.task_results(job.workflow_id, "parts"))

    async with aclient.workflow("results") as flow:
        parts = flow.add_many((Part(n) for n in range(20)), name="parts")
        totals = [flow.add({}, kind=kind, result_of=parts) for kind in ("total", "blocking total")]
    async with working(aclient):
        assert await over(rows, flow) == "succeeded"
        assert [await aclient.result(one.job_id) for one in totals] == [190, 190]


@pytest.mark.parametrize("value", [2**64 - 1, -1, 0, True, 1.5, "7", None, [7], 2**63, 999_999])
async def test_metadata_that_only_looks_like_a_workflow(
    aclient: awa.AsyncClient, rows: Rows, ran: list[str], value: Any
) -> None:
    good = await aclient.insert(Step("good"), metadata={"_awa_workflow": value})
    bad = await aclient.insert(Step("bad"), metadata={"_awa_workflow": value})
    async with working(aclient):
        await aeventually(
            lambda: (
                (rows.job(good.id)["state"], rows.job(bad.id)["state"]) == ("completed", "failed")
            )
        )
    retried = await aclient.retry(bad.id)

    assert str(retried.state) == "available"


async def test_the_result_of_a_task_is_awaited_before_its_job_is_there(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    @aclient.task(Step, result=True)
    async def step(job: awa.Job) -> str:
        return job.args.name

    async with aclient.workflow("await") as flow:
        first = flow.add(Step("first"), name="first", signal="go")
        last = flow.add(Step("last"), name="last", after=first)
        never = flow.add(Step("never"), name="never", after=first, when="any_failed")
    assert (first.job_id, last.job_id, never.job_id) != (None,) * 3
    with pytest.raises(awa.WaitTimeout):
        await aclient.result(last.job_id or 0, timeout=0)
    async with working(aclient):
        waiting = asyncio.create_task(aclient.result(last.job_id or 0, timeout=15))
        skipped = asyncio.create_task(aclient.result(never.job_id or 0, timeout=15))
        await asyncio.sleep(0)
        await aclient.signal(flow.id or 0, "go")
        assert await waiting == "last"
        with pytest.raises(awa.NoResult, match="has not run, and has no result") as none:
            await skipped
    assert "was skipped" in str(none.value.why)

    async with aclient.workflow("cancelled") as other:
        first = other.add(Step("first"), name="first", queue="elsewhere")
        last = other.add(Step("last"), name="last", after=first)
    await aclient.cancel_workflow(other.id or 0)
    for task in (first, last):
        with pytest.raises(awa.JobFailed, match="was cancelled"):
            await aclient.result(task.job_id or 0, timeout=5)


async def test_a_group_with_an_expired_result_has_none(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    """A sum of what is left would be a wrong one."""

    @aclient.task(Part, result=True)
    async def part(job: awa.Job) -> int:
        return job.args.n

    async with aclient.workflow("expired") as flow:
        parts = flow.add_many((Part(n) for n in range(3)), name="parts")
        flow.add(Step("hold"), name="hold", after=parts, signal="go")
    async with working(aclient):
        await aeventually(lambda: counts(rows, flow)["succeeded"] == 3)
    assert await aclient.task_result(flow.id or 0, "parts") == [0, 1, 2]
    rows.all(
        "UPDATE awa.job_results SET expires_at = now() WHERE job_id = %s RETURNING 1",
        parts.job_ids[1],
    )
    with pytest.raises(awa.ResultExpired) as expired:
        await aclient.task_result(flow.id or 0, "parts")
    assert expired.value.job_id == parts.job_ids[1]
