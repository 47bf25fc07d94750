"""Steps and sleeps that are used in a wrong or an unusual way."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fix_wait import aeventually
from fix_worker import Noop, Rows, working

import awa_lib as awa


async def ended(rows: Rows, job_id: int, timeout: float = 20) -> dict[str, Any]:
    states = ("completed", "failed", "cancelled")
    await aeventually(lambda: rows.job(job_id)["state"] in states, timeout=timeout)
    return rows.job(job_id)


async def error_of(rows: Rows, job_id: int) -> str:
    row = await ended(rows, job_id)
    assert row["state"] == "failed"
    return str(row["errors"][-1]["error"])


def names(rows: Rows, job_id: int) -> list[str]:
    found = rows.all("SELECT name FROM awa.job_steps WHERE job_id = %s ORDER BY number", job_id)
    return [row["name"] for row in found]


@pytest.mark.parametrize("blocking", [False, True])
async def test_a_step_that_raised_can_be_tried_again(
    aclient: awa.AsyncClient, rows: Rows, blocking: bool
) -> None:
    calls: list[int] = []

    def charge() -> str:
        calls.append(1)
        if len(calls) < 3:
            raise ConnectionError("the bank does not answer")
        return "paid"

    if blocking:

        @aclient.task(Noop, max_attempts=1)
        def handler(job: awa.Job) -> None:
            for _ in range(3):
                try:
                    assert job.step_sync("charge", charge) == "paid"
                except ConnectionError:
                    continue
    else:

        @aclient.task(Noop, max_attempts=1)
        async def handler(job: awa.Job) -> None:
            for _ in range(3):
                try:
                    assert await job.step("charge", charge) == "paid"
                except ConnectionError:
                    continue

    job = await aclient.insert(Noop())
    async with working(aclient):
        row = await ended(rows, job.id)

    assert (row["state"], len(calls)) == ("completed", 3)
    assert names(rows, job.id) == ["charge"]


class Item:
    pass


async def test_a_key_that_is_an_address_is_refused(aclient: awa.AsyncClient, rows: Rows) -> None:
    """A later attempt would not find the step, and do it again."""
    done: list[object] = []

    @aclient.task(Noop, max_attempts=1)
    async def handler(job: awa.Job) -> None:
        for key in ("<a at 0x7f>", 7, {"id": 1}, Item()):
            await job.step("send", done.append, key, key=key)

    job = await aclient.insert(Noop())
    async with working(aclient):
        error = await error_of(rows, job.id)

    assert "the key of the step 'send' has no text of its own: Item" in error
    assert names(rows, job.id) == ["send:<a at 0x7f>", "send:7", "send:{'id': 1}"]


@pytest.mark.parametrize("days", [40_000, 3_000_000_000, -1, float("nan"), float("inf")])
async def test_a_sleep_that_no_calendar_has_is_refused(
    aclient: awa.AsyncClient, rows: Rows, days: float
) -> None:
    @aclient.task(Noop, max_attempts=1)
    async def handler(job: awa.Job) -> None:
        await job.sleep("for ever", days=days)

    @aclient.task(dict, kind="other")
    async def other(job: awa.Job) -> None:
        await job.step("beside", lambda: 1)

    job = await aclient.insert(Noop())
    second = await aclient.insert({}, kind="other")
    async with working(aclient):
        error = await error_of(rows, job.id)
        assert (await ended(rows, second.id))["state"] == "completed"

    assert "0 s to 100 years" in error
    assert names(rows, job.id) == []


async def test_a_blocking_verb_on_the_event_loop_is_named(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    @aclient.task(Noop, max_attempts=1)
    async def handler(job: awa.Job) -> None:
        job.step_sync("charge", lambda: 1)

    job = await aclient.insert(Noop())
    async with working(aclient):
        error = await error_of(rows, job.id)

    assert "step_sync was called on the event loop" in error


@pytest.mark.parametrize("verb", ["step", "sleep"])
async def test_a_verb_to_await_in_a_blocking_handler_is_refused(
    aclient: awa.AsyncClient, rows: Rows, verb: str
) -> None:
    @aclient.task(Noop, max_attempts=1)
    def handler(job: awa.Job) -> None:
        if verb == "step":
            job.step("charge", lambda: 1)
        else:
            job.sleep("cool-off", hours=1)

    job = await aclient.insert(Noop())
    async with working(aclient):
        error = await error_of(rows, job.id)

    assert f"{verb} was called in a blocking handler" in error


@pytest.mark.parametrize(
    ("value", "says"),
    [("x" * (1 << 20), "1,048,578 bytes"), (object(), "object")],
    ids=["too large", "no JSON"],
)
async def test_a_value_that_cannot_be_kept_names_its_step(
    aclient: awa.AsyncClient, rows: Rows, value: object, says: str
) -> None:
    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None:
        await job.step("charge", lambda: value)

    job = await aclient.insert(Noop())
    async with working(aclient):
        error = await error_of(rows, job.id)

    assert "the value of the step 'charge'" in error
    assert says in error
    assert "result_max_bytes" not in error


async def test_a_sleep_in_a_task_group_is_no_failure(aclient: awa.AsyncClient, rows: Rows) -> None:
    began: list[int] = []

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None:
        began.append(job.attempt)
        async with asyncio.TaskGroup() as group:
            group.create_task(job.sleep("short", seconds=0.2))
            group.create_task(job.sleep("long", seconds=0.6))

    job = await aclient.insert(Noop())
    async with working(aclient):
        row = await ended(rows, job.id)

    assert (row["state"], row["attempt"], row["errors"] or []) == ("completed", 1, [])
    assert set(began) == {1}


async def test_an_error_beside_a_sleep_is_a_failure(aclient: awa.AsyncClient, rows: Rows) -> None:
    @aclient.task(Noop, max_attempts=1)
    async def handler(job: awa.Job) -> None:
        async def fail() -> None:
            raise RuntimeError("no carrier")

        async with asyncio.TaskGroup() as group:
            group.create_task(job.sleep("short", seconds=60))
            group.create_task(fail())

    job = await aclient.insert(Noop())
    async with working(aclient):
        row = await ended(rows, job.id)

    assert row["state"] == "failed"
