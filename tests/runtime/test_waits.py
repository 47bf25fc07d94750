"""Handlers that wait for an outside system: park, wait in sequence, restart, time out."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

import psycopg
import pytest
from fix_wait import aeventually, eventually
from fix_worker import QUICK, Noop, Rows, working

import awa_lib as awa


def callback_of(rows: Rows, job_id: int) -> str | None:
    row = rows.job(job_id)
    return str(row["callback_id"]) if row["state"] == "waiting_external" else None


async def waiting(rows: Rows, job_id: int, *, other_than: str | None = None) -> str:
    """Return the callback id once the job waits for a new one."""
    callback = await aeventually(
        lambda: (found := callback_of(rows, job_id)) != other_than and found
    )
    assert callback
    return callback


async def ended(rows: Rows, job_id: int, state: str) -> dict[str, Any]:
    await aeventually(lambda: rows.job(job_id)["state"] == state)
    return rows.job(job_id)


async def test_single_shot_parks_the_job_and_frees_the_slot(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    tokens: list[str] = []

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> Any:
        token = await job.register_callback(timeout_seconds=60.5)
        job.set_progress(50, "asked")
        tokens.append(token.id)
        return awa.WaitForCallback(token)

    async with working(aclient, ("default", 1)):
        jobs = await aclient.insert_many([Noop(n) for n in range(3)])
        callbacks = [await waiting(rows, job.id) for job in jobs]
        row = rows.job(jobs[0].id)
        (left,) = rows.all("SELECT callback_timeout_at - now() AS t FROM awa.jobs ORDER BY id")[:1]
        await aclient.complete_external(callbacks[0], {"ok": 1})
        done = await ended(rows, jobs[0].id, "completed")

    assert callbacks == tokens
    assert (row["heartbeat_at"], row["deadline_at"]) == (None, None)
    assert row["progress"] == {"percent": 50, "message": "asked"}
    assert 50 < left["t"].total_seconds() <= 60.5
    assert done["metadata"]["_awa_callback_result"] == {"ok": 1}
    assert done["attempt"] == 1


async def test_without_a_callback_it_fails_for_good(aclient: awa.AsyncClient, rows: Rows) -> None:
    @aclient.task(Noop)
    async def handler(job: awa.Job) -> Any:
        return awa.WaitForCallback(awa.CallbackToken("00000000-0000-0000-0000-000000000000"))

    async with working(aclient):
        job = await aclient.insert(Noop())
        row = await ended(rows, job.id, "failed")

    (error,) = row["errors"]
    assert error["error"] == "WaitForCallback returned without calling register_callback"
    assert error["terminal"] is True


async def test_answer_before_parking_completes_the_job(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    @aclient.task(Noop)
    async def handler(job: awa.Job) -> Any:
        token = await job.register_callback()
        await aclient.resume_external(token.id, "early")
        return awa.WaitForCallback(token)

    async with working(aclient):
        job = await aclient.insert(Noop())
        row = await ended(rows, job.id, "completed")

    assert row["metadata"]["_awa_callback_result"] == "early"


async def test_sequential_waits(aclient: awa.AsyncClient, rows: Rows) -> None:
    answers: list[Any] = []

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None:
        for _ in range(2):
            token = await job.register_callback()
            answers.append(await job.wait_for_callback(token))

    async with working(aclient):
        job = await aclient.insert(Noop())
        first = await waiting(rows, job.id)
        await aclient.resume_external(first, {"step": 1})
        second = await waiting(rows, job.id, other_than=first)
        await aclient.resume_external(second)
        row = await ended(rows, job.id, "completed")
        health = await aclient.health_check()

    assert answers == [{"step": 1}, None]
    assert row["attempt"] == 1
    assert health.queues["default"].in_flight == 0


async def test_blocking_handler_waits_too(aclient: awa.AsyncClient, rows: Rows) -> None:
    answers: list[Any] = []

    @aclient.task(Noop)
    def handler(job: awa.Job) -> None:
        token = job.register_callback_sync(timeout_seconds=30)
        answers.append(job.wait_for_callback_sync(token))

    async with working(aclient):
        job = await aclient.insert(Noop())
        await aclient.resume_external(await waiting(rows, job.id), 7)
        await ended(rows, job.id, "completed")

    assert answers == [7]


async def test_lease_and_deadline_rest_while_waiting_and_start_anew(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    """A wait longer than staleness and deadline harms nothing; after it both hold again."""

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None:
        token = await job.register_callback()
        await job.wait_for_callback(token)
        await asyncio.Event().wait()

    queue = {"name": "default", "max_workers": 1, "deadline_seconds": 1}
    async with working(aclient, queue, heartbeat_staleness_ms=600):
        job = await aclient.insert(Noop(), max_attempts=1)
        callback = await waiting(rows, job.id)
        rows.conn.execute("SELECT pg_sleep(1.5)")
        assert callback_of(rows, job.id) == callback
        await aclient.resume_external(callback)
        row = await ended(rows, job.id, "failed")

    assert [e["error"] for e in row["errors"]] == ["hard deadline exceeded"]


async def test_heartbeat_that_overlaps_a_wait_does_not_stop_the_attempt(
    aclient: awa.AsyncClient, rows: Rows, database_url: str
) -> None:
    """It saw the row as waiting, and reports it after the handler has got its answer."""
    parts: list[str] = []
    park, go = asyncio.Event(), asyncio.Event()

    async def busy(job: awa.Job[Noop], until: asyncio.Event) -> None:
        """Change at each beat: written after the leases without changes."""
        while not until.is_set():
            job.set_progress(job.args.n)
            await asyncio.sleep(0.01)

    @aclient.task(Noop)
    async def handler(job: awa.Job[Noop]) -> None:
        if job.args.n == 0:
            await go.wait()
        if job.args.n == 1:
            await busy(job, park)
            await job.wait_for_callback(await job.register_callback())
            parts.append("answered")
        await busy(job, go)
        parts.append("ended")

    def blocked(statement: str) -> bool:
        query = (
            "SELECT query FROM pg_stat_activity"
            " WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        return any(statement in row["query"] for row in rows.all(query))

    lock = "SELECT 1 FROM awa.jobs_hot WHERE id = %s FOR UPDATE"
    async with working(aclient, heartbeat_staleness_ms=60_000):
        quiet, job, last = await aclient.insert_many([Noop(n) for n in range(3)])
        await aeventually(lambda: rows.states() == {"running": 3})
        with psycopg.connect(database_url) as before, psycopg.connect(database_url) as after:
            before.execute(lock, [quiet.id])
            await aeventually(lambda: blocked("SET heartbeat_at = now()\n"))
            after.execute(lock, [last.id])
            park.set()
            callback = await waiting(rows, job.id)
            before.rollback()
            await aeventually(lambda: blocked("SET heartbeat_at = now(),\n"))
            await aclient.resume_external(callback)
            await aeventually(lambda: parts == ["answered"])
        beat = rows.job(last.id)["heartbeat_at"]
        await aeventually(lambda: rows.job(last.id)["heartbeat_at"] > beat)
        go.set()
        await aeventually(lambda: rows.states() == {"completed": 3})

    assert rows.job(job.id)["attempt"] == 1
    assert parts == ["answered", "ended", "ended", "ended"]


@pytest.mark.parametrize(
    ("end", "state", "words"),
    [
        (lambda c, job, cb: c.complete_external(cb), "completed", "the job is completed"),
        (lambda c, job, cb: c.fail_external(cb, "no"), "failed", "the job is failed"),
        (lambda c, job, cb: c.cancel(job), "cancelled", "the job is cancelled"),
    ],
)
async def test_job_resolved_another_way_wakes_the_handler(
    aclient: awa.AsyncClient, rows: Rows, end, state: str, words: str
) -> None:
    errors: list[str] = []

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None:
        try:
            await job.wait_for_callback(await job.register_callback())
        except awa.ValidationError as error:
            errors.append(str(error))

    async with working(aclient):
        job = await aclient.insert(Noop())
        await end(aclient, job.id, await waiting(rows, job.id))
        await aeventually(lambda: errors)
        row = await ended(rows, job.id, state)

    assert words in errors[0]
    assert row["state"] == state


async def test_timeout_takes_the_job_from_its_handler(aclient: awa.AsyncClient, rows: Rows) -> None:
    errors: list[str] = []

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None:
        try:
            await job.wait_for_callback(await job.register_callback(timeout_seconds=0.2))
        except awa.ValidationError as error:
            errors.append(str(error))
            raise

    async with working(aclient):
        job = await aclient.insert(Noop(), max_attempts=1)
        row = await ended(rows, job.id, "failed")
        await aeventually(lambda: errors)

    assert [e["error"] for e in row["errors"]] == ["callback timed out"]
    assert "ended: the job is failed" in errors[0]


async def test_stale_token_is_refused(aclient: awa.AsyncClient, rows: Rows) -> None:
    errors: list[str] = []

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None:
        old = await job.register_callback()
        new = await job.register_callback()
        assert old.id != new.id
        try:
            await job.wait_for_callback(old)
        except awa.ValidationError as error:
            errors.append(str(error))
        assert await job.cancel_callback(new)
        assert not await job.cancel_callback(new)

    async with working(aclient):
        job = await aclient.insert(Noop())
        row = await ended(rows, job.id, "completed")

    assert "another callback is registered" in errors[0]
    assert row["callback_id"] is None


async def test_expressions_are_checked_at_registration(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    errors: list[str] = []

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None:
        for given in ({"filter": "nope"}, {"timeout_seconds": -1}, {"timeout_seconds": "x"}):
            try:
                await job.register_callback(**given)
            except awa.ValidationError as error:
                errors.append(str(error))
        await job.register_callback(filter="payload.a", on_complete="payload.b")

    async with working(aclient):
        job = await aclient.insert(Noop())
        row = await ended(rows, job.id, "completed")

    assert len(errors) == 3
    assert "undeclared variable(s): nope" in errors[0]
    assert (row["callback_filter"], row["callback_on_complete"]) == ("payload.a", "payload.b")


async def test_failed_attempt_takes_its_journal_along(aclient: awa.AsyncClient, rows: Rows) -> None:
    """A handler that raised starts over: old answers are not played to the next attempt."""
    answers: list[Any] = []

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> Any:
        answers.append(await job.wait_for_callback(await job.register_callback()))
        if answers == ["no"]:
            return awa.RetryAfter(0.01)
        return None

    async with working(aclient):
        job = await aclient.insert(Noop())
        first = await waiting(rows, job.id)
        await aclient.resume_external(first, "no")
        await aclient.resume_external(await waiting(rows, job.id, other_than=first), "yes")
        await ended(rows, job.id, "completed")

    assert answers == ["no", "yes"]


async def test_shutdown_releases_waits_and_an_answer_starts_the_job_again(
    aclient: awa.AsyncClient, rows: Rows, database_url: str
) -> None:
    """The second handler gets the first answer at once, and the pending one where it waits."""
    runs: list[list[Any]] = []
    ids: list[list[str]] = []

    async def handler(job: awa.Job) -> None:
        runs.append([])
        ids.append([])
        for _ in range(3):
            token = await job.register_callback()
            ids[-1].append(token.id)
            runs[-1].append(await job.wait_for_callback(token))

    aclient.task(Noop)(handler)
    async with working(aclient):
        job = await aclient.insert(Noop(), max_attempts=1)
        first = await waiting(rows, job.id)
        await aclient.resume_external(first, 1)
        second = await waiting(rows, job.id, other_than=first)
    assert callback_of(rows, job.id) == second

    await aclient.resume_external(second, 2)
    assert rows.job(job.id)["state"] == "available"
    async with working(aclient):
        third = await waiting(rows, job.id)
        await aclient.resume_external(third, 3)
        row = await ended(rows, job.id, "completed")

    assert runs == [[1], [1, 2, 3]]
    assert ids == [[first, second], [first, second, third]]
    assert row["attempt"] == 1


@pytest.mark.chaos
async def test_killed_worker_does_not_lose_an_answer(
    aclient: awa.AsyncClient, rows: Rows, spawn_worker
) -> None:
    source = f"""
