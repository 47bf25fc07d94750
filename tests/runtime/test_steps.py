"""Durable steps: each is done once per job, whatever happens between two of them."""

from __future__ import annotations

import asyncio
import functools
import os
import signal
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fix_wait import aeventually
from fix_worker import Noop, Rows, working

import awa_lib as awa


async def ended(rows: Rows, job_id: int, timeout: float = 20) -> dict[str, Any]:
    states = ("completed", "failed", "cancelled")
    await aeventually(lambda: rows.job(job_id)["state"] in states, timeout=timeout)
    return rows.job(job_id)


def kept(rows: Rows, job_id: int) -> list[tuple[str, Any]]:
    found = rows.all(
        "SELECT name, value FROM awa.job_steps WHERE job_id = %s ORDER BY number", job_id
    )
    return [(row["name"], row["value"]) for row in found]


@pytest.mark.parametrize("blocking", [False, True])
async def test_a_later_attempt_does_not_do_it_again(
    aclient: awa.AsyncClient, rows: Rows, blocking: bool
) -> None:
    calls: list[str] = []
    values: list[Any] = []

    def charge(amount: int, currency: str) -> dict[str, Any]:
        calls.append("charge")
        return {"paid": (amount, currency)}

    async def ship() -> str:
        calls.append("ship")
        if calls.count("ship") < 3:
            raise RuntimeError("no carrier")
        return "box 7"

    if blocking:

        @aclient.task(Noop, backoff=awa.fixed(0.01))
        def handler(job: awa.Job) -> None:
            values.append(job.step_sync("charge", charge, 5, currency="EUR"))
            values.append(job.step_sync("ship", lambda: asyncio.run(ship())))
    else:

        @aclient.task(Noop, backoff=awa.fixed(0.01))
        async def handler(job: awa.Job) -> None:
            values.append(await job.step("charge", charge, 5, currency="EUR"))
            values.append(await job.step("ship", ship))

    job = await aclient.insert(Noop())
    async with working(aclient):
        row = await ended(rows, job.id)

    assert (row["state"], row["attempt"]) == ("completed", 3)
    assert calls == ["charge", "ship", "ship", "ship"]
    assert values == [{"paid": [5, "EUR"]}] * 3 + ["box 7"]
    assert kept(rows, job.id) == [("charge", {"paid": [5, "EUR"]}), ("ship", "box 7")]


