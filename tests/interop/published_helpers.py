"""A program over ``awa.bridge`` and ``awa.testing``, that tells what it sees as JSON lines.

Run once with the published wheel and once with ours under its name; see ``test_same_program.py``.
"""

import asyncio
import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import asyncpg
import awa
import django
import psycopg
import sqlalchemy
from awa.bridge import insert_job, insert_job_sync
from awa.testing import AwaTestClient, get_database_url
from django.conf import settings
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

URL = os.environ["DATABASE_URL"]
PARTS = psycopg.conninfo.conninfo_to_dict(URL)
ENGINE = {"url": "postgresql+psycopg://", "connect_args": PARTS}
MOMENT = datetime(2099, 1, 2, 3, 4, 5, tzinfo=UTC)


@dataclass
class SendEmail:
    to: str
    n: int = 0


@dataclass
class Stamped:
    at: datetime
    key: UUID


def tell(what, *values):
    print(json.dumps([what, *values], default=repr), flush=True)


def row(found):
    """All of a bridge's row that does not depend on when it was written."""
    found = dict(found)
    types = {name: type(found.pop(name)).__name__ for name in ("id", "created_at")}
    if found["run_at"] is not None and found["run_at"].year < 2099:
        found["run_at"] = "now"
    else:
        found["run_at"] = found["run_at"].astimezone(UTC).isoformat()
    return found, types


OPTIONS = {
    "queue": "email", "priority": 1, "max_attempts": 3, "tags": ["a", "b"],
    "metadata": {"m": [1, None]},
}  # fmt: skip


def blocking():
    with psycopg.connect(URL) as conn:
        for what, args, options in (
            ("plain", SendEmail("a"), {}),
            ("options", SendEmail("b", 2), OPTIONS),
            ("dict", {"a": {"b": 1.5}}, {"kind": "raw"}),
            ("dict with kind", {"kind": "own", "a": 1}, {}),
            ("stamped", Stamped(MOMENT, UUID(int=7)), {}),
            ("later", SendEmail("c"), {"run_at": MOMENT}),
            ("later as text", SendEmail("c"), {"run_at": MOMENT.isoformat()}),
            ("later naive", SendEmail("c"), {"run_at": "2099-01-02 03:04:05"}),
        ):
            tell(what, row(insert_job_sync(conn, args, **options)))
        conn.rollback()
        tell("rolled back", conn.execute("SELECT count(*) FROM awa.jobs").fetchone()[0])
        for what, args, options in (
            ("no kind", {"a": 1}, {}),
            ("a number", 7, {}),
            ("nul", SendEmail("a\0b"), {}),
            ("nul in metadata", SendEmail("a"), {"metadata": {"x": "\0"}}),
            ("run_at of an int", SendEmail("a"), {"run_at": 5}),
            ("run_at of words", SendEmail("a"), {"run_at": "soon"}),
        ):
            try:
                insert_job_sync(conn, args, **options)
                tell(what, "no error")
            except (TypeError, ValueError) as error:
                tell(what, "TypeError" if isinstance(error, TypeError) else "ValueError")
            conn.rollback()
    try:
        insert_job_sync(object(), SendEmail("a"))
    except TypeError as error:
        tell("no connection", str(error).startswith("Unsupported connection type"))
    engine = sqlalchemy.create_engine(**ENGINE)
    with engine.begin() as conn:
        tell("sa connection", row(insert_job_sync(conn, SendEmail("sa"), **OPTIONS)))
    with Session(engine) as session:
        tell("sa session", row(insert_job_sync(session, SendEmail("sa"), run_at=MOMENT)))
        session.commit()
    engine.dispose()
    settings.configure(
        USE_TZ=True,
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": PARTS["dbname"],
                "USER": PARTS.get("user", ""),
                "PASSWORD": PARTS.get("password", ""),
                "HOST": PARTS.get("host", ""),
                "PORT": PARTS.get("port", ""),
            }
        },
    )
    django.setup()
    from django.db import connection, transaction

    with transaction.atomic():
        tell("django", row(insert_job_sync(connection, SendEmail("dj"), **OPTIONS)))
    connection.close()


