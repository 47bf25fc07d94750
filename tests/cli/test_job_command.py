"""``awa job``: what people see, what scripts get, and the exit codes."""

from __future__ import annotations

import json

import pytest

ERROR = '{"error": "Boom: x\\ntrace", "attempt": %d, "at": "2026-11-23T21:32:12.565008606+00:00"}'
KEYS = [
    "id", "kind", "queue", "args", "state", "priority", "attempt", "run_lease", "max_attempts",
    "run_at", "heartbeat_at", "deadline_at", "attempted_at", "finalized_at", "created_at",
    "errors", "metadata", "tags", "unique_key", "unique_states", "callback_id",
    "callback_timeout_at", "callback_filter", "callback_on_complete", "callback_on_fail",
    "callback_transform", "progress",
]  # fmt: skip


def test_list_of_nothing(cli) -> None:
    assert cli("job", "list").out == "No jobs found.\n"
    assert cli("job", "list", "-o", "json").data == []


def test_fail_empty_exits_5(cli, add) -> None:
    assert cli("job", "list", "--fail-empty").status == 5
    add()
    assert cli("job", "list", "--fail-empty").status == 0
    assert cli("job", "retry-failed", "--kind", "x", "--fail-empty").status == 5
    assert cli("job", "discard", "--kind", "x", "--fail-empty").status == 5


def test_list_is_newest_first_and_says_where_to_go_on(cli, add) -> None:
    ids = [add(tags=["a"] if n % 2 else []) for n in range(5)]

    ran = cli("job", "list", "--limit", 2)
    assert [int(line.split()[0]) for line in ran.out.splitlines()[1:]] == ids[:2:-1]
    assert f"2 jobs listed.  Older jobs: --before-id {ids[3]}" in ran.err

    rest = cli("job", "list", "--before-id", ids[3], "-o", "json").data
    assert [job["id"] for job in rest] == ids[2::-1]
    tagged = cli("job", "list", "--tag", "a", "-o", "json").data
    assert [job["id"] for job in tagged] == [ids[3], ids[1]]


def test_list_filters_by_state_kind_and_queue(cli, add) -> None:
    wanted = add("failed", kind="k", queue="q")
    add("failed", kind="k")
    add("failed", queue="q")
    add("scheduled", kind="k", queue="q")

    jobs = cli("job", "list", "--state", "failed", "--kind", "k", "--queue", "q", "-o", "json").data

    assert [job["id"] for job in jobs] == [wanted]
    described = ["original_priority", "queue_descriptor", "kind_descriptor"]
    assert list(jobs[0]) == KEYS + described


def test_plain_table(cli, add) -> None:
    add("failed", attempt=2, max_attempts=3, errors=[ERROR % 2])
    add("scheduled", run_at="2100-01-01T00:00Z")

    header, later, failed = cli("job", "list").out.splitlines()

    assert header.split() == ["ID", "KIND", "QUEUE", "STATE", "ATT", "MAX", "WHEN", "NOTE"]
    assert later.split()[1:7] == ["send_email", "email", "scheduled", "0", "25", "in"]
    assert failed.split()[1:6] == ["send_email", "email", "failed", "2", "3"]
    assert failed.endswith("  Boom: x")
    assert header.index("STATE") == failed.index("failed")


def test_names_cannot_draw_on_the_terminal(cli, add) -> None:
    add(kind="\x1b[31mred\nx")

    assert "\\x1b[31mred\\nx" in cli("job", "list").out
    assert cli("job", "list", "-o", "json").data[0]["kind"] == "\x1b[31mred\nx"


@pytest.mark.parametrize("columns", [80, 200])
def test_table_at_a_terminal_fits_and_keeps_ids(terminal, database_url, add, columns) -> None:
    number = add("failed", id=8_888_888_888_888, kind="k" * 60, queue="q" * 60, errors=[ERROR % 1])
    add("waiting_external")

    ran = terminal("job", "list", url=database_url, columns=columns, NO_COLOR="1")

    lines = ran.out.splitlines()
    assert ran.status == 0
    assert max(map(len, lines)) <= columns
    assert len(lines) == 5  # header, two jobs, a blank line, the footer: nothing wraps
    assert sum(str(number) in line for line in lines[:3]) == 1
    assert "waiting_external" in ran.out
    assert "\x1b[" not in ran.out


