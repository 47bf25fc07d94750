"""The examples, run as their first lines say."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from fix_examples import Examples, Site, stop
from fix_wait import eventually
from fix_worker import Rows

EXAMPLES = Path(__file__).parents[2] / "examples"
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def files(examples: Callable[..., Examples]) -> Examples:
    return examples(EXAMPLES)


@pytest.fixture
def run(files: Examples) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run an example to its end."""
    return files.run


@pytest.fixture
def start(files: Examples) -> Start:
    """Start an example as a process; whatever still runs is killed at the end."""
    return files.start


def test_plain_script(run, tmp_path: Path, rows: Rows) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "a.txt").write_text("one two three")
    (tmp_path / "deep" / "b.txt").write_text("four")
    (tmp_path / "bad.txt").write_bytes(b"\xff\xfe\xff")
    (tmp_path / "not.md").write_text("no")
    done = run("plain_script.py", str(tmp_path))

    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [
        "3", str(tmp_path / "a.txt"), "1", str(tmp_path / "deep" / "b.txt"), "4", "in", "2", "files",
    ]  # fmt: skip
    assert f"could not count {tmp_path / 'bad.txt'}" in done.stderr
    assert rows.states() == {"completed": 2, "failed": 1}
    assert run("plain_script.py", str(tmp_path / "deep" / "empty")).returncode == 1


def test_etl_loads_each_line_once_although_it_is_killed(
    start: Start, tmp_path: Path, rows: Rows, database_url: str
) -> None:
    lines, reached = 10_000, 4_000
    source = tmp_path / "measurements.csv"
    source.write_text(
        "sensor,value\n" + "".join(f"s{n % 7},{n / 4}\n" for n in range(1, lines + 1))
    )
    rows.conn.execute(
        "CREATE TABLE measurements (file text, line int, sensor text, value float8,"
        " PRIMARY KEY (file, line))"
    )

    with psycopg.connect(database_url) as conn:
        # Whoever writes this line waits for our transaction: the load stands still in its middle.
        conn.execute("INSERT INTO measurements VALUES (%s, %s)", (source.name, reached + 1))
        first = start("etl.py", str(source))
        loaded = "SELECT count(*) AS n FROM measurements"
        eventually(lambda: rows.one(loaded)["n"] == reached, timeout=30)
        os.killpg(first.pid, signal.SIGKILL)
        first.communicate()
        conn.rollback()
    second = start("etl.py", str(source))
    eventually(lambda: rows.states() == {"completed": 1}, timeout=30)
    stop(second)

    assert rows.one(
        "SELECT count(*) AS n, sum(value) AS total, max(line) AS last FROM measurements"
    ) == {"n": lines, "total": sum(n / 4 for n in range(1, lines + 1)), "last": lines}
    (job,) = rows.all("SELECT attempt, errors[1] ->> 'error' AS error FROM awa.jobs")
    assert job == {"attempt": 1, "error": "heartbeat stale: worker presumed dead"}


def test_payment_goes_on_after_restarts(start: Start, run, rows: Rows) -> None:
    def steps() -> list[str]:
        found = rows.all("SELECT step FROM payments WHERE order_id = 7 ORDER BY step")
        return [row["step"] for row in found]

    first = start("payments.py", "work")
    eventually(lambda: rows.one("SELECT to_regclass('payments') AS t")["t"], timeout=30)
    assert run("payments.py", "order", "7", "49.90").returncode == 0
    eventually(lambda: steps() == ["asked: authorised"])
    assert "does not wait" in run("payments.py", "answer", "7", "captured").stderr
    stop(first)  # in order, before the first answer
    assert run("payments.py", "answer", "7", "authorised").returncode == 0
    second = start("payments.py", "work")
    eventually(lambda: "asked: captured" in steps(), timeout=30)
    os.killpg(second.pid, signal.SIGKILL)  # not in order, before the second
    second.communicate()
    assert run("payments.py", "answer", "7", "captured").returncode == 0
    third = start("payments.py", "work")
    eventually(lambda: rows.states() == {"completed": 1}, timeout=30)
    stop(third)

    assert steps() == ["asked: authorised", "asked: captured", "authorised", "captured"]


def test_declined_payment_fails(start: Start, run, rows: Rows) -> None:
    worker = start("payments.py", "work")
    eventually(lambda: rows.one("SELECT to_regclass('payments') AS t")["t"], timeout=30)
    run("payments.py", "order", "8", "1")
    eventually(lambda: rows.all("SELECT 1 FROM payments WHERE order_id = 8"), timeout=30)
    assert run("payments.py", "decline", "8", "authorised").returncode == 0
    eventually(lambda: rows.states() == {"failed": 1}, timeout=30)
    stop(worker)

    (job,) = rows.all("SELECT errors[1] ->> 'error' AS error FROM awa.jobs")
    assert "the payment was not authorised: declined" in job["error"]


