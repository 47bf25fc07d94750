"""A worker looks for late jobs beside its claims: no claim waits for a look from the start.

Each look counts as a dear one here, so claims begin at marks from the second one on.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator, Sequence
from typing import Any

import psycopg
import pytest
from fix_wait import aeventually
from fix_worker import Noop, Rows, working

import awa_lib as awa
from awa_lib._sql import Op, Statement, compile_block
from awa_lib.ops import claims
from awa_lib.ops.late_jobs import Begin
from awa_lib.ops.late_jobs import late_jobs as really
from awa_lib.runtime import late_jobs, looks, marks

# Not older: the leader would make it more urgent.
LATE = (
    "INSERT INTO awa.jobs_hot (kind, queue, run_at)"
    " VALUES ('noop', %s, now() - interval '10 s') RETURNING id"
)
ENDLESS = compile_block("endless", "SELECT pg_sleep(600)")
WRONG = compile_block("wrong", "SELECT 1 / 0")
LOOK = "datname = current_database() AND application_name = 'awa worker: late jobs'"


@pytest.fixture(autouse=True)
def dear(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looks, "_DEAR_SECONDS", -1.0)
    monkeypatch.setattr(marks, "_SECONDS_PER_ROW", 0.0)


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each claim began at marks."""
    found: list[bool] = []
    claim = claims.claim

    def noted(*given: Any, begins: object = None, **options: Any) -> object:
        found.append(begins is not None)
        return claim(*given, begins=begins, **options)

    monkeypatch.setattr(claims, "claim", noted)
    return found


class Looks:
    """Lets looks fail or last, before they read."""

    def __init__(self) -> None:
        self.before: Iterator[Statement] = iter(())
        self.count = 0

    def __call__(self, queue: str, begins: Sequence[Begin], passing: Sequence[int]) -> Op[Any]:
        self.count += 1
        for statement in self.before:
            yield statement
            break
        return (yield from really(queue, begins, passing))


@pytest.fixture
def looking(monkeypatch: pytest.MonkeyPatch) -> Looks:
    found = Looks()
    monkeypatch.setattr(late_jobs, "late_jobs", found)
    return found


def declare(client: awa.AsyncClient) -> None:
    @client.task(Noop)
    async def noop(job: awa.Job) -> None: ...


async def work(client: awa.AsyncClient, rows: Rows, queue: str = "default") -> None:
    job = await client.insert(Noop(), queue=queue)
    await aeventually(lambda: rows.job(job.id)["state"] == "completed")


async def work_late(rows: Rows, queue: str = "default") -> None:
    """Let a job come behind the mark."""
    late = rows.one(LATE, queue)["id"]
    await aeventually(lambda: rows.job(late)["state"] == "completed")


async def test_a_late_job_is_found_though_claims_go_on_from_marks(
    aclient: awa.AsyncClient, rows: Rows, begun: list[bool]
) -> None:
    declare(aclient)
    async with working(aclient):
        await work(aclient, rows)
        for _ in range(3):
            await work_late(rows)
    assert begun[0] is False
    assert all(begun[1:])


async def test_every_queue_has_its_looks(aclient: awa.AsyncClient, rows: Rows) -> None:
    declare(aclient)
    async with working(aclient, ("default", 1), ("b", 1), ("c", 1)):
        for queue in ("default", "b", "c"):
            await work(aclient, rows, queue)
        for queue in ("default", "b", "c"):
            await work_late(rows, queue)


async def test_no_claim_waits_for_a_look_and_a_stop_ends_it(
    aclient: awa.AsyncClient, rows: Rows, looking: Looks
) -> None:
    looking.before = iter([Statement(ENDLESS, ())])
    declare(aclient)
    async with working(aclient):
        await work(aclient, rows)
        under_way = f"SELECT pid FROM pg_stat_activity WHERE {LOOK} AND query LIKE '%%pg_sleep%%'"
        (pid,) = await aeventually(lambda: [row["pid"] for row in rows.all(under_way)])
        for _ in range(5):
            await work(aclient, rows)
        assert [row["pid"] for row in rows.all(under_way)] == [pid]
        began = time.monotonic()
    took = time.monotonic() - began
    await aeventually(lambda: not rows.all(f"SELECT FROM pg_stat_activity WHERE {LOOK}"))

    assert looking.count == 1
    assert took < 3