def test_colours_only_where_they_are_wanted(terminal, database_url, add) -> None:
    add("failed")

    assert "\x1b[" in terminal("job", "list", url=database_url).out
    assert "\x1b[" not in terminal("job", "list", "--no-color", url=database_url).out
    assert "\x1b[" not in terminal("job", "list", url=database_url, NO_COLOR="1").out
    assert "\x1b[" not in terminal("job", "list", url=database_url, TERM_="", NO_COLOR="1").out


def test_dump_has_the_published_shape(cli, add) -> None:
    job_id = add(
        "failed", attempt=2, max_attempts=2, run_lease=2, attempted_at="2026-11-24T00:00:00Z",
        finalized_at="2026-11-24T00:00:01.5Z", created_at="2026-11-23T00:00:00Z",
        args='{"to": "u", "b": {"zz": 1, "a": 2}}', errors=[ERROR % 1, ERROR % 2],
        metadata='{"_awa_original_priority": 3}', unique_key=bytes(range(16)),
        unique_states="11111000",
    )  # fmt: skip

    dump = cli("job", "dump", job_id).data

    # What awa 0.5 does not have comes after what it has.
    assert list(dump) == [
        "job",
        "summary",
        "timeline",
        "attempts",
        "worker",
        "result",
        "workflow",
        "steps",
    ]
    assert list(dump["job"]) == KEYS
    assert dump["job"]["unique_key"] == list(range(16))
    assert dump["job"]["unique_states"] == [
        "scheduled", "available", "running", "completed", "retryable",
    ]  # fmt: skip
    assert dump["job"]["finalized_at"] == "2026-11-24T00:00:01.500Z"
    assert json.dumps(dump["job"]["args"]) == '{"b": {"a": 2, "zz": 1}, "to": "u"}'
    assert dump["summary"] == {
        "original_priority": 3,
        "can_retry": True,
        "can_cancel": False,
        "error_count": 2,
        "latest_error": json.loads(ERROR % 2),
        "max_attempts": 2,
    }
    assert [(e["timestamp"], e["label"], e["state"]) for e in dump["timeline"]] == [
        ("2026-11-23T00:00:00Z", "Created", None),
        ("2026-11-23T21:32:12.565008606Z", "Attempt 1 failed", "failed"),
        ("2026-11-23T21:32:12.565008606Z", "Attempt 2 failed", "failed"),
        ("2026-11-24T00:00:00Z", "Attempt 2 started", "running"),
        ("2026-11-24T00:00:01.500Z", "Failed after 2 attempts", "failed"),
    ]
    assert dump["timeline"][1]["detail"] == "Boom: x\ntrace"
    assert dump["timeline"][1]["is_error"] is True


def test_dump_run_of_the_present_attempt(cli, add) -> None:
    waiting = add()
    failed = add("failed", attempt=2, errors=[ERROR % 1, ERROR % 2], run_lease=5)

    fresh = cli("job", "dump-run", waiting).data
    assert (fresh["selected_attempt"], fresh["source"]) == (0, "current_job_row")
    assert len(fresh["notes"]) == 1

    run = cli("job", "dump-run", failed).data
    assert list(run) == [
        "job_id", "kind", "queue", "selected_attempt", "current_attempt", "current_run_lease",
        "selected_run_lease", "source", "state", "started_at", "finished_at", "error", "terminal",
        "progress", "metadata", "callback", "raw_error_entry", "notes",
        "worker",
    ]  # fmt: skip
    assert (run["error"], run["terminal"], run["notes"]) == ("Boom: x\ntrace", False, [])


def test_dump_run_of_an_earlier_attempt(cli, add) -> None:
    job_id = add("failed", attempt=3, errors=[ERROR % 1])

    run = cli("job", "dump-run", job_id, "--attempt", 1).data
    assert (run["source"], run["state"], run["started_at"]) == ("error_history", "retryable", None)
    assert run["finished_at"] == "2026-11-23T21:32:12.565008606Z"
    assert len(run["notes"]) == 2

    beyond = cli("job", "dump-run", job_id, "--attempt", 7)
    assert beyond.status == 2
    assert f"attempt 7 is not available for job {job_id}; current attempt is 3" in beyond.err
    assert "left no error" in cli("job", "dump-run", job_id, "--attempt", 2).err
    assert cli("job", "dump-run", job_id, "--attempt=-1").status == 2


