"""Dead letters, bulk operations, callbacks, the fleet, health and versions."""

from __future__ import annotations

import json
import uuid

import pytest

from awa_cli.version import version

KEY = "07" * 32
CALLBACK = "8feaec61-ea03-4e4c-ab3d-f63350329dc6"
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
    assert f"2 dead letters listed.  Older ones: --before-id {dead[1]}" in ran.err
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
    assert "whether to retry 2 dead letters" in refused.err
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
    assert "nothing was named" in cli("dlq", "purge").err
    assert "either ids or a filter" in cli("dlq", "purge", dead[0], "--all").err
    assert cli("dlq", "purge", dead[0], 999).out == f"Purged job {dead[0]}\n"
    assert cli("dlq", "purge", "--all", "--yes").out == "Purged 2 dead letters\n"
    assert cli("dlq", "purge", "--all", "--yes", "--fail-empty").status == 5


def test_keeping_dead_letters_is_switched(cli, db) -> None:
    assert cli("dlq", "enable", "email").out == "Failed jobs of queue 'email' become dead letters\n"
    assert "failed jobs become dead letters" in cli("queue", "unset", "email", "--all").out
    assert cli("dlq", "disable", "email").status == 0
    assert cli("queue", "unset", "email", "--all").out == "Queue 'email': no settings\n"


def test_a_bulk_operation_from_submit_to_end(cli, add, db) -> None:
    for _ in range(3):
        add("failed", kind="k")
    add("failed")
    line = ["batch", "submit", "retry", "--state", "failed", "--kind", "k"]
    assert cli(*line, "--dry-run").out == "3 jobs\n"
    assert cli("batch", "list").out == "No bulk operations found.\n"
    ran = cli(*line)
    operation = ran.out.strip()
    assert "3 jobs to do: awa batch show" in ran.err
    assert cli("batch", "list", "-o", "json").data[0]["state"] == "pending"
    page = cli("batch", "show", operation).out
    assert page.startswith(f"Bulk operation {operation}  pending\n\n  operation  retry\n")
    assert f"  awa batch run {operation}\n  awa batch cancel {operation}\n" in page
    done = cli("batch", "run", operation)
    assert done.status == 0
    assert "  done       3 of 3\n" in done.out
    assert "100%" in done.out
    assert cli("batch", "show", operation, "-o", "json").data["state"] == "completed"
    over = cli("batch", "cancel", operation)
    assert over.status == 1
    assert "it is completed" in over.err
    assert cli("job", "list", "--state", "available", "-o", "ids").out.count("\n") == 3


def test_a_bulk_operation_is_stopped(cli, add) -> None:
    add("completed")
    refused = cli("batch", "submit", "delete", "--state", "completed")
    assert refused.status == 2
    assert "whether to delete 1 job for good" in refused.err
    operation = cli("batch", "submit", "delete", "--all", "--yes", "-o", "json").data["id"]
    assert cli("batch", "cancel", operation).out == (
        f"Stopped bulk operation {operation} after 0 jobs\n"
    )
    assert cli("batch", "list", "--state", "cancelled", "-o", "ids").out == f"{operation}\n"


@pytest.mark.parametrize(
    ("line", "status", "says"),
    [
        (["submit", "explode", "--all"], 2, "unknown"),
        (["submit", "retry"], 2, "needs at least one of"),
        (["submit", "set_priority", "--all"], 2, "needs priority"),
        (["list", "--state", "done"], 2, "unknown state of a bulk operation"),
        (["show", "x"], 2, "must be a UUID"),
        (["show", str(uuid.uuid4())], 1, "bulk operation not found"),
        (["run", str(uuid.uuid4())], 1, "bulk operation not found"),
    ],
)
def test_bad_bulk_operations(cli, line, status, says) -> None:
    ran = cli("batch", *line)
    assert (ran.status, ran.out) == (status, "")
    assert says in ran.err


@pytest.fixture
def waiting(add) -> int:
    return add("waiting_external", callback_id=CALLBACK, callback_timeout_at="2100-01-01T00:00Z")


@pytest.mark.parametrize(
    ("line", "says", "state"),
    [
        (["complete", CALLBACK, "--payload", '{"paid": true}'], "Completed", "completed"),
        (["fail", CALLBACK, "--error", "declined"], "Failed", "failed"),
        (["retry", CALLBACK], "Retried", "available"),
        (["heartbeat", CALLBACK, "--timeout", "2h"], "Extended", "waiting_external"),
    ],
)
def test_callbacks_are_answered(cli, waiting, line, says, state) -> None:
    ran = cli("callback", *line)
    assert (ran.status, ran.out) == (0, f"{says} job {waiting}, it is {state}\n")
    job = cli("job", "show", waiting, "-o", "json").data["job"]
    assert job["state"] == state
    if state == "completed":
        assert job["metadata"]["_awa_callback_result"] == {"paid": True}
    if state == "failed":
        assert "declined" in job["errors"][0]["error"]


