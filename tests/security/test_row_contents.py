"""What jobs hold is in no error, log record or output that was not asked for it.

A marker is in args, metadata, progress and results of jobs; each way to fail is taken, with the log
of every logger at DEBUG.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from dataclasses import dataclass

import asyncpg
import httpx
import psycopg
import pytest
from fix_wait import aeventually
from fix_web import web_client
from fix_worker import working

import awa_lib as awa
from awa_lib.db.asyncpg import run as over_asyncpg
from awa_lib.ops import storage
from awa_lib.runtime.http_worker import HttpWorker

MARK = "5ecret-0f-a-job"
ARGS = {"a": MARK, "n": 1}
UNIQUE = {"by_args": True}
FORMATTER = logging.Formatter("%(message)s")


@pytest.fixture(autouse=True)
def logged(caplog):
    """Every record with its traceback and extras: the marker is in none of them."""
    caplog.set_level(logging.DEBUG)
    yield caplog
    for record in caplog.records:
        # What the HTTP and database libraries of a test's own requests say is theirs.
        text = FORMATTER.format(record) + str(vars(record))
        assert MARK not in text, text


def kept(error: BaseException) -> None:
    """The marker is neither in what an error says nor in its traceback with all causes."""
    shown = "".join(traceback.format_exception(error))
    # The lines of this file's source show the marker's name only.
    assert MARK not in shown, shown
    while isinstance(error, BaseException):
        for text in (
            str(error),
            repr(error),
            getattr(error, "why", ""),
            getattr(error, "hint", ""),
        ):
            assert MARK not in (text or "")
        error = error.__cause__ or error.__context__


@pytest.fixture
def constrained(db) -> None:
    """A constraint of the application's own; the server's DETAIL quotes the row."""
    for table in ("jobs_hot", "scheduled_jobs"):
        db.execute(f"ALTER TABLE awa.{table} ADD CONSTRAINT small CHECK (args->>'n' <> '1')")


async def test_a_constraint_quotes_the_row_and_we_do_not(client, constrained) -> None:
    for act in (
        lambda: client.insert(ARGS, kind="k", metadata=ARGS),
        lambda: client.insert_many([ARGS], kind="k", metadata=ARGS),
        lambda: client.insert_many_copy([ARGS], kind="k", metadata=ARGS),
    ):
        with pytest.raises(awa.DatabaseError, match='violates check constraint "small"') as refused:
            await act()
        assert refused.value.constraint == "small"
        kept(refused.value)


async def test_an_index_of_the_applications_own(client, db) -> None:
    """Its expression is refused with the value in the message; its key is quoted in DETAIL."""
    db.execute("CREATE UNIQUE INDEX mine ON awa.jobs_hot ((args->>'a'))")
    await client.insert(ARGS, kind="k")
    with pytest.raises(awa.DatabaseError, match="mine") as twice:
        await client.insert(ARGS, kind="k")
    kept(twice.value)
    db.execute("DROP INDEX awa.mine; TRUNCATE awa.jobs_hot")
    db.execute("CREATE INDEX mine ON awa.jobs_hot (((args->>'a')::int))")
    with pytest.raises(awa.DatabaseError, match='for type integer: "…"') as wrong:
        await client.insert(ARGS, kind="k")
    kept(wrong.value)


ZONES = {
    # The server's own words: time zone "…" not recognized.
    "index": "CREATE INDEX mine ON awa.jobs_hot (timezone(args->>'a', created_at))",
    # A trigger of the application, with the code and the name of a published function.
    "trigger": """
        CREATE SCHEMA shop;
        CREATE FUNCTION shop.storage_prepare() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION 'bad zone "%"', NEW.args->>'a' USING ERRCODE = '22023'; END $$;
        CREATE TRIGGER zones BEFORE INSERT ON awa.jobs_hot FOR EACH ROW
        EXECUTE FUNCTION shop.storage_prepare();
    """,
}


@pytest.mark.parametrize("own", ZONES)
async def test_a_time_zone_of_a_row(client, database_url, db, own) -> None:
    db.execute(ZONES[own])
    conn = await asyncpg.connect(database_url)
    try:
        async with awa.AsyncClient(database_url) as other:
            for act in (client.insert, other.using(conn).insert):
                with pytest.raises(awa.DatabaseError, match='zone "…"') as refused:
                    await act(ARGS, kind="k")
                assert refused.value.sqlstate == "22023"
                kept(refused.value)
    finally:
        await conn.close()


async def test_the_words_of_a_storage_function_stay(database_url) -> None:
    """What it quotes is its own argument.  Psycopg: ``awa storage prepare`` in tests/cli."""
    conn = await asyncpg.connect(database_url)
    try:
        with pytest.raises(awa.ValidationError) as refused:
            await over_asyncpg(conn, storage.prepare("canonical"))
        assert str(refused.value) == 'storage engine "canonical" is already active'
    finally:
        await conn.close()


async def test_a_statement_of_the_callers_own(client, constrained) -> None:
    """Its error has that of psycopg as its cause, which a traceback shows; diag has the rest."""
    with pytest.raises(awa.DatabaseError, match="small") as refused:
        async with client.transaction() as tx:
            await tx.execute("INSERT INTO awa.jobs_hot (kind, args) VALUES ('k', $1)", ARGS)
    kept(refused.value)
    assert MARK in refused.value.__cause__.diag.message_detail


async def test_asyncpg(database_url, constrained) -> None:
    conn = await asyncpg.connect(database_url)
    client = awa.AsyncClient(database_url)
    try:
        for act in (
            lambda: client.using(conn).insert(ARGS, kind="k"),
            lambda: client.using(conn).insert_many_copy([ARGS], kind="k"),
        ):
            with pytest.raises(awa.DatabaseError, match="small") as refused:
                await act()
            kept(refused.value)
    finally:
        await client.close()
        await conn.close()


async def test_a_unique_conflict(client) -> None:
    await client.insert(ARGS, kind="k", unique_opts=UNIQUE)
    with pytest.raises(awa.UniqueConflict) as conflict:
        await client.insert(ARGS, kind="k", unique_opts=UNIQUE)
    kept(conflict.value)


@pytest.mark.parametrize(
    "args",
    [
        {"a": MARK, "bad": object()},
        {"a": [MARK, float("nan")]},
        {"a": f"{MARK}\x00"},
        {"a": f"{MARK}\ud800"},
        {"a": {MARK[:1]: {1: MARK}}, "b": {("x",): MARK}},
    ],
    ids=["object", "nan", "zero byte", "surrogate", "key"],
)
async def test_args_that_are_no_json(client, args) -> None:
    for given in ({"args": args}, {"args": {}, "metadata": args}):
        with pytest.raises(awa.InvalidInput) as refused:
            await client.insert(given["args"], kind="k", metadata=given.get("metadata", {}))
        kept(refused.value)


async def test_a_lock_that_is_not_released(database_url, db) -> None:
    """A time-out of the server."""
    with psycopg.connect(database_url) as other, awa.Client(database_url) as client:
        job = client.insert(ARGS, kind="k", metadata=ARGS)
        other.execute("SELECT 1 FROM awa.jobs_hot FOR UPDATE")
        with psycopg.connect(database_url, autocommit=True) as conn:
            conn.execute("SET lock_timeout = '20ms'")
            with pytest.raises(awa.Transient) as late:
                client.using(conn).cancel(job.id)
        kept(late.value)


@dataclass
class Typed:
    a: int


async def test_handlers_that_fail_in_every_way(database_url, db, logged) -> None:
    async with awa.AsyncClient(database_url) as client:
        await client.set_dead_letters("default", True)

        @client.task(dict, kind="fails")
        async def fails(job: awa.Job) -> None:
            job.set_progress(50, MARK)
            job.update_metadata({"p": MARK})
            await job.flush_progress()
            raise awa.TerminalError("no")

        @client.task(dict, kind="unwritable")
        async def unwritable(job: awa.Job) -> object:
            return {"r": MARK, "bad": object()}

        @client.task(dict, kind="late")
        async def late(job: awa.Job) -> None:
            await asyncio.Event().wait()

        @client.task(Typed, kind="typed")
        async def typed(job: awa.Job) -> None:
            pass

        ids = [
            (await client.insert(ARGS, kind=kind, max_attempts=1, metadata=ARGS)).id
            for kind in ("fails", "unwritable", "late", "typed")
        ]
        async with working(client, {"name": "default", "max_workers": 5, "deadline_seconds": 0.3}):

            async def ended() -> bool:
                left = db.execute(
                    "SELECT count(*) FROM awa.jobs WHERE id = ANY(%s)"
                    " AND state IN ('available', 'running', 'retryable')", [ids],
                ).fetchone()  # fmt: skip
                return left == (0,)

            await aeventually(ended, timeout=20)
    told = db.execute(
        "SELECT coalesce(string_agg(e::text, ' '), '') FROM (SELECT unnest(errors) AS e"
        " FROM awa.jobs UNION ALL SELECT unnest(errors) FROM awa.dead_letters) AS found"
    ).fetchone()[0]
    assert "expected int, got str" in told
    assert MARK not in told


async def test_an_end_that_the_database_refuses(database_url, db, logged) -> None:
    """The server's DETAIL quotes the job whose end it refuses, and the worker logs the error."""
    for table in ("jobs_hot", "scheduled_jobs"):
        db.execute(f"ALTER TABLE awa.{table} ADD CONSTRAINT never CHECK (progress IS NULL)")
    async with awa.AsyncClient(database_url) as client:

        @client.task(dict, kind="ends")
        async def ends(job: awa.Job) -> None:
            job.set_progress(50, MARK)
            raise RuntimeError("once")

        job = await client.insert(ARGS, kind="ends", metadata=ARGS)
        async with working(client):

            async def written() -> bool:
                return (await client.get_job(job.id)).state == awa.JobState.Retryable

            await aeventually(written, timeout=20)
    refused = [one for one in logged.records if "cannot be written" in one.getMessage()]
    assert refused
    assert 'violates check constraint "never"' in refused[0].getMessage()


