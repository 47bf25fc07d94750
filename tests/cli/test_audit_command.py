"""What commands change is written down, and ``awa audit`` reads it."""

from __future__ import annotations

import getpass
import json

import pytest

JOB = "JOB"
CALLBACK = "00000000-0000-4000-8000-000000000001"


@pytest.fixture
def ready(add, db):
    """A database in which every command below has something to change."""
    waiting = f"'{CALLBACK}'"
    db.execute("INSERT INTO awa.cron_jobs (name, cron_expr, kind) VALUES ('s', '0 2 * * *', 'k')")
    db.execute(
        "INSERT INTO awa.jobs_hot (kind, queue, state, callback_id, callback_timeout_at) VALUES"
        f" ('k', 'w', 'waiting_external', {waiting}, now() + interval '1 hour')"
    )
    return {"failed": add("failed", kind="k", queue="q"), "available": add(kind="k", queue="q")}


@pytest.mark.parametrize(
    ("line", "action", "target"),
    [
        ("job enqueue k --queue q", "job.enqueue", "k"),
        ("job retry {failed}", "job.retry", "{failed}"),
        ("job cancel {available}", "job.cancel", "{available}"),
        ("job priority 1 {available}", "job.priority", "{available}"),
        ("job move other {available}", "job.move", "{available}"),
        ("job discard {failed}", "job.delete", "{failed}"),
        ("job retry --kind k --yes", "batch.submit", "retry of jobs"),
        ("job retry-failed --kind k", "job.retry-failed", "kind k"),
        ("job retry-failed --queue q", "job.retry-failed", "queue q"),
        ("job discard --kind k", "job.discard", "k"),
        ("queue pause q", "queue.pause", "q"),
        ("queue resume q", "queue.resume", "q"),
        ("queue drain q", "queue.drain", "q"),
        ("queue purge q --yes", "queue.purge", "q"),
        ("queue purge q --ended", "queue.purge-ended", "q"),
        ("queue set q --max-running 3", "queue.set", "q"),
        ("queue unset q max_running", "queue.set", "q"),
        ("cron trigger s", "cron.trigger", "s"),
        ("cron pause s", "cron.pause", "s"),
        ("cron resume s", "cron.resume", "s"),
        ("cron remove s", "cron.remove", "s"),
        ("dlq enable q", "dlq.enable", "q"),
        ("dlq disable q", "dlq.disable", "q"),
        ("dlq move {failed}", "dlq.move", "{failed}"),
        ("dlq move --queue q --yes", "dlq.move-all", "queue q"),
        ("batch submit retry --kind k", "batch.submit", "retry of jobs"),
        ("callback complete " + CALLBACK, "callback.complete", CALLBACK),
        ("callback fail " + CALLBACK + " --error x", "callback.fail", CALLBACK),
        ("callback retry " + CALLBACK, "callback.retry", CALLBACK),
        ("callback resume " + CALLBACK, "callback.resume", CALLBACK),
        ("callback heartbeat " + CALLBACK, "callback.heartbeat", CALLBACK),
        ("storage prepare --engine queue_storage", "storage.prepare", "queue_storage"),
        ("storage abort", "storage.abort", "storage"),
    ],
)
def test_every_change_is_written_down(cli, ready, line, action, target) -> None:
    ran = cli(*line.format(**ready).split())

    newest, *_ = cli("audit", "-o", "json").data
    assert ran.status == 0, ran.err
    assert (newest["action"], newest["target"]) == (action, target.format(**ready))
    assert newest["via"] == "cli"
    assert newest["actor"].startswith(getpass.getuser() + "@")


def test_dead_letters_too(cli, ready, db) -> None:
    cli("dlq", "move", ready["failed"])
    cli("dlq", "retry", ready["failed"])
    db.execute("UPDATE awa.jobs_hot SET state = 'failed', finalized_at = now() WHERE kind = 'k'")
    cli("dlq", "move", "--queue", "q", "--yes")
    cli("dlq", "retry", "--queue", "q", "--yes")
    db.execute("UPDATE awa.jobs_hot SET state = 'failed', finalized_at = now() WHERE kind = 'k'")
    cli("dlq", "move", "--queue", "q", "--yes")
    cli("dlq", "purge", "--queue", "q", "--yes")

    actions = [one["action"] for one in cli("audit", "--action", "dlq", "-o", "json").data]
    assert actions == [
        "dlq.purge-all", "dlq.move-all", "dlq.retry-all", "dlq.move-all", "dlq.retry", "dlq.move",
    ]  # fmt: skip


def test_a_look_writes_nothing_down(cli, ready) -> None:
    for line in ("job list", "queue stats", "job retry --kind k --dry-run", "workers", "cron list"):
        cli(*line.split())

    assert cli("audit", "-o", "json").data == []
    assert cli("audit").out == "No changes found.\n"
    assert cli("audit", "--fail-empty").status == 5


def test_applied_schedules_are_written_down(cli, tmp_path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(
        json.dumps({"schedules": [{"name": "n", "cron_expr": "0 1 * * *", "kind": "k"}]})
    )
    ran = cli("cron", "apply", "-f", path, "--yes")

    (entry,) = cli("audit", "-o", "json").data
    assert ran.status == 0, ran.err
    assert (entry["action"], entry["detail"]) == ("cron.apply", {"schedules": {"n": "add"}})


def test_the_table_is_for_people(cli, ready) -> None:
    cli("queue", "pause", "q")

    header, row = cli("audit").out.splitlines()
    assert header.split() == ["ID", "WHEN", "WHO", "VIA", "ACTION", "TARGET", "DETAIL"]
    assert row.split()[3:] == ["cli", "queue.pause", "q", "{}"]