WORKER = """
import asyncio, os
from pathlib import Path
import awa_lib as awa

log = Path(os.environ["STEPS_LOG"])

def note(n):
    with log.open("a") as file:
        file.write(f"{n}\\n")
    return n * n

async def main():
    client = awa.AsyncClient(os.environ["DATABASE_URL"])

    @client.task(dict, kind="steps", max_attempts=50)
    async def steps(job):
        total = 0
        for n in range(30):
            total += await job.step("note", note, n, key=n)
            await asyncio.sleep(0.01)
        await job.step("total", lambda: total)

    await client.start(
        [("default", 4)], heartbeat_interval_ms=200, heartbeat_staleness_ms=1500,
        heartbeat_rescue_interval_ms=200, leader_election_interval_ms=200, promote_interval_ms=50,
    )
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_kill_9_between_any_two_lines(
    aclient: awa.AsyncClient,
    rows: Rows,
    spawn_worker: Callable[[str], subprocess.Popen[bytes]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = tmp_path / "log"
    log.touch()
    monkeypatch.setenv("STEPS_LOG", str(log))
    job = await aclient.insert({}, kind="steps")
    for kill_after in (3, 9, 17):
        worker = spawn_worker(WORKER)
        await aeventually(
            lambda n=kill_after: len(log.read_text().splitlines()) >= n,
            timeout=30,  # type: ignore[misc]
        )
        os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()
    spawn_worker(WORKER)
    row = await ended(rows, job.id, timeout=60)

    done = [int(line) for line in log.read_text().splitlines()]
    assert row["state"] == "completed"
    assert sorted(set(done)) == list(range(30))
    # A step that had returned and was not written yet is done again: at most one for each kill.
    assert len(done) <= 33
    assert kept(rows, job.id)[-1] == ("total", sum(n * n for n in range(30)))


async def test_a_name_is_used_once(aclient: awa.AsyncClient, rows: Rows) -> None:
    @aclient.task(Noop, max_attempts=1)
    async def handler(job: awa.Job) -> None:
        for _ in range(2):
            await job.step("same", lambda: 1)

    job = await aclient.insert(Noop())
    async with working(aclient):
        row = await ended(rows, job.id)

    assert row["state"] == "failed"
    assert "the step 'same' was asked for twice in an attempt" in row["errors"][-1]["error"]


@pytest.mark.parametrize(
    ("value", "said"), [(float("nan"), "cannot be stored"), ("x" * (1 << 20), "1048578")]
)
async def test_a_value_that_cannot_be_kept_fails_the_job(
    aclient: awa.AsyncClient, rows: Rows, value: Any, said: str
) -> None:
    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None:
        await job.step("bad", lambda: value)

    job = await aclient.insert(Noop())
    async with working(aclient):
        row = await ended(rows, job.id)

    assert (row["state"], row["attempt"]) == ("failed", 1)
    assert said in row["errors"][-1]["error"].replace(",", "")
    assert kept(rows, job.id) == []


@dataclass
class Paid:
    amount: int


async def test_a_value_of_a_type(aclient: awa.AsyncClient, rows: Rows) -> None:
    seen: list[Any] = []

    @aclient.task(Noop, backoff=awa.fixed(0.01))
    async def handler(job: awa.Job) -> None:
        seen.append(await job.step("pay", Paid, 7, into=Paid))
        if len(seen) == 1:
            raise RuntimeError("again")

    job = await aclient.insert(Noop())
    async with working(aclient):
        await ended(rows, job.id)

    assert seen == [Paid(7), Paid(7)]


async def test_steps_beside_each_other(aclient: awa.AsyncClient, rows: Rows) -> None:
    together = asyncio.Barrier(3)

    async def meet(n: int) -> int:
        await together.wait()
        return n

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None:
        assert await asyncio.gather(*(job.step("n", meet, n, key=n) for n in range(3))) == [0, 1, 2]

    job = await aclient.insert(Noop())
    async with working(aclient):
        assert (await ended(rows, job.id))["state"] == "completed"

    assert sorted(kept(rows, job.id)) == [("n:0", 0), ("n:1", 1), ("n:2", 2)]


async def test_a_plain_function_does_not_block_the_loop(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    where: list[str] = []

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None:
        await job.step("where", lambda: where.append(threading.current_thread().name))

    job = await aclient.insert(Noop())
    async with working(aclient):
        await ended(rows, job.id)

    assert where != [threading.current_thread().name]


async def test_what_a_function_returns_is_awaited(aclient: awa.AsyncClient, rows: Rows) -> None:
    async def price(item: str) -> str:
        return f"price of {item}"

    values: list[Any] = []

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None:
        values.append(await job.step("lambda", lambda: price("tea")))
        values.append(await job.step("partial", functools.partial(price, "rum")))

    async with working(aclient, ("default", 1)):
        job = await aclient.insert(Noop())
        assert (await ended(rows, job.id))["state"] == "completed"
    assert values == ["price of tea", "price of rum"]
    assert kept(rows, job.id) == [("lambda", "price of tea"), ("partial", "price of rum")]


async def test_a_blocking_handler_is_told_that_its_step_is_async(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    async def price() -> str:
        return "price"

    @aclient.task(Noop, max_attempts=1)
    def handler(job: awa.Job) -> None:
        job.step_sync("price", lambda: price())  # noqa: PLW0108 - a function that is not async

    async with working(aclient, ("default", 1)):
        job = await aclient.insert(Noop())
        failed = await ended(rows, job.id)
    assert failed["state"] == "failed"
    assert "the function of the step 'price' is async" in failed["errors"][-1]["error"]
    assert kept(rows, job.id) == []


async def test_an_attempt_that_lost_its_job_keeps_no_step(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    errors: list[BaseException] = []
    inside, go_on = asyncio.Event(), asyncio.Event()

    async def slow() -> int:
        inside.set()
        await go_on.wait()
        return 1

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None:
        try:
            await job.step("slow", slow)
        except BaseException as error:
            errors.append(error)
            raise

    job = await aclient.insert(Noop())
    async with working(aclient, cancel_grace_ms=10_000):
        await inside.wait()
        rows.all(
            "UPDATE awa.jobs_hot SET state = 'completed', finalized_at = now() WHERE id = %s"
            " RETURNING id",
            job.id,
        )
        go_on.set()
        await aeventually(lambda: bool(errors))

    assert isinstance(errors[0], awa.StaleAttempt)
    assert kept(rows, job.id) == []


async def test_a_retry_from_a_step(aclient: awa.AsyncClient, rows: Rows) -> None:
    calls: list[str] = []

    @aclient.task(Noop, max_attempts=1)
    async def handler(job: awa.Job) -> None:
        for name in "abc":
            await job.step(name, lambda name=name: calls.append(name))
        if len(calls) == 3:
            raise awa.TerminalError("stop")

    job = await aclient.insert(Noop())
    async with working(aclient):
        await ended(rows, job.id)
        with pytest.raises(awa.ValidationError, match="has no step 'x'"):
            await aclient.retry(job.id, from_step="x")
        assert rows.job(job.id)["state"] == "failed"
        await aclient.retry(job.id, from_step="b")
        await aeventually(lambda: rows.job(job.id)["state"] == "completed")

    assert calls == ["a", "b", "c", "b", "c"]


@pytest.mark.parametrize("blocking", [False, True])
async def test_a_sleep_holds_no_slot_and_no_attempt(
    aclient: awa.AsyncClient, rows: Rows, blocking: bool
) -> None:
    began: list[int] = []

    if blocking:

        @aclient.task(Noop)
        def handler(job: awa.Job) -> None:
            began.append(job.attempt)
            job.sleep_sync("cool off", seconds=0.3)
            job.step_sync("after", lambda: None)
    else:

        @aclient.task(Noop)
        async def handler(job: awa.Job) -> None:
            began.append(job.attempt)
            await job.sleep("cool off", seconds=0.3)
            await job.step("after", lambda: None)

    @aclient.task(dict, kind="other")
    async def other(job: awa.Job) -> None: ...

    job = await aclient.insert(Noop())
    async with working(aclient, ("default", 1)):
        await aeventually(lambda: rows.job(job.id)["state"] == "scheduled")
        second = await aclient.insert({}, kind="other")
        await ended(rows, second.id)
        row = await ended(rows, job.id)

    assert (row["state"], row["attempt"], row["errors"] or []) == ("completed", 1, [])
    assert began == [1, 1]
    assert [name for name, _ in kept(rows, job.id)] == ["cool off", "after"]


async def test_steps_outlive_their_job_until_the_leader_looks(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    from awa_lib.ops.steps import forget_steps

    rows.all(
        "INSERT INTO awa.job_steps"
        " (job_id, number, name, value, attempt, started_at, ended_at, purge_at)"
        " SELECT n, 1, 'a', '1', 1, now(), now(), now() FROM generate_series(900, 902) AS n"
        " RETURNING 1"
    )
    job = await aclient.insert(Noop())
    rows.all("UPDATE awa.job_steps SET job_id = %s WHERE job_id = 900 RETURNING 1", job.id)

    assert await aclient._run(forget_steps()) == 3
    assert await aclient._run(forget_steps()) == 0
    assert [row["job_id"] for row in rows.all("SELECT job_id FROM awa.job_steps")] == [job.id]


def test_outside_a_run(database_url: str) -> None:
    with awa.Client(database_url) as client:
        job = client.insert(Noop())
    with pytest.raises(RuntimeError, match="step_sync is only available"):
        job.step_sync("x", lambda: None)


async def test_testing_helpers_run_steps(aclient: awa.AsyncClient) -> None:
    from awa_lib.testing import work_one

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None:
        assert await job.step("x", lambda: 3) == 3

    job = await aclient.insert(Noop())
    result = await work_one(aclient)
    assert result.job is not None
    assert (result.job.id, str(result.job.state)) == (job.id, "completed")
