"""Hooks after the commit, and follow-ups inside it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest
from fix_wait import aeventually
from fix_worker import Noop, Rows, working

import awa_lib as awa


@dataclass
class Receipt:
    order: int


async def heard_of(
    client: awa.AsyncClient, rows: Rows, result: Any, state: str, **options: Any
) -> list[awa.Event]:
    """Run one job whose handler returns or raises ``result``; return the events of its end."""
    heard: list[awa.Event] = []
    states: list[str] = []

    @client.task(Noop)
    async def handler(job: awa.Job) -> Any:
        value = await result(job) if callable(result) else result
        if isinstance(value, BaseException):
            raise value
        return value

    @client.on_event(Noop)
    def hook(event: awa.Event) -> None:
        heard.append(event)
        states.append(rows.job(event.job.id)["state"])

    async with working(client):
        job = await client.insert(Noop(7), **options)
        await aeventually(lambda: rows.job(job.id)["state"] == state)
        await aeventually(lambda: len(heard) == 2)

    assert isinstance(heard[0], awa.Started)
    assert heard[1].args == Noop(7)
    # The hook ran after the commit, and its job is the row of then.
    assert states[1] == state
    assert str(heard[1].job.state) == state
    return heard


async def park(job: awa.Job) -> Any:
    return awa.WaitForCallback(await job.register_callback())


@pytest.mark.parametrize(
    ("result", "state", "options", "event", "fields"),
    [
        (None, "completed", {}, awa.Completed, {}),
        (ValueError("x"), "retryable", {}, awa.Retried, {"attempt": 1}),
        (awa.RetryAfter(60), "retryable", {}, awa.Retried, {"attempt": 1, "error": ""}),
        (ValueError("x"), "failed", {"max_attempts": 1}, awa.Exhausted, {"attempt": 1}),
        (awa.TerminalError("x"), "failed", {}, awa.Failed, {"attempt": 1}),
        (awa.Cancel("enough"), "cancelled", {}, awa.Cancelled, {"reason": "enough"}),
        (park, "waiting_external", {}, awa.Waiting, {}),
    ],
)
async def test_each_end_has_its_event(
    aclient, rows: Rows, result, state: str, options, event, fields
) -> None:
    heard = await heard_of(aclient, rows, result, state, **options)

    assert type(heard[1]) is event
    for name, value in fields.items():
        assert getattr(heard[1], name) == value
    if event is awa.Completed:
        assert 0 < heard[1].duration_seconds < 10
    if event in (awa.Retried, awa.Exhausted, awa.Failed) and not isinstance(result, awa.RetryAfter):
        assert heard[1].error.startswith(f"{type(result).__name__}: x")


async def test_hooks_stack_in_order_and_an_error_hurts_nobody(
    aclient: awa.AsyncClient, rows: Rows, caplog
) -> None:
    order: list[str] = []

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None: ...

    @aclient.on_event(Noop, awa.Completed)
    async def first(event: awa.Completed) -> None:
        order.append("first")
        raise ZeroDivisionError

    @aclient.on_event("noop", awa.Completed, awa.Failed)
    def second(event: awa.Event) -> None:
        order.append("second")

    @aclient.on_event("other")
    def never(event: awa.Event) -> None:
        order.append("never")

    async with working(aclient):
        job = await aclient.insert(Noop())
        await aeventually(lambda: order == ["first", "second"])

    assert rows.job(job.id)["state"] == "completed"
    assert "a hook failed; its job is not affected" in caplog.text


async def test_slow_hook_holds_no_slot_and_is_given_time_at_the_end(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    go, done = asyncio.Event(), []

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None: ...

    @aclient.on_event(Noop, awa.Completed)
    async def slow(event: awa.Completed) -> None:
        await go.wait()
        done.append(event.job.id)

    async with working(aclient, ("default", 1)):
        jobs = await aclient.insert_many([Noop(n) for n in range(5)])
        await aeventually(lambda: rows.states() == {"completed": 5})
        assert done == []
        go.set()

    assert sorted(done) == [job.id for job in jobs]


async def test_rescue_and_admin_cancel_are_heard(aclient: awa.AsyncClient, rows: Rows) -> None:
    heard: list[awa.Event] = []

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None:
        await asyncio.Event().wait()

    @aclient.on_event(Noop, awa.Rescued, awa.Cancelled)
    async def hook(event: awa.Event) -> None:
        heard.append(event)

    stale = rows.one(
        "INSERT INTO awa.jobs (kind, args, state, attempt, max_attempts, heartbeat_at) "
        "VALUES ('noop', '{\"n\": 3}', 'running', 1, 1, now() - interval '1 day') RETURNING id"
    )["id"]
    async with working(aclient):
        job = await aclient.insert(Noop())
        await aeventually(lambda: rows.job(job.id)["state"] == "running")
        await aclient.cancel(job.id)
        await aeventually(lambda: len(heard) == 2)

    found = {type(event): event for event in heard}
    assert found[awa.Rescued].job.id == stale
    assert found[awa.Rescued].args == Noop(3)
    assert found[awa.Rescued].reason.startswith("heartbeat stale: worker presumed dead")
    assert (found[awa.Cancelled].job.id, found[awa.Cancelled].reason) == (
        job.id,
        "cancelled by an operator",
    )
    assert found[awa.Cancelled].job.state == awa.JobState.Cancelled


async def test_follow_up_is_written_with_the_end(aclient: awa.AsyncClient, rows: Rows) -> None:
    """Completion and follow-up have one transaction id."""

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> Any:
        if job.args.n == 3:
            raise ValueError
        return None

    @aclient.follow_up(Noop, awa.Completed)
    def receipt(event: awa.Completed) -> Any:
        return Receipt(event.args.n)

    @aclient.follow_up(Noop, awa.Exhausted)
    def alarm(event: awa.Exhausted) -> Any:
        return [awa.NewJob({"order": event.args.n}, kind="alarm", queue="alarms")]

    async with working(aclient):
        jobs = await aclient.insert_many([Noop(n) for n in range(5)], max_attempts=1)
        await aeventually(lambda: len(rows.all("SELECT id FROM awa.jobs")) == 10)

    found = rows.all("SELECT xmin::text AS tx, kind, queue, args FROM awa.jobs_hot ORDER BY id")
    ends = {row["args"]["n"]: row["tx"] for row in found if row["kind"] == "noop"}
    after = {row["args"]["order"]: row for row in found if row["kind"] != "noop"}
    assert {n: row["tx"] for n, row in after.items()} == ends
    assert {row["kind"] for n, row in after.items() if n != 3} == {"receipt"}
    assert (after[3]["kind"], after[3]["queue"]) == ("alarm", "alarms")
    assert len(jobs) == 5


async def test_follow_up_of_a_stale_attempt_is_not_written(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    ran = asyncio.Event()

    @aclient.task(Noop)
    def handler(job: awa.Job) -> None:
        rows.conn.execute("UPDATE awa.jobs_hot SET run_lease = 99")
        aclient._runtime.loop.call_soon_threadsafe(ran.set)

    @aclient.follow_up(Noop)
    def receipt(event: awa.Event) -> Any:
        return Receipt(1)

    async with working(aclient, heartbeat_staleness_ms=60_000):
        await aclient.insert(Noop())
        await asyncio.wait_for(ran.wait(), 10)

    assert [row["kind"] for row in rows.all("SELECT kind FROM awa.jobs")] == ["noop"]


async def test_follow_up_that_raises_fails_the_attempt(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None: ...

    @aclient.follow_up(Noop, awa.Completed)
    def broken(event: awa.Completed) -> Any:
        return {"n": float("nan")}

    async with working(aclient):
        job = await aclient.insert(Noop(), max_attempts=1)
        await aeventually(lambda: rows.job(job.id)["state"] == "failed")

    assert rows.job(job.id)["errors"][0]["error"].startswith("SerializationError: ")


async def test_follow_up_whose_key_is_taken_is_left_out(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None: ...

    @aclient.follow_up(Noop, awa.Completed)
    def once(event: awa.Completed) -> Any:
        return awa.NewJob({}, kind="once", unique_opts={})

    async with working(aclient):
        await aclient.insert_many([Noop(n) for n in range(20)])
        await aeventually(lambda: rows.states().get("completed") == 20)

    assert len(rows.all("SELECT id FROM awa.jobs WHERE kind = 'once'")) == 1


@pytest.mark.parametrize(
    ("register", "message"),
    [
        (lambda c: c.on_event(Noop, int)(print), "events must be classes of awa_lib.events"),
        (lambda c: c.on_event(Noop)(7), "a hook must be callable, got 7"),
        (lambda c: c.on_event("")(print), "kind must be 1 to 200 characters"),
        (lambda c: c.follow_up(Noop, awa.Started)(print), "Started has no follow-up"),
        (lambda c: c.follow_up(Noop)(asyncio.sleep), "a follow-up must be a plain function"),
    ],
)
def test_bad_registration(aclient, register, message: str) -> None:
    with pytest.raises((awa.ValidationError, TypeError), match=message):
        register(aclient)


async def test_registration_is_refused_while_running(aclient: awa.AsyncClient) -> None:
    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None: ...

    async with working(aclient):
        for verb in ("on_event", "follow_up"):
            with pytest.raises(awa.AwaError, match=rf"{verb}\(\) must be called before start"):
                getattr(aclient, verb)(Noop)(print)


@pytest.mark.parametrize("followed", [False, True])
async def test_an_end_whose_unique_key_is_taken_fails_the_job(
    aclient: awa.AsyncClient, rows: Rows, followed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """With a follow-up the end and the failure share one transaction."""
    unique = {"by_args": True, "states": 0b01010}  # available and completed

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None:
        if job.args.n:  # the key is free while it runs: another one takes it
            await aclient.insert(
                Noop(1), queue="else", unique_opts=unique, metadata={"second": True}
            )

    if followed:

        @aclient.follow_up(Noop)
        def follow(event: awa.Event) -> dict[str, int] | None:
            return None

        @aclient.follow_up(Noop, awa.Completed)
        def write(event: awa.Event) -> awa.NewJob:
            return awa.NewJob({}, kind="after", queue="else")

    job = await aclient.insert(Noop(1), unique_opts=unique)
    async with working(aclient):
        await aeventually(lambda: rows.job(job.id)["state"] == "failed")

    assert rows.job(job.id)["errors"][-1]["error"].startswith("the job ended, but another live job")
    assert f"job {job.id} (kind noop) failed for good: the job ended, but another" in caplog.text