async def test_after_an_error_of_a_look_claims_begin_at_the_start(
    aclient: awa.AsyncClient, rows: Rows, looking: Looks, caplog: Any
) -> None:
    looking.before = iter([Statement(WRONG, ())] * 3)
    declare(aclient)
    with caplog.at_level(logging.INFO, "awa_lib"):
        async with working(aclient):
            await work(aclient, rows)
            await work_late(rows)
            await aeventually(lambda: looking.count > 3)
            await work_late(rows)
    said = [r.getMessage() for r in caplog.records if getattr(r, "duty", "") == "late jobs"]
    assert said == [
        "a duty of the worker fails; it is tried again", "a duty of the worker works again",
    ]  # fmt: skip


async def test_a_look_whose_connection_is_lost_costs_no_job(
    aclient: awa.AsyncClient, rows: Rows, looking: Looks
) -> None:
    looking.before = iter([Statement(ENDLESS, ())])
    declare(aclient)
    async with working(aclient):
        await work(aclient, rows)
        await aeventually(lambda: looking.count)
        late = rows.one(LATE, "default")["id"]
        ended = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {LOOK}"
        await aeventually(lambda: rows.all(ended))
        await aeventually(lambda: rows.job(late)["state"] == "completed")
        await aeventually(lambda: looking.count > 1)
        await work_late(rows)


async def test_without_a_connection_for_looks_claims_begin_at_the_start(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    declare(aclient)
    async with working(aclient):
        link = aclient._runtime._links.looks
        link._dsn = "host=127.0.0.1 port=1"
        await link.close()
        await work(aclient, rows)
        await work_late(rows)
        await work(aclient, rows)


async def test_a_worker_with_one_slot_and_one_connection_finds_late_jobs(
    database_url: str, rows: Rows
) -> None:
    async with awa.AsyncClient(database_url, max_connections=1) as client:
        declare(client)
        async with working(client, ("default", 1), claim_batch=1):
            await work(client, rows)
            ids = [rows.one(LATE, "default")["id"] for _ in range(20)]
            await asyncio.gather(
                work(client, rows),
                *(aeventually(lambda n=n: rows.job(n)["state"] == "completed") for n in ids),
            )


async def test_late_jobs_are_found_behind_a_transaction_pooler(
    pooled_url: str, sound_url: str
) -> None:
    with psycopg.connect(sound_url, autocommit=True, row_factory=psycopg.rows.dict_row) as conn:
        rows = Rows(conn)
        async with awa.AsyncClient(pooled_url) as client:
            declare(client)
            async with working(client):
                await work(client, rows)
                await work_late(rows)


async def test_a_cheap_look_ends_the_marks_and_closes_the_connection(
    aclient: awa.AsyncClient, rows: Rows, begun: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(late_jobs, "_OPEN_SECONDS", 0.0)
    declare(aclient)
    async with working(aclient):
        await work(aclient, rows)
        await aeventually(lambda: rows.all(f"SELECT FROM pg_stat_activity WHERE {LOOK}"))
        monkeypatch.setattr(looks, "_DEAR_SECONDS", 60.0)
        await aeventually(lambda: not rows.all(f"SELECT FROM pg_stat_activity WHERE {LOOK}"))
        del begun[:]
        await work_late(rows)

    assert not any(begun)


async def test_limits_end_the_marks_of_claims(
    aclient: awa.AsyncClient, rows: Rows, looking: Looks
) -> None:
    declare(aclient)
    async with working(aclient):
        await work(aclient, rows)
        await aeventually(lambda: looking.count)
        await aclient.set_queue_policy("default", max_running=1)
        await work_late(rows)
        count = looking.count
        for _ in range(3):
            await work(aclient, rows)
        # One may have been under way.
        assert looking.count <= count + 1
        await aclient.set_queue_policy("default", max_running=None)
        await work_late(rows)
        await aeventually(lambda: looking.count > count + 1)
