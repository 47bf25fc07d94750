"""Every line of this program must type-check."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import assert_type

import psycopg

import awa_lib as awa
from awa_lib import testing

app = awa.AsyncClient("postgresql:///x", max_connections=3)
blocking = awa.Client("postgresql:///x")


@dataclass
class Mail:
    to: str


@app.task(Mail, queue="mail")
async def send(job: awa.Job) -> int:
    job.set_progress(10, "half")
    await job.flush_progress()
    return 1


@app.task(Mail, kind="other")
def plain(job: awa.Job) -> awa.RetryAfter | None:
    return awa.RetryAfter(1.5) if job.attempt else None


@app.task(Mail, kind="typed")
async def typed(job: awa.Job[Mail]) -> None:
    assert_type(job.args, Mail)
    assert_type(job.args.to, str)


async def through_async(job: awa.Job, conn: psycopg.AsyncConnection[tuple[object, ...]]) -> None:
    # A handler keeps its type.
    assert_type(await send(job), int)
    assert_type(plain(job), awa.RetryAfter | None)
    inserted = await app.insert(Mail("a"), priority=1, run_at=datetime.now(UTC), tags=["t"])
    assert_type(inserted, awa.Job)
    assert_type(await app.insert_many([Mail("a"), {"b": 1}]), list[awa.Job])
    assert_type(await app.list_jobs(state="failed", limit=5), list[awa.Job])
    assert_type(await app.get_job(7), awa.Job)
    assert_type(await app.queue_stats(), list[awa.QueueStat])
    assert_type(await app.discard_failed("mail"), int)
    assert_type(await app.set_queue_policy("q", max_running=None), awa.QueuePolicy)
    assert_type(await app.list_queues(), list[awa.QueueOverview])
    assert_type(await app.list_kinds(), list[awa.KindOverview])
    assert_type(await app.insert(Mail("a"), concurrency_key="k"), awa.Job)
    assert_type(app.using(conn), awa.AsyncClient)
    async with app.transaction() as tx:
        assert_type(tx, awa.Transaction)
        assert_type(await tx.insert(Mail("a")), awa.Job)
        assert_type(await tx.execute("SELECT $1", 1), int)
    async with await app.transaction() as again:
        assert_type(again, awa.Transaction)
    assert_type(await testing.work_one(app, queue="q"), testing.WorkResult)
    assert_type(await testing.drain(app, raise_errors=True), testing.Drained)
    assert_type(await testing.travel(app, 60), int)
    assert_type(await testing.enqueued(app, Mail), list[awa.Job])
    await testing.assert_not_enqueued(app, "mail", args={"to": "a"})


def through_sync(conn: psycopg.Connection[tuple[object, ...]]) -> None:
    assert_type(blocking.insert(Mail("a")), awa.Job)
    assert_type(blocking.insert_many([Mail("a")]), list[awa.Job])
    assert_type(blocking.using(conn), awa.Client)
    assert_type(blocking.health_check(), awa.HealthCheck)
    with blocking.transaction() as tx:
        assert_type(tx, awa.SyncTransaction)
        assert_type(tx.insert(Mail("a")), awa.Job)
    assert_type(testing.work_one(blocking, worker=app), testing.WorkResult)
    assert_type(testing.assert_enqueued(blocking, Mail, count=1), list[awa.Job])
    with testing.inline(blocking, worker=app):
        pass
