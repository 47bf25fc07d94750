"""``awa job enqueue``: one job with its options, and many from NDJSON."""

from __future__ import annotations

import json
import os
import subprocess
import time

import pytest
from fix_cli import argv, environment

import awa_lib as awa
from awa_lib.enqueue.unique import unique_key


def test_enqueue_writes_every_option(cli, db) -> None:
    ran = cli(
        "job", "enqueue", "send_email", "--args", '{"to": "é"}', "--queue", "mail", "--priority",
        1, "--max-attempts", 3, "--tag", "a", "--tag", "b", "--metadata", '{"m": 1}',
        "--run-at", "2100-01-01T00:00:00+01:00",
    )  # fmt: skip

    assert (ran.status, ran.out) == (0, "Enqueued job 1\n")
    job = cli("job", "dump", 1).data["job"]
    assert (job["kind"], job["queue"], job["args"]) == ("send_email", "mail", {"to": "é"})
    assert (job["priority"], job["max_attempts"], job["tags"]) == (1, 3, ["a", "b"])
    assert (job["metadata"], job["state"]) == ({"m": 1}, "scheduled")
    assert job["run_at"] == "2099-12-31T23:00:00Z"


@pytest.mark.parametrize("option", ["--delay", "--in"])
def test_enqueue_in_a_while(cli, db, option) -> None:
    assert cli("job", "enqueue", "k", option, "1h30m").status == 0

    (seconds,) = db.execute("SELECT extract(epoch FROM run_at - now()) FROM awa.jobs").fetchone()
    assert 5390 < seconds <= 5400


def test_enqueue_reads_args_from_file_and_stdin(process, cli, database_url, tmp_path) -> None:
    file = tmp_path / "args.json"
    file.write_text('{"n": 1}')

    assert cli("job", "enqueue", "k", "--args", f"@{file}", "-o", "json").data["args"] == {"n": 1}
    ran = process(
        "job", "enqueue", "k", "--args", "-", "-o", "json", url=database_url, stdin='{"n": 2}'
    )
    assert ran.data["args"] == {"n": 2}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--args", "{nope"], "--args is not JSON"),
        (["--args", "@/no/such/file"], "cannot read '/no/such/file'"),
        (["--args", "[1]"], "--args is not a JSON object"),
        (["--args", '{"a": NaN}'], "args.a"),
        (["--metadata", "3"], "metadata"),
        (["--in", "soon"], "--delay 'soon' is not a duration"),
        (["--run-at", "soon"], "--run-at 'soon' is not a moment"),
        (["--run-at", "2030-01-01", "--in", "3s"], "cannot be used together"),
        (["--max-wait", "1m"], "--max-wait needs --debounce"),
        (["--debounce", "soon"], "--debounce 'soon' is not a duration"),
        (["--debounce", "5s", "--delay", "3s"], "--debounce and --delay cannot be used together"),
        (["--debounce", "5s", "--max-wait", "1s"], "max_wait must be a time of 5 s"),
        (["--debounce", "5s", "--ndjson", "-"], "--ndjson and --debounce cannot be used"),
        (["--priority", "5"], "not in the range"),
        (["--queue", "q" * 201], "queue"),
    ],
)
def test_enqueue_refuses(cli, db, options, says) -> None:
    ran = cli("job", "enqueue", "k", *options)

    assert (ran.status, ran.out) == (2, "")
    assert says in ran.err
    assert db.execute("SELECT count(*) FROM awa.jobs").fetchone() == (0,)


def test_the_log_of_many_jobs_names_no_queue_that_they_did_not_go_to(cli, tmp_path) -> None:
    lines = tmp_path / "jobs.ndjson"
    lines.write_text('{"kind": "a", "queue": "email"}\n')

    assert cli("job", "enqueue", "--ndjson", lines).status == 0
    assert cli("audit", "-o", "json").data[0]["detail"] == {"jobs": 1}


