"""What a server is sent while hostile text goes through every surface: blocks of sql/, and no input."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from fix_wait import aeventually
from fix_web import web_client
from fix_worker import Noop, working
from psycopg import sql as names

import awa_lib as awa
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


def test_a_statement_with_input_in_it_would_be_found(secure, said) -> None:
    import psycopg

    with psycopg.connect(secure.url("runtime"), autocommit=True) as conn:
        conn.execute(f"SELECT 1 AS {MARK}")  # type: ignore[arg-type]
    with pytest.raises(AssertionError):
        check(said(), 1)
