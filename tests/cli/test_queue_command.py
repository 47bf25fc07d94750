"""``awa queue``: what people see, what scripts get."""

from __future__ import annotations

import pytest


def test_stats_of_nothing(cli) -> None:
    assert cli("queue", "stats").out == "No queues found.\n"
    assert cli("queue", "stats", "-o", "json").data == []
    assert cli("queue", "stats", "--fail-empty").status == 5


def test_stats_counts_are_true_at_once(cli, add) -> None:
    for state in ("available", "available", "running", "failed", "scheduled", "retryable",
                  "waiting_external"):  # fmt: skip
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
        "waiting_external": 1,
        "completed_last_hour": 1,
        "lag_seconds": pytest.approx(0, abs=60),
        "paused": False,
    }
    header, paused, email = cli("queue", "stats").out.splitlines()
    assert header.split() == [
        "QUEUE", "AVAIL", "RUNNING", "FAILED", "LATER", "WAITING", "COMPLETED/1H", "LAG", "PAUSED",
    ]  # fmt: skip
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


def test_drain_spares_running_jobs(cli, add, db) -> None:
    for state in ("available", "scheduled", "retryable", "waiting_external", "running"):
        add(state)
    add(queue="other")

    ran = cli("queue", "drain", "email")

    assert (ran.status, ran.out) == (0, "Drained 4 jobs from queue 'email'\n")
    counts = "SELECT state::text, count(*) FROM awa.jobs GROUP BY state"
    assert dict(db.execute(counts).fetchall()) == {"available": 1, "running": 1, "cancelled": 4}


def test_drain_asks_at_a_terminal(terminal, database_url, add, db) -> None:
    add()

    ran = terminal("queue", "drain", "email", url=database_url, keys="n\n")

    assert ran.status == 1
    assert "Cancel all waiting jobs in queue email?" in ran.out
    assert "stopped; nothing was changed" in ran.out
    assert db.execute("SELECT state::text FROM awa.jobs").fetchone() == ("available",)
    ran = terminal("queue", "drain", "email", "-y", url=database_url)
    assert "Drained 1 jobs from queue 'email'" in ran.out
