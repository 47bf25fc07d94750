"""Workflows whose workers stop, whose handlers run again, and whose jobs somebody deletes."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from fix_wait import aeventually
from fix_worker import Rows, working

import awa_lib as awa
from awa_lib.ops import workflows as ops

SPLIT = """
import asyncio, os, pathlib
import awa_lib as awa

client = awa.AsyncClient(os.environ["DATABASE_URL"])

@client.task(dict, kind="split", max_attempts=3)
async def split(job):
    async with client.extend_workflow(job.workflow_id, key="parts") as flow:
        flow.add_many([{}] * 3, kind="part", name="parts")
        flow.add({}, kind="part", name="merge", after="parts")
    extended = pathlib.Path(__file__).with_name("extended")
    if not extended.exists():
        extended.touch()
        await asyncio.Event().wait()
    assert not flow.created

@client.task(dict, kind="part")
async def part(job): ...

awa.run(client, [("default", 10)], heartbeat_interval_ms=200, heartbeat_staleness_ms=1500,
        heartbeat_rescue_interval_ms=200, leader_election_interval_ms=200, promote_interval_ms=50)
"""
ENDING = """
import asyncio, os
import awa_lib as awa

client = awa.AsyncClient(os.environ["DATABASE_URL"])

@client.task(dict, kind="k")
async def handler(job): ...

