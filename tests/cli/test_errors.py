"""Errors: what, why, what to do, and the exit status, at last that of processes, for scripts."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from contextlib import ExitStack

import psycopg
import pytest
from fix_cli import argv, environment
from fix_wait import eventually
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from awa_cli.errors import ExitCode
from awa_lib.states import STATES

CLOSED = "postgresql://u@127.0.0.1:1/x"


def lines(text: str) -> list[str]:
    """Return the three lines, without the name of the database that a change says first."""
    return [line for line in text.splitlines() if not line.startswith("database: ")]


# The table of errors of awa 0.5, which exits with 1 for all of them and prints Rust's Debug form.
def test_no_database_named(here) -> None:
    ran = here("queue", "stats")

    assert (ran.status, ran.out) == (ExitCode.USAGE, "")
    what, why, do = lines(ran.err)
    assert what == "error: no database is given"
    assert why == (
        "  why: neither --database-url, --context nor DATABASE_URL is set, and no context is current"
    )
    assert do.startswith("   do: pass --database-url postgresql://USER@HOST/NAME")


def test_server_down(here) -> None:
    began = time.monotonic()
    ran = here("queue", "stats", url=CLOSED)

    assert time.monotonic() - began < 5
    assert (ran.status, ran.out) == (ExitCode.UNREACHABLE, "")
    what, why, do = lines(ran.err)
    assert what == "error: cannot connect to u@127.0.0.1:1/x"
    assert "refused" in why
    assert "pg_isready" in do


def test_database_does_not_exist(here, database_url) -> None:
    ran = here("queue", "stats", url=make_conninfo(database_url, dbname="nope"))

    assert ran.status == ExitCode.UNREACHABLE
    assert lines(ran.err)[1:] == [
        '  why: database "nope" does not exist',
        "   do: create it with createdb NAME, or correct the name in the URL",
    ]


def test_url_that_is_none(here) -> None:
    ran = here("queue", "stats", url="nonsense")

    assert ran.status == ExitCode.USAGE
    what, why, _ = lines(ran.err)
    assert what == "error: the database URL cannot be read"
    assert why == "  why: it is neither postgresql://… nor key=value pairs nor embedded:"


def test_schema_is_not_there(here, empty_database_url) -> None:
    ran = here("queue", "stats", url=empty_database_url)

    assert ran.status == ExitCode.SCHEMA
    what, _, do = lines(ran.err)
    assert what == "error: the awa schema is missing or not up to date in this database"
    assert do == "   do: apply the migrations: awa migrate"


@pytest.mark.parametrize("verb", ["dump", "show", "retry", "cancel", "logs", "dump-run", "watch"])
def test_unknown_job(here, database_url, verb) -> None:
    ran = here("job", verb, 999, url=database_url)

    assert (ran.status, ran.out) == (ExitCode.FAILED, "")
    assert lines(ran.err) == [
        "error: job not found: 999",
        "  why: it never existed, or it finished long ago and retention deleted it",
        "   do: list jobs: awa job list",
    ]


@pytest.mark.parametrize(("verb", "state"), [("retry", "completed"), ("cancel", "failed")])
def test_wrong_state_is_told_from_an_unknown_job(here, database_url, add, verb, state) -> None:
    job_id = add(state, finalized_at="now")

    ran = here("job", verb, job_id, url=database_url)

    assert (ran.status, ran.out) == (ExitCode.FAILED, "")
    what, why, do = lines(ran.err)
    assert what == f"error: cannot {verb} job {job_id}: it is {state}"
    assert why.startswith("  why: only jobs in state ")
    assert do == f"   do: show the job: awa job show {job_id}"


def test_unknown_state(here, database_url) -> None:
    ran = here("job", "list", "--state", "bogus", url=database_url)

    assert (ran.status, ran.out) == (ExitCode.USAGE, "")
    assert lines(ran.err) == [
        "error: --state 'bogus' is not a state of jobs",
        f"  why: states are {', '.join(STATES)}",
    ]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ([], "Usage: awa COMMAND"),
        (["frobnicate"], "error: no such command 'frobnicate'"),
        (["job", "dump", "seven"], "error: invalid value for 'ID': 'seven' is not a whole number"),
        (["job", "discard"], "error: no jobs were selected"),
        (["storage", "prepare"], "error: missing option '--engine'"),
        (
            ["migrate", "--version", 3, "--to", 4, "--sql"],
            "error: invalid value: --version cannot be used with --from or --to",
        ),
    ],
)
def test_what_cannot_be_parsed(here, line, says) -> None:
    ran = here(*line, url=CLOSED)

    assert (ran.status, ran.out) == (ExitCode.USAGE, "")
    assert says in ran.err


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (["job", "list", "--kind", "a", "--kind", "b"], "--kind is given twice"),
        (["job", "retry", "--queue=a", "--dry-run", "--queue", "b"], "--queue is given twice"),
        (["batch", "submit", "retry", "--tag", "a", "--tag", "a"], "--tag is given twice"),
        (["dlq", "purge", "--kind", "a", "--kind", "b", "--yes"], "--kind is given twice"),
        (["job", "list", "-o", "ids", "--output", "json"], "--output is given twice"),
    ],
)
def test_an_option_of_one_value_is_refused_a_second_time(here, line, says) -> None:
    """The last one won, and a change took other jobs than were named."""
    ran = here(*line, url=CLOSED)

    what, why, do = lines(ran.err)
    assert (ran.status, ran.out) == (ExitCode.USAGE, "")
    assert what == f"error: {says}"
    assert why == "  why: it takes one value"
    assert do.startswith(f"   do: give {says.split()[0]} ")


def test_an_option_of_many_values_is_taken_again(here, database_url) -> None:
    line = ["job", "list", "--state", "failed", "--state", "running", "-v", "-v"]

    assert here(*line, url=database_url).status == ExitCode.OK


@pytest.mark.parametrize("option", ["--database-url", "--context"])
@pytest.mark.parametrize("value", ["", " "])
def test_an_empty_database_is_not_the_usual_one(here, database_url, option, value) -> None:
    """An unset "$PROD" led to what DATABASE_URL named."""
    after = here("queue", "pause", "email", option, value, url=database_url)
    before = here(option, value, "queue", "pause", "email", url=database_url)

    what, why, do = lines(after.err)
    assert (after.status, after.out, after) == (ExitCode.USAGE, "", before)
    assert what == f"error: {option} is empty"
    assert why == "  why: the variable in it is probably not set"
    assert do.startswith(f"   do: write {option} ")


def test_an_empty_environment_variable_names_none(here) -> None:
    assert "error: no database is given" in here("queue", "stats", url="").err


@pytest.mark.parametrize(
    "line",
    [
        ["workers", "--watch"],
        ["queue", "stats", "--watch"],
        ["job", "watch", 1],
        ["job", "tail", "-f"],
    ],
    ids=lambda line: " ".join(map(str, line)),
)
@pytest.mark.parametrize("interval", ["0", "99ms"])
def test_an_interval_too_short_is_refused(here, line, interval) -> None:
    """It was a loop without a pause."""
    ran = here(*line, "--interval", interval, url=CLOSED)

    assert (ran.status, ran.out) == (ExitCode.USAGE, "")
    assert lines(ran.err) == [
        f"error: --interval {interval!r} is too short",
        "  why: the database would be read without a pause",
        "   do: write 100ms or longer, like --interval 2s",
    ]


# A typing error gets the nearest name that is known.
@pytest.mark.parametrize(
    ("line", "status", "says"),
    [
        (["jbo"], 2, "awa job"),
        (["job", "lst"], 2, "awa job list"),
        (["pause", "email"], 2, "awa queue pause"),
        (["job", "list", "--kidn", "x"], 2, "--kind"),
        (["job", "list", "--state", "faild"], 2, "--state failed"),
        (["job", "wait", 1, "--for", "complete"], 2, "--for completed"),
        (["queue", "show", "emial"], 1, "awa queue show email"),
        (["queue", "pause", "emial"], 0, "email"),
        (["job", "list", "--queue", "emial"], 0, "--queue email"),
        (["job", "list", "--kind", "send_mail"], 0, "--kind send_email"),
        (["kind", "show", "send_mail"], 1, "awa kind show send_email"),
        (["cron", "show", "nihgtly"], 1, "awa cron show nightly"),
        (["cron", "trigger", "nihgtly"], 1, "awa cron trigger nightly"),
        (["queue", "stats", "--context", "prdo"], 2, "--context prod"),
        (["context", "use", "prdo"], 2, "--context prod"),
        (["job", "list", "-o", "jsno"], 2, "-o json"),
        (["job", "list", "-o", "tmeplate"], 2, "-o template='{id}'"),
        (["job", "show", 101, "-o", "jsn"], 2, "-o json"),
        (["cron", "export", "--format", "tmol"], 2, "--format toml"),
        (["job", "list", "--columns", "id,knd"], 2, "kind"),
        (["job", "list", "--sort", "runat"], 2, "--sort run_at"),
        (["queue", "stats", "--fail-if", "lgg>3"], 2, "lag"),
        (["queue", "unset", "email", "max_runing"], 2, "max-running"),
        (["audit", "list"], 2, "awa audit"),
        (["job", "ls"], 2, "awa job list"),
        (["help"], 2, "awa --help"),
        (["ps"], 2, "awa workers"),
        (["batch", "submit", "retyr", "--all"], 2, "retry"),
        (["batch", "list", "--state", "complete"], 2, "completed"),
        (
            ["callback", "sign", "8feaec61-ea03-4e4c-ab3d-f63350329dc6", "--action", "compleet"],
            2, "--action complete",
        ),
        (["context", "add", "x", "embedded:", "--color", "rde"], 2, "--color red"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, list) else "",
)  # fmt: skip
def test_a_typing_error_gets_the_nearest_name(
    place, offline, monkeypatch, line, status, says
) -> None:
    place()

    ran = offline(*line)

    assert ran.status == status
    assert f"did you mean: {says}" in ran.err


# Silence on the network.
@pytest.fixture
def silent():
    """Accepts, and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def deaf():
    """Does not even accept: its queue is full, so that the kernel drops what comes."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(4):
            caller = stack.enter_context(socket.socket())
            caller.setblocking(False)
            caller.connect_ex(server.getsockname())
        yield server.getsockname()[1]


@pytest.fixture
def rude():
    """Accepts, and closes at once."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        process = subprocess.Popen(
            [
                argv()[0],
                "-c",
                "import socket, sys\ns = socket.socket(fileno=0)\nwhile True: s.accept()[0].close()",
            ],
            stdin=server.fileno(),
        )
        yield server.getsockname()[1]
        process.kill()
        process.wait()


