"""Ends by people and by callbacks from outside are counted once, and lock nothing of others."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest
from fix_wait import aeventually
from fix_worker import Noop, Rows, working

import awa_lib as awa
from awa_lib.db.drive import run
from awa_lib.ops import failures
from awa_lib.ops.failures import EndCount, count_ends, count_outside_ends
from awa_lib.runtime import maintenance

COUNTS = (
    "SELECT minutes, outcome, sum(ends)::int AS ends FROM awa.job_ends GROUP BY minutes, outcome"
)


def counted(rows: Rows) -> dict[str, int]:
    """Return the counts by outcome, which are the same by minute and by hour."""
    found: dict[int, dict[str, int]] = {1: {}, 60: {}}
    for row in rows.all(COUNTS):
        found[row["minutes"]][row["outcome"]] = row["ends"]
    assert found[1] == found[60]
    return found[1]


def waiting(rows: Rows, *, kind: str = "noop", queue: str = "default") -> str:
    """Insert a job that waits for a callback; return the id of the callback."""
    callback_id = str(uuid4())
    rows.conn.execute(
        "INSERT INTO awa.jobs_hot (kind, queue, state, attempt, callback_id, callback_timeout_at)"
        " VALUES (%s, %s, 'waiting_external', 1, %s, now() + interval '1 hour')",
        [kind, queue, callback_id],
    )
    return callback_id


@pytest.fixture
def blocking(database_url: str) -> Iterator[awa.Client]:
    with awa.Client(database_url) as client:
        yield client


async def test_the_leader_counts_what_people_and_callbacks_end(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None: ...

    later = {"kind": "later", "queue": "later", "delay": "1h"}
    one, two, *_ = await aclient.insert_many([{"n": n} for n in range(6)], **later)
    await aclient.insert({}, unique=awa.Unique(by="args"), **later)
    await aclient.cancel(one.id)
    await aclient.cancel(two.id)
    await aclient.cancel_by_unique_key("later", args={})
    await aclient.cancel_waiting("later")
    await aclient.complete_external(waiting(rows))
    await aclient.resume_external(waiting(rows))
    await aclient.fail_external(waiting(rows), "card 42 was declined")
    await aclient.resolve_callback(waiting(rows), 1, "complete")
    await aclient.resolve_callback(waiting(rows), 1, "fail")
    await aclient.insert_many([{}] * 3, kind="bulk", queue="bulk")
    await aclient.submit_bulk_operation("cancel", kind="bulk")
    assert counted(rows) == {}

    async with working(aclient):
        await aeventually(lambda: counted(rows).get("cancelled") == 10)

    assert counted(rows) == {"cancelled": 10, "completed": 2, "failed": 2}
    assert rows.all("SELECT 1 FROM awa.uncounted_ends") == []


async def test_a_failure_from_outside_is_a_failure_like_others(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    for n in range(3):
        await aclient.fail_external(waiting(rows), f"card {n} was declined")
    run(rows.conn, count_outside_ends())

    (failure,) = await aclient.list_failures()
    assert (failure.message, failure.failed, failure.kinds) == (
        "card <n> was declined",
        3,
        ["noop"],
    )
    assert await aclient.retry_failure(failure.id) == 3


async def test_a_job_that_is_cancelled_while_it_runs_is_counted_once(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    begun = asyncio.Event()

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None:
        if job.args.n == 0:
            begun.set()
            await asyncio.Event().wait()

    async with working(aclient):
        job = await aclient.insert(Noop(0))
        await begun.wait()
        await aclient.cancel(job.id)
        await aeventually(lambda: counted(rows) == {"cancelled": 1})
        await aclient.insert(Noop(1))
        await aeventually(lambda: counted(rows).get("completed") == 1)

    assert counted(rows) == {"cancelled": 1, "completed": 1}


@pytest.mark.parametrize("commits", [True, False])
def test_a_callers_transaction_locks_no_count(
    blocking: awa.Client, rows: Rows, database_url: str, commits: bool
) -> None:
    """Workers go on counting the same ends; what is rolled back never counts."""
    job = blocking.insert({}, kind="noop", queue="default")
    callbacks = [waiting(rows) for _ in range(2)]
    told = EndCount(0, "default", "noop", "completed", "", 1)
    with psycopg.connect(database_url) as conn:
        mine = blocking.using(conn)
        mine.cancel(job.id)
        mine.complete_external(callbacks[0])
        mine.fail_external(callbacks[1], "no")
        rows.conn.execute("SET lock_timeout = '2s'")
        run(rows.conn, count_ends([told], []))
        assert run(rows.conn, count_outside_ends()) == 0
        if commits:
            conn.commit()
        else:
            conn.rollback()
    run(rows.conn, count_outside_ends())

    ended = {"cancelled": 1, "completed": 2, "failed": 1} if commits else {"completed": 1}
    assert counted(rows) == ended


def test_two_leaders_at_once_count_each_end_once(
    blocking: awa.Client, rows: Rows, database_url: str
) -> None:
    """One that has lost the lead may still be at it."""
    for _ in range(3):
        blocking.complete_external(waiting(rows))
    with psycopg.connect(database_url) as conn:
        assert run(conn, count_outside_ends()) == 3
        assert run(rows.conn, count_outside_ends()) == 0
        conn.rollback()

    assert run(rows.conn, count_outside_ends()) == 3
    assert counted(rows) == {"completed": 3}


def test_an_end_counts_in_the_minute_in_which_it_was_made(blocking: awa.Client, rows: Rows) -> None:
    blocking.complete_external(waiting(rows))
    rows.conn.execute("UPDATE awa.uncounted_ends SET at = at - interval '3 days 7 minutes'")
    then = rows.one("SELECT date_trunc('minute', at, 'UTC') AS at FROM awa.uncounted_ends")["at"]
    run(rows.conn, count_outside_ends())

    (found,) = rows.all("SELECT bucket FROM awa.job_ends WHERE minutes = 1")
    assert found["bucket"] == then


async def test_many_are_counted_in_batches(
    aclient: awa.AsyncClient, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failures, "OUTSIDE_BATCH", 2)
    monkeypatch.setattr(maintenance, "OUTSIDE_BATCH", 2)

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None: ...

    for _ in range(7):
        await aclient.complete_external(waiting(rows))
    async with working(aclient):
        await aeventually(lambda: counted(rows) == {"completed": 7})