def test_bulk_enqueue_of_args(process, database_url, rows) -> None:
    lines = "".join(f'{{"n": {n}}}\n\n' for n in range(2_500))
    line = ["job", "enqueue", "k", "--ndjson", "-", "--queue", "q", "--priority", 1]
    ran = process(*line, url=database_url, stdin=lines)
    assert (ran.status, ran.out) == (0, "Enqueued 2,500 jobs\n")
    found = rows.all("SELECT kind, queue, priority, args FROM awa.jobs ORDER BY id")
    assert found[7] == {"kind": "k", "queue": "q", "priority": 1, "args": {"n": 7}}
    assert len(found) == 2_500


def test_bulk_enqueue_of_records(cli, tmp_path, rows) -> None:
    file = tmp_path / "jobs.ndjson"
    file.write_text('{"kind": "a", "args": {"x": 1}, "queue": "z", "tags": ["t"]}\n{"kind": "b"}\n')
    ran = cli("job", "enqueue", "--ndjson", file, "-o", "json")
    assert ran.data == {"enqueued": 2, "skipped": 0}
    found = rows.all("SELECT kind, args, queue, tags FROM awa.jobs ORDER BY id")
    assert found == [
        {"kind": "a", "args": {"x": 1}, "queue": "z", "tags": ["t"]},
        {"kind": "b", "args": {}, "queue": "default", "tags": []},
    ]


@pytest.mark.parametrize(
    ("kind", "bad", "says"),
    [
        (["k"], "{", "line 3 is not JSON"),
        (["k"], "[1]", "line 3 is not a JSON object"),
        (["k"], '{"a": "\\u0000"}', "NUL character"),
        ([], "{}", "line 3 has no kind"),
        ([], '{"kind": 1}', "line 3 has no kind"),
        ([], '{"kind": "a", "quene": "q"}', "did you mean: queue"),
        ([], '{"kind": "a", "priority": 9}', "priority"),
    ],
)
def test_a_bad_line_enqueues_nothing(cli, tmp_path, rows, kind, bad, says) -> None:
    file = tmp_path / "jobs.ndjson"
    good = "{}" if kind else '{"kind": "a"}'
    file.write_text(f"{good}\n{good}\n{bad}\n{good}\n")
    ran = cli("job", "enqueue", *kind, "--ndjson", file)
    assert (ran.status, ran.out) == (2, "")
    assert says in ran.err
    assert "line 3" in ran.err or "lines 1 to 4" in ran.err
    assert rows.states() == {}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ([], "no kind was given"),
        (["k", "--ndjson", "/no/such"], "cannot read '/no/such'"),
        (["k", "--ndjson", "-", "--args", "[]"], "cannot be used together"),
        (["k", "--unique", "args=1"], "--unique 'args=1' is not valid"),
        (["k", "--unique", "by=arg"], "--unique 'by=arg' is not valid"),
        (["k", "--unique", "args,"], "--unique '' is not valid"),
        (["k", "--unique", "states=any"], "does not say by what"),
        (["k", "--unique", "args,states=finished"], "states"),
        (["k", "--unique", "args,states=any,states=running"], "unknown job state: any"),
        (["k", "--unique", "fields=doc"], "not in the args"),
        (["k", "--unique", "period=1h,period=2h"], "two periods"),
        (["k", "--unique", "period=x"], "is not a duration"),
        (["k", "--unique", "period=0s"], "shorter than 1 second"),
    ],
)
def test_bad_enqueues(cli, rows, line, says) -> None:
    ran = cli("job", "enqueue", *line)
    assert (ran.status, ran.out) == (2, "")
    assert says in ran.err
    assert rows.states() == {}


def test_unique_and_key(cli, rows) -> None:
    line = ["job", "enqueue", "k", "--args", '{"u": 7}', "--unique", "args,queue", "--key", "u7"]
    assert cli(*line).status == 0
    again = cli(*line)
    assert again.status == 1
    assert "another live job holds the same unique key" in again.err
    assert cli(*line, "--queue", "other").status == 0
    row = rows.one("SELECT metadata ->> '_awa_concurrency_key' AS key FROM awa.jobs LIMIT 1")
    assert row["key"] == "u7"


