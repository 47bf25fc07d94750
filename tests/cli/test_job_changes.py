"""``awa job`` changes jobs: the named ones, those on stdin, or all that fit."""

from __future__ import annotations

import io

import pytest
from fix_worker import Rows


@pytest.fixture
def stdin(monkeypatch):
    def give(text: str) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO(text))

    return give


def state(db, job_id: int):
    row = db.execute("SELECT state::text FROM awa.jobs WHERE id = %s", [job_id]).fetchone()
    return row and row[0]


def test_ids_are_changed_one_by_one_and_a_bad_one_stops_none(cli, add, db) -> None:
    first, running, last = add("failed"), add("running"), add("failed")

    ran = cli("job", "retry", first, running, 999, last)

    assert ran.status == 1
    assert ran.out == f"Retried job {first}\nRetried job {last}\n"
    assert f"cannot retry job {running}: it is running" in ran.err
    assert "999" in ran.err
    assert [state(db, one) for one in (first, running, last)] == [
        "available", "running", "available",
    ]  # fmt: skip


def test_ids_come_from_stdin(cli, add, db, stdin) -> None:
    ids = [add("failed") for _ in range(3)]
    stdin("\n".join(map(str, ids)) + "\n")

    assert cli("job", "cancel", "-").status == 1  # failed jobs cannot be cancelled
    stdin(" ".join(map(str, ids)))
    assert cli("job", "retry", "-").out.count("Retried job") == 3
    stdin("")
    empty = cli("job", "retry", "-")
    assert (empty.status, empty.out) == (2, "")
    assert "no jobs were selected" in empty.err


@pytest.mark.parametrize("word", ["x", "1.5", "-1x", "٣", str(2**63), "1,2", "1;DROP TABLE"])
def test_what_is_no_id_changes_nothing(cli, add, db, stdin, word) -> None:
    job = add("failed")
    stdin(f"{job} {word}")

    ran = cli("job", "retry", "-")

    assert (ran.status, state(db, job)) == (2, "failed")
    assert "is not a job id" in ran.err
    assert "awa job list -o ids" in ran.err


@pytest.mark.parametrize(
    ("line", "before", "after", "says"),
    [
        (["retry"], "failed", "available", "Retried 2 jobs"),
        (["cancel"], "scheduled", "cancelled", "Cancelled 2 jobs"),
        (["move", "slow"], "available", "available", "Moved 2 jobs"),
        (["priority", "4"], "available", "available", "Set priority 4 for 2 jobs"),
        (["discard", "--tag", "a"], "failed", None, "Discarded 2 jobs"),
    ],
)
def test_a_filter_changes_what_fits_and_nothing_else(
    cli, add, db, line, before, after, says
) -> None:
    fit = [add(before, kind="k", tags=["a"]) for _ in range(2)]
    other = add(before, kind="other", tags=["a"])
    row = "SELECT state::text, queue, priority FROM awa.jobs WHERE id = %s"
    untouched = db.execute(row, [other]).fetchone()

    dry = cli("job", *line, "--kind", "k", "--dry-run")
    assert (dry.status, dry.out.split()) == (0, [str(one) for one in fit])
    assert f"2 jobs match: {fit[0]}, {fit[1]}\n" in dry.err
    assert "database:" not in dry.err
    asked = cli("job", *line, "--kind", "k")
    assert asked.status == 2
    assert "confirmation is required to" in asked.err
    assert "--dry-run; then add --yes" in asked.err
    assert [state(db, one) for one in fit] == [before, before]

    ran = cli("job", *line, "--kind", "k", "--yes")

    assert (ran.status, ran.out) == (0, f"{says}\n")
    assert [state(db, one) for one in fit] == [after, after]
    assert db.execute(row, [other]).fetchone() == untouched


def test_moving_and_priority_by_id(cli, add, db) -> None:
    job, later = add(), add("scheduled")

    assert cli("job", "move", "slow", job, later).out == f"Moved job {job}\nMoved job {later}\n"
    assert cli("job", "priority", "1", job, later).out.startswith(f"Set priority 1 for job {job}\n")
    rows = db.execute("SELECT queue, priority FROM awa.jobs").fetchall()
    assert rows == [("slow", 1), ("slow", 1)]
    assert "not in the range" in cli("job", "priority", "5", job).err
    assert "to_queue must not be empty" in cli("job", "move", "", job).err


def test_discarding_by_id_takes_ended_jobs_only(cli, add, db) -> None:
    ended, live = add("completed"), add()

    ran = cli("job", "discard", ended, live)

    assert (ran.status, ran.out) == (1, f"Discarded job {ended}\n")
    assert f"cannot discard job {live}: it is available" in ran.err
    assert (state(db, ended), state(db, live)) == (None, "available")


