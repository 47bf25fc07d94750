"""``awa failure``: failures are listed, shown, retried and muted; filters by failure."""

from __future__ import annotations

import pytest

from awa_lib.db.drive import run
from awa_lib.ops.failures import EndCount, Sighting, count_ends
from awa_lib.reads.names import failure_ids
from awa_lib.telemetry.failures import Group

DOWN = Group.build("shop.MailDown", "mail server is down", ("shop/mail.py send",))


def entry(failure: str) -> str:
    return f'{{"error": "Boom: x", "attempt": 1, "failure": "{failure}"}}'


@pytest.fixture
def failed(add, db) -> list[int]:
    """Three jobs that failed in one way, and one that failed in another."""
    jobs = [add("failed", kind="send", errors=[entry(DOWN.id)]) for _ in range(3)]
    add("failed", kind="send", errors=[entry("another")])
    ends = [EndCount(0, "email", "send", "failed", DOWN.id, 3)]
    run(db, count_ends(ends, [Sighting(DOWN, "send", jobs[-1])], version="2.1"))
    return jobs


def test_failures_are_listed_and_shown(cli, failed) -> None:
    ran = cli("failure", "list")
    header, line, *_ = ran.out.splitlines()
    assert header.split() == ["ID", "COUNT", "REQUEUED", "ERROR", "KIND", "FIRST", "LAST"]
    assert line.split()[:3] == [DOWN.id, "3", "0"]
    assert "MailDown: mail server is down" in line
    assert f"awa failure show {DOWN.id}" in ran.err
    assert cli("failure", "list", "--queue", "other", "--fail-empty").status == 5
    page = cli("failure", "show", DOWN.id).out
    assert "  example    Boom: x\n" in page
    assert "\nWhere\n  shop/mail.py send\n" in page
    assert [str(job) in page for job in failed] == [True] * 3
    assert f"  awa failure retry {DOWN.id}\n" in page
    data = cli("failure", "show", DOWN.id, "-o", "json").data
    assert data["failure"] == cli("failure", "list", "-o", "json").data[0]
    assert [job["id"] for job in data["jobs"]] == failed[::-1]


def test_its_jobs_and_dead_letters_are_retried(cli, failed, db) -> None:
    assert cli("dlq", "move", failed[0]).status == 0
    dry = cli("failure", "retry", DOWN.id, "--dry-run")
    assert dry.out == "2 jobs and 1 dead letter\n"
    refused = cli("failure", "retry", DOWN.id)
    assert refused.status == 2
    assert "confirmation is required to retry 2 jobs and 1 dead letter" in refused.err
    ran = cli("failure", "retry", DOWN.id, "--yes")
    assert ran.out == "Retried 2 jobs and 1 dead letter\n"
    states = db.execute("SELECT id FROM awa.jobs WHERE state = 'available' ORDER BY id")
    assert [row[0] for row in states] == failed
    again = cli("failure", "retry", DOWN.id, "--yes", "-o", "json", "--fail-empty")
    assert (again.status, again.data["changed"]) == (5, 0)
    actions = [one["action"] for one in cli("audit", "-o", "json").data]
    assert actions[:3] == ["dlq.retry-all", "dlq.retry-all", "failure.retry"]


def test_a_muted_failure_is_not_listed(cli, failed) -> None:
    assert cli("failure", "mute", DOWN.id, "--for", "2d").out == f"Muted failure {DOWN.id} for 2d\n"
    assert cli("failure", "list").out == "No failures found.\n"
    (one,) = cli("failure", "list", "--muted", "-o", "json").data
    assert one["muted_until"] is not None
    assert cli("failure", "unmute", DOWN.id).status == 0
    assert len(cli("failure", "list", "-o", "json").data) == 1


def test_jobs_and_dead_letters_are_filtered_by_failure(cli, failed) -> None:
    listed = cli("job", "list", "--failure", DOWN.id, "-o", "ids").out.split()
    assert listed == [str(job) for job in failed[::-1]]
    assert cli("job", "cancel", "--failure", "nothing", "--dry-run").out == "No jobs match.\n"
    assert cli("dlq", "move", "--failure", DOWN.id, "--yes").out == "Moved 3 failed jobs\n"
    assert cli("dlq", "list", "--failure", "another").out == "No dead letters found.\n"
    assert cli("dlq", "retry", "--failure", DOWN.id, "--yes").out == "Retried 3 dead letters\n"


def test_ids_are_completed_with_kind_and_message(failed, db) -> None:
    assert failed
    assert run(db, failure_ids(DOWN.id[:3])) == [(DOWN.id, "send", "mail server is down")]
    assert run(db, failure_ids("z")) == []