awa.run(client, [("default", 5)], drain_timeout=1)
"""
Spawn = Callable[[str], "subprocess.Popen[bytes]"]


def state(rows: Rows, flow: awa.Workflow) -> str:
    return str(rows.one("SELECT state FROM awa.workflows WHERE id = %s", flow.id)["state"])


def tasks(rows: Rows, flow: awa.Workflow) -> dict[str, str]:
    found = rows.all(
        "SELECT name, state FROM awa.workflow_nodes"
        " WHERE workflow_id = %s AND type = 'task' AND name IS NOT NULL ORDER BY number",
        flow.id,
    )
    return {row["name"]: row["state"] for row in found}


async def test_a_handler_that_fails_after_its_extension_adds_its_tasks_once(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    created = []

    @aclient.task(dict, kind="split", max_attempts=2)
    async def split(job: awa.Job) -> awa.RetryAfter | None:
        assert job.workflow_id is not None
        async with aclient.extend_workflow(job.workflow_id, key="parts") as flow:
            flow.add_many([{}] * (2 + job.attempt), kind="part", name="parts")
            flow.add({}, kind="part", after="split")
        created.append(flow.created)
        return awa.RetryAfter(0.05) if job.attempt == 1 else None

    @aclient.task(dict, kind="part")
    async def part(job: awa.Job) -> None: ...

    async with aclient.workflow("grow") as flow:
        flow.add({}, kind="split", name="split")
    async with working(aclient):
        await aeventually(lambda: state(rows, flow) == "succeeded", timeout=15)

    assert created == [True, False]
    assert rows.one("SELECT succeeded FROM awa.workflows") == {"succeeded": 5}


async def test_a_handler_that_is_killed_after_its_extension_adds_its_tasks_once(
    aclient: awa.AsyncClient, rows: Rows, spawn_worker: Spawn, tmp_path: Path
) -> None:
    async with aclient.workflow("grow") as flow:
        flow.add({}, kind="split", name="split")
    first = spawn_worker(SPLIT)
    await aeventually((tmp_path / "extended").exists, timeout=30)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    spawn_worker(SPLIT)
    await aeventually(lambda: state(rows, flow) == "succeeded", timeout=30)

    assert rows.one("SELECT succeeded FROM awa.workflows") == {"succeeded": 5}


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
async def test_a_worker_that_stops_between_an_end_and_the_move_loses_nothing(
    aclient: awa.AsyncClient, rows: Rows, database_url: str, spawn_worker: Spawn, how: int
) -> None:
    async with aclient.workflow("held") as flow:
        first = flow.add({}, kind="k", name="first")
        flow.add({}, kind="k", name="second", after=first)
    with psycopg.connect(database_url) as other:
        other.execute("SELECT FROM awa.workflows WHERE id = %s FOR UPDATE", (flow.id,))
        worker = spawn_worker(ENDING)
        await aeventually(lambda: rows.states() == {"completed": 1}, timeout=30)
        os.kill(worker.pid, how)
        # It does not wait for the workflow, which somebody else has locked.
        assert worker.wait(20) == (0 if how == signal.SIGTERM else -how)
        assert rows.one("SELECT job_ids FROM awa.workflow_events") == {"job_ids": [first.job_id]}
    assert tasks(rows, flow) == {"first": "started", "second": "waiting"}
    spawn_worker(ENDING)
    await aeventually(lambda: state(rows, flow) == "succeeded", timeout=30)


async def test_jobs_that_somebody_deletes_count_as_cancelled(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    """Those of the table of live jobs by a TRUNCATE, and those that wait for a time."""

    @aclient.task(dict, kind="k")
    async def handler(job: awa.Job) -> None: ...

    async with aclient.workflow("gone") as flow:
        live = flow.add({}, kind="k", name="live")
        later = flow.add({}, kind="k", name="later", wait="1h")
        flow.add({}, kind="k", name="needs both", after=[live, later])
        flow.add({}, kind="k", name="cleans up", after=[live, later], when="all_done")
        flow.add({}, kind="k", name="retries", after=live, on_parent_failure="wait")
        flow.add({}, kind="k", name="alerts", after=later, when="any_failed")
    rows.conn.execute("TRUNCATE awa.jobs_hot")
    rows.conn.execute("DELETE FROM awa.scheduled_jobs")
    async with working(aclient):
        await aeventually(lambda: tasks(rows, flow)["alerts"] == "succeeded", timeout=20)
        await aeventually(lambda: tasks(rows, flow)["cleans up"] == "succeeded", timeout=20)
    assert tasks(rows, flow) == {
        "live": "cancelled", "later": "cancelled", "needs both": "skipped",
        "cleans up": "succeeded", "retries": "waiting", "alerts": "succeeded",
    }  # fmt: skip
    assert flow.id is not None
    with pytest.raises(awa.Conflict, match="cannot run again") as refused:
        await aclient.retry_workflow(flow.id)
    assert "was deleted, and its args with it" in str(refused.value.why)
    await aclient.cancel_workflow(flow.id)
    assert state(rows, flow) == "cancelled"


async def test_jobs_that_are_deleted_after_their_ends_change_nothing(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    @aclient.task(dict, kind="k")
    async def handler(job: awa.Job) -> None: ...

    async with aclient.workflow("gone") as flow:
        first = flow.add({}, kind="k", name="first")
        flow.add({}, kind="k", name="second", after=first, signal="go")
    assert flow.id is not None
    async with working(aclient):
        await aeventually(lambda: tasks(rows, flow)["first"] == "succeeded", timeout=15)
        rows.conn.execute("TRUNCATE awa.jobs_hot")
        await aclient.signal(flow.id, "go")
        await aeventually(lambda: state(rows, flow) == "succeeded", timeout=15)


REFUSE = """
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''not this one''; END';
    CREATE TRIGGER refuse BEFORE INSERT ON awa.jobs_hot FOR EACH ROW
    WHEN (NEW.kind = 'refused') EXECUTE FUNCTION refuse()"""


@pytest.fixture
async def refused(aclient: awa.AsyncClient, rows: Rows) -> list[awa.Workflow]:
    """Three workflows whose ends nobody has noted; the first cannot be moved on."""
    flows = []
    for kind in ("refused", "k", "k"):
        async with aclient.workflow("swept") as flow:
            flow.add({}, kind=kind, after=flow.add({}, kind="k", name="first", queue="elsewhere"))
        flows.append(flow)
    rows.conn.execute(REFUSE)
    rows.conn.execute(
        "UPDATE awa.jobs_hot SET state = 'completed', finalized_at = now() - interval '1 minute'"
    )
    return flows


@pytest.mark.parametrize("most", [100, 1], ids=["in a round", "one in a round"])
async def test_one_that_is_refused_does_not_keep_the_sweep_from_those_behind_it(
    aclient: awa.AsyncClient,
    rows: Rows,
    refused: list[awa.Workflow],
    monkeypatch: pytest.MonkeyPatch,
    most: int,
) -> None:
    monkeypatch.setattr(ops, "_LEFT_WORKFLOWS", most)

    @aclient.task(dict, kind="k")
    async def handler(job: awa.Job) -> None: ...

    first, *others = refused
    async with working(aclient):
        for flow in others:
            await aeventually(lambda flow=flow: state(rows, flow) == "succeeded", timeout=30)
        assert state(rows, first) == "open"
        rows.conn.execute("DROP TRIGGER refuse ON awa.jobs_hot")
        rows.conn.execute("UPDATE awa.workflow_nodes SET kind = 'k' WHERE kind = 'refused'")
        await aeventually(lambda: state(rows, first) == "succeeded", timeout=30)


async def test_an_end_is_noted_once_however_often_the_move_fails(
    aclient: awa.AsyncClient, rows: Rows, refused: list[awa.Workflow]
) -> None:
    for _ in range(3):
        page, left = await aclient._run(ops.sweep(ops.BEGIN, 0.0))
        assert (page.noted, left) == (3, [flow.id for flow in refused])
    assert rows.one("SELECT count(*) AS n FROM awa.workflow_events") == {"n": 3}