def test_discarding_by_filter_means_failed_ones_unless_a_state_is_given(cli, add, db) -> None:
    failed, cancelled = add("failed", tags=["t"]), add("cancelled", tags=["t"])

    assert cli("job", "discard", "--tag", "t", "--yes").out == "Discarded 1 job\n"
    assert (state(db, failed), state(db, cancelled)) == (None, "cancelled")
    line = ["job", "discard", "--tag", "t", "--state", "cancelled", "--yes"]
    assert cli(*line).out == "Discarded 1 job\n"


def test_dry_run_of_ids_prints_them(cli, add, db) -> None:
    job = add("failed")

    assert cli("job", "retry", job, "--dry-run").out == f"{job}\n"
    assert state(db, job) == "failed"


def test_json_tells_what_became_of_named_jobs(cli, add) -> None:
    first, running = add("failed"), add("running")

    dry = cli("job", "retry", first, running, "--dry-run", "-o", "json")
    ran = cli("job", "retry", first, running, "-o", "json")

    assert (dry.data["dry_run"], dry.data["ids"]) == (True, [first, running])
    assert ran.status == 1
    assert f"cannot retry job {running}" in ran.err
    assert ran.data == {
        "dry_run": False, "changed": 1, "skipped": 0, "errored": 1, "ids": [first],
        "batch_id": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("line", "before"),
    [
        (["retry"], "failed"),
        (["cancel"], "scheduled"),
        (["move", "slow"], "available"),
        (["priority", "4"], "available"),
        (["discard", "--state", "cancelled"], "cancelled"),
    ],
)
def test_json_tells_what_became_of_a_filter(cli, add, line, before) -> None:
    ids = [add(before, kind="k") for _ in range(2)]
    line = ["job", *line, "--kind", "k", "--yes", "-o", "json"]

    dry, ran, none = cli(*line, "--dry-run"), cli(*line), cli(*line, "--tag", "none")

    assert (dry.data["dry_run"], dry.data["changed"], dry.data["ids"]) == (True, 2, ids)
    assert (ran.status, ran.data["changed"], ran.data["ids"]) == (0, 2, [])
    assert cli("batch", "show", ran.data["batch_id"], "-o", "json").data["processed"] == 2
    assert (none.status, none.data["changed"], none.data["batch_id"]) == (0, 0, None)


def test_json_of_the_published_discard(cli, add) -> None:
    add("failed", kind="k")

    ran = cli("job", "discard", "--kind", "k", "-o", "json")

    assert (ran.status, ran.data["changed"]) == (0, 1)


def test_json_of_retry_failed(cli, add) -> None:
    ids = [add("failed", kind="k") for _ in range(2)]

    ran = cli("job", "retry-failed", "--kind", "k", "-o", "json")

    assert (ran.status, ran.data["changed"], sorted(ran.data["ids"])) == (0, 2, ids)


def test_retry_failed_of_an_unknown_kind_names_the_nearest(cli, add) -> None:
    add("failed", kind="send_email")

    assert (
        "did you mean: --kind send_email" in cli("job", "retry-failed", "--kind", "send_mail").err
    )


def test_a_preview_tells_states_apart(cli, add) -> None:
    add("retryable", kind="k")
    add("scheduled", kind="k")
    last = add("retryable", kind="k")

    ran = cli("job", "cancel", "--kind", "k", "--dry-run")

    assert f"3 jobs match (2 retryable, 1 scheduled): {last - 2}," in ran.err


def test_a_retry_takes_failed_jobs_unless_others_are_asked_for(cli, add) -> None:
    failed = add("failed", kind="k")
    cancelled = add("cancelled", kind="k")
    line = ["job", "retry", "--kind", "k", "--dry-run"]

    assert f"1 job matches: {failed}\n" in cli(*line).err
    assert f"1 job matches: {cancelled}\n" in cli(*line, "--state", "cancelled").err


def test_nothing_fits(cli) -> None:
    line = ["job", "retry", "--kind", "k"]

    assert (cli(*line).status, cli(*line).out) == (0, "No jobs match.\n")
    assert cli(*line, "--fail-empty").status == 5
    assert cli(*line, "--dry-run", "--fail-empty").status == 5


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (["retry"], "no jobs were selected"),
        (["retry", "1", "--kind", "k"], "ids and filters cannot be used together"),
        (
            ["retry", "--state", "failed", "--state", "cancelled"],
            "--state 'failed,cancelled' names several states",
        ),
        (
            ["retry", "--where", "metadata.a=1"],
            "--where 'metadata.a=1' does not filter bulk operations",
        ),
        (["retry", "--state", "faild"], "did you mean: --state failed"),
    ],
)
def test_refused_before_anything_is_done(cli, add, db, line, says) -> None:
    job = add("failed", kind="k")

    ran = cli("job", *line)

    assert ran.status == 2
    assert says in ran.err
    assert state(db, job) == "failed"


