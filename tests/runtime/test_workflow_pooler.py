"""Workflows through a transaction pooler: every verb, and the worker."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from fix_wait import aeventually
from fix_worker import Rows, working
from psycopg.rows import dict_row

import awa_lib as awa


@pytest.fixture
def rows(sound_url: str) -> Any:
    with psycopg.connect(sound_url, autocommit=True, row_factory=dict_row) as conn:
        yield Rows(conn)


def state(rows: Rows, flow: awa.Workflow) -> str:
    return str(rows.one("SELECT state FROM awa.workflows WHERE id = %s", flow.id)["state"])


async def test_every_verb_and_the_worker(pooled_url: str, rows: Rows) -> None:
    fails = [True]
    async with awa.AsyncClient(pooled_url) as client:

        @client.task(dict, kind="part", result=True, max_attempts=1)
        async def part(job: awa.Job) -> int:
            return int(job.args["n"])

        @client.task(dict, kind="merge", result=True, max_attempts=1)
        async def merge(job: awa.Job) -> int:
            if fails:
                raise awa.TerminalError("not yet")
            assert job.workflow_id is not None
            async with client.extend_workflow(job.workflow_id, key="more") as more:
                more.add({"n": 4}, kind="part", name="late", after="merge")
            found = [one async for one in client.task_results(job.workflow_id, "parts")]
            return sum(one or 0 for one in found)

        async with working(client):
            async with client.workflow("pooled", key="one") as flow:
                parts = flow.add_many([{"n": n} for n in range(3)], kind="part", name="parts")
                merged = flow.add({}, kind="merge", name="merge", after=parts)
                flow.add({"n": 7}, kind="part", name="last", after=merged, signal="go")
            assert flow.id is not None
            await aeventually(lambda: state(rows, flow) == "failed", timeout=30)
            fails.clear()
            assert await client.retry_workflow(flow.id, dry_run=True) == ["merge"]
            assert await client.retry_workflow(flow.id) == ["merge"]
            assert await client.signal(flow.id, "go", {"by": "ann"}) is True
            await aeventually(lambda: state(rows, flow) == "succeeded", timeout=30)
            assert await client.task_result(flow.id, "parts") == [0, 1, 2]
            assert await client.task_result(flow.id, "merge") == 3
            assert await client.task_result(flow.id, "go") == {"by": "ann"}
            assert (await client.get_workflow(flow.id)).succeeded == 6
            assert [one.name for one in await client.list_workflow_tasks(flow.id)] == [
                "parts", "merge", "last", "go", "late",
            ]  # fmt: skip
            assert len(await client.workflow_edges(flow.id)) == 4
            async with client.workflow("pooled", key="one", on_conflict="keep") as again:
                again.add({"n": 1}, kind="part")
            assert (again.id, again.created) == (flow.id, False)

    with awa.Client(pooled_url) as plain:
        with plain.transaction() as tx, tx.workflow("pooled", key="two") as flow:
            flow.add({"n": 1}, kind="part", name="first", queue="elsewhere")
            flow.add({"n": 2}, kind="part", after="first")
        assert flow.id is not None
        assert plain.cancel_workflow(flow.id) == 1
        assert state(rows, flow) == "cancelled"
        assert plain.retry_workflow(flow.id, tasks=["first"], downstream=True) == [
            "first", "part",
        ]  # fmt: skip
        assert state(rows, flow) == "open"
