"""``awa worker --processes``: what a child's or the supervisor's end does to the others."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import psycopg
import pytest
from fix_cli import argv, environment
from fix_wait import eventually

APP = """
import os, pathlib, signal, time
import awa_lib

if pathlib.Path("broken").exists():
    raise RuntimeError("half a deployment")
client = awa_lib.AsyncClient(os.environ["DATABASE_URL"])

@client.task(dict, kind="send_email", queue="email")
async def send(job):
    pass

@client.task(dict, kind="give_up", queue="email")
async def give_up(job):
    os._exit(70)

@client.task(dict, kind="deaf", queue="email")
async def deaf(job):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    pathlib.Path("blocked").touch()
    time.sleep(600)
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text(APP)
    return tmp_path


@pytest.fixture
def start(project, database_url):
    """Start a supervisor; it and all its children are killed at the end of the test."""
    running = []

    def start(*args: object) -> subprocess.Popen[str]:
        with (project / "log").open("w") as log:
            process = subprocess.Popen(
                argv("worker", "shop:client", *args), cwd=project,
                env=environment(database_url), stdout=log, stderr=log, text=True,
            )  # fmt: skip
        running.append(process)
        return process

    yield start
    for process in running:
        left = children(process.pid) if process.poll() is None else set()
        process.kill()
        process.wait()
        for pid in left:
            _kill(pid)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


@pytest.fixture
def log(project):
    return (project / "log").read_text


def children(pid: int) -> set[int]:
    return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def lives(pid: int) -> bool:
    """Say whether a process runs: a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def ready(log, count: int) -> None:
    eventually(lambda: log().count("worker started") == count, timeout=20)


def test_a_child_that_dies_while_a_migration_is_pending_stops_nobody(
    start, log, database_url, add
) -> None:
    supervisor = start("--processes", 3)
    ready(log, 3)
    before = children(supervisor.pid)
    with psycopg.connect(database_url, autocommit=True) as conn:
        (kept,) = conn.execute(
            "DELETE FROM awa.toolkit_migrations WHERE version = 13 RETURNING name"
        ).fetchone()
        os.kill(min(before), signal.SIGKILL)
        eventually(lambda: log().count("T0013 pending") >= 2, timeout=20)
        assert supervisor.poll() is None
        assert len(children(supervisor.pid) & before) == 2
        conn.execute("INSERT INTO awa.toolkit_migrations (version, name) VALUES (13, %s)", (kept,))

    ready(log, 4)
    eventually(lambda: "worker 1 has recovered" in log())
    assert log().count("ended with status 4") == 1
    supervisor.terminate()
    assert supervisor.wait(timeout=20) == 0


def test_a_module_that_breaks_under_a_working_fleet_stops_nobody(start, log, project) -> None:
    supervisor = start("--processes", 2)
    ready(log, 2)
    before = children(supervisor.pid)
    (project / "broken").touch()

    os.kill(min(before), signal.SIGKILL)

    eventually(lambda: log().count("half a deployment") >= 2, timeout=20)
    assert supervisor.poll() is None
    (project / "broken").unlink()
    ready(log, 3)


def test_a_worker_that_gave_up_is_started_again(start, log, add) -> None:
    supervisor = start("--processes", 2)
    ready(log, 2)
    add(kind="give_up")

    ready(log, 3)
    assert re.search(
        r"worker \d ended with status 70 \(a background task kept failing\); restarting in", log()
    )
    assert supervisor.poll() is None


def test_dead_children_are_collected(start, log) -> None:
    supervisor = start("--processes", 2)
    ready(log, 2)

    for pid in (dead := children(supervisor.pid)):
        os.kill(pid, signal.SIGKILL)

    ready(log, 4)
    assert not children(supervisor.pid) & dead
    assert all(lives(pid) for pid in children(supervisor.pid))


def test_a_stopped_child_does_not_keep_the_fleet_from_ending(start, log) -> None:
    supervisor = start("--processes", 2, "--drain-timeout", 0)
    ready(log, 2)
    stopped = min(children(supervisor.pid))
    os.kill(stopped, signal.SIGSTOP)

    started = time.monotonic()
    supervisor.terminate()

    assert supervisor.wait(timeout=20) == 1
    assert time.monotonic() - started < 6
    assert "worker 1 did not end within 3 s and is killed" in log()
    assert not lives(stopped)


def test_a_child_that_hears_nothing_ends_soon_after_its_killed_supervisor(
    start, log, project, add
) -> None:
    supervisor = start("--processes", 2, "--drain-timeout", 0)
    ready(log, 2)
    fleet = children(supervisor.pid)
    add(kind="deaf")
    eventually((project / "blocked").exists)

    supervisor.kill()

    eventually(lambda: not any(lives(pid) for pid in fleet))
    assert "outlived its supervisor and is killed" in log()


def test_a_closed_terminal_drains_and_does_not_hurry(start, log, project, add) -> None:
    supervisor = start("--processes", 2)
    ready(log, 2)

    supervisor.send_signal(signal.SIGHUP)
    supervisor.send_signal(signal.SIGHUP)

    assert supervisor.wait(timeout=20) == 0
    assert log().count("worker stopped") == 2


@pytest.mark.parametrize("delay", [0.25, 0.4, 0.6, 0.8])
def test_a_signal_while_children_are_started_is_not_lost(start, delay) -> None:
    supervisor = start("--processes", 3, "--drain-timeout", 1)
    # The moment is the point: nothing marks it from outside.
    time.sleep(delay)
    fleet = children(supervisor.pid)
    supervisor.terminate()

    assert supervisor.wait(timeout=10) in {0, -signal.SIGTERM}
    eventually(lambda: not any(lives(pid) for pid in fleet))