def test_a_callback_is_resumed(cli, waiting) -> None:
    ran = cli("callback", "resume", CALLBACK, "--payload", "[1]")
    assert ran.status == 0
    assert ran.out.startswith(f"Resumed job {waiting}, it is ")


@pytest.mark.parametrize(
    ("line", "status", "says"),
    [
        (["complete", "x"], 2, "UUID"),
        (["complete", CALLBACK], 1, "callback not found"),
        (["complete", CALLBACK, "--payload", "{"], 2, "--payload is not JSON"),
        (["heartbeat", CALLBACK, "--timeout", "soon"], 2, "is not a duration"),
        (["fail", CALLBACK], 2, "missing option '--error'"),
    ],
)
def test_bad_answers(cli, line, status, says) -> None:
    ran = cli("callback", *line)
    assert (ran.status, ran.out) == (status, "")
    assert says in ran.err


def test_signatures(cli, offline, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("AWA_CALLBACK_HMAC_SECRET", KEY)
    signature = offline("callback", "sign", CALLBACK).out.strip()
    assert len(signature) == 64
    assert offline("callback", "verify", CALLBACK, signature).status == 0
    wrong = offline("callback", "verify", CALLBACK, "0" * 64)
    assert (wrong.status, wrong.out) == (6, "The signature is wrong, too old, or used\n")

    body = tmp_path / "body"
    body.write_text('{"ok": true}')
    header = offline("callback", "sign", CALLBACK, "--action", "complete", "--body", f"@{body}")
    line = ["callback", "verify", CALLBACK, header.out.strip(), "--action", "complete"]
    assert cli(*line, "--body", "{}").status == 6
    assert cli(*line, "--body", f"@{body}").status == 0
    assert cli(*line, "--body", f"@{body}").status == 6  # good once


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "AWA_CALLBACK_HMAC_SECRET is not set"),
        (["--secret", KEY], "what was given is not a reference"),
        (["--secret", "cmd:echo zz"], "not 64 hex digits"),
        (["--secret", f"cmd:echo {KEY}", "--action", "complet"], "did you mean: --action complete"),
    ],
)
def test_bad_secrets_are_not_repeated(offline, monkeypatch, options, says) -> None:
    monkeypatch.delenv("AWA_CALLBACK_HMAC_SECRET", raising=False)
    ran = offline("callback", "sign", CALLBACK, *options)
    assert (ran.status, ran.out) == (2, "")
    assert says in ran.err
    assert KEY not in ran.err.replace(f"echo {KEY}", "")


@pytest.fixture
def fleet(db):
    """Put worker processes into the fleet table."""

    def put(**columns) -> None:
        row = {
            "instance_id": str(uuid.uuid4()), "hostname": "box", "pid": 7, "version": "0.5.7",
            "started_at": "now", "snapshot_interval_ms": 10000, "healthy": True,
            "postgres_connected": True, "poll_loop_alive": True, "heartbeat_alive": True, "maintenance_alive": True,
            "shutting_down": False, "leader": False,
            "queues": json.dumps([{"queue": "email", "in_flight": 3}]), **columns,
        }  # fmt: skip
        places = ", ".join(["%s"] * len(row))
        db.execute(
            f"INSERT INTO awa.runtime_instances ({', '.join(row)}) VALUES ({places})",
            list(row.values()),
        )

    return put


def test_workers(cli, fleet) -> None:
    assert cli("workers").out == "No workers found.\n"
    assert cli("workers", "--fail-empty").status == 5
    fleet(hostname="a", leader=True)
    fleet(hostname="b", healthy=False, heartbeat_alive=False, version="0.1.0")
    fleet(hostname="c", last_seen_at="2020-01-01T00:00Z")
    ran = cli("workers", "-o", "wide")
    header, *rows = ran.out.splitlines()
    assert header.split()[:6] == ["ID", "HOST", "PID", "VERSION", "STATE", "LEADER"]
    assert sorted(row.split()[1] for row in rows) == ["a", "b"]
    assert any(" degraded " in row and " heartbeat " in row for row in rows)
    assert "2 workers, 1 leader." in ran.err
    states = {one["hostname"]: one["stale"] for one in cli("workers", "--all", "-o", "json").data}
    assert states.get("a") is False
    assert " stale " in cli("workers", "--all").out


def test_health(cli, offline, fleet, empty_database_url) -> None:
    assert (cli("health").status, cli("health").out) == (0, "ready\n")
    missing = cli("health", "--workers", 1, "--queue", "email", "-o", "json")
    assert missing.status == 6
    assert missing.data == {
        "ready": False,
        "reasons": ["0 of 1 healthy workers: awa workers --all",
                    "no healthy worker of queue 'email'"],
    }  # fmt: skip
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
