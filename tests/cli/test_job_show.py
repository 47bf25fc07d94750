"""``awa job show``: one job as a page for people."""

from __future__ import annotations

import json

import pytest

TRACE = 'SMTPError: 550 gone\n  File "mail.py", line 4\n    send()'
ENTRY = json.dumps({"error": TRACE, "attempt": 1, "at": "2026-11-23T21:32:12.565008606+00:00"})


@pytest.fixture
def failed(add) -> int:
    return add(
        "failed", attempt=1, max_attempts=1, errors=[ENTRY], tags=["eu"], metadata='{"run": 7}',
        args='{"to": "a@example.org", "note": "\\u001b[31m"}', created_at="2026-11-23T21:30Z",
        attempted_at="2026-11-23T21:32Z", finalized_at="2026-11-23T21:32:13Z",
    )  # fmt: skip


def test_failed_job(cli, failed) -> None:
    out = cli("job", "show", failed).out

    assert out.startswith(f"Job {failed}  send_email  failed  attempt 1 of 1\n")
    for line in (
        "  queue      email",
        "  tags       eu",
        "  retry      none: it had one attempt",
        '    "to": "a@example.org"',
        '    "note": "\\u001b[31m",',
        '    "run": 7',
        "  2026-11-23T21:30:00Z  Created",
        "  2026-11-23T21:32:12Z  Attempt 1 failed: SMTPError: 550 gone",
        "  2026-11-23T21:32:13Z  Failed after 1 attempt",
        '    File "mail.py", line 4',
        f"  awa job retry {failed}",
        "  awa job retry --state failed --kind send_email",
    ):
        assert f"\n{line}\n" in out
    assert "\x1b" not in out
    created = next(line for line in out.splitlines() if line.startswith("  created "))
    assert created.endswith("ago  2026-11-23T21:30:00Z")


@pytest.mark.parametrize(
    ("attempt", "more", "said"),
    [
        (3, {}, "none: it was the last of 3 attempts"),
        (2, {"max_attempts": 2}, "none: it was the last of 2 attempts"),
        (1, {"terminal": True}, "none: its error allows none"),
        (0, {"crash": 3}, "none: its worker died 3 times"),
        (1, {}, "none"),
    ],
)
def test_a_failed_job_says_why_it_is_not_retried(cli, add, attempt, more, said) -> None:
    entry = json.dumps({"error": "no", "attempt": attempt, **more})
    job = add("failed", attempt=attempt, max_attempts=3, errors=[entry])
    waiting = add("retryable", attempt=attempt, max_attempts=3, errors=[entry])

    assert f"\n  retry      {said}\n" in cli("job", "show", job).out
    assert "\n  retry  " not in cli("job", "show", waiting).out


def test_a_job_names_its_failure(cli, add) -> None:
    error = '{"error": "MailDown: x", "attempt": 1, "failure": "%s"}'
    mine = add("failed", kind="send", errors=[error % "3f9a2c81d0e1"])
    of_others = add("failed", kind="send", errors=[error % "others"])

    out = cli("job", "show", mine).out
    assert "\n  awa failure show 3f9a2c81d0e1\n  awa failure retry 3f9a2c81d0e1\n" in out
    assert "--state failed" not in out
    out = cli("job", "show", of_others).out
    assert "\n  awa job retry --state failed --kind send\n" in out


def test_what_can_be_done_really_can(cli, failed, add) -> None:
    for job in (failed, add("scheduled"), add("retryable"), add("running"), add("cancelled")):
        commands = cli("job", "show", job).out.partition("What can be done\n")[2].splitlines()
        assert commands
        for line in commands:
            really = line.startswith("  awa queue pause")
            ran = cli(*line.split()[1:], *([] if really else ["--dry-run"]))
            assert ran.status == 0
    assert "What can be done" not in cli("job", "show", add("completed")).out


def test_progress_and_callback(cli, add) -> None:
    running = add(
        "running", attempt=1,
        progress='{"percent": 50, "message": "half", "metadata": {"page": 3}}',
    )  # fmt: skip
    out = cli("job", "show", running).out
    assert f"  {'█' * 12}{'░' * 12} 50%  half\n\nCheckpoint\n" in out
    assert '    "page": 3\n' in out

    callback = "8feaec61-ea03-4e4c-ab3d-f63350329dc6"
    waiting = add("waiting_external", callback_id=callback, callback_filter="payload.ok")
    out = cli("job", "show", waiting).out
    assert f"  callback   {callback}\n  filter     payload.ok\n" in out
    assert f"  awa callback complete {callback} --payload '{{}}'\n" in out


def test_json_is_the_dump(cli, failed) -> None:
    assert cli("job", "show", failed, "-o", "json").out == cli("job", "dump", failed).out


def test_no_such_job(cli) -> None:
    ran = cli("job", "show", 7)

    assert (ran.status, ran.out) == (1, "")
    assert "job not found: 7" in ran.err


def test_colours_only_at_a_terminal_that_takes_them(terminal, database_url, failed) -> None:
    plain = terminal("job", "show", failed, url=database_url, NO_COLOR="1", PAGER="cat").out
    colourful = terminal("job", "show", failed, url=database_url, PAGER="cat").out

    assert "\x1b" not in plain
    assert "\x1b[1;31mfailed\x1b[0m" in colourful


def test_a_page_longer_than_the_terminal_goes_through_the_pager(
    terminal, database_url, failed, tmp_path
) -> None:
    pager = tmp_path / "pager"
    pager.write_text("#!/bin/sh\necho PAGED; cat\n")
    pager.chmod(0o755)

    ran = terminal("job", "show", failed, url=database_url, PAGER=str(pager))

    assert ran.out.startswith("PAGED")
    assert "What can be done" in ran.out


def test_a_job_that_runs_again_is_not_headed_by_an_old_error(cli, add) -> None:
    again = add(
        "running", attempt=2, errors=[ENTRY], attempted_at="2026-11-23T21:40Z",
        progress='{"percent": 50, "message": "half"}',
    )  # fmt: skip
    out = cli("job", "show", again).out

    assert "Latest error" not in out
    assert "50%  half" in out
    assert "Attempt 1 failed: SMTPError: 550 gone" in out
    assert "Latest error" in cli("job", "show", add("retryable", errors=[ENTRY])).out


def test_each_attempt_has_its_worker_its_time_and_the_limit_of_the_kind(cli, add) -> None:
    entry = json.dumps({
        "error": TRACE, "attempt": 1, "started": "2026-11-23T21:32:08Z", "worker": "web-1:42",
        "app_version": "v7", "max_attempts": 2, "at": "2026-11-23T21:32:12Z",
    })  # fmt: skip
    crash = json.dumps({
        "error": "heartbeat stale: worker presumed dead", "attempt": 1, "crash": 1,
        "started": "2026-11-23T21:30:00Z", "heartbeat": "2026-11-23T21:31:30Z",
        "at": "2026-11-23T21:31:41Z", "worker": "web-1:41",
    })  # fmt: skip
    job = add("retryable", attempt=1, errors=[crash, entry], attempted_at="2026-11-23T21:32:08Z")
    out = cli("job", "show", job).out

    assert "  attempt 1 of 2\n" in out
    assert (
        "Attempts\n"
        "    1  crashed     1m30s  on web-1:41\n"
        "    1  failed         4s  on web-1:42  v7\n"
    ) in out
