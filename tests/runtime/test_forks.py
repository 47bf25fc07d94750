"""Children that a handler forks: they neither stop the worker nor keep what it held."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fix_cli import argv, environment
from fix_wait import eventually
from fix_worker import Rows

APP = """
import multiprocessing, os, pathlib, time
from concurrent.futures import ProcessPoolExecutor
import awa_lib

client = awa_lib.AsyncClient(os.environ["DATABASE_URL"])
pools = []

def sleep(seconds):
    time.sleep(seconds)

def _note(name, pid):
    pathlib.Path(name + ".new").write_text(str(pid))
    os.rename(name + ".new", name)

@client.task(dict, kind="pool")
async def pool(job):
    pools.append(ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")))
    pools[-1].submit(sleep, 600)
    _note("child", next(iter(pools[-1]._processes)))

@client.task(dict, kind="thread")
def thread(job):
    process = multiprocessing.get_context("fork").Process(target=sleep, args=[600])
    process.start()
    process.terminate()     # at once: the child has hardly begun
    process.join()
    _note("ended", process.exitcode)

@client.task(dict, kind="noop")
async def noop(job):
    pass
"""
SESSIONS = """
    SELECT pid FROM pg_stat_activity
    WHERE datname = current_database() AND application_name LIKE 'awa%%'
"""
LOCK = """
    SELECT pid FROM pg_locks
    WHERE locktype = 'advisory' AND classid = 1096237407 AND objid = 1296124238 AND granted
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


@pytest.fixture
def worker(tmp_path: Path, database_url: str) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start the real command; children it leaves are killed."""
    (tmp_path / "shop.py").write_text(APP)
    started = []

    def start(*args: object) -> subprocess.Popen[bytes]:
        with (tmp_path / "log").open("w") as log:
            process = subprocess.Popen(
                argv("worker", "shop:client", *args),
                cwd=tmp_path,
                stdout=log,
                stderr=log,
                env=environment(database_url),
                start_new_session=True,
            )
        started.append(process)
        eventually(lambda: "worker started" in (tmp_path / "log").read_text(), timeout=20)
        return process

    yield start
    for process in started:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()


def insert(rows: Rows, kind: str) -> None:
    rows.conn.execute("INSERT INTO awa.jobs (kind, queue) VALUES (%s, 'default')", (kind,))


def child(folder: Path, name: str = "child") -> int:
    return eventually(lambda: int((folder / name).read_text()))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_for_a_child_leaves_the_worker_alone(worker, rows, tmp_path, number) -> None:
    process = worker()
    insert(rows, "pool")
    pid = child(tmp_path)
    os.kill(pid, number)
    if number == signal.SIGTERM:  # Ctrl-C ends the call, and the pool's process may go on
        eventually(lambda: not Path(f"/proc/{pid}").exists())

    insert(rows, "noop")

    eventually(lambda: rows.states() == {"completed": 2})
    assert process.poll() is None
    assert "stopping" not in (tmp_path / "log").read_text()


def test_a_child_of_a_thread_that_is_terminated_at_once(worker, rows, tmp_path) -> None:
    process = worker()
    for _ in range(5):
        insert(rows, "thread")

    eventually(lambda: rows.states() == {"completed": 5})
    assert child(tmp_path, "ended") == -signal.SIGTERM
    assert process.poll() is None
    assert "stopping" not in (tmp_path / "log").read_text()


def test_the_child_of_a_killed_worker_keeps_neither_lead_nor_session_nor_port(
    worker, rows, tmp_path
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = worker("--health-port", port)
    eventually(lambda: rows.all(LOCK))
    insert(rows, "pool")
    pid = child(tmp_path)
    eventually(lambda: rows.states() == {"completed": 1})

    process.kill()
    process.wait()

    eventually(lambda: not rows.all(LOCK))
    eventually(lambda: not rows.all(SESSIONS))
    os.kill(pid, 0)
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_worker_ends_as_usual_beside_a_child(worker, rows, tmp_path) -> None:
    process = worker("--drain-timeout", 1)
    insert(rows, "thread")
    eventually(lambda: rows.states() == {"completed": 1})

    process.terminate()

    assert process.wait(timeout=15) == 0
