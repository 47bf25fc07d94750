"""What commands change is written down, and ``awa audit`` reads it."""

from __future__ import annotations

import getpass
import json
import uuid

import pytest
from fix_cli import LEAVES, ROOT

import awa_lib as awa
from awa_cli.views.actions import ACTIONS
from awa_lib.db.drive import run
from awa_lib.ops.failures import EndCount, Sighting, count_ends
from awa_lib.telemetry.failures import Group

JOB = "JOB"
DOWN = Group.build("shop.MailDown", "mail server is down", ("shop/mail.py send",))
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
    (batch,) = db.execute(
        "INSERT INTO awa.bulk_operations (operation, filter, spec, last_id, total_matched)"
        """ VALUES ('delete', '{"kind": "k"}', '{}', 9, 1) RETURNING id::text"""
    ).fetchone()
    ends = [EndCount(0, "q", "k", "failed", DOWN.id, 1)]
    failed = add("failed", kind="k", queue="q")
    run(db, count_ends(ends, [Sighting(DOWN, "k", failed)], version=None))
    with awa.Client(db.info.dsn) as client:
        flows = []
        for _ in range(2):
            with client.workflow("w") as flow:
                flow.add({}, kind="k", queue="w", name="task")
            flows.append(flow.id)
        client.cancel_workflow(flows[1])
    return {
        "flow": flows[0], "ended": flows[1],
        "failed": failed, "failure": DOWN.id, "available": add(kind="k", queue="q"),
        "batch": batch,
    }  # fmt: skip


WRITTEN_DOWN = [
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
    ("queue drain q", "queue.cancel-waiting", "q"),
    ("queue cancel-waiting q --yes", "queue.cancel-waiting", "q"),
    ("queue purge q --yes", "queue.purge", "q"),
    ("queue purge q --ended", "queue.purge-ended", "q"),
    ("queue set q --max-running 3", "queue.set", "q"),
    ("queue unset q max_running", "queue.set", "q"),
    ("cron trigger s", "cron.trigger", "s"),
    ("cron pause s", "cron.pause", "s"),
    ("cron resume s", "cron.resume", "s"),
    ("cron remove s", "cron.remove", "s"),
    ("failure mute {failure}", "failure.mute", "{failure}"),
    ("failure unmute {failure}", "failure.unmute", "{failure}"),
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
    ("migrate --retire dequeue-index", "index.retire", "dequeue-index"),
    ("workflow signal {flow} go", "workflow.signal", "{flow}"),
    ("workflow cancel {flow} --yes", "workflow.cancel", "{flow}"),
    ("workflow retry {ended} --yes", "workflow.retry", "{ended}"),
    ("batch run {batch}", "batch.run", "{batch}"),
    ("batch cancel {batch}", "batch.cancel", "{batch}"),
]


@pytest.mark.parametrize(("line", "action", "target"), WRITTEN_DOWN)
def test_every_change_is_written_down(cli, ready, line, action, target) -> None:
    ran = cli(*line.format(**ready).split())

    newest, *_ = cli("audit", "-o", "json").data
    assert ran.status == 0, ran.err
    assert (newest["action"], newest["target"]) == (action, target.format(**ready))
    assert newest["via"] == "cli"
    assert newest["actor"].startswith(getpass.getuser() + "@")


def test_an_entry_of_a_bulk_change_outlives_the_operation(cli, ready, db) -> None:
    """It is the only place that still says which jobs were meant."""
    cli("batch", "submit", "set_priority", "--priority", "1", "--kind", "k", "--queue", "q")
    cli("batch", "run", ready["batch"])
    cli("job", "cancel", "--queue", "q", "--yes")
    cli("queue", "purge", "q", "--ended")
    db.execute("DELETE FROM awa.bulk_operations")

    purge, cancel, ended, ran, submit = cli("audit", "-o", "json").data
    assert submit["detail"]["filter"] == {"kind": "k", "queue": "q"}
    assert (submit["detail"]["operation"], submit["detail"]["priority"]) == ("set_priority", 1)
    assert ran["detail"]["operation"] == "delete"
    assert ran["detail"]["filter"] == {"kind": "k"}
    assert ended["detail"]["filter"] == {"kind": "k"}
    assert ended["detail"]["ended"] is True
    assert ran["actor"].startswith(getpass.getuser() + "@")
    assert cancel["detail"]["filter"] == {"queue": "q"}
    assert purge["detail"]["filter"] == {"queue": "q"}


