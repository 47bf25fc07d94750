"""``awa job result`` and ``awa job wait --result``."""

from __future__ import annotations

import json
import subprocess

import psycopg
import pytest
from fix_cli import argv, environment
from fix_wait import eventually


@pytest.fixture
def keep(db):
    def keep(job_id: int, value: object) -> None:
        text = json.dumps(value)
        db.execute(
            "INSERT INTO awa.job_results (job_id, value, size_bytes, expires_at, purge_at)"
            " VALUES (%s, %s, %s, now() + interval '1 day', now())",
            [job_id, text, len(text)],
        )

    return keep


@pytest.mark.parametrize(
    ("value", "shown", "raw"),
    [
        ({"a": [1]}, '{\n  "a": [\n    1\n  ]\n}\n', '{"a":[1]}\n'),
        ("line\nü", '"line\\nü"\n', "line\nü\n"),
        (None, "null\n", "null\n"),
    ],
)
def test_forms(cli, add, keep, value, shown, raw) -> None:
    job = add("completed")
    keep(job, value)
    assert cli("job", "result", job).out == shown
    assert cli("job", "result", job, "--raw").out == raw
    assert cli("job", "result", job, "-o", "json").data["value"] == value


def test_wait_prints_results_in_the_order_of_the_ids(cli, add, keep, database_url, db) -> None:
    first, second = add("running"), add("completed")
    keep(second, {"password": "x", "n": 2})
    line = argv("job", "wait", first, second, "--result", "--redact", "password")
    waiting = subprocess.Popen(
        line, env=environment(database_url), text=True, stdout=subprocess.PIPE
    )
    with psycopg.connect(database_url, autocommit=True) as conn:
        eventually(lambda: conn.execute("SELECT FROM awa.job_waits").fetchall())
    keep(first, [1, 2])
    db.execute("UPDATE awa.jobs_hot SET state = 'completed' WHERE id = %s", [first])
    out, _ = waiting.communicate(timeout=30)

    assert (waiting.returncode, out) == (0, '[1,2]\n{"n":2,"password":"***"}\n')


def test_wait_for_a_job_without_a_result(cli, add) -> None:
    job = add("completed")
    ran = cli("job", "wait", job, "--result")
    assert (ran.status, ran.out) == (1, "")
    assert f"job {job} completed without a result" in ran.err
    assert cli("job", "wait", add("failed"), "--result").status == 1
    for form in (["-o", "json"], ["--for", "failed"]):
        refused = cli("job", "wait", job, "--result", *form)
        assert (refused.status, "--result cannot be used with" in refused.err) == (2, True)
