"""How many connections a command opens: slots are few, and short exactly when one looks."""

from __future__ import annotations

import signal
import subprocess

import psycopg
import pytest
from fix_cli import argv, environment
from fix_wait import eventually
from test_boundary import NEEDY

# So that these end by themselves.
ENDING = {
    "job wait 1": ["--timeout", "0.2s"],
    "job watch 1": ["--interval", "100ms"],
}
ENDLESS = ["job", "tail", "-f"]


def words(line) -> str:
    return " ".join(map(str, line))


def opened(conn: psycopg.Connection) -> int:
    """Return how many connections to this database there have been, once all but this are over."""

    def alone() -> bool:
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        return conn.execute(query).fetchone() == (1,)

    eventually(alone)
    query = "SELECT sessions FROM pg_stat_database WHERE datname = current_database()"
    return conn.execute(query).fetchone()[0]


# awa bench runs workers, as awa worker does.
LOOKING = [one for one in NEEDY if one != ENDLESS and one[0] != "bench"]


@pytest.mark.parametrize("line", LOOKING, ids=words)
def test_no_command_opens_more_than_two(cli, db, add, line) -> None:
    add("failed", finalized_at="2026-11-23T21:32Z")
    before = opened(db)
    cli(*line, *ENDING.get(words(line), []), "--yes")
    assert 1 <= opened(db) - before <= 2


def test_a_stream_and_a_tail_open_no_more(database_url, cli, db, add) -> None:
    for _ in range(3):
        add()
    before = opened(db)
    cli("job", "list", "--all", "-o", "ndjson")
    assert opened(db) - before == 1
    running = subprocess.Popen(
        argv(*ENDLESS), env=environment(database_url), stderr=subprocess.PIPE, text=True,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    assert "Following" in running.stderr.readline()
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=20)
    assert opened(db) - before == 2