async def test_a_function_that_is_away_or_refuses(logged) -> None:
    """The worker of functions: the body of the request is in no error."""

    class Sent:
        id, kind, args, attempt, max_attempts = 1, "k", ARGS, 1, 1

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/away":
            raise httpx.ConnectError("refused")
        return httpx.Response(int(request.url.path[1:]), stream=httpx.ByteStream(b"no"))

    for path in ("away", "400", "500", "302"):
        worker = HttpWorker(url=f"http://functions.example/{path}", mode="sync")
        worker._client = httpx.AsyncClient(transport=httpx.MockTransport(answer))
        with pytest.raises(Exception, match="function") as failed:
            await worker(Sent())
        kept(failed.value)
        await worker.aclose()


async def test_the_web_server(database_url, constrained) -> None:
    async with web_client(database_url) as client:
        answers = [
            await client.post("/api/jobs", json={"kind": "k", "args": ARGS, "metadata": ARGS}),
            await client.post("/api/jobs", json={"kind": "k", "args": [MARK], "priority": "x"}),
            await client.post("/api/jobs", json={"kind": 7, "args": ARGS}),
            await client.post("/api/jobs", json={"args": ARGS}),
            await client.post("/api/jobs", content=f'{{"kind": "k", "args": "{MARK}"'),
        ]
    for answer in answers:
        assert 400 <= answer.status_code < 500, answer.text
        assert MARK not in answer.text


