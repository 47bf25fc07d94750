"""``awa dlq``: dead letters are listed, retried, deleted, and kept or not."""

from __future__ import annotations

import pytest

ENTRY = '{"error": "Boom: x\\ntrace", "attempt": 1, "at": "2026-11-23T21:32:12+00:00"}'


def ids(ran) -> list[int]:
    return [one["id"] for one in ran.data]


@pytest.fixture
def dead(cli, add) -> list[int]:
    """Three dead letters, of two kinds."""
    jobs = [add("failed", kind=kind, errors=[ENTRY]) for kind in ("a", "a", "b")]
    assert cli("dlq", "move", "--queue", "email", "--reason", "bad day", "--yes").status == 0
    return jobs


def test_dead_letters_are_listed_and_shown(cli, dead) -> None:
    assert cli("job", "list").out == "No jobs found.\n"
    ran = cli("dlq", "list", "--limit", 2)
    header, last, _ = ran.out.splitlines()
    assert header.split() == ["ID", "KIND", "QUEUE", "ATT", "DEAD", "REASON", "ERROR"]
    assert last.split() == [str(dead[2]), "b", "email", "0", "now", "bad", "day", "Boom:", "x"]
    assert f"2 dead letters listed.  Older dead letters: --before-id {dead[1]}" in ran.err
    assert ids(cli("dlq", "list", "--before-id", dead[1], "-o", "json")) == [dead[0]]
    assert ids(cli("dlq", "list", "--kind", "a", "-o", "json")) == [dead[1], dead[0]]
    page = cli("dlq", "show", dead[0]).out
    assert page.startswith(
        f"Dead letter {dead[0]}  a\n\n  queue      email\n  reason     bad day\n"
    )
    assert "\nAttempt 1\n  Boom: x\n  trace\n" in page
    assert f"  awa dlq retry {dead[0]}\n" in page
    data = cli("dlq", "show", dead[0], "-o", "json").data
    assert data == cli("dlq", "list", "-o", "json").data[-1]
    assert cli("dlq", "depth").out == "3 dead letters\n  email  3\n"
    assert cli("dlq", "depth", "-o", "json").data == {"depth": 3, "by_queue": {"email": 3}}
    assert cli("dlq", "depth", "--queue", "x").out == "0 dead letters\n"
    assert cli("dlq", "list", "--kind", "z", "--fail-empty").status == 5
    assert cli("dlq", "show", 999).status == 1


def test_dead_letters_come_back_or_go(cli, dead, db) -> None:
    assert cli("dlq", "retry", "--kind", "a", "--dry-run").out == "2 dead letters\n"
    refused = cli("dlq", "retry", "--kind", "a")
    assert refused.status == 2
    assert "confirmation is required to retry 2 dead letters" in refused.err
    assert cli("dlq", "retry", "--kind", "a", "--yes").out == "Retried 2 dead letters\n"
    assert cli("dlq", "retry", dead[2], "--to-queue", "slow").out == f"Retried job {dead[2]}\n"
    states = db.execute("SELECT DISTINCT state::text, queue FROM awa.jobs ORDER BY 2").fetchall()
    assert states == [("available", "email"), ("available", "slow")]
    gone = cli("dlq", "retry", dead[0])
    assert (gone.status, gone.out) == (1, "")
    assert "no dead letter has this id" in gone.err


def test_purging_dead_letters(cli, dead) -> None:
    dry = cli("dlq", "purge", dead[0], "--dry-run", "-o", "json").data
    assert (dry["dry_run"], dry["changed"], dry["ids"]) == (True, 1, [dead[0]])
    assert cli("dlq", "purge", "--all", "--dry-run", "-o", "json").data["changed"] == 3
    assert "no jobs were selected" in cli("dlq", "purge").err
    assert "ids and filters cannot be used together" in cli("dlq", "purge", dead[0], "--all").err
    assert cli("dlq", "purge", dead[0], 999).out == f"Purged job {dead[0]}\n"
    assert cli("dlq", "purge", "--all", "--yes").out == "Purged 2 dead letters\n"
    assert cli("dlq", "purge", "--all", "--yes", "--fail-empty").status == 5


def test_keeping_dead_letters_is_switched(cli, db) -> None:
    assert cli("dlq", "enable", "email").out == "Failed jobs of queue 'email' become dead letters\n"
    assert "failed jobs become dead letters" in cli("queue", "unset", "email", "--all").out
    assert cli("dlq", "disable", "email").status == 0
    assert cli("queue", "unset", "email", "--all").out == "Queue 'email': no settings\n"
