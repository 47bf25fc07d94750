"""Reads of workflows: counts, pages, edges, and what each task waits for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import psycopg
import pytest
from fix_wait import aeventually
from fix_worker import Rows, working

import awa_lib as awa
from awa_lib.reads.workflow_reasons import WorkflowWait
from awa_lib.reads.workflow_tasks import (
    GroupMembers,
    WorkflowTask,
    workflow_details,
)
from awa_lib.reads.workflows import WorkflowEdge, first_edges


@dataclass
class Step:
    name: str


@pytest.fixture
def steps(aclient: awa.AsyncClient) -> None:
    """Steps that begin with "bad" fail."""

    @aclient.task(Step, max_attempts=1)
    async def step(job: awa.Job) -> None:
        if job.args.name.startswith("bad"):
            raise awa.TerminalError(f"{job.args.name} is bad")


async def tasks_of(client: awa.AsyncClient, flow: int, **how: Any) -> dict[str, WorkflowTask]:
    return {one.name: one for one in await client.list_workflow_tasks(flow, **how)}


async def test_a_workflow_from_insert_to_end(
    aclient: awa.AsyncClient, steps: None, rows: Rows
) -> None:
    async with aclient.workflow("import", key="today") as flow:
        parts = flow.add_many([Step("good"), Step("bad"), Step("good")], name="parts")
        flow.add(Step("merge"), name="merge", after=parts, on_parent_failure="wait", signal="go")
        flow.add(Step("report"), name="report", after="merge")
    assert flow.id is not None
    found = await aclient.get_workflow(flow.id)
    assert (found.name, found.key, found.state) == ("import", "today", "open")
    assert (found.tasks, found.waiting, found.started, found.seconds_left) == (5, 2, 3, None)
    tasks = await tasks_of(aclient, flow.id)
    assert list(tasks) == ["parts", "merge", "report", "go"]
    assert tasks["parts"].members == GroupMembers(3, 3, 0, 0, 0)
    assert (tasks["parts"].state, tasks["parts"].waits) == ("started", [])
    assert tasks["merge"].waits == [
        WorkflowWait("end", "parts", "open"), WorkflowWait("signal", "go")
    ]  # fmt: skip
    assert tasks["report"].waits == [WorkflowWait("end", "merge", "waiting")]
    assert tasks["go"].type == "signal"
    members = await tasks_of(aclient, flow.id, group="parts")
    assert {one.job_state for one in members.values()} == {"available"}
    assert [*members] == ["parts[0]", "parts[1]", "parts[2]"]
    assert {one.group for one in members.values()} == {"parts"}
    edges = await aclient.workflow_edges(flow.id)
    numbers = {name: one.number for name, one in tasks.items()}
    assert edges == [
        WorkflowEdge(numbers[parent], numbers[child])
        for parent, child in [("parts", "merge"), ("merge", "report"), ("go", "merge")]
    ]

    async with working(aclient):
        await aeventually(lambda: members_open(rows, flow.id) == 0)
        tasks = await tasks_of(aclient, flow.id)
        assert tasks["parts"].state == "failed"
        assert tasks["merge"].waits == [
            WorkflowWait("retry", "parts", "failed"), WorkflowWait("signal", "go")
        ]  # fmt: skip
        (bad,) = await aclient.list_workflow_tasks(flow.id, state="failed")
        assert (bad.name, bad.job_state, bad.attempt) == ("parts[1]", "failed", 1)
        assert bad.error is not None
        assert "bad is bad" in bad.error


def members_open(rows: Rows, flow: int | None) -> int:
    found = rows.one(
        "SELECT parents_open FROM awa.workflow_nodes WHERE workflow_id = %s AND type = 'group'",
        flow,
    )
    return int(found["parents_open"])


async def test_a_workflow_runs_for_as_long_as_its_rate_says(
    aclient: awa.AsyncClient, steps: None, rows: Rows
) -> None:
    async with aclient.workflow("rate") as flow:
        flow.add_many([Step("good"), Step("good")], name="quick")
        flow.add_many([Step("slow")] * 6, name="slow", queue="elsewhere")
        flow.add(Step("last"), name="last", after="slow")
    async with working(aclient):
        await aeventually(lambda: counted(rows, flow.id)["succeeded"] == 2)
    rows.all("UPDATE awa.workflows SET created_at = now() - interval '1 minute' RETURNING id")
    assert flow.id is not None
    found = await aclient.get_workflow(flow.id)
    assert found.seconds == pytest.approx(60, abs=5)
    assert found.seconds_left == pytest.approx(60 * 7 / 2, abs=15)


async def test_the_time_left_is_not_about_nothing(
    aclient: awa.AsyncClient, steps: None, rows: Rows
) -> None:
    """A last task that sleeps, or waits for a signal, has no rate."""
    async with aclient.workflow("rate") as flow:
        flow.add_many([Step("good")] * 9)
        flow.add(Step("last"), queue="elsewhere")
    async with working(aclient):
        await aeventually(lambda: counted(rows, flow.id)["succeeded"] == 9)
    assert flow.id is not None
    rows.all("UPDATE awa.workflows SET created_at = now() RETURNING id")
    assert (await aclient.get_workflow(flow.id)).seconds_left is None
    rows.all("UPDATE awa.workflows SET created_at = now() - interval '1 minute' RETURNING id")
    assert (await aclient.get_workflow(flow.id)).seconds_left == pytest.approx(60 / 9, abs=2)


def counted(rows: Rows, flow: int | None) -> dict[str, Any]:
    return rows.one("SELECT * FROM awa.workflows WHERE id = %s", flow)


async def test_a_time_is_a_wait(aclient: awa.AsyncClient) -> None:
    async with aclient.workflow("times") as flow:
        first = flow.add(Step("first"), name="first", wait="1h")
        flow.add(Step("second"), name="second", after=first, not_before="2099-01-01T00:00:00Z")
    tasks = await tasks_of(aclient, flow.id or 0)
    (wait,) = tasks["first"].waits
    assert (wait.reason, wait.until, tasks["first"].state) == (
        "time", tasks["first"].run_at, "started"
    )  # fmt: skip
    assert [one.reason for one in tasks["second"].waits] == ["end"]


async def test_of_many_parents_some_are_named(aclient: awa.AsyncClient) -> None:
    async with aclient.workflow("wide") as flow:
        before = [flow.add(Step("x"), name=f"before {n}") for n in range(12)]
        flow.add(Step("x"), name="last", after=before)
        flow.add_many([Step("x")] * 2, name="group", after=before[:2])
    tasks = await tasks_of(aclient, flow.id or 0)
    assert [one.name for one in tasks["last"].waits] == [f"before {n}" for n in range(5)]
    assert tasks["last"].more_waits == 7
    assert (tasks["group"].state, tasks["group"].more_waits) == ("waiting", 0)
    assert [one.name for one in tasks["group"].waits] == ["before 0", "before 1"]


async def test_pages_of_tasks_step_over_members(aclient: awa.AsyncClient) -> None:
    async with aclient.workflow("pages") as flow:
        for n in range(4):
            flow.add_many([Step("x")] * (n * 3), name=f"group {n}")
            flow.add(Step("x"), name=f"task {n}", signal=f"signal {n}")
    assert flow.id is not None

    def still(tasks: list[WorkflowTask]) -> list[WorkflowTask]:
        return [replace(one, seconds=None) for one in tasks]

    whole = still(await aclient.list_workflow_tasks(flow.id))
    assert len(whole) == 12
    assert whole[0].members == GroupMembers(0, 0, 0, 0, 0)
    assert whole[0].state == "succeeded"
    for size in (1, 2, 5):
        pages, after = [], 0
        while page := await aclient.list_workflow_tasks(flow.id, after=after, limit=size):
            assert len(page) <= size
            pages += still(page)
            after = page[-1].number
        assert pages == whole
    member = (await aclient.list_workflow_tasks(flow.id, group="group 3", limit=1))[0]
    behind = await aclient.list_workflow_tasks(flow.id, after=member.number, limit=1)
    assert behind[0].name == "task 3"
    assert await aclient.list_workflow_tasks(flow.id, limit=0) == []
    assert len(await aclient.list_workflow_tasks(flow.id, state="started")) == 18
    edges = await aclient.workflow_edges(flow.id)
    paged: list[WorkflowEdge] = []
    while page_ := await aclient.workflow_edges(
        flow.id, after=(paged[-1].parent, paged[-1].child) if paged else (0, 0), limit=3
    ):
        paged += page_
    assert (len(edges), paged) == (4, edges)


async def test_edges_to_groups_come_once_in_pages(aclient: awa.AsyncClient) -> None:
    async with aclient.workflow("fan") as flow:
        first = flow.add(Step("x"), name="first")
        groups = [flow.add_many([Step("x")] * 3, name=f"g{n}", after=first) for n in range(3)]
    assert flow.id is not None
    found, after = [], (0, 0)
    while page := await aclient.workflow_edges(flow.id, after=after, limit=1):
        found += page
        after = (page[-1].parent, page[-1].child)
    assert [(one.parent, one.child) for one in found] == [
        (first.number, group.number) for group in groups
    ]


async def test_details_are_cut_at_the_limit(aclient: awa.AsyncClient, rows: Rows) -> None:
    async with aclient.workflow("cut") as flow:
        last = flow.add(Step("x"), name="t0")
        for n in range(1, 5):
            last = flow.add(Step("x"), name=f"t{n}", after=last)
    assert flow.id is not None
    async with awa.AsyncClient(rows.conn.info.dsn) as client:
        found = await client._run(workflow_details(flow.id, limit=3))
        whole = await client._run(workflow_details(flow.id, limit=5))
    assert (len(found.tasks), len(found.edges), found.more) == (3, 2, True)
    assert (len(whole.tasks), len(whole.edges), whole.more) == (5, 4, False)
    assert whole.failed == []


async def test_edges_of_the_first_parents_alone(aclient: awa.AsyncClient) -> None:
    async with aclient.workflow("chain") as flow:
        last = flow.add(Step("x"), name="t0")
        for n in range(1, 60):
            last = flow.add(Step("x"), name=f"t{n}", after=[last] if n < 3 else [last, "t0"])
    assert flow.id is not None
    found = await aclient._run(first_edges(flow.id, until=3, limit=1_000))
    whole = await aclient.workflow_edges(flow.id)
    assert found == [one for one in whole if one.parent <= 3]
    assert len(found) < len(whole) - 50


async def test_durations_are_those_of_attempts_and_of_whole_groups(
    aclient: awa.AsyncClient, steps: None, rows: Rows
) -> None:
    async with aclient.workflow("times") as flow:
        parts = flow.add_many([Step("good"), Step("bad")], name="parts")
        flow.add_many([Step("good")] * 2, name="later", after=parts)
        flow.add(Step("waits"), name="waits", signal="go")
    assert flow.id is not None
    before = await tasks_of(aclient, flow.id)
    assert before["parts"].started_at is not None
    assert before["parts"].seconds is not None
    assert (before["later"].started_at, before["waits"].seconds) == (None, None)
    assert {one.seconds for one in (await tasks_of(aclient, flow.id, group="parts")).values()} == {
        None
    }
    async with working(aclient):
        await aeventually(lambda: counted(rows, flow.id)["skipped"] == 2)
    rows.all(
        "UPDATE awa.jobs_hot SET created_at = finalized_at - interval '1 hour',"
        " attempted_at = finalized_at - interval '2 seconds' RETURNING id"
    )
    tasks = await tasks_of(aclient, flow.id)
    members = await tasks_of(aclient, flow.id, group="parts")
    assert [one.seconds for one in members.values()] == [2.0, 2.0]
    assert tasks["parts"].seconds == pytest.approx(3600, abs=60)
    assert (tasks["later"].state, tasks["later"].seconds) == ("skipped", None)
    found = await aclient._run(workflow_details(flow.id))
    assert [one.name for one in found.failed] == ["parts[1]"]


async def test_a_preview_of_a_retry_takes_no_lock(
    aclient: awa.AsyncClient, steps: None, rows: Rows, database_url: str
) -> None:
    async with aclient.workflow("preview") as flow:
        flow.add(Step("bad"), name="bad")
    assert flow.id is not None
    async with working(aclient):
        await aeventually(lambda: counted(rows, flow.id)["failed"] == 1)
    options = "-c default_transaction_read_only=on"
    async with await psycopg.AsyncConnection.connect(database_url, options=options) as conn:
        assert await aclient.using(conn).retry_workflow(flow.id, dry_run=True) == ["bad"]
        with pytest.raises(awa.WorkflowNotFound):
            await aclient.using(conn).retry_workflow(flow.id + 1, dry_run=True)
    assert counted(rows, flow.id)["failed"] == 1


async def test_lists_of_workflows(aclient: awa.AsyncClient) -> None:
    ids = []
    for name, key in (("a", "1"), ("a", "2"), ("b", None)):
        async with aclient.workflow(name, key=key) as flow:
            flow.add(Step("x"), name="x")
        ids.append(flow.id)
    await aclient.cancel_workflow(ids[1] or 0)

    async def listed(**where: Any) -> list[int]:
        return [one.id for one in await aclient.list_workflows(**where)]

    assert await listed() == ids[::-1]
    assert await listed(limit=1) == ids[2:]
    assert await listed(before_id=ids[2]) == ids[1::-1]
    assert await listed(name="a", key="1") == ids[:1]
    assert await listed(state="open") == [ids[2], ids[0]]
    assert await listed(state="cancelled") == [ids[1]]


@pytest.mark.parametrize(
    ("verb", "args", "how", "says"),
    [
        ("list_workflows", (), {"state": "done"}, "unknown state of a workflow: 'done'"),
        ("list_workflow_tasks", (1,), {"state": "done"}, "unknown state of a task: 'done'"),
        ("list_workflow_tasks", (1,), {"group": "x"}, "workflow not found: 1"),
        ("list_workflow_tasks", (1,), {}, "workflow not found: 1"),
        ("workflow_edges", (1,), {}, "workflow not found: 1"),
        ("get_workflow", (1,), {}, "workflow not found: 1"),
        ("get_workflow", ("1",), {}, "workflow_id must be a whole number"),
        ("workflow_edges", (1,), {"after": (1,)}, "after must be two numbers"),
    ],
)
async def test_refusals(
    aclient: awa.AsyncClient, verb: str, args: Any, how: Any, says: str
) -> None:
    with pytest.raises(awa.AwaError, match=says):
        await getattr(aclient, verb)(*args, **how)


async def test_a_task_is_no_group(aclient: awa.AsyncClient) -> None:
    async with aclient.workflow("x") as flow:
        flow.add(Step("x"), name="x")
    with pytest.raises(awa.ValidationError, match="has no group 'x'") as caught:
        await aclient.list_workflow_tasks(flow.id or 0, group="x")
    assert caught.value.why == "it is a task"


async def test_pages_of_a_large_workflow_are_looked_up(
    aclient: awa.AsyncClient, database_url: str
) -> None:
    async with aclient.workflow("large") as flow:
        first = flow.add({}, kind="a", name="first")
        parts = flow.add_many(({} for _ in range(5_000)), kind="a", name="parts", after=first)
        flow.add({}, kind="a", name="last", after=parts)
    assert flow.id is not None
    async with await psycopg.AsyncConnection.connect(database_url) as conn:
        client = aclient.using(conn)
        edges = await client.workflow_edges(flow.id)
        page = await client.list_workflow_tasks(flow.id, after=1, limit=1)
        members = await client.list_workflow_tasks(flow.id, group="parts", after=5_001)
        read = await conn.execute(
            "SELECT sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))"
            " FROM pg_stat_xact_user_tables WHERE relname IN ('workflow_nodes', 'workflow_edges')"
        )
        rows = (await read.fetchone() or [None])[0]
    assert (len(edges), len(page), members[-1].name) == (2, 1, "parts[4999]")
    assert rows is not None
    assert rows < 100