async def test_a_web_server_whose_database_is_broken(database_url, db, add, logged) -> None:
    """A fault of ours: 500, with the details in the log and without those of the row."""
    job_id = add("failed", args=f'{{"a": "{MARK}", "n": 1}}')
    db.execute("ALTER TABLE awa.jobs_hot ADD COLUMN broken int NOT NULL DEFAULT 1")
    db.execute(
        "CREATE FUNCTION awa.breaks() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN NEW.broken := NULL; RETURN NEW; END'"
    )
    db.execute(
        "CREATE TRIGGER breaks BEFORE UPDATE ON awa.jobs_hot FOR EACH ROW"
        " EXECUTE FUNCTION awa.breaks()"
    )
    async with web_client(database_url) as client:
        answer = await client.post(f"/api/jobs/{job_id}/retry", json={})
    assert answer.status_code >= 400
    assert MARK not in answer.text


@pytest.mark.parametrize("verbose", [(), ("-vv",)], ids=["plain", "-vv"])
def test_the_command(cli, constrained, add, verbose, tmp_path) -> None:
    add("failed", kind="held", args=f'{{"a": "{MARK}", "n": 2}}', finalized_at="now")
    args = f'{{"a": "{MARK}", "n": 1}}'
    path = tmp_path / "jobs.json"
    path.write_text(args)
    for words in (
        ("job", "enqueue", "k", "--args", args),
        ("job", "enqueue", "k", "--args", f"@{path}"),
        ("job", "list", "--state", "failed", "-o", "ids"),
        ("job", "retry-failed", "--kind", "held", "--yes"),
    ):
        ran = cli(*verbose, *words)
        assert MARK not in ran.err, ran.err
        assert words[1] != "enqueue" or 'check constraint "small"' in ran.err
