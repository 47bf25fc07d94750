"""What the leader does beside rescue: dead letters and bulk operations, with a real worker."""

from __future__ import annotations

import pytest
from fix_wait import aeventually
from fix_worker import Noop, Rows, working

import awa_lib as awa

QUEUE = {"name": "default", "max_workers": 5, "dead_letters": True}


async def test_a_failed_job_becomes_a_dead_letter_and_runs_again(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    broken = True

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None:
        if broken:
            raise awa.TerminalError("no luck")

    async with working(aclient, QUEUE):
        job = await aclient.insert(Noop(3))
        await aeventually(aclient.dlq_depth)
        entry = await aclient.get_dlq_job(job.id)
        broken = False
        await aclient.retry_from_dlq(job.id)
        await aeventually(lambda: rows.job(job.id)["state"] == "completed")

    assert entry.reason == "TerminalError: no luck"
    assert (entry.job.args, entry.original_run_lease > 0) == ({"n": 3}, True)
    assert await aclient.dlq_depth() == 0


@pytest.mark.parametrize(
    ("key", "before", "after"), [(True, False, True), (False, True, False), (None, True, True)]
)
async def test_the_queue_key_is_published_at_start(
    aclient: awa.AsyncClient, rows: Rows, key: bool | None, before: bool, after: bool
) -> None:
    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None: ...

    await aclient.set_dead_letters("default", before)
    async with working(aclient, {**QUEUE, "dead_letters": key}):
        assert rows.one("SELECT dead_letters FROM awa.queue_policies") == {"dead_letters": after}


async def test_the_queue_key_is_checked(aclient: awa.AsyncClient, rows: Rows) -> None:
    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None: ...

    with pytest.raises(TypeError, match="dead_letters must be True, False or None, got 'yes'"):
        await aclient.start([{**QUEUE, "dead_letters": "yes"}])
    with pytest.raises(ValueError, match="did you mean 'dead_letters'"):
        await aclient.start([{**QUEUE, "dead_leters": True}])

    assert rows.all("SELECT * FROM awa.queue_policies") == []


async def test_the_leader_carries_out_bulk_operations(aclient: awa.AsyncClient, rows: Rows) -> None:
    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None: ...

    rows.conn.execute(
        "INSERT INTO awa.jobs_hot (kind, queue, state)"
        " SELECT 'noop', 'default', 'failed' FROM generate_series(1, 1200)"
    )
    rows.conn.execute(
        "INSERT INTO awa.jobs_hot (kind, queue, state)"
        " SELECT 'old', 'default', 'completed' FROM generate_series(1, 700)"
    )
    async with working(aclient, ("default", 20)):
        deleted = await aclient.submit_bulk_operation("delete", kind="old")
        retried = await aclient.submit_bulk_operation("retry", kind="noop", state="failed")

        async def over() -> bool:
            latest = [await aclient.get_bulk_operation(o.id) for o in (deleted, retried)]
            return all(operation.finished for operation in latest)

        await aeventually(over)
        await aeventually(lambda: rows.states() == {"completed": 1200})

    assert [(o.state, o.processed) for o in await aclient.list_bulk_operations()] == [
        ("completed", 1200), ("completed", 700),
    ]  # fmt: skip
