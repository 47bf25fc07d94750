"""The edge of the command: parsing, targets, exit codes, and what never gets out."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time

import psycopg
import pytest
from fix_cli import TREE, argv, environment
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from awa_cli.errors import ExitCode

SECRET = "hunter2-so-secret"
UUID = "8feaec61-ea03-4e4c-ab3d-f63350329dc6"
# Every command that needs a database, in a form that gets as far as asking for one.
NEEDY = [
    ["job", "list"],
    ["job", "show", 1],
    ["job", "dump", 1],
    ["job", "dump-run", 1],
    ["job", "logs", 1],
    ["job", "wait", 1],
    ["job", "watch", 1],
    ["job", "tail"],
    ["job", "tail", "-f"],
    ["job", "retry", 1],
    ["job", "cancel", 1],
    ["job", "cancel", "--kind", "k"],
    ["job", "priority", 1, 1],
    ["job", "move", "q", 1],
    ["job", "discard", 1],
    ["job", "retry-failed", "--kind", "k"],
    ["job", "discard", "--kind", "k"],
    ["job", "enqueue", "k"],
    ["queue", "stats"],
    ["queue", "pause", "q"],
    ["queue", "resume", "q"],
    ["queue", "drain", "q"],
    ["queue", "list"],
    ["queue", "show", "q"],
    ["queue", "set", "q", "--max-running", 1],
    ["queue", "unset", "q", "--all"],
    ["queue", "purge", "q", "--yes"],
    ["kind", "list"],
    ["kind", "show", "k"],
    ["cron", "list"],
    ["cron", "show", "s"],
    ["cron", "next", "s"],
    ["cron", "trigger", "s"],
    ["cron", "pause", "s"],
    ["cron", "resume", "s"],
    ["cron", "remove", "s"],
    ["cron", "export"],
    ["dlq", "list"],
    ["dlq", "show", 1],
    ["dlq", "depth"],
    ["dlq", "retry", 1],
    ["dlq", "purge", 1],
    ["dlq", "move", 1],
    ["dlq", "enable", "q"],
    ["dlq", "disable", "q"],
    ["batch", "list"],
    ["batch", "show", UUID],
    ["batch", "submit", "retry", "--all"],
    ["batch", "run", UUID],
    ["batch", "cancel", UUID],
    ["callback", "complete", UUID],
    ["callback", "fail", UUID, "--error", "e"],
    ["callback", "retry", UUID],
    ["callback", "resume", UUID],
    ["callback", "heartbeat", UUID],
    ["workers"],
    ["health"],
    ["version", "--check"],
    ["storage", "status"],
    ["storage", "prepare", "--engine", "e"],
    ["storage", "abort"],
    ["migrate"],
    ["roles", "--apply"],
    ["doctor"],
    ["bench", "--jobs", 10, "--duration", "100ms"],
]


@pytest.mark.parametrize("path", TREE, ids=" ".join)
def test_help_is_complete_and_fits(offline, monkeypatch, path) -> None:
    monkeypatch.setenv("COLUMNS", "80")

    ran = offline(*path, "--help")

    assert (ran.status, ran.err) == (0, "")
    assert " ".join(["Usage: awa", *path]) in ran.out
    about, _, examples = ran.out.partition("Examples:\n")
    assert f"awa {' '.join(path)}".strip() in examples
    assert "--database-url URL" in about
    assert max(map(len, about.splitlines())) < 80
    assert "_" not in about.split()[0]
    assert offline(*path, "-h").out == ran.out


def test_every_option_is_explained() -> None:
    silent = [
        (path, param.name)
        for path, command in TREE.items()
        for param in command.params
        if not param.help
    ]

    assert silent == []


def test_help_groups_the_commands(offline) -> None:
    out = offline("--help").out

    assert (
        out.index("Jobs and queues:") < out.index("Workers and servers:") < out.index("Database:")
    )


def test_version(offline, process) -> None:
    assert offline("--version").out.startswith("awa 0.")
    assert offline("-V").out == offline("--version").out
    # Not alone on the line: through the parser instead of the short cut.
    assert offline("--no-color", "--version").out == offline("--version").out
    assert process("--version").out == offline("--version").out


def test_nothing_to_do_prints_help_on_stderr(offline) -> None:
    for path in ([], ["job"]):
        ran = offline(*path)
        assert (ran.status, ran.out) == (2, "")
        assert "Usage: awa" in ran.err


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (["jbo"], "did you mean: awa job"),
        (["job", "lst"], "did you mean: awa job list"),
        (["retry", "3"], "did you mean: awa job retry"),
        (["stats"], "did you mean: awa queue stats"),
        (["xyzzy"], "see awa --help"),
        (["job", "list", "--stat", "x"], "did you mean: --state"),
        (["queue", "stats", "--queue", "mail"], "did you mean: awa queue show QUEUE"),
        (["queue", "pause", "--queue", "mail"], "did you mean: awa queue pause QUEUE"),
        (["job", "list", "--job", "3"], "did you mean: awa job show ID"),
        (["job", "list", "--xyzzy"], "see awa job list --help"),
        (["job", "dump", "seven"], "'seven' is not a whole number"),
        (["job", "dump"], "missing argument 'ID'"),
        (["job", "dump", str(2**63)], "not in the range"),
        (["job", "list", "--limit", "-1"], "not in the range"),
        (["job", "list", "-o", "xml"], "unknown output format: xml"),
        (["queue", "pause"], "missing argument 'QUEUE'"),
        (["storage", "prepare"], "missing option '--engine'"),
        (["storage", "prepare", "--engine", "e", "--details", "[1"], "--details is not JSON"),
        (["storage", "prepare", "--engine", "e", "--details", "3"], "not a JSON object"),
    ],
)
def test_usage_errors(offline, line, says) -> None:
    ran = offline(*line)

    assert (ran.status, ran.out) == (2, "")
    assert ran.err.startswith("error: ")
    assert says in ran.err


@pytest.mark.parametrize("line", NEEDY, ids=lambda line: " ".join(map(str, line)))
def test_no_command_falls_back_to_some_database(offline, monkeypatch, line) -> None:
    for empty in (None, "", "  "):
        if empty is not None:
            monkeypatch.setenv("DATABASE_URL", empty)

        ran = offline(*line)

        assert (ran.status, ran.out) == (2, "")
        what, why, do = ran.err.splitlines()
        assert what == "error: no database is given"
        assert why.startswith("  why: neither --database-url, --context nor DATABASE_URL is set")
        assert "--database-url postgresql://" in do
        assert "embedded:" in do


# These say what they find instead.
FINDERS = [["migrate"], ["health"], ["version", "--check"]]


@pytest.mark.parametrize(
    "line", [x for x in NEEDY if x not in FINDERS], ids=lambda x: " ".join(map(str, x))
)
def test_unmigrated_schema_exits_4(offline, empty_database_url, line) -> None:
    ran = offline(*line, "--database-url", empty_database_url)

    assert (ran.status, ran.out) == (4, "")
    assert "error: the awa schema is missing or not up to date in this database" in ran.err
    assert ran.err.endswith("   do: apply the migrations: awa migrate\n")


def test_url_before_or_after_the_command_and_over_the_environment(
    offline, monkeypatch, database_url
) -> None:
    lines = [
        ["--database-url", database_url, "queue", "stats"],
        ["queue", "--database-url", database_url, "stats"],
        ["queue", "stats", "--database-url", database_url],
        ["--database-url", "postgresql://127.0.0.1:1/x", "queue", "stats", "--database-url",
         database_url],
    ]  # fmt: skip
    monkeypatch.setenv("DATABASE_URL", "postgresql://127.0.0.1:1/x")

    for line in lines:
        assert offline(*line).out == "No queues found.\n"


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://u:{SECRET}@127.0.0.1:1/x",
        f"postgresql://u:{SECRET}@no-such-host.invalid/x",
        f"host=127.0.0.1 port=1 password={SECRET}",
    ],
)
def test_unreachable_exits_3_without_the_password(offline, url) -> None:
    ran = offline("queue", "pause", "q", "-v", "--database-url", url)

    assert (ran.status, ran.out) == (3, "")
    assert "error: cannot connect to " in ran.err
    assert "why: " in ran.err
    assert SECRET not in ran.err


@pytest.mark.parametrize("url", [
    SECRET, f"mysql://u:{SECRET}@h/x", f"host=x {SECRET}", f"postgresql://u:a@{SECRET}@h/x",
    f"postgresql://u:a/{SECRET}@h/x", f"postgresql://u:1/{SECRET}@h/x", f"postgres://u:{SECRET}/x",
    f"postgresql://u:a?{SECRET}@h/x", f"postgresql://u:{SECRET}@127.0.0.1:port/x",
])  # fmt: skip
def test_unreadable_url_exits_2_without_repeating_it(offline, url) -> None:
    ran = offline("queue", "stats", "-v", "--database-url", url)

    assert (ran.status, ran.out) == (2, "")
    assert "error: the database URL cannot be read" in ran.err
    assert SECRET not in ran.err


def test_wrong_database_and_role_say_which(offline, database_url) -> None:
    url = make_conninfo(database_url, dbname="nope")

    ran = offline("queue", "stats", "--database-url", url)

    assert ran.status == 3
    assert 'why: database "nope" does not exist' in ran.err
    assert "createdb" in ran.err


@pytest.mark.parametrize(("given", "seconds"), [("", 5), ("?connect_timeout=2", 2)])
def test_a_silent_server_is_given_up(process, given, seconds) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        url = f"postgresql://u:{SECRET}@127.0.0.1:{port}/x{given}"
        started = time.monotonic()
        ran = process("job", "list", url=url)

    assert ran.status == 3
    assert f"cannot connect to u@127.0.0.1:{port}/x" in ran.err
    assert seconds - 0.5 < time.monotonic() - started < seconds + 2.5
    assert SECRET not in ran.err


def test_changing_commands_name_the_database(cli, database_url, monkeypatch) -> None:
    parts = conninfo_to_dict(database_url)
    password = str(parts.setdefault("password", SECRET))
    monkeypatch.setenv("DATABASE_URL", make_conninfo(**parts))

    ran = cli("queue", "pause", "q")

    assert ran.err.startswith("database: ")
    assert ran.err.splitlines()[0].endswith(f"/{parts['dbname']}")
    assert password not in ran.err
    assert cli("queue", "stats").err == ""


def test_v_shows_sql_and_vv_the_traceback(cli) -> None:
    quiet = cli("job", "dump", 1).err
    assert "Traceback" not in quiet
    assert "sql:" not in quiet
    ran = cli("job", "dump", 1, "-v")
    assert "Traceback" not in ran.err
    assert re.search(
        r"^sql: \d+\.\d ms  SELECT id, kind, .* FROM awa\.jobs WHERE id = \$1::bigint$",
        ran.err,
        re.M,
    )
    assert ran.err.endswith("   do: list jobs: awa job list\n")
    assert "Traceback" in cli("-vv", "job", "dump", 1).err
    assert "Traceback" in cli("-v", "job", "dump", 1, "-vv").err


def test_ctrl_c_exits_130(database_url, db) -> None:
    with psycopg.connect(database_url) as blocker:
        blocker.execute("LOCK TABLE awa.jobs_hot")
        running = subprocess.Popen(
            argv("job", "list"), env=environment(database_url),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        waiting += " AND datname = current_database()"
        deadline = time.monotonic() + 20
        while db.execute(waiting).fetchone() == (0,):
            assert time.monotonic() < deadline
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=30)

    assert running.returncode == 130
    assert b"Traceback" not in err
    assert out == b""


def test_a_reader_who_leaves_hears_nothing(database_url, db) -> None:
    db.execute(
        "INSERT INTO awa.jobs_hot (kind, args)"
        " SELECT 'k', jsonb_build_object('pad', repeat('x', 1000)) FROM generate_series(1, 500)"
    )
    read, write = os.pipe()
    running = subprocess.Popen(
        argv("job", "list", "--limit", 500, "-o", "json"), env=environment(database_url),
        stdout=write, stderr=subprocess.PIPE,
    )  # fmt: skip
    os.close(write)
    os.read(read, 10)
    os.close(read)
    _, err = running.communicate(timeout=20)

    assert (running.returncode, err) == (0, b"")


def test_text_a_locale_cannot_show_is_no_traceback(database_url, add) -> None:
    add(kind="Grüße ☃")
    env = environment(database_url, LC_ALL="C", PYTHONIOENCODING="ascii", PYTHONUTF8="0")

    for line, shown in ((["-o", "json"], b"Gr\\u00fc\\u00dfe"), ([], b"Gr\\xfc\\xdfe")):
        done = subprocess.run(argv("job", "list", *line), env=env, capture_output=True, timeout=30)
        assert (done.returncode, shown in done.stdout) == (0, True)


def test_exit_codes_are_said_once_each() -> None:
    assert [int(code) for code in ExitCode] == [0, 1, 2, 3, 4, 5, 6, 124, 130]