def test_everything_must_be_said(cli, add, db) -> None:
    ids = [add("failed"), add("cancelled")]

    assert cli("job", "retry", "--all", "--yes").out == "Retried 1 job\n"
    assert [state(db, one) for one in ids] == ["available", "cancelled"]
    assert cli("job", "retry", "--state", "cancelled", "--yes").out == "Retried 1 job\n"
    assert [state(db, one) for one in ids] == ["available", "available"]


@pytest.mark.parametrize(
    ("keys", "status", "after"), [("y\n", 0, "available"), ("n\n", 1, "failed")]
)
def test_a_person_is_asked(terminal, database_url, add, db, keys, status, after) -> None:
    job = add("failed", kind="k")

    ran = terminal("job", "retry", "--kind", "k", url=database_url, keys=keys)

    assert ran.status == status
    assert f"1 job matches: {job}\n" in ran.out
    assert "Retry 1 job? [y/N]" in ran.out
    assert state(db, job) == after


def test_a_thousand_jobs_in_one_go(cli, database_url, rows: Rows) -> None:
    rows.conn.execute(
        "INSERT INTO awa.jobs_hot (kind, queue, state)"
        " SELECT 'k', 'q', 'failed' FROM generate_series(1, 1200)"
    )

    assert cli("job", "retry", "--kind", "k", "--yes").out == "Retried 1,200 jobs\n"
    assert rows.states() == {"available": 1200}


def test_many_ids_are_changed_in_pages(cli, add, db, stdin) -> None:
    failed = [add("failed") for _ in range(30)]
    running = [add("running", attempt=1) for _ in range(13)]
    stdin("\n".join(map(str, [*failed, *running, *failed, 10**12])))

    ran = cli("job", "retry", "-")

    assert ran.out == "Retried 30 jobs\n"
    assert ran.err.count("error: cannot retry job ") == 10
    assert "error: 4 more jobs could not be changed" in ran.err
    assert ran.status == 1
    assert db.execute("SELECT count(*) FROM awa.jobs WHERE state = 'available'").fetchone() == (30,)
    ((action, target, detail),) = db.execute(
        "SELECT action, target, detail FROM awa.audit_log"
    ).fetchall()
    assert (action, target, detail["jobs"]) == ("job.retry", "44 jobs", 30)
    assert sorted(detail["ids"]) == failed


@pytest.mark.parametrize(
    ("words", "state", "left"),
    [
        (["job", "cancel"], "available", ("cancelled", "email", 2)),
        (["job", "priority", "4"], "available", ("available", "email", 4)),
        (["job", "move", "slow"], "available", ("available", "slow", 2)),
        (["job", "discard"], "failed", None),
        (["dlq", "move"], "failed", None),
    ],
    ids=lambda one: one[1] if isinstance(one, list) else None,
)
def test_each_change_of_many_ids(cli, add, db, stdin, words, state, left) -> None:
    ids = [add(state) for _ in range(25)]
    stdin(" ".join(map(str, ids)))

    ran = cli(*words, "-")

    assert (ran.status, ran.err.count("error")) == (0, 0)
    assert "25 jobs" in ran.out
    found = db.execute("SELECT DISTINCT state::text, queue, priority FROM awa.jobs").fetchall()
    assert found == ([] if left is None else [left])


def test_many_dead_letters_are_changed_in_pages(cli, add, db, stdin) -> None:
    ids = [add("failed") for _ in range(50)]
    stdin(" ".join(map(str, ids)))
    assert cli("dlq", "move", "-").out == "Moved 50 jobs\n"
    stdin(" ".join(map(str, ids[:25])))
    assert cli("dlq", "retry", "-", "--to-queue", "again").status == 0
    stdin(" ".join(map(str, ids)))
    purged = cli("dlq", "purge", "-")

    assert purged.out == "Purged 25 jobs\n"
    assert purged.err.count("error: job not found") == 10
    assert db.execute("SELECT count(*), min(queue) FROM awa.jobs").fetchone() == (25, "again")
    assert db.execute("SELECT count(*) FROM awa.dead_letters").fetchone() == (0,)
