"""What durable steps promise where two things happen at once; see ``formal/steps.pml``."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import psycopg
import pytest
from fix_wait import aeventually
from fix_worker import Noop, Rows, working
from psycopg.conninfo import conninfo_to_dict

import awa_lib as awa

# A read or a write of steps, and not the leader, which deletes old ones.
BLOCKED = """
    SELECT 1 FROM pg_stat_activity
    WHERE datname = current_database() AND cardinality(pg_blocking_pids(pid)) > 0
      AND (query LIKE '%%AS seconds_left%%' OR query LIKE '%%INSERT INTO awa.job_steps%%')"""
NOTED = """
    CREATE TABLE public.noted (durability text);
    CREATE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO public.noted VALUES (current_setting('synchronous_commit'));
        RETURN NULL;
    END $$;
    CREATE TRIGGER note AFTER INSERT ON awa.job_steps
    FOR EACH STATEMENT EXECUTE FUNCTION public.note()"""


async def ended(rows: Rows, job_id: int) -> dict[str, Any]:
    states = ("completed", "failed", "cancelled")
    await aeventually(lambda: rows.job(job_id)["state"] in states, timeout=20)
    return rows.job(job_id)


def kept(rows: Rows, job_id: int) -> dict[str, Any]:
    text = "SELECT name, value FROM awa.job_steps WHERE job_id = %s ORDER BY number"
    return {row["name"]: row["value"] for row in rows.all(text, job_id)}


@pytest.mark.parametrize("blocking", [False, True])
async def test_a_step_returns_when_it_is_written(
    aclient: awa.AsyncClient, rows: Rows, database_url: str, blocking: bool
) -> None:
    calls: list[str] = []
    begun, locked = threading.Event(), threading.Event()

    def first() -> None:
        calls.append("first")
        begun.set()
        locked.wait(20)

    if blocking:

        @aclient.task(Noop)
        def handler(job: awa.Job) -> None:
            job.step_sync("first", first)
            job.step_sync("second", calls.append, "second")
    else:

        @aclient.task(Noop)
        async def handler(job: awa.Job) -> None:
            await job.step("first", first)
            await job.step("second", calls.append, "second")

    job = await aclient.insert(Noop())
    async with working(aclient):
        assert await asyncio.to_thread(begun.wait, 20)
        with psycopg.connect(database_url) as other:
            other.execute("SELECT FROM awa.jobs_hot WHERE id = %s FOR UPDATE", [job.id])
            locked.set()
            await aeventually(lambda: rows.all(BLOCKED))
            await aeventually(lambda: not rows.all(BLOCKED))  # it rests, and tries again
            assert calls == ["first"]
        assert (await ended(rows, job.id))["state"] == "completed"

    assert calls == ["first", "second"]
    assert list(kept(rows, job.id)) == ["first", "second"]


async def test_a_step_waits_for_the_disk(
    aclient: awa.AsyncClient, rows: Rows, database_url: str
) -> None:
    """As a claim does not."""
    name = conninfo_to_dict(database_url)["dbname"]
    rows.conn.execute(f"ALTER DATABASE {name} SET synchronous_commit = on")  # type: ignore[arg-type]
    rows.conn.execute(NOTED)  # type: ignore[arg-type]

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None:
        await job.step("a", lambda: 1)

    job = await aclient.insert(Noop())
    async with working(aclient):
        assert (await ended(rows, job.id))["state"] == "completed"

    assert rows.all("SELECT durability FROM public.noted") == [{"durability": "on"}]


async def test_steps_of_several_attempts_have_one_order(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    calls: list[str] = []

    @aclient.task(Noop, max_attempts=2, backoff=awa.fixed(0.01))
    async def handler(job: awa.Job) -> None:
        for name in "abc":
            await job.step(name, calls.append, name)
            if job.attempt == 1 and calls == ["a", "b"]:
                raise RuntimeError("again")
        if len(calls) == 3:
            raise awa.TerminalError("stop")

    job = await aclient.insert(Noop())
    async with working(aclient):
        assert (await ended(rows, job.id))["state"] == "failed"
        await aclient.retry(job.id, from_step="b")
        await aeventually(lambda: rows.job(job.id)["state"] == "completed")

    assert calls == ["a", "b", "c", "b", "c"]


async def test_a_retry_from_a_sleep_sleeps_again(aclient: awa.AsyncClient, rows: Rows) -> None:
    began: list[int] = []

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None:
        began.append(job.attempt)
        await job.sleep("cool off", seconds=0.1)
        if len(began) == 2:
            raise awa.TerminalError("stop")

    job = await aclient.insert(Noop())
    async with working(aclient):
        assert (await ended(rows, job.id))["state"] == "failed"
        await aclient.retry(job.id, from_step="cool off")
        await aeventually(lambda: rows.job(job.id)["state"] == "completed")

    assert len(began) == 4


@pytest.mark.parametrize("blocking", [False, True])
async def test_an_attempt_that_wakes_early_sleeps_for_the_rest(
    aclient: awa.AsyncClient, rows: Rows, blocking: bool
) -> None:
    """Its worker may have died between the beginning of the sleep and the end of the attempt."""
    if blocking:

        @aclient.task(Noop)
        def handler(job: awa.Job) -> None:
            job.sleep_sync("cool off", hours=1)
    else:

        @aclient.task(Noop)
        async def handler(job: awa.Job) -> None:
            await job.sleep("cool off", hours=1)

    left = "SELECT extract(epoch FROM run_at - now())::float8 AS s FROM awa.scheduled_jobs"
    job = await aclient.insert(Noop())
    rows.all(
        "INSERT INTO awa.job_steps (job_id, number, name, value, attempt, started_at, ended_at)"
        " VALUES (%s, 1, 'cool off', '{\"sleep\": true}', 1, now(), now() + interval '20 min')"
        " RETURNING 1",
        job.id,
    )
    async with working(aclient):
        await aeventually(lambda: rows.job(job.id)["state"] == "scheduled")

    assert 1_100 < rows.one(left)["s"] <= 1_200
    assert rows.job(job.id)["attempt"] == 0


async def test_a_step_ends_beside_a_wait_for_a_callback(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    waits, values = asyncio.Event(), []

    async def price() -> int:
        await waits.wait()
        return 5

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None:
        token = await job.register_callback()
        both = job.wait_for_callback(token), job.step("price", price)
        values.append(await asyncio.gather(*both))

    job = await aclient.insert(Noop())
    async with working(aclient):
        await aeventually(lambda: rows.job(job.id)["state"] == "waiting_external")
        waits.set()
        await aeventually(lambda: kept(rows, job.id) == {"price": 5})
        assert rows.job(job.id)["state"] == "waiting_external"
        await aclient.resume_external(str(rows.job(job.id)["callback_id"]), "paid")
        row = await ended(rows, job.id)

    assert (row["state"], row["attempt"]) == ("completed", 1)
    assert values == [["paid", 5]]


async def test_an_attempt_that_lost_its_job_calls_one_more_function_at_most(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    calls: list[str] = []
    errors: list[BaseException] = []
    stopped: list[bool] = []
    inside, go_on = asyncio.Event(), asyncio.Event()

    async def call(name: str) -> None:
        calls.append(name)
        inside.set()
        await go_on.wait()

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None:
        try:
            for name in "abc":
                await job.step(name, call, name)
        except BaseException as error:
            errors.append(error)
            stopped.append(job.is_cancelled())
            raise

    job = await aclient.insert(Noop())
    # The write tells it, and no heartbeat before that.
    slow = {"heartbeat_interval_ms": 5_000, "heartbeat_staleness_ms": 15_000}
    async with working(aclient, cancel_grace_ms=10_000, **slow):
        await inside.wait()
        # Another worker has taken it, and has done the first step.
        rows.conn.execute("UPDATE awa.jobs_hot SET run_lease = run_lease + 512, attempt = 2")
        rows.conn.execute(
            "INSERT INTO awa.job_steps (job_id, number, name, value, attempt, started_at, ended_at)"
            " VALUES (%s, 1, 'a', '\"theirs\"', 2, now(), now())",
            [job.id],
        )
        go_on.set()
        await aeventually(lambda: bool(errors))

    assert calls == ["a"]
    assert isinstance(errors[0], awa.StaleAttempt)
    assert stopped == [True]
    assert kept(rows, job.id) == {"a": "theirs"}


async def test_a_cancelled_attempt_does_not_wait_for_its_steps(
    aclient: awa.AsyncClient, rows: Rows, database_url: str
) -> None:
    """A blocking handler cannot be interrupted while it waits for the database."""
    errors: list[BaseException] = []

    @aclient.task(Noop)
    def handler(job: awa.Job) -> None:
        try:
            job.step_sync("a", lambda: None)
        except BaseException as error:
            errors.append(error)
            raise

    job = await aclient.insert(Noop())
    with psycopg.connect(database_url) as other:
        other.execute("LOCK TABLE awa.job_steps")
        async with working(aclient):
            await aeventually(lambda: rows.all(BLOCKED))
            await aclient.cancel(job.id)
            await aeventually(lambda: bool(errors))

    assert isinstance(errors[0], awa.StaleAttempt)


async def test_steps_that_begin_together_have_numbers_of_their_own(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    async def return_at_once(n: int) -> int:
        return n

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None:
        await asyncio.gather(*(job.step("n", return_at_once, n, key=n) for n in range(3)))

    job = await aclient.insert(Noop())
    async with working(aclient):
        assert (await ended(rows, job.id))["state"] == "completed"

    found = rows.all("SELECT number FROM awa.job_steps ORDER BY number")
    assert [row["number"] for row in found] == [1, 2, 3]


@pytest.mark.parametrize("when", ["read", "write"])
async def test_a_passing_trouble_of_the_database_costs_no_attempt(
    aclient: awa.AsyncClient, rows: Rows, database_url: str, when: str
) -> None:
    begun, locked = asyncio.Event(), asyncio.Event()

    async def call() -> None:
        begun.set()
        await locked.wait()

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None:
        await job.step("a", call)

    with psycopg.connect(database_url) as other:
        if when == "read":
            other.execute("LOCK TABLE awa.job_steps")
            locked.set()
        job = await aclient.insert(Noop())
        async with working(aclient):
            if when == "write":
                await begun.wait()
                other.execute("LOCK TABLE awa.job_steps")
                locked.set()
            await aeventually(lambda: rows.all(BLOCKED))
            await aeventually(lambda: not rows.all(BLOCKED))  # it was refused, and rests
            other.rollback()
            row = await ended(rows, job.id)

    assert (row["state"], row["attempt"], row["errors"] or []) == ("completed", 1, [])


async def test_a_locked_job_holds_up_no_step_of_another(
    aclient: awa.AsyncClient, rows: Rows, database_url: str
) -> None:
    begun, locked = asyncio.Event(), asyncio.Event()

    async def call() -> None:
        begun.set()
        await locked.wait()

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None:
        await job.step("a", call)

    first = await aclient.insert(Noop())
    async with working(aclient):
        await begun.wait()
        with psycopg.connect(database_url) as other:
            other.execute("SELECT FROM awa.jobs_hot WHERE id = %s FOR UPDATE", [first.id])
            locked.set()
            await aeventually(lambda: rows.all(BLOCKED))
            second = await aclient.insert(Noop())
            assert (await ended(rows, second.id))["state"] == "completed"
            assert rows.job(first.id)["state"] == "running"
        assert (await ended(rows, first.id))["state"] == "completed"