def test_fastapi(start: Start, rows: Rows) -> None:
    site = Site()
    server = start("-m", "uvicorn", "fastapi_app:app", "--port", str(site.port))
    site.wait(server)
    status, placed = site.post_json("/orders", email="ada@example.com", item="tea")
    bad_status, bad = site.post_json("/orders", email="nobody", item="tea")
    refused = site.post_json("/orders", email="ada@example.com", item="sold out")
    states = ("completed", "failed")
    for order, state in zip((placed, bad), states, strict=True):
        eventually(lambda: site.ask(f"/jobs/{order['job']}")[1]["state"] == state)  # noqa: B023
    missing = site.ask("/jobs/99999")
    stop(server)

    assert (status, bad_status, refused, missing[0]) == (
        201,
        201,
        (409, {"detail": "sold out"}),
        404,
    )
    assert rows.all("SELECT id, mailed FROM orders ORDER BY id") == [
        {"id": placed["order"], "mailed": True}, {"id": bad["order"], "mailed": False},
    ]  # fmt: skip
    assert rows.one("SELECT count(*) AS n FROM awa.jobs") == {"n": 2}


def test_flask(start: Start, run, rows: Rows) -> None:
    site = Site()
    assert run("-m", "flask", "--app", "flask_app", "init-db").returncode == 0
    server = start("-m", "flask", "--app", "flask_app", "run", "--port", str(site.port))
    site.wait(server)
    status, posted = site.ask("/digests", b"hello", "text/plain")
    again = site.ask("/digests", b"hello", "text/plain")
    waiting = site.ask(f"/digests/{posted['job']}")
    worker = start("-m", "awa_cli", "worker", "flask_app:worker", "--queue", "thumbs=4")
    eventually(lambda: site.ask(f"/digests/{posted['job']}")[0] == 200, timeout=30)
    digest = site.ask(f"/digests/{posted['job']}")
    stop(worker)

    assert (status, again, waiting) == (202, (202, posted), (202, {"state": "available"}))
    assert digest == (
        200, {"value": "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"},
    )  # fmt: skip
    assert site.ask("/digests/99999")[0] == 404


def test_django(start: Start, run, rows: Rows) -> None:
    site = Site()
    done = run("django_app.py", "set-up")
    assert done.returncode == 0, done.stderr
    server = start("django_app.py", "runserver", "--noreload", f"127.0.0.1:{site.port}")
    site.wait(server)
    signed_up = site.post("/members", email="ada@example.com")
    refused = site.post("/members", email="nobody")
    worker = start("-m", "awa_cli", "worker", "django_app:worker")
    eventually(lambda: rows.states() == {"completed": 1}, timeout=30)
    stop(worker)

    assert (signed_up, refused) == ((201, {"user": 1}), (400, {"error": "not an address"}))
    assert rows.all("SELECT email, welcomed FROM members") == [
        {"email": "ada@example.com", "welcomed": True}
    ]


def test_django_tasks(examples: Callable[..., Examples], rows: Rows) -> None:
    shop = examples(EXAMPLES / "django_tasks")
    for command in ("migrate", "check"):
        done = shop.run("manage.py", command)
        assert done.returncode == 0, done.stderr
    site = Site()
    site.wait(shop.start("manage.py", "runserver", "--noreload", f"127.0.0.1:{site.port}"))
    placed = site.post("/orders", email="ada@example.com", item="tea")
    refused = site.post("/orders", email="ada@example.com", item="sold out")
    task = f"/tasks/{placed[1]['task']}"
    waits = site.ask(task)
    worker = shop.start("manage.py", "awa_worker")
    eventually(lambda: site.ask(task)[1]["status"] == "SUCCESSFUL", timeout=30)
    done = site.ask(task)
    stop(worker)

    assert (placed[0], refused[0]) == (201, 409)
    assert waits == (200, {"status": "READY", "attempts": 0, "said": None})
    said = "sent to ada@example.com in attempt 1"
    assert done == (200, {"status": "SUCCESSFUL", "attempts": 1, "said": said})
    assert site.ask("/tasks/99999")[0] == 404
    assert rows.states() == {"completed": 1}


def test_the_tests_of_django_tasks_pass(examples: Callable[..., Examples]) -> None:
    shop = examples(EXAMPLES / "django_tasks")
    tested = shop.run("manage.py", "test")
    changed = shop.run("manage.py", "makemigrations", "--check", "--dry-run")

    assert tested.returncode == 0, tested.stderr
    assert "Ran 4 tests" in tested.stderr
    assert changed.returncode == 0, changed.stdout