def test_a_change_in_pages_says_at_its_end_which_jobs_it_was(cli, ready, add) -> None:
    failed = sorted([ready["failed"], *(add("failed", kind="k", queue="q") for _ in range(120))])
    cli("job", "retry-failed", "--kind", "k")
    cli("queue", "cancel-waiting", "q", "--yes")

    cancelled, _, ended, began = cli("audit", "-o", "json").data[:4]
    assert (began["target"], began["detail"]) == ("kind k", {})
    assert ended["detail"]["jobs"] == 121
    assert sorted(ended["detail"]["ids"]) == failed[:100]
    assert cancelled["detail"] == {"ended": True, "jobs": 122}


def test_roles_are_written_down(cli, db) -> None:
    prefix = f"a{uuid.uuid4().hex[:8]}_"
    ran = cli("roles", "--apply", "--prefix", prefix)
    try:
        (entry,) = cli("audit", "-o", "json").data
        assert ran.status == 0, ran.err
        assert entry["action"] == "roles.apply"
        assert f"{prefix}runtime" in entry["target"]
    finally:
        db.execute(f"REASSIGN OWNED BY {prefix}owner TO CURRENT_USER")
        for purpose in ("migrator", "runtime", "producer", "readonly", "owner"):
            db.execute(f"DROP OWNED BY {prefix}{purpose}")
            db.execute(f"DROP ROLE {prefix}{purpose}")


# Tested by functions of their own here.
TESTED_APART = ("cron apply", "failure retry", "roles", "dlq retry", "dlq purge")
# Commands that change nothing of the queue.
LOOKS = {
    "audit", "batch list", "batch show", "callback sign", "callback verify", "cron export",
    "cron list", "cron next", "cron show", "dlq depth", "dlq list", "dlq show", "doctor", "failure list",
    "failure show", "health",
    "job dump", "job dump-run", "job list", "job logs", "job result", "job show", "job tail",
    "job wait",
    "job watch", "kind list", "kind show", "queue list", "queue show", "queue stats",
    "storage status", "version", "workers", "workflow list", "workflow show", "workflow tasks",
}  # fmt: skip
# Commands that leave no entry of their own, and why not.
ELSEWHERE = {
    "worker": "works jobs, as applications do",
    "callbacks serve": "an outside system answers: the normal course of a job",
    "bench": "makes, works and removes jobs of its own",
    "demo": "fills a database of its own",
    "serve": "each change that is made through it is written down",
    "tui": "each change that is made through it is written down",
    **dict.fromkeys(["dev down", "dev psql", "dev reset", "dev status", "dev up", "dev url"],
                    "a server of one's own, which starts and goes"),
    **dict.fromkeys(["access list", "access remove", "access token", "access user"],
                    "a file, no database"),
    **dict.fromkeys(["context add", "context list", "context remove", "context show",
                     "context test", "context use"], "a file, no database"),
}  # fmt: skip


def test_every_command_is_written_down_or_has_a_reason() -> None:
    """Fails when a command is added: decide what it leaves."""
    lines = [line for line, *_ in WRITTEN_DOWN] + [*TESTED_APART]
    written = {name for name in LEAVES for line in lines if f"{line} ".startswith(f"{name} ")}

    assert set(LEAVES) == written | LOOKS | ELSEWHERE.keys()
    assert not written & (LOOKS | ELSEWHERE.keys())


def test_every_action_is_recorded_somewhere() -> None:
    """An action that no surface records would be a change without an entry."""
    sources = [
        path.read_text() for path in (ROOT / "awa_cli").rglob("*.py") if path.name != "actions.py"
    ]
    made_of_parts = {f"dlq.{verb}-all" for verb in ("retry", "purge", "move")}

    missing = {one for one in ACTIONS if not any(f'"{one}"' in text for text in sources)}
    assert missing <= made_of_parts


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
        *["dlq.purge-all"] * 2, *["dlq.move-all"] * 2, *["dlq.retry-all"] * 2,
        *["dlq.move-all"] * 2, "dlq.retry", "dlq.move",
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