def test_retry_and_cancel_say_what_they_did(cli, add, db) -> None:
    failed, waiting = add("failed"), add("scheduled")

    ran = cli("job", "retry", failed)
    assert (ran.status, ran.out) == (0, f"Retried job {failed}\n")
    ran = cli("job", "cancel", waiting, failed)
    assert (ran.status, ran.out) == (0, f"Cancelled job {waiting}\nCancelled job {failed}\n")
    assert db.execute("SELECT DISTINCT state::text FROM awa.jobs").fetchall() == [("cancelled",)]


def test_wrong_state_and_unknown_id_differ(cli, add) -> None:
    done = add("completed")

    wrong = cli("job", "retry", done)
    assert wrong.status == 1
    assert wrong.err.splitlines()[1] == f"error: cannot retry job {done}: it is completed"
    unknown = cli("job", "retry", 999)
    assert unknown.status == 1
    assert unknown.err.splitlines()[1] == "error: job not found: 999"
    assert unknown.err.splitlines()[3] == "   do: list jobs: awa job list"


def test_one_bad_id_does_not_stop_the_others(cli, add) -> None:
    first, second = add("failed"), add("failed")

    ran = cli("job", "retry", first, 999, second)

    assert (ran.status, ran.out) == (1, f"Retried job {first}\nRetried job {second}\n")


def test_retry_failed_and_discard(cli, add, db) -> None:
    for _ in range(3):
        add("failed", kind="a", queue="q")
    add("failed", kind="b", queue="q")
    add("completed", kind="a")

    assert cli("job", "retry-failed", "--kind", "a").out == "Retried 3 failed jobs\n"
    assert cli("job", "retry-failed", "--queue", "q").out == "Retried 1 failed jobs\n"
    assert cli("job", "discard", "--kind", "x").out == "Discarded 0 failed jobs of kind 'x'\n"
    db.execute("UPDATE awa.jobs_hot SET state = 'failed' WHERE kind = 'a' AND state = 'available'")
    assert cli("job", "discard", "--kind", "a").out == "Discarded 3 failed jobs of kind 'a'\n"

    neither = cli("job", "retry-failed")
    assert (neither.status, neither.err.splitlines()[0]) == (
        2, "error: Must specify --kind or --queue",
    )  # fmt: skip
    assert cli("job", "retry-failed", "--kind", "a", "--queue", "q").status == 2
    assert cli("job", "discard").status == 2


@pytest.mark.parametrize(("keys", "left", "status"), [("n\n", 1, 1), ("y\n", 0, 0)])
def test_discard_asks_at_a_terminal(terminal, database_url, add, db, keys, left, status) -> None:
    add("failed", kind="a")

    ran = terminal("job", "discard", "--kind", "a", url=database_url, keys=keys)

    assert "Permanently delete all failed jobs of kind a?" in ran.out
    assert ran.status == status
    assert db.execute("SELECT count(*) FROM awa.jobs").fetchone() == (left,)


def test_yes_does_not_ask(terminal, database_url, add) -> None:
    add("failed", kind="a")

    ran = terminal("job", "discard", "--kind", "a", "--yes", url=database_url)

    assert "Discarded 1 failed jobs of kind 'a'" in ran.out
    assert "?" not in ran.out


def test_unknown_state_gets_the_nearest(offline) -> None:
    ran = offline("job", "list", "--state", "runing")

    assert ran.status == 2
    assert ran.err.startswith("error: --state 'runing' is not a state of jobs\n")
    assert ran.err.endswith("do: did you mean: --state running\n")


@pytest.mark.parametrize("option", ["--limit", "--before-id"])
def test_a_number_that_no_column_holds_is_refused(cli, option) -> None:
    ran = cli("job", "list", option, 10**20)

    assert ran.status == 2
    assert "must be a whole number of at most 64 bits" in ran.err
