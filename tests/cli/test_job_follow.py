"""``awa job wait``, ``watch``, ``tail`` and ``logs``."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from fix_cli import argv, environment
from fix_wait import eventually

from awa_cli.commands.job import follow
from awa_lib.db.drive import run
from awa_lib.ops.job_logs import RunLog, write_job_logs

# It waits for a notification, after a look at the job.
ASLEEP = """
    SELECT count(*) FROM pg_stat_activity JOIN awa.job_waits ON session = pid
    WHERE state = 'idle' AND query NOT LIKE '%job_waits%'"""
ENTRY = json.dumps({"error": "Boom: x\n  at y", "attempt": 1, "at": "2026-11-23T21:32:12+00:00"})


def start(url: str, *line: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        argv(*line), env=environment(url), text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("state", "wanted", "status"),
    [
        ("completed", [], 0),
        ("failed", [], 1),
        ("cancelled", [], 1),
        ("failed", ["--for", "failed"], 0),
        ("cancelled", ["--for", "completed,cancelled"], 0),
        ("scheduled", ["--timeout", "0.1s"], 124),
        ("available", ["--timeout", "0.1", "--for", "running"], 124),
    ],
)
def test_the_exit_status_tells_the_outcome(cli, add, state, wanted, status) -> None:
    job = add(state, errors=[ENTRY])
    ran = cli("job", "wait", job, *wanted)
    assert ran.status == status
    # An error from before a retry is none of a job that has completed.
    words = [] if state == "completed" else ["Boom:", "x"]
    assert ran.out.splitlines()[1].split() == [str(job), state, "0", *words]
    assert ("not all jobs reached the state within 0.1s" in ran.err) == (status == 124)
    data = cli("job", "wait", job, *wanted, "-o", "json").data
    error = "Boom: x\n  at y" if words else None
    assert data == [{"id": job, "state": state, "attempt": 0, "error": error}]


def test_waiting_for_a_job_that_is_not_there(cli, add) -> None:
    job = add("completed")
    ran = cli("job", "wait", job, 999)
    assert ran.status == 1
    assert "job not found: 999" in ran.err
    assert cli("job", "wait", "x").status == 2
    assert cli("job", "wait", job, "--for", "done").status == 2


def test_waiting_is_woken_by_the_change(database_url, add, db) -> None:
    jobs = [add(), add()]
    waiting = start(database_url, "job", "wait", *jobs, "--timeout", "30s")
    eventually(lambda: db.execute("SELECT count(*) FROM awa.job_waits").fetchone() == (2,))
    end = "UPDATE awa.jobs_hot SET state = 'completed', finalized_at = now() WHERE id = %s"
    db.execute("LISTEN awa_job_state")
    db.execute(end, [jobs[0]])
    db.execute(end, [jobs[1]])
    out, err = waiting.communicate(timeout=20)
    assert (waiting.returncode, err) == (0, "")
    told = [note.payload for note in db.notifies(timeout=0)]
    assert told == [f"{job} completed" for job in jobs]
    assert [line.split()[1] for line in out.splitlines()[1:]] == ["completed", "completed"]
    assert db.execute("SELECT count(*) FROM awa.job_waits").fetchone() == (0,)


def test_an_end_that_commits_while_the_wait_begins_is_found(
    cli, add, db, database_url, monkeypatch
) -> None:
    """Its trigger has run before anybody waited, so nothing is notified."""
    monkeypatch.setattr(follow, "_POLL_SECONDS", 3600.0)
    job = add()
    with psycopg.connect(database_url) as ending, ThreadPoolExecutor(1) as pool:
        ending.execute("UPDATE awa.jobs_hot SET state = 'completed', finalized_at = now()")

        def end() -> None:
            # The command has looked once.
            eventually(lambda: db.execute(ASLEEP).fetchone() == (1,))
            ending.commit()

        ended, began = pool.submit(end), time.monotonic()
        ran = cli("job", "wait", job, "--timeout", "30s")
        ended.result()
    assert (ran.status, ran.err) == (0, "")
    # At the end of its time it would look once more.
    assert time.monotonic() - began < 25


def test_ctrl_c_while_waiting(database_url, add, db) -> None:
    waiting = start(database_url, "job", "wait", add())
    # It has looked at the job after it was noted; earlier, its note ends by itself in time.
    eventually(lambda: db.execute(ASLEEP).fetchone() == (1,))
    waiting.send_signal(signal.SIGINT)
    out, err = waiting.communicate(timeout=20)
    assert (waiting.returncode, out, err) == (130, "", "")
    assert db.execute("SELECT count(*) FROM awa.job_waits").fetchone() == (0,)


def test_a_reader_waits_too(cli, add, db, database_url, monkeypatch) -> None:
    role = "waiting_reader"
    db.execute(f"DROP ROLE IF EXISTS {role}")
    db.execute(f"CREATE ROLE {role} LOGIN")
    db.execute(f"GRANT USAGE ON SCHEMA awa TO {role}")
    db.execute(f"GRANT SELECT ON awa.jobs_hot, awa.scheduled_jobs, awa.jobs TO {role}")
    job = add()
    try:
        url = psycopg.conninfo.make_conninfo(database_url, user=role)
        waiting = start(url, "job", "wait", job, "--timeout", "20s")
        asking = "SELECT count(*) FROM pg_stat_activity WHERE usename = %s"
        eventually(lambda: db.execute(asking, [role]).fetchone() == (1,))
        db.execute("UPDATE awa.jobs_hot SET state = 'completed', finalized_at = now()")
        _, err = waiting.communicate(timeout=20)
        assert (waiting.returncode, err) == (0, "")
    finally:
        db.execute(f"DROP OWNED BY {role}")
        db.execute(f"DROP ROLE {role}")


def test_watching_in_a_pipe(database_url, add, db) -> None:
    job = add("running", attempt=1)
    running = start(database_url, "job", "watch", job, "--interval", "100ms")
    assert running.stdout
    assert running.stdout.readline() == f"{job} running attempt 1\n"
    db.execute("""UPDATE awa.jobs_hot SET progress = '{"percent": 50, "message": "half"}'""")
    assert running.stdout.readline() == f"{job} running attempt 1 50% half\n"
    db.execute("UPDATE awa.jobs_hot SET state = 'failed', finalized_at = now(), progress = NULL")
    out, err = running.communicate(timeout=10)
    assert (running.returncode, out, err) == (1, f"{job} failed attempt 1\n", "")


def test_watching_at_a_terminal(terminal, database_url, add) -> None:
    job = add("completed", attempt=1)
    ran = terminal("job", "watch", job, url=database_url)
    assert ran.status == 0
    assert f"Job {job}" in ran.out
    assert "Timeline" in ran.out
    assert terminal("job", "watch", 999, url=database_url).status == 1


def test_logs(cli, add) -> None:
    job = add("failed", attempt=1, errors=[ENTRY], created_at="2026-11-23T21:30Z",
              attempted_at="2026-11-23T21:32Z", finalized_at="2026-11-23T21:32:12Z")  # fmt: skip
    assert cli("job", "logs", job).out == (
        "2026-11-23T21:30:00Z  Created\n"
        "2026-11-23T21:32:00Z  Attempt 1 started\n"
        "2026-11-23T21:32:12Z  Attempt 1 failed\n"
        "    Boom: x\n"
        "      at y\n"
        "2026-11-23T21:32:12Z  Failed after 1 attempt\n"
    )
    data = cli("job", "logs", job, "-o", "json").data
    events = cli("job", "dump", job).data["timeline"]
    assert data == [one | {"attempt": None, "logger": None} for one in events]
    assert cli("job", "logs", job, "--attempt", 1).out.count("Attempt 1") == 2
    assert "No events found." in cli("job", "logs", job, "--attempt", 7).err
    assert cli("job", "logs", 999).status == 1


def put_log(db, job: int, lease: int, attempt: int, *records: tuple[str, ...], dropped=0) -> None:
    names = ("time", "level", "logger", "message", "exception")
    lines = [json.dumps(dict(zip(names, one, strict=False))) for one in records]
    count = len(lines) + dropped
    log = RunLog(job, lease, attempt, "\n".join(lines), count, dropped)
    run(db, write_job_logs([log]))


def test_logs_have_what_handlers_logged(cli, add, db) -> None:
    job = add("failed", attempt=2, run_lease=6, errors=[ENTRY], created_at="2026-11-23T21:30Z",
              attempted_at="2026-11-23T21:33Z", finalized_at="2026-11-23T21:34Z")  # fmt: skip
    put_log(db, job, 5, 1, ("2026-11-23T21:31:30+00:00", "INFO", "shop", "begun\x1b[0m"), dropped=3)
    put_log(
        db, job, 6, 2,
        ("2026-11-23T21:33:30.250+00:00", "ERROR", "shop.mail", "lost\nfor good", "Trace:\n  x"),
    )  # fmt: skip
    assert cli("job", "logs", job).out == (
        "2026-11-23T21:30:00Z  Created\n"
        "2026-11-23T21:31:30Z  … 3 earlier records dropped\n"
        "2026-11-23T21:31:30Z  INFO shop: begun\\x1b[0m\n"
        "2026-11-23T21:32:12Z  Attempt 1 failed\n"
        "    Boom: x\n"
        "      at y\n"
        "2026-11-23T21:33:00Z  Attempt 2 started\n"
        "2026-11-23T21:33:30Z  ERROR shop.mail: lost\n"
        "    for good\n"
        "    Trace:\n"
        "      x\n"
        "2026-11-23T21:34:00Z  Failed after 2 attempts\n"
    )
    assert cli("job", "logs", job, "-o", "json").data[-2] == {
        "timestamp": "2026-11-23T21:33:30.250Z", "label": "ERROR", "state": None,
        "detail": "lost\nfor good\nTrace:\n  x", "is_error": True, "attempt": 2,
        "logger": "shop.mail",
    }  # fmt: skip
    of_first = cli("job", "logs", job, "--attempt", 1).out.splitlines()
    assert [line[22:] for line in of_first if line[0] != " "] == [
        "… 3 earlier records dropped", "INFO shop: begun\\x1b[0m", "Attempt 1 failed",
    ]  # fmt: skip


@pytest.mark.parametrize("form", ["table", "json"])
def test_logs_are_followed_until_the_job_has_ended(database_url, add, db, form) -> None:
    job = add("running", attempt=1, run_lease=5, created_at="2026-11-23T21:30Z",
              attempted_at="2026-11-23T21:31Z")  # fmt: skip
    same = ("2026-11-23T21:32:00+00:00", "INFO", "shop", "again")
    following = start(database_url, "job", "logs", job, "-f", "-o", form)
    assert following.stdout is not None
    bound = threading.Timer(30, following.kill)
    bound.start()

    def shown() -> str:
        line = following.stdout.readline()
        if form == "table":
            return line.strip()[22:].removeprefix("INFO shop: ")
        return json.loads(line)["detail"] or json.loads(line)["label"]

    assert [shown(), shown()] == ["Created", "Attempt 1 running"]
    put_log(db, job, 5, 1, same)
    assert shown() == "again"
    put_log(db, job, 5, 1, same, same)
    assert shown() == "again"
    put_log(db, job, 5, 1, same, same, ("2026-11-23T21:33:00+00:00", "INFO", "shop", "last"))
    db.execute(
        "UPDATE awa.jobs_hot SET state = 'completed', finalized_at = '2026-11-23T21:34Z'"
        " WHERE id = %s",
        (job,),
    )
    assert [shown(), shown()] == ["last", "Completed (attempt 1)"]
    assert following.communicate(timeout=20) == ("", "")
    assert following.returncode == 0
    bound.cancel()


def test_tail_of_what_was(cli, add) -> None:
    assert "No events found." in cli("job", "tail").err
    job = add("failed", attempt=1, run_lease=1, errors=[ENTRY], tags=["t"],
              created_at="2026-11-23T21:30Z", attempted_at="2026-11-23T21:32Z",
              finalized_at="2026-11-23T21:32:12Z")  # fmt: skip
    lines = cli("job", "tail").out.splitlines()
    assert [line.split()[1] for line in lines] == ["created", "running", "failed"]
    assert lines[2].endswith(f"{job}  send_email  email  attempt 1  Boom: x")
    one = json.loads(cli("job", "tail", "-n", 1, "-o", "ndjson").out)
    assert one == {
        "id": job, "at": "2026-11-23T21:32:12Z", "event": "failed", "kind": "send_email",
        "queue": "email", "attempt": 1, "tags": ["t"], "error": "Boom: x",
    }  # fmt: skip
    assert cli("job", "tail", "--event", "created,failed").out.count("\n") == 2
    for nothing in (["--queue", "x"], ["--kind", "x"], ["--tag", "x"], ["--event", "cancelled"]):
        assert cli("job", "tail", *nothing).out == ""
    assert "did you mean: --event failed" in cli("job", "tail", "--event", "fail").err
