"""Ctrl-C in the middle: what was done is said, and nothing goes on behind one's back."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess

import pytest
from fix_cli import argv, environment
from fix_wait import eventually


def start(url: str, *line: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        argv(*line), env=environment(url), text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("line", "state"),
    [
        (["job", "retry", "--state", "failed", "--kind", "k", "--yes"], "available"),
        (["queue", "purge", "q", "--yes"], None),
    ],
)
def test_a_bulk_change_stops_where_it_says(database_url, db, line, state) -> None:
    total = 60_000
    db.execute(
        "INSERT INTO awa.jobs_hot (kind, queue, state, finalized_at, attempt)"
        " SELECT 'k', 'q', 'failed', now(), 1 FROM generate_series(1, %s::int)",
        [total],
    )
    running = start(database_url, *line)
    begun = "SELECT count(*) FROM awa.bulk_operations WHERE processed > 0"
    eventually(lambda: db.execute(begun).fetchone() == (1,), timeout=30)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=30)

    assert (running.returncode, out) == (130, "")
    assert "Traceback" not in err
    said = re.search(
        r"Cancelled after ([\d,]+) of 60,000 jobs; the other jobs are unchanged\.\n$", err
    )
    assert said, err
    changed = int(said[1].replace(",", ""))
    assert 0 < changed < total
    left = "SELECT count(*) FROM awa.jobs_hot WHERE state = 'failed'"
    assert db.execute(left).fetchone() == (total - changed,)
    if state:
        again = "SELECT count(*) FROM awa.jobs_hot WHERE state = %s"
        assert db.execute(again, [state]).fetchone() == (changed,)
    assert db.execute("SELECT state FROM awa.bulk_operations").fetchall() == [("cancelled",)]


def test_a_stream_of_jobs_is_all_or_none(database_url, db, rows) -> None:
    running = start(database_url, "job", "enqueue", "k", "--ndjson", "-")
    running.stdin.write('{"n": 1}\n' * 5_000)
    running.stdin.flush()
    copying = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'COPY%'"
    copying += " AND datname = current_database()"
    eventually(lambda: db.execute(copying).fetchone() == (1,), timeout=30)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=30)

    assert (running.returncode, out) == (130, "")
    assert err.endswith("Stopped; nothing was enqueued.\n")
    assert rows.states() == {}


@pytest.mark.parametrize(
    "line",
    [["queue", "purge", "email"], ["job", "retry", "--state", "failed", "--kind", "send_email"]],
)
def test_ctrl_c_at_a_question(database_url, add, rows, line) -> None:
    add("failed")
    leader, follower = pty.openpty()
    running = subprocess.Popen(
        argv(*line), env=environment(database_url), text=True,
        stdin=follower, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    shown = ""
    while "?" not in shown:
        shown += running.stderr.read(1)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=30)
    os.close(leader)
    os.close(follower)

    assert (running.returncode, out) == (130, "")
    assert err.endswith("\nerror: stopped; nothing was changed\n")
    assert rows.states() == {"failed": 1}


@pytest.mark.parametrize("key", ["\x04", "n\n"])
def test_a_question_that_is_answered_otherwise(terminal, database_url, add, rows, key) -> None:
    add("failed")
    ran = terminal("queue", "purge", "email", "--no-color", url=database_url, keys=key)
    assert ran.status == 1
    assert "\nerror: stopped; nothing was changed\n" in ran.out
    assert rows.states() == {"failed": 1}


@pytest.mark.parametrize(
    "line", [["job", "tail", "-f"], ["workers", "--watch"], ["queue", "stats", "--watch"]]
)
def test_what_never_ends_by_itself(database_url, db, line) -> None:
    running = start(database_url, *line)
    there = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE application_name = 'awa' AND datname = current_database()"
    )
    eventually(lambda: db.execute(there).fetchone() == (1,), timeout=30)
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=30)
    assert running.returncode == 130, err
    assert err in {"", "Following; press Ctrl-C to stop.\n"}


def test_ctrl_c_while_a_dataclass_is_made(tmp_path, database_url) -> None:
    """Python makes a dataclass by exec(); an interrupt there once became death by the signal."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Interrupted:\n"
        "    @staticmethod\n"
        "    def find_spec(name, path, target=None):\n"
        "        if name == 'awa_lib.reads':\n"
        "            exec('raise KeyboardInterrupt')\n"
        "sys.meta_path.insert(0, Interrupted)\n"
    )
    paths = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    running = subprocess.run(
        argv("queue", "stats"), env=environment(database_url, PYTHONPATH=paths),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (running.returncode, running.stdout, running.stderr) == (130, "", "")
