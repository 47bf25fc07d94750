"""A program written for ``import awa``, that tells what it sees as JSON lines.

Run once with the published wheel and once with ours under its name; see ``test_same_program.py``.
"""

import asyncio
import json
import os
from dataclasses import dataclass

import awa

URL = os.environ["DATABASE_URL"]


@dataclass
class SendEmail:
    to: str
    n: int = 0


@dataclass
class Approve:
    order: int


def tell(what, *values):
    print(json.dumps([what, *values], default=repr), flush=True)


def seen(job):
    """Everything of a job that does not depend on when it ran."""
    return {
        "kind": job.kind, "queue": job.queue, "state": str(job.state), "priority": job.priority,
        "attempt": job.attempt, "max_attempts": job.max_attempts, "tags": job.tags,
        "args": job.args, "metadata": job.metadata, "progress": job.progress,
        "errors": [(e["error"].splitlines()[0], e["attempt"], "terminal" in e) for e in job.errors],
        "types": [type(v).__name__ for v in (job.id, job.run_at, job.created_at, job.deadline)],
        "state is": [repr(job.state), job.state == getattr(awa.JobState, job.state.name)
                     if hasattr(job.state, "name") else True, int(job.state)],
    }  # fmt: skip


def refused(what, call, *errors):
    """Tell which of the published errors a wrong call raises."""
    try:
        tell(what, "no error", call())
    except errors as error:
        tell(what, next(e.__name__ for e in errors if isinstance(error, e)))


def producers():
    client = awa.Client(URL, max_connections=3)
    client.migrate()
    job = client.insert(SendEmail("a"), queue="email", priority=1, max_attempts=3, tags=["x"],
                        metadata={"m": [1, None]})  # fmt: skip
    tell("insert", seen(job), repr(job).replace(str(job.id), "ID"))
    tell("dict", seen(client.insert({"a": {"b": 1.5}}, kind="raw")))
    tell("no kind", client.insert({"a": 1}).kind)
    tell("later", str(client.insert(SendEmail("b"), run_at="2099-01-01T00:00:00Z").state))
    tell("copy", [j.args for j in client.insert_many_copy([SendEmail("c", n) for n in range(3)])])
    tell("copy of nothing", client.insert_many_copy([]))
    opts = {"by_queue": True, "by_args": True}
    first = client.insert(SendEmail("u"), queue="email", unique_opts=opts)
    refused("twice", lambda: client.insert(SendEmail("u"), queue="email", unique_opts=opts),
            awa.UniqueConflict)  # fmt: skip
    gone = client.cancel_by_unique_key("send_email", queue="email", args={"to": "u", "n": 0})
    tell("by key", gone.id == first.id, str(gone.state))
    tell("by key again",
         client.cancel_by_unique_key("send_email", queue="email", args={"to": "u", "n": 0}))  # fmt: skip
    with client.transaction() as tx:
        made = tx.insert(SendEmail("tx"))
        tx.insert_many([SendEmail("tx2"), SendEmail("tx3")])
        row = tx.fetch_one("SELECT kind, priority::int8 AS p, args FROM awa.jobs WHERE id = $1",
                           made.id)  # fmt: skip
        tell("in tx", row["kind"], row["p"], row["args"])
        tell("optional", tx.fetch_optional("SELECT 1 AS one WHERE $1", False))
        tell("all", tx.fetch_all("SELECT 1::int8 AS one"))
        tell("touched", tx.execute("UPDATE awa.jobs SET priority = 3 WHERE id = $1", made.id))
    try:
        with client.transaction() as tx:
            lost = tx.insert(SendEmail("lost"))
            raise KeyError("mine")
    except KeyError:
        refused("rolled back", lambda: client.get_job(lost.id), awa.AwaError)
    tell("retry", seen(client.retry(gone.id))["state"])
    tell("cancel", seen(client.cancel(gone.id))["state"])
    refused("cancel again", lambda: client.cancel(gone.id), awa.AwaError)
    refused("no job", lambda: client.get_job(99_999_999), awa.AwaError)
    refused("bad state", lambda: client.list_jobs(state="zz"), ValueError)
    refused("two filters", lambda: client.retry_failed(kind="a", queue="b"), ValueError)
    refused("bad args", lambda: client.insert(7), awa.ValidationError)
    refused("bad run_at", lambda: client.insert(SendEmail("a"), run_at="soon"), awa.ValidationError)
    refused("bad unique", lambda: client.insert(SendEmail("a"), unique_opts=1), awa.ValidationError)
    refused("bad callback", lambda: client.complete_external("zz"), awa.ValidationError)
    nobody = "00000000-0000-0000-0000-000000000000"
    refused("no callback", lambda: client.complete_external(nobody), awa.CallbackNotFound)
    refused("bad action", lambda: client.resolve_callback(nobody, None, "zz"), ValueError)
    tell("listed", len(client.list_jobs(kind="send_email", queue="email", limit=50)),
         len(client.list_jobs(state="cancelled")), client.list_jobs(limit=0))  # fmt: skip
    client.pause_queue("email", "me")
    client.flush_admin_metadata()
    tell("stats", [
        (s.queue, s.total_queued, s.scheduled, s.available, s.running, s.failed, s.retryable,
         s.waiting_external, s.completed_last_hour, s.paused, s.lag_seconds is None)
        for s in sorted(client.queue_stats(), key=lambda s: s.queue)
    ])  # fmt: skip
    client.resume_queue("email")
    tell("drained", client.drain_queue("default"), client.drain_queue("email"))
    health = client.health_check()
    tell("idle", health.healthy, health.postgres_connected, health.leader, health.queues)
    client.close()


