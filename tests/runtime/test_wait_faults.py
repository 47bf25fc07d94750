"""Waits under faults: retried jobs, cut connections, cancelled statements, shutdown, time-outs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest
from fix_wait import aeventually
from fix_worker import Noop, Rows, working

import awa_lib as awa
from awa_lib.ops import callbacks as ops

# What resume_external of awa 0.5 does to the row, with an empty payload.
_RESUMED_BY_05 = (
    "UPDATE awa.jobs_hot SET state = 'running', callback_id = NULL, callback_timeout_at = NULL,"
    " heartbeat_at = now(), metadata = metadata || '{\"_awa_callback_result\": null}' WHERE id = %s"
)


def callback_of(rows: Rows, job_id: int) -> str | None:
    row = rows.job(job_id)
    return str(row["callback_id"]) if row["state"] == "waiting_external" else None


async def waiting(rows: Rows, job_id: int, *, other_than: str | None = None) -> str:
    callback = await aeventually(
        lambda: (found := callback_of(rows, job_id)) != other_than and found
    )
    assert callback
    return callback


async def ended(rows: Rows, job_id: int, state: str) -> dict[str, Any]:
    await aeventually(lambda: rows.job(job_id)["state"] == state)
    return rows.job(job_id)


async def test_retried_job_that_is_claimed_here_again_leaks_no_slot(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    """The handler of the first attempt gets an error; the second gets its own answer."""
    heard: list[str] = []

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None:
        try:
            heard.append(f"got {await job.wait_for_callback(await job.register_callback())}")
        except awa.ValidationError as error:
            heard.append(str(error))
            raise

    async with working(aclient):
        job = await aclient.insert(Noop())
        first = await waiting(rows, job.id)
        await aclient.retry(job.id)
        second = await waiting(rows, job.id, other_than=first)
        await aeventually(lambda: heard)
        assert "the job was retried" in heard[0]
        await aclient.resume_external(second, 2)
        row = await ended(rows, job.id, "completed")
        health = await aeventually(
            lambda: _in_flight(aclient, 0),
        )

    assert health
    assert heard[1:] == ["got 2"]
    assert row["errors"] == []


async def _in_flight(client: awa.AsyncClient, count: int) -> bool:
    return (await client.health_check()).queues["default"].in_flight == count


async def test_cancelled_statement_does_not_end_the_loop_of_waits(
    aclient: awa.AsyncClient, rows: Rows, database_url: str
) -> None:
    """As a statement_timeout of the role, or an operator, would cut it off."""

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None:
        await job.wait_for_callback(await job.register_callback())

    cancel = (
        "SELECT pg_cancel_backend(pid) AS done FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        " AND datname = current_database() AND query LIKE '%%state = ''running'' AND metadata ?%%'"
    )
    async with working(aclient, heartbeat_staleness_ms=60_000):
        job = await aclient.insert(Noop())
        callback = await waiting(rows, job.id)
        with psycopg.connect(database_url) as lock:
            # In a thread: a transaction of the worker may need this loop to end.
            await asyncio.to_thread(
                lock.execute, "LOCK TABLE awa.jobs_hot IN ACCESS EXCLUSIVE MODE"
            )
            await aeventually(lambda: rows.all(cancel))
        # As awa 0.5 resumes: without a notification.
        rows.conn.execute(
            "UPDATE awa.jobs_hot SET state = 'running', heartbeat_at = now(), callback_id = NULL,"
            " metadata = metadata || '{\"_awa_callback_result\": 1}' WHERE callback_id = %s",
            [callback],
        )
        await ended(rows, job.id, "completed")


async def test_handlers_statements_survive_terminated_connections(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None:
        for n in range(6):
            token = await job.register_callback()
            job.set_progress(n)
            await job.flush_progress()
            assert await job.cancel_callback(token)

    async def storm(over: asyncio.Event) -> None:
        while not over.is_set():
            rows.conn.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname ="
                " current_database() AND pid <> pg_backend_pid() AND query ~ 'callback|progress'"
            )
            await asyncio.sleep(0.02)

    over = asyncio.Event()
    async with working(aclient, ("default", 20), heartbeat_staleness_ms=60_000):
        storming = asyncio.create_task(storm(over))
        await aclient.insert_many([Noop(n) for n in range(20)], max_attempts=1)
        await asyncio.sleep(0.5)
        over.set()
        await storming
        await aeventually(lambda: rows.states() == {"completed": 20}, timeout=20)


async def test_shutdown_while_answers_come_costs_no_attempt(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    answers: list[Any] = []

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None:
        answers.append(await job.wait_for_callback(await job.register_callback()))

    async def answer(ids: list[str]) -> None:
        for callback in ids:
            await aclient.resume_external(callback, callback)

    async with working(aclient, ("default", 20)):
        jobs = await aclient.insert_many([Noop(n) for n in range(20)], max_attempts=1)
        await aeventually(lambda: rows.states() == {"waiting_external": 20})
        ids = [str(rows.job(job.id)["callback_id"]) for job in jobs]
        answering = asyncio.create_task(answer(ids))
        await aeventually(lambda: rows.states().get("waiting_external", 0) < 15)
        await aclient.shutdown(2000)
        await answering
    async with working(aclient, ("default", 20)):
        await aeventually(lambda: rows.states() == {"completed": 20})

    assert sorted(answers) == sorted(ids)
    assert {row["attempt"] for row in rows.all("SELECT attempt FROM awa.jobs")} == {1}


async def test_answer_unheard_before_the_shutdown_is_handed_back(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    """The row runs again without a process: as awa 0.5 resumes, without a notification."""
    answers: list[Any] = []

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None:
        answers.append(await job.wait_for_callback(await job.register_callback()))

    async with working(aclient):
        job = await aclient.insert(Noop(), max_attempts=1)
        callback = await waiting(rows, job.id)
        rows.conn.execute(
            "UPDATE awa.jobs_hot SET state = 'running', heartbeat_at = now(), callback_id = NULL,"
            " metadata = metadata || '{\"_awa_callback_result\": 5}' WHERE callback_id = %s",
            [callback],
        )
    row = rows.job(job.id)
    assert (row["state"], row["attempt"], row["heartbeat_at"]) in [
        ("available", 0, None),
        ("completed", 1, row["heartbeat_at"]),
    ]
    async with working(aclient):
        row = await ended(rows, job.id, "completed")

    assert (answers, row["attempt"]) == ([5], 1)


async def test_answer_between_hand_back_and_registration_is_taken(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    """The attempt had given the id away, but did not wait yet when its process stopped."""
    runs: list[Any] = []
    go = asyncio.Event()

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None:
        if len(runs) == 1:
            runs.append("second begins")
            await go.wait()
        token = await job.register_callback()
        runs.append(token.id)
        if len(runs) == 1:
            await asyncio.Event().wait()
        runs.append(await job.wait_for_callback(token))

    await aclient.start([("default", 1)])
    job = await aclient.insert(Noop())
    await aeventually(lambda: runs)
    await aclient.shutdown(0)
    assert rows.job(job.id)["state"] == "available"
    async with working(aclient):
        await aeventually(lambda: len(runs) == 2)
        await aclient.resume_external(runs[0], "paid")
        go.set()
        row = await ended(rows, job.id, "completed")

    assert runs == [runs[0], "second begins", runs[0], "paid"]
    assert row["attempt"] == 1


async def test_answer_to_a_job_that_was_handed_back_waits_for_its_handler(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    runs: list[Any] = []

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None:
        token = await job.register_callback()
        runs.append(token.id)
        if len(runs) == 1:
            await asyncio.Event().wait()
        runs.append(await job.wait_for_callback(token))

    await aclient.start([("default", 1)])
    job = await aclient.insert(Noop())
    await aeventually(lambda: runs)
    await aclient.shutdown(0)
    answered = await aclient.resume_external(runs[0], {"n": 1})
    assert (answered.state, answered.attempt) == (awa.JobState.Available, 0)
    async with working(aclient):
        await ended(rows, job.id, "completed")

    assert runs == [runs[0], runs[0], {"n": 1}]


async def test_who_has_lost_its_job_does_not_fail_when_it_registers(
    aclient: awa.AsyncClient, rows: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    """After a failover the claim may be gone: the job waits for a run, and nothing has failed."""
    began, go, raised = asyncio.Event(), asyncio.Event(), asyncio.Event()

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None:
        began.set()
        await go.wait()
        try:
            await job.register_callback()
        finally:
            raised.set()

    job = await aclient.insert(Noop())
    async with working(aclient, heartbeat_interval_ms=60_000, heartbeat_staleness_ms=180_000):
        await asyncio.wait_for(began.wait(), 10)
        rows.conn.execute("UPDATE awa.jobs_hot SET run_lease = 7 WHERE id = %s", (job.id,))
        go.set()
        await asyncio.wait_for(raised.wait(), 10)
        await aeventually(lambda: not aclient._runtime._executor.attempts)
        row = rows.job(job.id)

    assert (row["state"], row["run_lease"], row["errors"]) == ("running", 7, [])
    assert [r.getMessage() for r in caplog.records if "failed in attempt" in r.getMessage()] == []


async def test_handlers_own_time_out_leaves_the_wait(aclient: awa.AsyncClient, rows: Rows) -> None:
    """It goes on with its lease, and may wait again."""
    answers: list[Any] = []

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None:
        token = await job.register_callback()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(job.wait_for_callback(token), 0.3)
        row = rows.job(job.id)
        answers.extend([row["state"], str(row["callback_id"]) == token.id])
        answers.append(await job.wait_for_callback(token))

    async with working(aclient):
        job = await aclient.insert(Noop())
        await aeventually(lambda: len(answers) == 2)
        await aclient.resume_external(await waiting(rows, job.id), "late")
        row = await ended(rows, job.id, "completed")

    assert answers == ["running", True, "late"]
    assert row["attempt"] == 1


async def test_two_waits_at_once_and_an_early_answer(aclient: awa.AsyncClient, rows: Rows) -> None:
    """An answer belongs to its callback, also when another one is registered meanwhile."""
    answers: list[Any] = []

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None:
        first = await job.register_callback()
        await aclient.resume_external(first.id, "early")
        second = await job.register_callback()
        answers.append(await job.wait_for_callback(first))
        answers.extend(
            await asyncio.gather(job.wait_for_callback(second), job.wait_for_callback(second))
        )

    async with working(aclient):
        job = await aclient.insert(Noop())
        await aclient.resume_external(await waiting(rows, job.id), "second")
        await ended(rows, job.id, "completed")

    assert answers == ["early", "second", "second"]


async def test_answer_of_a_callback_is_not_that_of_one_it_replaced(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    heard: list[str] = []

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None:
        old, new = await job.register_callback(), await job.register_callback()
        await aclient.resume_external(new.id, "new")
        try:
            heard.append(await job.wait_for_callback(old))
        except awa.ValidationError as error:
            heard.append(str(error))
        heard.append(await job.wait_for_callback(new))

    async with working(aclient):
        job = await aclient.insert(Noop())
        await ended(rows, job.id, "completed")

    assert "the callback was replaced or withdrawn" in heard[0]
    assert heard[1:] == ["new"]


async def test_equal_answers_of_awa_05_are_told_apart(aclient: awa.AsyncClient, rows: Rows) -> None:
    """It journals no answer; most answers are empty, so that an earlier one is likely equal."""
    run: Callable[..., Any] = aclient._run
    first, second = (f"6e7fd6d2-15b5-4b12-9dd5-2d5a41f8c00{n}" for n in (1, 2))
    async with _running(aclient, rows) as (job_id, lease):
        await run(ops.register_callback(job_id, lease, first, 60, awa_expressions()))
        await aclient.resume_external(first)
        assert await run(ops.take_answer(job_id, lease, first, None)) == "null"
        await run(ops.register_callback(job_id, lease, second, 60, awa_expressions()))
        rows.conn.execute(_RESUMED_BY_05, [job_id])
        assert (await run(ops.look_at_waits([job_id])))[job_id].pending
        # Its process ends before it has taken the answer, and the next attempt registers again.
        assert await run(ops.register_callback(job_id, lease, second, 60, awa_expressions()))
        assert rows.job(job_id)["callback_id"] is None
        assert await run(ops.take_answer(job_id, lease, second, None)) == "null"


async def test_the_last_entry_of_the_journal_is_the_latest_callback(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    run: Callable[..., Any] = aclient._run
    first, second = (f"6e7fd6d2-15b5-4b12-9dd5-2d5a41f8c00{n}" for n in (1, 2))
    async with _running(aclient, rows) as (job_id, lease):
        for callback in (first, second, first):
            await run(ops.register_callback(job_id, lease, callback, 60, awa_expressions()))
        rows.conn.execute(_RESUMED_BY_05, [job_id])
        assert await run(ops.take_answer(job_id, lease, second, None)) is None
        await run(ops.register_callback(job_id, lease, second, 60, awa_expressions()))

    assert rows.job(job_id)["metadata"]["_awa_callbacks"] == [
        {"id": first, "result": None},
        {"id": second},
    ]


async def test_an_equal_answer_outside_the_journal_is_not_lost_with_the_process(
    aclient: awa.AsyncClient, rows: Rows, database_url: str
) -> None:
    runs: list[str] = []

    def register(client: awa.AsyncClient) -> None:
        @client.task(Noop)
        async def handler(job: awa.Job) -> None:
            runs.append("began")
            await job.wait_for_callback(await job.register_callback())
            await job.wait_for_callback(await job.register_callback(timeout_seconds=60))

    register(aclient)
    async with working(aclient):
        job = await aclient.insert(Noop())
        first = await waiting(rows, job.id)
        await aclient.resume_external(first)
        await waiting(rows, job.id, other_than=first)
        # Without a notification the process learns of it a second later.
        rows.conn.execute(_RESUMED_BY_05, [job.id])
    assert rows.job(job.id)["state"] == "available"

    async with awa.AsyncClient(database_url) as other:
        register(other)
        async with working(other):
            await ended(rows, job.id, "completed")

    assert runs == ["began", "began"]


async def test_deadline_starts_again_when_a_wait_is_left_as_its_answer_comes(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    deadlines: list[Any] = []

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None:
        token = await job.register_callback()
        wait = asyncio.create_task(job.wait_for_callback(token))
        await waiting(rows, job.id)
        # Without a notification the process learns of it a second later.
        rows.conn.execute(_RESUMED_BY_05, [job.id])
        wait.cancel()
        with pytest.raises(asyncio.CancelledError):
            await wait
        deadlines.append(rows.job(job.id)["deadline_at"])
        assert await job.wait_for_callback(token) is None

    async with working(aclient):
        job = await aclient.insert(Noop())
        await ended(rows, job.id, "completed")

    assert deadlines != [None]


async def test_answers_of_an_earlier_life_are_gone(aclient: awa.AsyncClient, rows: Rows) -> None:
    """A dead letter that is retried asks again."""
    asked: list[str] = []

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None:
        for seconds in (60, 0.1):
            token = await job.register_callback(timeout_seconds=seconds)
            asked.append(token.id)
            await job.wait_for_callback(token)

    await aclient.set_dead_letters("default", enabled=True)
    async with working(aclient):
        job = await aclient.insert(Noop(), max_attempts=1)
        await aclient.resume_external(await waiting(rows, job.id), "old")
        await aeventually(lambda: rows.all("SELECT FROM awa.dead_letters"), timeout=20)
        retried = await aclient.retry_from_dlq(job.id)
        assert retried is not None
        assert retried.metadata == {}
        await aeventually(lambda: len(asked) == 3)
        await waiting(rows, job.id)

    assert asked[2] not in asked[:2]


@asynccontextmanager
async def _running(client: awa.AsyncClient, rows: Rows) -> AsyncIterator[tuple[int, int]]:
    """A running row that no worker has, as (id, lease)."""
    job = await client.insert(Noop())
    rows.conn.execute(
        "UPDATE awa.jobs_hot SET state = 'running', attempt = 1, run_lease = 7,"
        " heartbeat_at = now() WHERE id = %s",
        [job.id],
    )
    yield job.id, 7


async def test_statements_can_be_sent_again(aclient: awa.AsyncClient, rows: Rows) -> None:
    """A connection may be cut after the commit, before the answer of the server has come."""
    run: Callable[..., Any] = aclient._run
    none = awa_expressions()
    callback = "6e7fd6d2-15b5-4b12-9dd5-2d5a41f8c001"
    async with _running(aclient, rows) as (job_id, lease):
        for _ in range(2):
            assert await run(ops.register_callback(job_id, lease, callback, 60, none))
        assert rows.job(job_id)["metadata"] == {"_awa_callbacks": [{"id": callback}]}
        for _ in range(2):
            assert await run(ops.enter_wait(job_id, lease, callback, None))
        await aclient.resume_external(callback, {"n": 1})
        assert await run(ops.register_callback(job_id, lease, callback, 60, none))
        assert rows.job(job_id)["callback_id"] is None
        for _ in range(2):
            assert await run(ops.take_answer(job_id, lease, callback, None)) == '{"n": 1}'
        assert await run(ops.take_answer(job_id, lease + 1, callback, None)) is None
        with pytest.raises(awa.CallbackNotFound):
            await aclient.resume_external(callback, {"n": 2})
    metadata = rows.job(job_id)["metadata"]
    assert metadata == {"_awa_callbacks": [{"id": callback, "result": {"n": 1}}]}


async def test_cancel_sent_again_after_a_cut(aclient: awa.AsyncClient, rows: Rows) -> None:
    run: Callable[..., Any] = aclient._run
    callback = "6e7fd6d2-15b5-4b12-9dd5-2d5a41f8c001"
    async with _running(aclient, rows) as (job_id, lease):
        await run(ops.register_callback(job_id, lease, callback, 60, awa_expressions()))
        assert await run(ops.cancel_callback(job_id, lease, callback))
        assert not await run(ops.cancel_callback(job_id, lease, callback))
        assert await run(ops.cancel_callback(job_id, lease, callback, again=True))
        await run(ops.register_callback(job_id, lease, callback, 60, awa_expressions()))
        await aclient.resume_external(callback)
        assert not await run(ops.cancel_callback(job_id, lease, callback, again=True))


async def test_answer_is_seen_under_the_lock(
    aclient: awa.AsyncClient, rows: Rows, database_url: str
) -> None:
    """A registration that waits for the transaction of an answer does not overwrite it."""
    run: Callable[..., Any] = aclient._run
    callback = "6e7fd6d2-15b5-4b12-9dd5-2d5a41f8c001"
    async with _running(aclient, rows) as (job_id, lease):
        await run(ops.register_callback(job_id, lease, callback, 60, awa_expressions()))
        async with await psycopg.AsyncConnection.connect(database_url) as conn:
            await aclient.using(conn).resume_external(callback, 1)
            again = asyncio.create_task(
                run(ops.register_callback(job_id, lease, callback, 60, awa_expressions()))
            )
            await aeventually(
                lambda: rows.all(
                    "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                    " AND datname = current_database()"
                )
            )
            await conn.commit()
        assert await again
        assert rows.job(job_id)["callback_id"] is None
        assert await run(ops.take_answer(job_id, lease, callback, None)) == "1"


def awa_expressions() -> Any:
    from awa_lib.callbacks.cel import Expressions

    return Expressions()
