"""A worker with several queues looks for the jobs of its idle queues in one statement."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from fix_wait import aeventually
from fix_worker import Noop, Rows

import awa_lib as awa
from awa_lib._sql import Op, compute
from awa_lib.errors import DatabaseError
from awa_lib.ops import claims
from awa_lib.runtime import polls

QUEUES = [(f"q{n}", 2) for n in range(20)]


@pytest.fixture
def claimed(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each queue was claimed from."""
    found: Counter[str] = Counter()
    claim = claims.claim

    def counted(queue: str, *given: object, **options: object) -> object:
        found[queue] += 1
        return claim(queue, *given, **options)

    monkeypatch.setattr(claims, "claim", counted)
    return found


async def start(client: awa.AsyncClient, **options: object) -> None:
    @client.task(Noop)
    async def noop(job: awa.Job) -> None: ...

    await client.start([("default", 2), *QUEUES], poll_interval_ms=20, listens=False, **options)


async def work(client: awa.AsyncClient, rows: Rows, queue: str) -> None:
    job = await client.insert(Noop(), queue=queue)
    await aeventually(lambda: rows.job(job.id)["state"] == "completed")


async def test_idle_queues_are_not_claimed_from(
    aclient: awa.AsyncClient, rows: Rows, claimed: Counter[str]
) -> None:
    await start(aclient)
    for _ in range(10):
        await work(aclient, rows, "q7")

    # Each of the ten jobs was found by a look.
    assert claimed["q7"] >= 10
    assert max(claimed[name] for name, _ in QUEUES if name != "q7") <= 3


async def test_queues_look_by_themselves_while_the_look_for_all_fails(
    aclient: awa.AsyncClient, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def refused(*given: object) -> Op[list[str]]:
        asked.append(given)
        yield compute(lambda: None)
        raise DatabaseError("the statement is wrong", sqlstate="XX000")

    monkeypatch.setattr(polls, "queues_with_jobs", refused)
    await start(aclient)
    for _ in range(3):
        await work(aclient, rows, "q7")

    assert asked


async def test_queues_with_an_interval_of_their_own_or_limits_poll_by_themselves(
    aclient: awa.AsyncClient, rows: Rows, claimed: Counter[str]
) -> None:
    await aclient.set_queue_policy("q1", poll_interval_ms=10)
    await aclient.set_queue_policy("q2", max_running=1)
    await start(aclient)
    await aeventually(lambda: claimed["q1"] > 10 and claimed["q2"] > 10)
    await asyncio.gather(*(work(aclient, rows, queue) for queue in ("q1", "q2", "q3")))

    assert claimed["q4"] <= 3


async def test_a_paused_queue_is_not_claimed_from(
    aclient: awa.AsyncClient, rows: Rows, claimed: Counter[str]
) -> None:
    await aclient.pause_queue("q1")
    waiting = await aclient.insert(Noop(), queue="q1")
    await start(aclient)
    for _ in range(5):
        await work(aclient, rows, "q2")

    assert claimed["q1"] <= 3
    assert rows.job(waiting.id)["state"] == "available"
    await aclient.resume_queue("q1")
    await aeventually(lambda: rows.job(waiting.id)["state"] == "completed")
