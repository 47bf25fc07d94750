"""Every line of this program must type-check."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, assert_type

import psycopg

import awa_lib as awa
from awa_lib import bridge, testing
from awa_lib.retries import Backoff

app = awa.AsyncClient("postgresql:///x", max_connections=3)
blocking = awa.Client("postgresql:///x")


@dataclass
class Mail:
    to: str


app.queue("plain")
app.queue("mail", concurrency=5, rate_limit=(2.5, 0), backoff=awa.fixed(1), deadline_seconds=None,
          retention={"failed_hours": 1}, dead_letters=True)  # fmt: skip


@dataclass
class Other:
    n: int


@app.task(Mail, queue="mail", priority=1, tags=["a"], unique=awa.Unique(by="args", period="1h"))
async def send(job: awa.Job) -> None:
    job.set_progress(10, "half")
    await job.flush_progress()


@app.task(dict, kind="plain")
async def of_dict(job: awa.Job[dict[str, Any]]) -> awa.Cancel | None:
    return awa.Cancel() if job.args["n"] else None


@app.task(Mail, kind="kept", result=True, result_ttl="30d", result_max_bytes=100)
async def kept(job: awa.Job[Mail]) -> int | awa.Snooze:
    return len(job.args.to)


@app.task(Mail, kind="kept too", queue="mail", result=Other)
def kept_too(job: awa.Job[Mail]) -> Other:
    return Other(1)


async def results(job: awa.Job[Mail]) -> None:
    assert_type(await app.result(await app.insert(Mail("a")), into=Other), Other)
    assert_type(await app.result(7, timeout=5), Any)
    assert_type(blocking.result(job, into=int, timeout=None), int)
    for size in blocking.task_results(7, "parts", into=int):
        assert_type(size, int | None)
    async for other in app.task_results(7, "parts", into=Other):
        assert_type(other, Other | None)
    assert_type([value async for value in app.task_results(7, "parts")], list[Any])
    assert_type(await kept(job), int | awa.Snooze)
    assert_type(kept_too(job), Other)


app.kind(Mail, result=Other, result_ttl=60)
app.kind(Other, queue="others", max_attempts=3)
kinds = awa.Kinds()
kinds.declare(Other, queue="others")
third = awa.Client("postgresql:///x", kinds=kinds)


@app.task(Mail, kind="other")
def plain(job: awa.Job) -> awa.RetryAfter | None:
    return awa.RetryAfter(1.5) if job.attempt else None


@app.task(Mail, kind="typed")
async def typed(job: awa.Job[Mail]) -> None:
    assert_type(job.args, Mail)
    assert_type(job.args.to, str)


@app.task(
    Mail, kind="tried", backoff=awa.linear(2, step=3), max_attempts=3, retry_on=(OSError,),
    discard_on=KeyError,
)  # fmt: skip
async def waits(job: awa.Job[Mail]) -> awa.WaitForCallback | awa.Snooze:
    token = await job.register_callback(timeout_seconds=60, on_complete="payload.ok")
    assert_type(token, awa.CallbackToken)
    if await job.cancel_callback(token):
        return awa.Snooze(0.5)
    assert_type(await job.wait_for_callback(token), Any)
    return awa.WaitForCallback(token)


@app.on_event(Mail, awa.Completed, awa.Failed)
async def heard(event: awa.Completed | awa.Failed) -> None:
    assert_type(event.job, awa.Job)


@app.on_event(Mail, awa.Completed)
async def typed_event(event: awa.Completed[Mail]) -> None:
    assert_type(event.args, Mail)
    assert_type(event.job, awa.Job[Mail])


@app.on_event("mail", awa.Retried)
def retried(event: awa.Retried) -> None:
    assert_type(event.attempt, int)
    assert_type(event.error, str)


@app.middleware
async def around(job: awa.Job, call_next: Callable[[], Awaitable[object]]) -> object:
    return await call_next()


@app.middleware(Mail, "plain")
async def around_some(job: awa.Job[Mail], call_next: Callable[[], Awaitable[Any]]) -> Any:
    assert_type(job.args.to, str)
    return await call_next()


@app.middleware
def around_plain(job: awa.Job, call_next: Callable[[], object]) -> object:
    return call_next()


@kinds.insert_middleware
@blocking.insert_middleware
@app.insert_middleware
def tagged(jobs: list[awa.NewJob]) -> list[awa.NewJob]:
    return [replace(job, tags=["t"]) for job in jobs]


assert_type(tagged([]), list[awa.NewJob])


@app.follow_up(Mail, awa.Completed)
def next_mail(event: awa.Completed) -> awa.NewJob:
    return awa.NewJob(Mail("b"), queue="q", priority=1)


app.periodic("daily", "@daily", Mail, Mail("a"), timezone="UTC", missed_fire_policy="catch_up")
app.http_worker("remote", "https://x.invalid/f", mode="sync", timeout_seconds=5)
app.queue_descriptor("mail", display_name="Mail", tags=["a"], extra={"k": 1})
app.job_kind_descriptor("mail", owner=None)
assert_type(awa.exponential(1, most=60), Backoff)


async def newest(job: awa.Job) -> None:
    unique = {"by_args": True}
    assert_type(
        await app.insert(Mail("a"), unique_opts=unique, on_conflict="replace"), awa.Job[Mail]
    )
    assert_type(
        await app.insert(Mail("a"), unique_opts=unique, on_conflict="skip"), awa.Job[Mail] | None
    )
    assert_type(await app.enqueue(Mail("a"), queue="q"), awa.Job[Mail])
    assert_type(await app.insert_many_copy([awa.NewJob(Mail("a"), tags=["t"])]), list[awa.Job])
    queues = [("a", 1), {"name": "b", "max_workers": 2}]
    await app.start(queues)
    await app.insert(Mail("a"), debounce=5, max_wait="1m", delay=None)
    many = (Mail(str(n)) for n in range(9))
    assert_type(await app.enqueue_many_copy(many, on_progress=print), int)
    assert_type(await app.cancel_by_unique_key("mail", args=Mail("a")), awa.Job | None)
    assert_type(await app.complete_external("id", {"ok": True}), awa.Job)
    assert_type(await app.resolve_callback("id", 1, default_action="fail"), awa.ResolveResult)
    assert_type(await app.verify_callback_request(b"k", "id", "fail", b"", None), bool)
    assert_type(awa.verify_callback_signature("k", "id", None), bool)
    operation = await app.submit_bulk_operation("move_queue", to_queue="q", state="available")
    assert_type(operation, awa.BulkOperation)
    assert_type(await app.preview_bulk_operation("retry", kind="mail"), awa.BulkPreview)
    assert_type(await app.run_bulk_operation(operation.id, on_progress=print), awa.BulkOperation)
    assert_type(await app.list_bulk_operations(state="running"), list[awa.BulkOperation])
    assert_type(await app.list_dlq(queue="q", limit=5), list[awa.DlqEntry])
    assert_type(await app.retry_from_dlq(7, run_at=datetime.now(UTC)), awa.Job)
    assert_type(await app.dlq_depth_by_queue(), dict[str, int])
    assert_type(await app.list_cron_jobs(), list[awa.CronJob])
    assert_type(await app.trigger_cron_job("daily"), awa.Job)
    assert_type(await app.get_queue_policy("q"), awa.QueuePolicy)
    assert_type(await app.set_priority(7, 1), awa.Job)
    assert_type(await app.health_check(), awa.HealthCheck)
    await app.start([("mail", 2), {"name": "q", "max_workers": 1}], poll_interval_ms=100)
    await app.shutdown(timeout_ms=500)


async def through_bridges(
    sync: psycopg.Connection[tuple[object, ...]], conn: psycopg.AsyncConnection[tuple[object, ...]]
) -> None:
    row = await bridge.insert_job(conn, Mail("a"), queue="q", unique_opts={})
    assert_type(row, dict[str, Any])
    assert_type(bridge.insert_job_sync(sync, {"a": 1}, kind="k"), dict[str, Any])
    assert_type(await awa.AsyncClient.on(conn).insert(Mail("a")), awa.Job[Mail])
    raw = awa.RawClient("postgresql:///x")
    assert_type(raw.insert_sync(Mail("a")), awa.Job[Mail])
    assert_type(raw.list_jobs_sync(kind="k"), list[awa.Job])
    assert_type(raw.transaction_sync(), awa.SyncTransaction)


async def through_async(job: awa.Job, conn: psycopg.AsyncConnection[tuple[object, ...]]) -> None:
    # A handler keeps its type.
    assert_type(await of_dict(job), awa.Cancel | None)
    assert_type(plain(job), awa.RetryAfter | None)
    inserted = await app.insert(Mail("a"), priority=1, run_at=datetime.now(UTC), tags=["t"])
    assert_type(inserted, awa.Job[Mail])
    assert_type(await app.insert_many([Mail("a"), {"b": 1}]), list[awa.Job])
    assert_type(await app.list_jobs(state="failed", limit=5), list[awa.Job])
    assert_type(await app.get_job(7), awa.Job)
    assert_type(await app.queue_stats(), list[awa.QueueStat])
    assert_type(await app.discard_failed("mail"), int)
    assert_type(await app.set_queue_policy("q", max_running=None), awa.QueuePolicy)
    assert_type(await app.list_queues(), list[awa.QueueOverview])
    assert_type(await app.list_kinds(), list[awa.KindOverview])
    assert_type(await app.insert(Mail("a"), concurrency_key="k"), awa.Job[Mail])
    assert_type(app.using(conn), awa.AsyncClient)
    async with app.transaction() as tx:
        assert_type(tx, awa.Transaction)
        assert_type(await tx.insert(Mail("a")), awa.Job[Mail])
        assert_type(await tx.execute("SELECT $1", 1), int)
    async with await app.transaction() as again:
        assert_type(again, awa.Transaction)
    assert_type(await testing.work_one(app, queue="q"), testing.WorkResult)
    assert_type(await testing.drain(app, raise_errors=True), testing.Drained)
    assert_type(await testing.travel(app, 60), int)
    assert_type(await testing.enqueued(app, Mail), list[awa.Job])
    await testing.assert_not_enqueued(app, "mail", args={"to": "a"})


def through_sync(conn: psycopg.Connection[tuple[object, ...]]) -> None:
    assert_type(blocking.insert(Mail("a")), awa.Job[Mail])
    assert_type(blocking.insert_many([Mail("a")]), list[awa.Job])
    assert_type(blocking.using(conn), awa.Client)
    assert_type(blocking.health_check(), awa.HealthCheck)
    with blocking.transaction() as tx:
        assert_type(tx, awa.SyncTransaction)
        assert_type(tx.insert(Mail("a")), awa.Job[Mail])
    assert_type(testing.work_one(blocking, worker=app), testing.WorkResult)
    assert_type(testing.assert_enqueued(blocking, Mail, count=1), list[awa.Job])
    assert_type(
        blocking.insert(Mail("a"), unique_opts={}, on_conflict="skip"), awa.Job[Mail] | None
    )
    assert_type(blocking.get_bulk_operation("id"), awa.BulkOperation)
    assert_type(blocking.resume_external("id", [1]), awa.Job)
    made = testing.HandlerJob(Mail("a"), 1, 1, 25, "q", 2, None, {}, [])
    assert_type(made.args, Mail)
    with testing.inline(blocking, worker=app):
        pass