async def until(client, job, *states):
    for _ in range(600):
        now = await client.get_job(job.id)
        if str(now.state) in states:
            return now
        await asyncio.sleep(0.05)
    raise SystemExit(f"job {now!r} did not come to {states}: {now.errors}")


async def workers():
    client = awa.AsyncClient(URL)
    callbacks = {}

    @client.task(SendEmail, queue="email")
    async def send(job):
        if job.args.to == "again" and job.attempt == 1:
            job.set_progress(40, "half")
            job.update_metadata({"cursor": 7})
            await job.flush_progress()
            return awa.RetryAfter(0.1)
        if job.args.to == "snooze" and not job.metadata.get("x") and not callbacks.get(job.id):
            callbacks[job.id] = True
            return awa.Snooze(0.1)
        if job.args.to == "cancel":
            return awa.Cancel("not wanted")
        if job.args.to == "terminal":
            raise awa.TerminalError("no such address")
        if job.args.to == "error":
            raise RuntimeError("boom")
        return {"ignored": job.is_cancelled()}

    @client.task(Approve, kind="approve", queue="orders")
    async def approve(job):
        if job.args.order == 1:
            return awa.WaitForCallback(await job.register_callback(timeout_seconds=60))
        token = await job.register_callback(timeout_seconds=60.0)
        callbacks[job.args.order] = token.id
        answer = await job.wait_for_callback(token)
        job.set_progress(90, str(answer))
        await job.flush_progress()
        token = await job.register_callback()
        callbacks["second"] = token.id
        await job.wait_for_callback(token)
        return None

    client.periodic("nightly", "0 3 * * *", SendEmail, SendEmail("nightly"), queue="email",
                    timezone="Europe/Berlin", tags=["cron"])  # fmt: skip
    for what, call in (
        ("bad cron", lambda: client.periodic("b", "x y", SendEmail, SendEmail("b"))),
        ("bad zone", lambda: client.periodic("b", "0 3 * * *", SendEmail, SendEmail("b"),
                                             timezone="Mars/X")),
    ):  # fmt: skip
        refused(what, call, awa.ValidationError)
    client.queue_descriptor("email", display_name="Mail", tags=["a"], extra={"k": 1})
    client.job_kind_descriptor("send_email", owner="team", docs_url="https://x.invalid/")
    for what, queues, options, errors in (
        ("undeclared queue", [("other", 1)], {}, (ValueError,)),
        ("no slots", [{"name": "email"}, ("orders", 1)], {}, (ValueError,)),
        ("no name", [{"max_workers": 1}], {}, (ValueError,)),
        ("weighted tuple", [("email", 1)], {"global_max_workers": 4}, (ValueError,)),
        ("weighted default", None, {"global_max_workers": 4}, (ValueError,)),
        ("not a queue", [7], {}, (TypeError,)),
    ):
        try:
            await client.start(queues, **options)
            tell(what, "no error")
        except errors as error:
            tell(what, next(e.__name__ for e in errors if isinstance(error, e)))
    await client.start(
        [("email", 4), {"name": "orders", "max_workers": 2, "rate_limit": (1000.0, 10)}],
        poll_interval_ms=50, promote_interval_ms=50, leader_election_interval_ms=100,
    )  # fmt: skip
    health = await client.health_check()
    tell("health", health.healthy, sorted(health.queues), health.queues["email"].max_workers)
    for to, state in (
        ("ok", "completed"), ("again", "completed"), ("snooze", "completed"),
        ("cancel", "cancelled"), ("terminal", "failed"), ("error", "failed"),
    ):  # fmt: skip
        job = await client.insert(SendEmail(to), queue="email", max_attempts=1 + (to == "again"))
        tell(to, seen(await until(client, job, state)))
    one, two = [await client.insert(Approve(n), kind="approve", queue="orders") for n in (1, 2)]
    parked = await until(client, one, "waiting_external")
    async with await client.transaction() as tx:
        row = await tx.fetch_one("SELECT callback_id::text AS id FROM awa.jobs WHERE id = $1",
                                 parked.id)  # fmt: skip
    beat = await client.heartbeat_callback(row["id"], timeout_seconds=30)
    tell("parked", str(beat.state))
    result = await client.resolve_callback(row["id"], {"a": 1})
    tell("ignored", result.is_ignored(), result.outcome, result.job, repr(result))
    tell("external", seen(await client.complete_external(row["id"]))["state"])
    await until(client, two, "waiting_external")
    resumed = await client.resume_external(callbacks[2], {"approved": True})
    tell("resumed", str(resumed.state))
    for _ in range(600):
        now = await client.get_job(two.id)
        if "second" in callbacks and str(now.state) == "waiting_external":
            break
        await asyncio.sleep(0.05)
    tell("progress", now.progress)
    failed = await client.fail_external(callbacks["second"], "declined")
    tell("declined", seen(failed)["state"], seen(failed)["errors"])
    tell("failed", len(await client.retry_failed(kind="approve")))
    tell("discarded", await client.discard_failed("send_email"))
    async with await client.transaction() as tx:
        tell("schedule", await tx.fetch_all(
            "SELECT name, cron_expr, timezone, kind, queue, args, tags FROM awa.cron_jobs"))  # fmt: skip
        tell("described", await tx.fetch_one(
            "SELECT display_name, tags, extra, descriptor_hash FROM awa.queue_descriptors"
            " WHERE queue = 'email'"))  # fmt: skip
    await client.shutdown(timeout_ms=2000)
    tell("down", (await client.health_check()).healthy)
    await client.close()


producers()
asyncio.run(workers())
tell("functions", awa.derive_kind("SMTPEmail"), awa.current_migration_version(),
     [m[0] for m in awa.migrations()], [m[0] for m in awa.migrations_range(8, 11)])  # fmt: skip
# The published wheel can crash while the interpreter shuts down.
os._exit(0)
