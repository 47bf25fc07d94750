"""What a server is sent while hostile text goes through every surface: blocks of sql/, and no input."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from uuid import uuid4

import pytest
from fix_tui import Driver
from fix_wait import aeventually
from fix_web import web_client
from fix_worker import Noop, working
from psycopg import sql as names
from textual.widgets import Input

import awa_lib as awa
from awa_cli.database.target import describe
from awa_cli.tui.app import Monitor
from awa_cli.tui.changes import cron as on_schedules
from awa_cli.tui.changes import jobs as on_jobs
from awa_cli.tui.changes import queues as on_queues
from awa_cli.tui.widgets.filter_bar import FilterBar
from awa_lib import _sql
from awa_lib.runtime import listener

# Ends a string, a name, a comment, a dollar quote, a psycopg placeholder and an array.
MARK = "inj3ct"
HOSTILE = f"{MARK}'\"; DROP TABLE awa.jobs_hot; --*/ $$ $1 %s {{}} \\' :id"
# That no other test pauses.
QUEUE = f"w {HOSTILE[:50]}"
ENTRY = re.compile(r"^\d{4}-\d\d-\d\d [\d:.]+ \S+ \[\d+\] (\w+):  ", re.MULTILINE)
TEXT = re.compile(r"(?:duration: .*?  )?(?:execute [^:]*|parse [^:]*|statement): (.*)", re.DOTALL)
# What drivers send of their own, and LISTEN, whose channel cannot be a parameter.
OTHERS = re.compile(
    r'BEGIN.*|COMMIT|ROLLBACK|(?:SAVEPOINT|RELEASE|ROLLBACK TO) "\w+"|DEALLOCATE ALL|'
    r"LISTEN [a-z_]+|SET .*|"
)
LISTENS = {
    names.SQL("LISTEN {}").format(names.Identifier(name)).as_string()
    for name in (
        listener.CANCEL_CHANNEL,
        listener.CALLBACK_CHANNEL,
        listener.POLICY_CHANNEL,
        listener.LEAD_CHANNEL,
        f"awa:{QUEUE}",
    )
}
SETTINGS = {
    "log_statement": "all", "log_min_messages": "log", "log_min_error_statement": "log",
    "log_error_verbosity": "terse", "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
}  # fmt: skip


def blocks() -> set[str]:
    texts = set()
    for path in (_sql.folder() / "queries").iterdir():
        noun = path.name.removesuffix(".sql")
        if noun != "columns":
            texts |= {squeezed(_sql.query(noun, name).text) for name in _sql.blocks(noun)}
    return texts


def squeezed(text: str) -> str:
    return " ".join(text.split()).rstrip(";")


@pytest.fixture
def said(secure) -> Callable[[], list[str]]:
    """Return the texts of the statements that came from the runtime role since the beginning."""
    log = secure.own.place / "log"
    with secure.admin() as admin:
        for name, value in SETTINGS.items():
            admin.execute(names.SQL("ALTER ROLE awa_runtime SET {} = {}").format(names.Identifier(name), value))  # fmt: skip
    begin = log.stat().st_size

    def read() -> list[str]:
        with log.open() as file:
            file.seek(begin)
            parts = ENTRY.split(file.read())
        entries = zip(parts[1::2], parts[2::2], strict=True)
        return [
            found[1] if (found := TEXT.match(text.strip())) else text.strip()
            for level, text in entries
            if level in {"LOG", "STATEMENT"}
        ]

    yield read
    with secure.admin() as admin:
        admin.execute("ALTER ROLE awa_runtime RESET ALL")


def check(texts: list[str], least: int) -> None:
    known = blocks()
    assert len(set(texts)) >= least
    unknown = [
        text
        for text in map(squeezed, texts)
        if text not in known and not OTHERS.fullmatch(text) and text not in LISTENS
    ]
    assert unknown == []
    assert [text for text in texts if MARK in text and text not in LISTENS] == []


def test_the_clients(secure, said) -> None:
    with awa.Client(secure.url("runtime")) as client:
        one = client.insert(
            {"a": HOSTILE}, kind=HOSTILE, queue=HOSTILE[:60], tags=[HOSTILE[:60]],
            metadata={HOSTILE: HOSTILE}, unique_opts={"by_args": True},
        )  # fmt: skip
        client.insert_many_copy([Noop(1)], queue=HOSTILE[:60], metadata={"a": HOSTILE})
        with pytest.raises(awa.UniqueConflict):
            client.insert(
                {"a": HOSTILE}, kind=HOSTILE, queue=HOSTILE[:60], unique_opts={"by_args": True}
            )
        assert client.list_jobs(kind=HOSTILE, queue=HOSTILE[:60])[0].id == one.id
        client.pause_queue(HOSTILE[:60], paused_by=HOSTILE)
        client.resume_queue(HOSTILE[:60])
        client.cancel(one.id)
        client.submit_bulk_operation("delete", queue=HOSTILE[:60], kind=HOSTILE)
        for act in (client.get_job, client.retry, client.cancel):
            with pytest.raises((awa.AwaError, TypeError, ValueError)):
                act(HOSTILE)
    check(said(), 8)


@pytest.mark.parametrize(
    "words",
    [
        ["job", "list", "--kind", HOSTILE, "--queue", HOSTILE, "--tag", HOSTILE, "-o", "json"],
        ["job", "list", "--where", f"args.a={HOSTILE}"],
        ["job", "list", "--error", HOSTILE],
        ["job", "enqueue", HOSTILE, "--args", '{"a": "' + MARK + "'; --" + '"}', "--queue", HOSTILE],
        ["job", "show", HOSTILE],
        ["job", "retry-failed", "--kind", HOSTILE, "--yes"],
        ["queue", "show", HOSTILE],
        ["queue", "pause", HOSTILE],
        ["queue", "purge", HOSTILE, "--yes"],
        ["queue", "set", HOSTILE, "--max-running", "3"],
        ["kind", "show", HOSTILE],
        ["cron", "show", HOSTILE],
        ["cron", "pause", HOSTILE],
        ["dlq", "list", "--queue", HOSTILE],
        ["dlq", "enable", HOSTILE],
        ["dlq", "purge", "--queue", HOSTILE, "--yes"],
        ["batch", "submit", "delete", "--queue", HOSTILE, "--yes"],
        ["audit", "--actor", HOSTILE],
        ["storage", "status"],
    ],
    ids=lambda words: " ".join(words[:2]),
)  # fmt: skip
def test_commands(secure, offline, said, words) -> None:
    ran = offline("--database-url", secure.url("runtime"), *words)

    assert "Traceback" not in ran.err
    assert "a bug in awa" not in ran.err
    check(said(), 0)
    if ran.status != 2:
        assert said()


async def test_the_web_server(secure, said) -> None:
    async with web_client(secure.url("runtime")) as client:
        for path in ("/api/jobs", "/jobs", "/api/dlq", "/dead-letters", "/api/audit", "/kinds"):
            await client.get(path, params={"kind": HOSTILE, "queue": HOSTILE, "tag": HOSTILE})
        await client.get("/api/jobs", params={"where": f"args.a={HOSTILE}", "error": HOSTILE})
        await client.get("/jobs", params={"filter": f"kind:{HOSTILE}", "sort": HOSTILE})
        for path in ("queues", "kinds", "cron"):
            await client.get(f"/{path}/{MARK}%27%3B--")
        made = await client.post(
            "/api/jobs", json={"kind": HOSTILE, "args": {HOSTILE: HOSTILE}, "queue": HOSTILE[:60]}
        )
        await client.post(f"/api/queues/{MARK}%27%3B--/pause", json={"paused_by": HOSTILE})
        await client.post("/api/batch-ops", json={"operation": "delete", "kind": HOSTILE})
    assert made.status_code < 500
    check(said(), 5)


async def test_a_worker(secure, said) -> None:
    """Its queue is in the name of a channel: quoted."""
    async with awa.AsyncClient(secure.url("runtime")) as client:

        @client.task(dict, kind=HOSTILE, queue=QUEUE)
        async def fails(job: awa.Job) -> None:
            raise awa.TerminalError(HOSTILE)

        job = await client.insert({"a": HOSTILE}, kind=HOSTILE, queue=QUEUE)
        async with working(client, (QUEUE, 1)):

            async def failed() -> bool:
                return (await client.get_job(job.id)).state == awa.JobState.Failed

            await aeventually(failed)
    texts = said()
    check(texts, 15)
    assert any(text in LISTENS and MARK in text for text in texts)


@pytest.fixture
def waiting(secure) -> Callable[[], tuple[int, str]]:
    """Make a job that waits for a callback; return its id and that of the callback."""

    def make() -> tuple[int, str]:
        callback_id = str(uuid4())
        with secure.admin() as admin:
            (job_id,) = admin.execute(
                "INSERT INTO awa.jobs_hot (kind, queue, state, callback_id, callback_timeout_at,"
                " callback_filter) VALUES (%s, %s, 'waiting_external', %s, now() + interval '1 h',"
                " 'payload.a == 1') RETURNING id", [HOSTILE, QUEUE, callback_id],
            ).fetchone()  # fmt: skip
        return job_id, callback_id

    return make


async def test_changes_of_callbacks(secure, said, waiting) -> None:
    """By the client, by the command and over HTTP, with hostile answers, errors and ids."""
    payload = {HOSTILE: HOSTILE}
    async with awa.AsyncClient(secure.url("runtime")) as client:
        ended = [
            await client.complete_external(waiting()[1], payload),
            await client.fail_external(waiting()[1], HOSTILE),
            await client.retry_external(waiting()[1]),
        ]
        await client.heartbeat_callback(waiting()[1], 60)
        await client.resume_external(waiting()[1], payload)
        await client.resolve_callback(waiting()[1], payload, default_action="fail")
        for act in (client.complete_external, client.retry_external, client.heartbeat_callback):
            with pytest.raises(awa.AwaError):
                await act(HOSTILE)
    assert [str(job.state) for job in ended] == ["completed", "failed", "available"]
    async with web_client(secure.url("runtime")) as web:
        for action, body in (
            ("complete", {"payload": payload}), ("fail", {"error": HOSTILE}),
            ("heartbeat", {"timeout_seconds": 60}), ("resume", {"payload": payload}),
        ):  # fmt: skip
            answer = await web.post(f"/api/callbacks/{waiting()[1]}/{action}", json=body)
            assert answer.status_code == 200, answer.text
        refused = await web.post(f"/api/callbacks/{MARK}%27%3B--/fail", json={"error": HOSTILE})
        assert refused.status_code == 422
    check(said(), 8)


@pytest.mark.parametrize("action", ["complete", "fail", "resume", "retry"])
def test_commands_of_callbacks(secure, offline, said, waiting, action) -> None:
    words = {
        "complete": ["--payload", '{"a": "' + MARK + "'; --" + '"}'],
        "fail": ["--error", HOSTILE],
    }
    for callback_id in (waiting()[1], HOSTILE):
        ran = offline(
            "--database-url", secure.url("runtime"), "callback", action, callback_id,
            *words.get(action, ()), "--yes",
        )  # fmt: skip
        assert "a bug in awa" not in ran.err
        assert (ran.status == 0) == (callback_id != HOSTILE), ran.err
    check(said(), 1)


NAME = f"n {HOSTILE[:60]}"


@pytest.fixture
def schedule(secure) -> str:
    """A schedule of a hostile name."""
    with secure.admin() as admin:
        admin.execute(
            "INSERT INTO awa.cron_jobs (name, cron_expr, kind, queue, args) VALUES"
            " (%s, '@daily', %s, %s, '{}') ON CONFLICT (name) DO NOTHING",
            [NAME, HOSTILE, QUEUE],
        )
    return NAME


async def test_changes_of_schedules(secure, said, schedule) -> None:
    async with awa.AsyncClient(secure.url("runtime")) as client:
        await client.pause_cron_job(NAME, paused_by=HOSTILE)
        await client.resume_cron_job(NAME)
        job = await client.trigger_cron_job(NAME)
        assert [one.name for one in await client.list_cron_jobs(name=NAME)] == [NAME]
        assert await client.delete_cron_job(NAME)
        with pytest.raises(awa.ScheduleNotFound):
            await client.pause_cron_job(NAME)
    assert job.kind == HOSTILE
    check(said(), 5)


def test_commands_of_schedules(secure, offline, said, schedule, tmp_path) -> None:
    """With a file whose schedule is hostile in every field, which is applied and exported."""
    file = tmp_path / "cron.json"  # JSON is YAML
    file.write_text(
        json.dumps({"schedules": [{
            "name": f"{NAME} 2", "cron_expr": "@daily", "kind": HOSTILE, "queue": QUEUE,
            "args": {HOSTILE: HOSTILE}, "tags": [HOSTILE[:60]], "metadata": {HOSTILE: HOSTILE},
        }]})
    )  # fmt: skip
    for words in (
        ["pause", NAME, "--yes"], ["resume", NAME, "--yes"], ["trigger", NAME, "--yes"],
        ["apply", "-f", file, "--yes"], ["export"], ["show", NAME],
        ["remove", NAME, "--yes"], ["remove", f"{NAME} 2", "--yes"],
    ):  # fmt: skip
        ran = offline("--database-url", secure.url("runtime"), "cron", *words)
        assert ran.status == 0, (words, ran.err)
    check(said(), 6)


async def test_the_monitor(secure, said, waiting, schedule) -> None:
    """Its filter, its screens and each of its changes, on rows with hostile names."""
    jobs = [waiting()[0] for _ in range(2)]
    async with awa.AsyncClient(secure.url("runtime")) as client:
        job = await client.insert({"a": HOSTILE}, kind=HOSTILE, queue=QUEUE)
    with secure.admin() as admin:
        admin.execute("UPDATE awa.jobs_hot SET state = 'failed', finalized_at = now() WHERE id = %s",
                      [jobs[0]])  # fmt: skip
    app = Monitor(describe(secure.url("runtime")), interval=0.1, ascii_only=False, screen="jobs")
    async with app.run_test(size=(100, 30)) as pilot:
        driver = Driver(app, pilot)
        page = await driver.at("jobs")
        for text in (
            f'kind:"{MARK}\'; --"',
            f"args.a={HOSTILE.split(maxsplit=1)[0]}",
            f"error:{MARK}'",
            "",
        ):
            await driver.press("/")
            await aeventually(lambda: page.query_one(FilterBar).is_open)
            page.query_one(Input).value = text
            await driver.press("enter")
            await aeventually(lambda: not page.query_one(FilterBar).is_open)
        rows = {row.id: row for row in (await _rows(secure, job.id, *jobs))}
        with awa.Client(secure.url("runtime")) as client:
            stat = next(one for one in client.queue_stats() if one.queue == QUEUE)
        for change in (
            on_jobs.retry([rows[jobs[0]]]), on_jobs.set_priority([rows[job.id]], 1),
            on_jobs.move([rows[job.id]], f"{QUEUE} 2"), on_jobs.cancel([rows[job.id]]),
            on_queues.pause(QUEUE), on_queues.resume(QUEUE), on_queues.cancel_waiting(stat),
            on_schedules.pause(NAME), on_schedules.resume(NAME), on_schedules.trigger(NAME),
            on_schedules.remove(NAME),
        ):  # fmt: skip
            app.apply(change)
            await driver.answer("y")
        for screen, subject in (
            ("queue", QUEUE),
            ("job", str(job.id)),
            ("kinds", None),
            ("cron", None),
        ):
            app.enter(screen, subject) if subject else app.action_go(screen)
            await driver.at(screen)
    check(said(), 20)
    with secure.admin() as admin:
        held = admin.execute(
            "SELECT count(*) FROM awa.cron_jobs WHERE name = %s", [NAME]
        ).fetchone()
        state = admin.execute("SELECT state::text FROM awa.jobs WHERE id = %s", [job.id]).fetchone()
    assert (held, state) == ((0,), ("cancelled",))


async def _rows(secure, *ids: int) -> list:
    async with awa.AsyncClient(secure.url("runtime")) as client:
        return [await client.get_job(one) for one in ids]


def test_a_statement_with_input_in_it_would_be_found(secure, said) -> None:
    import psycopg

    with psycopg.connect(secure.url("runtime"), autocommit=True) as conn:
        conn.execute(f"SELECT 1 AS {MARK}")  # type: ignore[arg-type]
    with pytest.raises(AssertionError):
        check(said(), 1)