async def bridges():
    async with await psycopg.AsyncConnection.connect(URL) as conn:
        tell("psycopg async", row(await insert_job(conn, SendEmail("pa"), **OPTIONS)))
        try:
            insert_job_sync(conn, SendEmail("a"))
        except TypeError:
            tell("async on sync", "TypeError")
    with psycopg.connect(URL) as conn:
        try:
            await insert_job(conn, SendEmail("a"))
        except TypeError:
            tell("sync on async", "TypeError")
    conn = await asyncpg.connect(
        host=PARTS["host"], port=int(PARTS.get("port", 5432)), user=PARTS["user"],
        password=PARTS.get("password"), database=PARTS["dbname"],
    )  # fmt: skip
    async with conn.transaction():
        tell("asyncpg", row(await insert_job(conn, SendEmail("ap"), run_at=MOMENT, **OPTIONS)))
    await conn.close()
    engine = create_async_engine(**ENGINE)
    async with engine.begin() as conn:
        tell("sa async connection", row(await insert_job(conn, SendEmail("x"), **OPTIONS)))
    async with AsyncSession(engine) as session:
        tell("sa async session", row(await insert_job(session, SendEmail("y"))))
        await session.commit()
    await engine.dispose()


def result(found):
    job = found.job
    told = [found.outcome, bool(job), found.error and str(found.error).splitlines()[0]]
    told += [getattr(found, f"is_{name}")() for name in (
        "completed", "failed", "retryable", "cancelled", "snoozed", "no_job")]  # fmt: skip
    if job:
        told.append([job.kind, job.queue, job.args, job.attempt, job.max_attempts, job.priority,
                     job.tags, str(job.state)])  # fmt: skip
    return told


async def helpers():
    tell("url", get_database_url() == URL)
    client = awa.AsyncClient(URL)
    test = AwaTestClient(client)
    await test.migrate()
    await test.clean()
    tell("client", test.client is client)
    saw = {}

    async def handler(job):
        saw["job"] = [job.args, job.attempt, job.max_attempts, job.queue, job.priority,
                      job.metadata, job.tags, job.is_cancelled(), type(job.id).__name__,
                      job.deadline is not None]  # fmt: skip
        return {"retry": awa.RetryAfter(5), "snooze": awa.Snooze(5),
                "cancel": awa.Cancel("enough")}.get(job.args.to)  # fmt: skip

    async def failing(job):
        raise {"terminal": awa.TerminalError("no more"), "error": RuntimeError("boom")}[job.args.to]

    nothing = await test.work_one(SendEmail, handler)
    tell("nothing", result(nothing), repr(nothing.job))
    await test.insert(SendEmail("ok", 3), queue="email", priority=3, tags=["t"], metadata={"k": 1})
    tell("other queue", result(await test.work_one(SendEmail, handler)))
    tell("ok", result(await test.work_one(SendEmail, handler, queue="email")), saw["job"])
    for to, by in (
        ("retry", handler), ("snooze", handler), ("cancel", handler), ("terminal", failing),
        ("error", failing),
    ):  # fmt: skip
        await test.insert(SendEmail(to))
        tell(to, result(await test.work_one(SendEmail, by)))
        await test.clean()
    await test.insert({"nothing": "fits"}, kind="send_email")
    tell("bad args", result(await test.work_one(SendEmail, handler))[0])
    await test.clean()
    await test.insert({"x": 1}, kind="other")
    await test.insert(SendEmail("mine"), kind="renamed")
    tell("kind", result(await test.work_one(SendEmail, handler, kind="renamed")))
    await test.clean()
    tell("cleaned", len(await client.list_jobs()))
    await client.close()


async def migrate():
    await awa.migrate(URL)


asyncio.run(migrate())
blocking()
asyncio.run(bridges())
asyncio.run(helpers())
# The published wheel can crash while the interpreter shuts down.
os._exit(0)
