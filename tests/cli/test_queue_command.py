"""``awa queue``: what it prints as text and as data, and what it changes."""

from __future__ import annotations

import pytest


def test_stats_of_nothing(cli) -> None:
    assert cli("queue", "stats").out == "No queues found.\n"
    assert cli("queue", "stats", "-o", "json").data == []
    assert cli("queue", "stats", "--fail-empty").status == 5


def test_stats_counts_are_true_at_once(cli, add) -> None:
    for state in (
        "available",
        "available",
        "running",
        "failed",
        "scheduled",
        "retryable",
        "waiting_external",
    ):
        add(state)
    add("completed", finalized_at="now")
    add("completed", finalized_at="2020-01-01T00:00Z")
    cli("queue", "pause", "b-side")

    assert cli("queue", "stats", "-o", "json").data[1] == {
        "queue": "email",
        "total_queued": 6,
        "scheduled": 1,
        "available": 2,
        "retryable": 1,
        "running": 1,
        "failed": 1,
        "dead_letters": 0,
        "waiting_external": 1,
        "completed_last_hour": 1,
        "lag_seconds": pytest.approx(0, abs=60),
        "paused": False,
    }
    header, paused, email = cli("queue", "stats").out.splitlines()
    assert header.split() == [
        "QUEUE",
        "AVAIL",
        "RUNNING",
        "FAILED",
        "LATER",
        "WAITING",
        "COMPLETED/1H",
        "LAG",
        "PAUSED",
    ]
    assert paused.split() == ["b-side", *["0"] * 6, "-", "yes"]
    assert email.split()[:7] == ["email", "2", "1", "1", "2", "1", "1"]
    assert email.endswith("no")


@pytest.mark.parametrize("columns", [80, 200])
def test_stats_fit_a_terminal(terminal, database_url, add, columns) -> None:
    add(queue="q" * 200)

    lines = terminal("queue", "stats", url=database_url, columns=columns).out.splitlines()

    assert len(lines) == 2


def test_pause_and_resume(cli, db) -> None:
    ran = cli("queue", "pause", "q1")
    assert (ran.status, ran.out) == (0, "Paused queue 'q1'\n")
    row = "SELECT paused, paused_by FROM awa.queue_meta WHERE queue = 'q1'"
    assert db.execute(row).fetchone() == (True, "cli")

    assert cli("queue", "resume", "q1").out == "Resumed queue 'q1'\n"
    assert db.execute(row).fetchone() == (False, "cli")
    assert cli("queue", "resume", "never-seen").out == "Resumed queue 'never-seen'\n"


def test_drain_of_awa_05_runs_in_scripts_and_says_what_it_does(cli, add) -> None:
    add()
    add("running")

    ran = cli("queue", "drain", "email")

    assert (ran.status, ran.out) == (0, "Drained 1 jobs from queue 'email'\n")
    assert "awa queue drain cancels 1 waiting job of queue 'email'" in ran.err
    assert "awa queue cancel-waiting" in ran.err
    assert "cancel-waiting" in cli("queue", "--help").out
    assert "drain" not in cli("queue", "--help").out


def test_what_waits_is_cancelled_and_running_jobs_are_spared(cli, add, db) -> None:
    for state in ("available", "scheduled", "retryable", "waiting_external", "running"):
        add(state)
    add(queue="other")

    refused = cli("queue", "cancel-waiting", "email")
    assert refused.status == 2
    assert "confirmation is required: Cancel 4 waiting jobs of queue 'email'?" in refused.err
    assert "--yes" in refused.err
    ran = cli("queue", "cancel-waiting", "email", "--yes")

    assert (ran.status, ran.out) == (0, "Cancelled 4 waiting jobs of queue 'email'\n")
    counts = "SELECT state::text, count(*) FROM awa.jobs GROUP BY state"
    assert dict(db.execute(counts).fetchall()) == {"available": 1, "running": 1, "cancelled": 4}


def test_drain_asks_at_a_terminal(terminal, database_url, add, db) -> None:
    add()

    ran = terminal("queue", "drain", "email", url=database_url, keys="n\n")

    assert ran.status == 1
    assert "Cancel 1 waiting job of queue 'email'? Running jobs go on" in ran.out
    assert "stopped; nothing was changed" in ran.out
    assert db.execute("SELECT state::text FROM awa.jobs").fetchone() == ("available",)
    ran = terminal("queue", "drain", "email", "-y", url=database_url)
    assert "Drained 1 jobs from queue 'email'" in ran.out


def test_show_of_a_queue(cli, add, live_worker) -> None:
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


def test_list_of_queues_knows_their_workers(cli, add, live_worker) -> None:
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
        assert "there is no queue 'emial' yet; did you mean: email" in paused.err


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