def test_unique_within_a_period(cli, rows) -> None:
    """The key holds the number of the period, so that the next one takes a job again."""
    before = int(time.time()) // 3600
    assert cli("job", "enqueue", "k", "--unique", "period=1h").status == 0
    after = int(time.time()) // 3600

    key = bytes(rows.one("SELECT unique_key FROM awa.jobs")["unique_key"])
    assert key in {unique_key("k", period=number) for number in (before, after)}


STATES = {
    "args": "11101001",  # bit by bit: scheduled, available, running, completed, retryable, ...
    "args,states=not_started": "11001000",
    "by=args,states=any": "11111111",
    "args,states=running": "00100000",
    "args,states=failed,states=cancelled": "00000110",
}


@pytest.mark.parametrize("words", STATES)
def test_a_key_is_held_in_the_states_that_are_named(cli, rows, words) -> None:
    shown = cli("job", "enqueue", "k", "--unique", words, "-o", "json").data["unique_states"]

    held = rows.one("SELECT unique_states::text AS bits FROM awa.jobs")["bits"]
    assert (held, len(shown)) == (STATES[words], held.count("1"))


def test_the_library_and_the_command_hold_one_key(cli, database_url) -> None:
    args = {"doc": 7, "text": "a"}
    line = ["job", "enqueue", "index", "--args", json.dumps(args), "--unique"]
    with awa.Client(database_url) as client:
        for words, unique in (
            ("by=queue,period=365d", awa.Unique(by="queue", period="365d")),
            ("fields=doc", awa.Unique(fields=["doc"])),
            ("by=args,by=queue", awa.Unique(by=("args", "queue"))),
        ):
            client.insert(args, kind="index", unique=unique)
            assert cli(*line, words).status == 1
            assert cli(*line, words, "--queue", "q").status == ("queue" not in words)


def test_a_debounced_job_waits_for_the_last_one(cli, rows) -> None:
    line = ["job", "enqueue", "index", "--unique", "fields=doc", "--debounce", "1h"]
    shown = [
        cli(*line, "--max-wait", "2h", "--args", f'{{"doc": 7, "n": {n}}}', "-o", "json").data
        for n in range(2)
    ]

    assert shown[0]["id"] == shown[1]["id"]
    assert shown[1]["unique_states"] == ["scheduled", "available", "retryable"]
    row = rows.one("SELECT args ->> 'n' AS n, state::text, unique_states::text FROM awa.jobs")
    assert row == {"n": "1", "state": "scheduled", "unique_states": "11001000"}


def test_a_line_of_ndjson_has_a_delay_of_its_own(cli, tmp_path, rows) -> None:
    lines = tmp_path / "jobs.ndjson"
    lines.write_text('{"kind": "a", "delay": "1h"}\n{"kind": "a", "delay": 0}\n')

    assert cli("job", "enqueue", "--ndjson", lines, "--delay", "1d").status == 0
    assert rows.states() == {"scheduled": 1, "available": 1}


def test_a_debounced_job_is_compared_by_its_args(cli, rows) -> None:
    for n in (1, 1, 2):
        assert cli("job", "enqueue", "k", "--debounce", "1h", "--args", f'{{"n": {n}}}').status == 0

    assert rows.states() == {"scheduled": 2}


def test_progress_of_a_long_stream_at_a_terminal(database_url) -> None:
    import pty

    leader, follower = pty.openpty()
    read, write = os.pipe()
    running = subprocess.Popen(
        argv("job", "enqueue", "k", "--ndjson", "-"), stdin=read, stdout=subprocess.PIPE,
        stderr=follower, env=environment(database_url), text=True,
    )  # fmt: skip
    os.close(read)
    os.close(follower)
    shown = b""
    with os.fdopen(write, "w") as file:
        while b"jobs, " not in shown:
            file.write('{"n": 1}\n' * 5_000)
            file.flush()
            if b"jobs, " not in shown and select_ready(leader):
                shown += os.read(leader, 65536)
    out, _ = running.communicate(timeout=30)
    os.close(leader)
    assert running.returncode == 0
    assert out.startswith("Enqueued ")


def select_ready(fd: int) -> bool:
    import select

    return bool(select.select([fd], [], [], 0.02)[0])