import asyncio, os
import awa_lib as awa
client = awa.AsyncClient(os.environ["DATABASE_URL"])

@client.task(dict, kind="noop")
async def handler(job):
    token = await job.register_callback()
    answer = await job.wait_for_callback(token)
    job.update_metadata({{"answer": answer, "token": token.id}})
    return awa.Cancel("kept to look at its progress")

awa.run(client, [("default", 1)], **{QUICK!r})
"""
    job = await aclient.insert(Noop())
    victim = spawn_worker(source)
    callback = await aeventually(lambda: callback_of(rows, job.id), timeout=20)
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    await aclient.resume_external(callback, "kept")
    spawn_worker(source)
    eventually(lambda: rows.job(job.id)["state"] == "cancelled", timeout=20)

    assert rows.job(job.id)["progress"]["metadata"] == {"answer": "kept", "token": callback}


async def test_a_job_that_was_answered_keeps_its_lease_until_its_handler_knows(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    """The connection that looks for answers hangs for longer than a lease lasts."""

    @aclient.task(Noop, max_attempts=1)
    async def handler(job: awa.Job) -> None:
        await job.wait_for_callback(await job.register_callback())

    async with working(aclient, ("default", 1)):
        job = await aclient.insert(Noop())
        callback = await waiting(rows, job.id)
        (backend,) = rows.all(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
            "AND application_name = 'awa worker: callbacks'"
        )
        os.kill(backend["pid"], signal.SIGSTOP)
        try:
            await aclient.resume_external(callback, None)
            beat = rows.job(job.id)["heartbeat_at"]

            def lasts() -> bool:
                # The worker may have found another connection, and the job its end.
                row = rows.job(job.id)
                return row["state"] != "running" or (row["heartbeat_at"] - beat).total_seconds() > (
                    2 * QUICK["heartbeat_staleness_ms"] / 1000
                )

            await aeventually(lasts)
        finally:
            os.kill(backend["pid"], signal.SIGCONT)
        done = await ended(rows, job.id, "completed")

    assert (done["attempt"], done["errors"]) == (1, [])