@pytest.mark.parametrize("kind", ["silent", "deaf", "rude"])
def test_a_connection_is_given_up_in_time(process, request, kind) -> None:
    port = request.getfixturevalue(kind)

    began = time.monotonic()
    ran = process("job", "list", "--connect-timeout", 2, url=f"postgresql://u@127.0.0.1:{port}/x")

    assert time.monotonic() - began < 5
    assert (ran.status, ran.out) == (ExitCode.UNREACHABLE, "")
    assert f"error: cannot connect to u@127.0.0.1:{port}/x" in ran.err
    assert "  why: " in ran.err


# Each exit status, from a process.
def test_exit_0_1_2_3_4_5_6_and_124(process, database_url, empty_database_url, add) -> None:
    job_id = add("available", run_at="2020-01-01T00:00Z")
    lines = {
        ExitCode.OK: (["job", "list"], database_url),
        ExitCode.FAILED: (["job", "retry", 999], database_url),
        ExitCode.USAGE: (["job", "list", "--limit", "many"], database_url),
        ExitCode.UNREACHABLE: (["job", "list"], CLOSED),
        ExitCode.SCHEMA: (["migrate", "--check"], empty_database_url),
        ExitCode.NOTHING: (["job", "list", "--kind", "none", "--fail-empty"], database_url),
        ExitCode.WRONG: (["queue", "stats", "--fail-if", "lag>60s"], database_url),
        ExitCode.TIMED_OUT: (["job", "wait", job_id, "--timeout", "0.1s"], database_url),
    }

    statuses = {code: process(*line, url=url).status for code, (line, url) in lines.items()}

    assert statuses == {code: int(code) for code in lines}
    assert set(ExitCode) - set(lines) == {ExitCode.INTERRUPTED}


def test_exit_130(database_url, add, db) -> None:
    job_id = add("available")
    waiting = subprocess.Popen(
        argv("job", "wait", job_id), env=environment(database_url), stderr=subprocess.PIPE
    )
    eventually(lambda: db.execute("SELECT 1 FROM awa.job_waits").fetchone(), timeout=20)
    waiting.send_signal(signal.SIGINT)
    _, err = waiting.communicate(timeout=30)

    assert waiting.returncode == ExitCode.INTERRUPTED
    assert err == b""


def test_a_lost_connection_exits_3(database_url, db) -> None:
    with psycopg.connect(database_url) as blocker:
        blocker.execute("LOCK TABLE awa.jobs_hot")
        running = subprocess.Popen(
            argv("job", "list"), env=environment(database_url), stderr=subprocess.PIPE, text=True
        )
        find = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE wait_event_type = 'Lock' AND application_name = 'awa' AND datname = %s"
        )
        name = str(conninfo_to_dict(database_url)["dbname"])
        eventually(lambda: db.execute(find, [name]).fetchall(), timeout=20)
        _, err = running.communicate(timeout=10)

    assert running.returncode == ExitCode.UNREACHABLE
    assert "Traceback" not in err
