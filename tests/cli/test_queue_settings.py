"""``awa queue set`` and ``unset``: limits and settings of a queue."""

from __future__ import annotations

import pytest


def test_setting_and_taking_back(cli) -> None:
    ran = cli(
        "queue",
        "set",
        "q",
        "--max-running",
        0,
        "--max-running-per-key",
        1,
        "--rate-limit",
        "600/m:30",
        "--deadline",
        "15m",
        "--poll-interval",
        "250ms",
        "--claim-batch",
        64,
        "--keep-completed",
        "90m",
        "--keep-failed",
        "30d",
        "-o",
        "json",
    )
    stored = {
        "max_running": 0,
        "max_running_per_key": 1,
        "max_rate": 10.0,
        "burst": 30,
        "deadline_seconds": 900.0,
        "poll_interval_ms": 250,
        "claim_batch": 64,
        "completed_retention_hours": 1.5,
        "failed_retention_hours": 720.0,
    }
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
        (["set", "q"], "no setting was given"),
        (["set", "q", "--rate-limit", "fast"], "write it like 50/s, 600/m or 50/s:100"),
        (["set", "q", "--rate-limit", "0/s"], "max_rate must be more than 0"),
        (["set", "q", "--deadline", "soon"], "is not a duration"),
        (["set", "", "--max-running", "1"], "queue must not be empty"),
        (["set", "q", "--poll-interval", "0"], "poll_interval_ms"),
        (["unset", "q"], "no setting was given"),
        (["unset", "q", "--all", "max_running"], "--all cannot be used with settings"),
        (["unset", "q", "max_runing"], "did you mean: max-running"),
    ],
)
def test_bad_settings_change_nothing(cli, db, line, says) -> None:
    ran = cli("queue", *line)
    assert ran.status == 2
    assert says in ran.err
    assert db.execute("SELECT count(*) FROM awa.queue_policies").fetchone() == (0,)
