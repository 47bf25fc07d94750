"""Queues and kinds: pages, limits, conditions, purging, hints after typing errors."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest
from fix_cli import argv, environment
from hypothesis import given
from hypothesis import strategies as st

from awa_cli.commands.queue._conditions import read_condition
from awa_lib.errors import InvalidInput
from awa_lib.reads.queues import QueueStat


@pytest.fixture
def worker(db) -> None:
    """A live worker process of another machine, as the fleet table shows one."""
    db.execute(
        "INSERT INTO awa.runtime_instances (instance_id, hostname, pid, version, started_at,"
        " snapshot_interval_ms, healthy, postgres_connected, poll_loop_alive, heartbeat_alive,"
        " shutting_down, leader, queues, queue_descriptor_hashes, job_kind_descriptor_hashes)"
        " VALUES (gen_random_uuid(), 'box', 7, '0.5.7', now(), 10000, true, true, true, true,"
        ' false, true, \'[{"queue": "email", "in_flight": 3}]\','
        ' \'{"email": "a"}\', \'{"send_email": "a"}\')'
    )


def test_show_of_a_queue(cli, add, worker) -> None:
    add(run_at="2020-01-01T00:00Z")
    add("failed")
    cli("queue", "set", "email", "--max-running", 5)
    out = cli("queue", "show", "email").out
    assert out.startswith("Queue email  open\n\n  jobs       1 available, 1 failed\n")
    assert "\nSettings\n  at most 5 running\n" in out
    assert "\nWorkers\n  box:7  0.5.7  3 in flight\n" in out
    assert "  awa queue pause email\n  awa job list --state failed --queue email\n" in out
    cli("queue", "pause", "email")
    assert "  awa queue resume email\n" in cli("queue", "show", "email").out
    data = cli("queue", "show", "email", "-o", "json").data
    assert (data["overview"]["failed"], data["policy"]["max_running"]) == (1, 5)
    assert data["workers"][0]["hostname"] == "box"


def test_show_of_a_kind(cli, add, worker) -> None:
    error = '{"error": "Boom: x\\ntrace", "attempt": 1, "at": "2026-11-23T21:32:12+00:00"}'
    job = add("failed", errors=[error], finalized_at="2026-11-23T21:32:12Z")
    out = cli("kind", "show", "send_email").out
    assert out.startswith("Kind send_email\n\n  jobs       1 failed\n")
    assert "  workers    1\n" in out
    assert f"\nLatest failures\n  {job}  " in out
    assert "Boom: x\n" in out
    assert f"  awa job show {job}\n  awa job retry --state failed --kind send_email\n" in out
    header, row = cli("kind", "list").out.splitlines()
    assert header.split()[:3] == ["KIND", "JOBS", "AVAIL"]
    assert row.split()[0] == "send_email"
    assert cli("kind", "list", "-o", "ids").out == "send_email\n"
    assert cli("kind", "show", "send_email", "-o", "json").data["live_instances"] == 1


def test_list_of_queues_knows_their_workers(cli, add, worker) -> None:
    add()
    (row,) = cli("queue", "list", "-o", "json").data
    assert (row["queue"], row["live_instances"], row["total_queued"]) == ("email", 1, 1)
    assert cli("queue", "list").out.splitlines()[1].split()[0] == "email"


@pytest.mark.parametrize(("noun", "option"), [("queue", "emial"), ("kind", "send_emial")])
def test_a_typing_error_gets_the_nearest_name(cli, add, noun, option) -> None:
    add()
    near = {"queue": "email", "kind": "send_email"}[noun]
    ran = cli(noun, "show", option)
    assert (ran.status, ran.out) == (1, "")
    assert f"do: did you mean: awa {noun} show {near}" in ran.err
    listed = cli("job", "list", f"--{noun}", option)
    assert (listed.status, listed.out) == (0, "No jobs found.\n")
    assert f"no {noun} is known as '{option}'; did you mean: --{noun} {near}" in listed.err
    changed = cli("job", "retry", f"--{noun}", option)
    assert f"did you mean: --{noun} {near}" in changed.err
    if noun == "queue":
        paused = cli("queue", "pause", option)
        assert paused.status == 0
        assert "no queue was known as 'emial'; did you mean: email" in paused.err


def test_setting_and_taking_back(cli) -> None:
    ran = cli(
        "queue", "set", "q", "--max-running", 0, "--max-running-per-key", 1, "--rate-limit",
        "600/m:30", "--deadline", "15m", "--poll-interval", "250ms", "--claim-batch", 64,
        "--keep-completed", "90m", "--keep-failed", "30d", "-o", "json",
    )  # fmt: skip
    stored = {
        "max_running": 0, "max_running_per_key": 1, "max_rate": 10.0, "burst": 30,
        "deadline_seconds": 900.0, "poll_interval_ms": 250, "claim_batch": 64,
        "completed_retention_hours": 1.5, "failed_retention_hours": 720.0,
    }  # fmt: skip
    assert {key: ran.data[key] for key in stored} == stored
    assert ran.err.startswith("database: ")

    said = cli("queue", "unset", "q", "max-running", "rate_limit").out
    assert said == (
        "Queue 'q': at most 1 running per key, deadline 15m, idle workers poll every 0.25s, "
        "at most 64 jobs per claim, completed jobs kept 1h30m, failed jobs kept 30d\n"
    )
    assert cli("queue", "unset", "q", "--all").out == "Queue 'q': no settings\n"
    assert "deadline none" in cli("queue", "set", "q", "--deadline", "0").out


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (["set", "q"], "nothing to set"),
        (["set", "q", "--rate-limit", "fast"], "write it like 50/s, 600/m or 50/s:100"),
        (["set", "q", "--rate-limit", "0/s"], "max_rate must be more than 0"),
        (["set", "q", "--deadline", "soon"], "is not a duration"),
        (["set", "", "--max-running", "1"], "queue must not be empty"),
        (["set", "q", "--poll-interval", "0"], "poll_interval_ms"),
        (["unset", "q"], "name what to take back"),
        (["unset", "q", "--all", "max_running"], "name what to take back"),
        (["unset", "q", "max_runing"], "did you mean: max-running"),
    ],
)
def test_bad_settings_change_nothing(cli, db, line, says) -> None:
    ran = cli("queue", *line)
    assert ran.status == 2
    assert says in ran.err
    assert db.execute("SELECT count(*) FROM awa.queue_policies").fetchone() == (0,)


def test_purging(cli, add, db, terminal, database_url) -> None:
    running, other = add("running"), add(queue="other")
    for state in ("available", "scheduled", "completed", "failed"):
        add(state)

    def left() -> list[int]:
        return [row[0] for row in db.execute("SELECT id FROM awa.jobs ORDER BY id").fetchall()]

    before = left()
    refused = cli("queue", "purge", "email")
    assert refused.status == 2
    assert "add --yes" in refused.err
    declined = terminal("queue", "purge", "email", url=database_url, keys="n\n")
    assert declined.status == 1
    assert "Permanently delete all jobs in queue email that are not running?" in declined.out
    assert left() == before
    ended = cli("queue", "purge", "email", "--ended", "--yes")
    assert ended.out == "Purged 2 jobs of queue 'email'\n"
    assert cli("queue", "purge", "email", "--yes").out == "Purged 2 jobs of queue 'email'\n"
    assert left() == [running, other]


@pytest.mark.parametrize(
    ("condition", "status"),
    [
        ("lag>60s", 6), ("lag > 1d", 6), ("lag<1m", 0), ("other.lag>60s", 0), ("failed>=1", 6),
        ("failed>1", 0), ("email.failed=1", 6), ("available==1", 6), ("running!=0", 0),
        ("paused=true", 0), ("lag_seconds>=60", 6),
    ],
)  # fmt: skip
def test_conditions(cli, add, condition, status) -> None:
    add(run_at="2020-01-01T00:00Z")
    add("failed")
    ran = cli("queue", "stats", "--fail-if", condition, "-o", "json")
    assert ran.status == status
    assert len(ran.data) == 1
    assert (f"email: {condition} holds, it is " in ran.err) == (status == 6)


@pytest.mark.parametrize(
    ("condition", "says"),
    [
        ("lagg>60s", "did you mean: lag"), ("lag", "cannot be read"), ("", "cannot be read"),
        ("lag>soon", "is not a duration"), ("failed>many", "compares with no number"),
        ("queue>1", "is about nothing known"),
    ],
)  # fmt: skip
def test_bad_conditions(cli, condition, says) -> None:
    ran = cli("queue", "stats", "--fail-if", condition)
    assert (ran.status, ran.out) == (2, "")
    assert says in ran.err


@given(st.text(max_size=30))
def test_any_condition_is_read_or_refused(text: str) -> None:
    try:
        condition = read_condition(text, QueueStat, "queue")
    except InvalidInput:
        return
    assert condition.text == text


def test_watching(database_url, add) -> None:
    add()
    running = subprocess.Popen(
        argv("queue", "stats", "--watch", "--interval", "100ms", "-o", "ndjson"),
        env=environment(database_url), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert running.stdout
    assert '"available":1,' in running.stdout.readline()
    add()
    while '"available":2,' not in running.stdout.readline():
        assert running.poll() is None
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=10)
    assert (running.returncode, err) == (130, "")


def test_watching_at_a_terminal_draws_in_place(database_url, add) -> None:
    import pty

    add()
    leader, follower = pty.openpty()
    running = subprocess.Popen(
        argv("queue", "stats", "-w"), env=environment(database_url, TERM="xterm-256color"),
        stdin=follower, stdout=follower, stderr=follower,
    )  # fmt: skip
    os.close(follower)
    shown = b""
    while b"Ctrl-C ends" not in shown:
        shown += os.read(leader, 65536)
    running.send_signal(signal.SIGINT)
    while True:
        try:
            shown += os.read(leader, 65536)
        except OSError:
            break
    os.close(leader)
    assert running.wait(timeout=10) == 130
    assert b"\x1b[?1049h" in shown  # the other screen
    assert shown.endswith(b"\x1b[?25h\x1b[?1049l")  # cursor shown, screen left again
    assert b"email" in shown
