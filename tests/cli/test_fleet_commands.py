"""``awa workers``, ``health`` and ``version``: what they say about the worker processes."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from awa_cli.version import version


def test_workers(cli, fleet) -> None:
    assert cli("workers").out == "No workers found.\n"
    assert cli("workers", "--fail-empty").status == 5
    fleet(hostname="a", leader=True)
    fleet(hostname="b", healthy=False, heartbeat_alive=False, version="0.1.0")
    fleet(hostname="c", last_seen_at="2020-01-01T00:00Z")
    ran = cli("workers", "-o", "wide")
    header, *rows = ran.out.splitlines()
    assert header.split()[:7] == ["ID", "HOST", "PID", "VERSION", "APP", "STATE", "LEADER"]
    assert sorted(row.split()[1] for row in rows) == ["a", "b"]
    assert any(" degraded " in row and " stopped: heartbeat " in row for row in rows)
    # What fell silent years ago is no news.
    assert ran.err.endswith("2 workers, 1 leader.\n")
    fleet(hostname="d", pid=7, last_seen_at=datetime.now(UTC) - timedelta(seconds=40))
    said = r"2 workers, 1 leader\.  d:7 is silent 4\ds: killed, hung or cut off, with 3 jobs in flight\."
    assert re.search(said, cli("workers").err)
    fleet(hostname="e", last_seen_at=datetime.now(UTC) - timedelta(seconds=40))
    assert "1 leader.  2 more fell silent: awa workers --all -o wide" in cli("workers").err
    assert "fell silent" not in cli("workers", "--all").err
    states = {one["hostname"]: one["stale"] for one in cli("workers", "--all", "-o", "json").data}
    assert states.get("a") is False
    assert " silent " in cli("workers", "--all").out
    assert " silent 4" in cli("workers", "--all", "-o", "wide").out


def test_health(cli, offline, fleet, empty_database_url) -> None:
    assert (cli("health").status, cli("health").out) == (0, "ready\n")
    missing = cli("health", "--workers", 1, "--queue", "email", "-o", "json")
    assert missing.status == 6
    assert missing.data == {
        "ready": False,
        "reasons": [
            "0 of 1 healthy workers: awa workers --all",
            "no healthy worker of queue 'email'",
        ],
    }
    fleet()
    assert cli("health", "--workers", 1, "--queue", "email").status == 0
    empty = offline("health", "--database-url", empty_database_url)
    assert (empty.status, "migrations are pending: awa migrate" in empty.out) == (4, True)
    away = offline("health", "--database-url", "postgresql://u:pw@127.0.0.1:1/x", "-o", "json")
    assert away.status == 3
    assert away.data["ready"] is False
    assert "cannot connect to u@127.0.0.1:1/x" in away.data["reasons"][0]


def test_version(offline, cli, fleet, empty_database_url) -> None:
    known = offline("version", "-o", "json").data
    assert list(known) == ["awa", "python", "psycopg", "libpq", "schema"]
    assert known["awa"] == version()
    fleet(version="0.5.7")
    checked = cli("version", "--check", "-o", "json")
    assert checked.status == 0
    assert checked.data["fleet"] == ["0.5.7"]
    assert checked.data["database_schema"] == checked.data["schema"]
    old = offline("version", "--check", "--database-url", empty_database_url)
    assert (old.status, "fleet            none\n" in old.out) == (4, True)
    assert "awa migrate" in old.err
