"""A transaction that holds one workflow for long does not hold up the others."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from fix_wait import aeventually
from fix_worker import Rows, working

import awa_lib as awa


@contextmanager
def held(url: str, flow: awa.Workflow) -> Iterator[None]:
    """Lock a workflow as a program does that extends it and then takes its time."""
    with psycopg.connect(url) as conn:
        conn.execute("SELECT FROM awa.workflows WHERE id = %s FOR UPDATE", (flow.id,))
        yield
        conn.rollback()


def state(rows: Rows, flow: awa.Workflow) -> str:
    return str(rows.one("SELECT state FROM awa.workflows WHERE id = %s", flow.id)["state"])


async def test_the_others_go_on_at_their_pace(
    aclient: awa.AsyncClient, rows: Rows, database_url: str
) -> None:
    @aclient.task(dict, kind="k")
    async def handler(job: awa.Job) -> None: ...

    async def chain(length: int) -> awa.Workflow:
        async with aclient.workflow("chain") as flow:
            last = flow.add({}, kind="k")
            for _ in range(length - 1):
                last = flow.add({}, kind="k", after=last)
        return flow

    first, second = await chain(2), await chain(25)
    async with working(aclient):
        with held(database_url, first):
            # Each of its 25 tasks would wait a second for the lock of the other.
            await aeventually(lambda: state(rows, second) == "succeeded", timeout=12)
            assert state(rows, first) == "open"
        await aeventually(lambda: state(rows, first) == "succeeded")


async def test_the_sweep_passes_over_it(
    aclient: awa.AsyncClient, rows: Rows, database_url: str
) -> None:
    flows = []
    for _ in range(2):
        async with aclient.workflow("swept") as flow:
            flow.add({}, kind="k", name="only", queue="elsewhere")
        flows.append(flow)
    rows.all(
        "UPDATE awa.jobs_hot SET state = 'completed', finalized_at = now() - interval '1 min'"
        " RETURNING id"
    )

    @aclient.task(dict, kind="k")
    async def handler(job: awa.Job) -> None: ...

    with held(database_url, flows[0]):
        async with working(aclient):
            await aeventually(lambda: state(rows, flows[1]) == "succeeded", timeout=15)


async def test_a_shutdown_does_not_wait_for_it(
    aclient: awa.AsyncClient, rows: Rows, database_url: str
) -> None:
    @aclient.task(dict, kind="k")
    async def handler(job: awa.Job) -> None: ...

    async with aclient.workflow("held") as flow:
        first = flow.add({}, kind="k")
        flow.add({}, kind="k", after=first)
    await aclient.start([("default", 5)])
    with held(database_url, flow):
        assert first.job_id is not None
        job_id = first.job_id
        await aeventually(lambda: rows.job(job_id)["state"] == "completed")
        began = time.monotonic()
        await aclient.shutdown(30_000)
        assert time.monotonic() - began < 15

    async with working(aclient):
        await aeventually(lambda: state(rows, flow) == "succeeded", timeout=15)


async def test_one_that_is_refused_holds_up_no_other(aclient: awa.AsyncClient, rows: Rows) -> None:
    """They end together, so they are moved on in one transaction, and then one by one."""
    rows.conn.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql"
        " AS 'BEGIN RAISE ''not this one''; END'"
    )
    rows.conn.execute(
        "CREATE TRIGGER refuse BEFORE INSERT ON awa.jobs_hot FOR EACH ROW"
        " WHEN (NEW.kind = 'refused') EXECUTE FUNCTION refuse()"
    )

    @aclient.task(dict, kind="k")
    async def handler(job: awa.Job) -> None: ...

    flows = []
    for kind in ("k", "refused", "k"):
        async with aclient.workflow("pair") as flow:
            flow.add({}, kind=kind, after=flow.add({}, kind="k", name="first"))
        flows.append(flow)
    before, refused, behind = flows
    async with working(aclient):
        for flow in (before, behind):
            await aeventually(lambda flow=flow: state(rows, flow) == "succeeded")
        assert state(rows, refused) == "open"
        rows.conn.execute("DROP TRIGGER refuse ON awa.jobs_hot")
        rows.conn.execute("UPDATE awa.workflow_nodes SET kind = 'k' WHERE kind = 'refused'")
        # The sweep tries it again.
        await aeventually(lambda: state(rows, refused) == "succeeded", timeout=20)
