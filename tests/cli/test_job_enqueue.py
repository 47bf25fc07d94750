"""``awa job enqueue``: one job with its options, and many from NDJSON."""

from __future__ import annotations

import os
import subprocess
import time

import pytest
from fix_cli import argv, environment

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


def test_enqueue_in_a_while(cli, db) -> None:
    cli("job", "enqueue", "k", "--in", "1h30m")

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
        (["--in", "soon"], "--in 'soon' is not a duration"),
        (["--run-at", "soon"], "--run-at 'soon' is not a moment"),
        (["--run-at", "2030-01-01", "--in", "3s"], "cannot be used together"),
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
    assert ran.data == {"enqueued": 2}
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
