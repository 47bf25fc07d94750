"""Servers of their own for the tests of the embedded server, and processes that use them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from awa_lib.embedded import locks, reset, status
from awa_lib.embedded import server as server_module

ROOT = Path(__file__).resolve().parents[1]
FAST = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}
AS_ROOT = os.geteuid() == 0
only_root = pytest.mark.skipif(not AS_ROOT, reason="root alone runs the server as another user")

# Joins, says so, and leaves when its input ends.
CLIENT = """
import json, sys
from awa_lib.embedded import acquire, status
server = acquire(sys.argv[1], settings={"fsync": "off"})
print(json.dumps({"url": server.url, "pid": status(sys.argv[1]).pid}), flush=True)
sys.stdin.read()
server.release()
"""


@pytest.fixture
def place(scratch: Path) -> Iterator[Path]:
    """A directory for a server, not made yet; deleted afterwards."""
    place = scratch / f"e-{uuid.uuid4().hex[:8]}"
    yield place
    if place.exists():
        reset(place)
        shutil.rmtree(place, ignore_errors=True)


@pytest.fixture
def impatient(monkeypatch) -> None:
    """Servers started in this process stop at once when nobody is left."""
    monkeypatch.setattr(server_module, "_LINGER_SECONDS", 0.1)


@pytest.fixture
def joining(place: Path) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Start a process that joins the server of ``place``."""
    started: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", CLIENT, str(place)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def told(process: subprocess.Popen[str]) -> dict[str, object]:
    assert process.stdout is not None
    return json.loads(process.stdout.readline())


def leave(process: subprocess.Popen[str]) -> None:
    process.communicate("")


def is_supervised(place: Path) -> bool:
    return locks.is_held(place / "supervisor.lock")


def is_gone(place: Path) -> bool:
    """Say whether server and supervisor are both gone."""
    return not status(place).running and not is_supervised(place)


def one(url: str, text: str) -> object:
    """Return the one value a query gives."""
    with psycopg.connect(url, autocommit=True) as conn:
        row = conn.execute(text).fetchone()
        assert row is not None
        return row[0]


def do(url: str, text: str) -> None:
    """Run a statement."""
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(text)


def run_script(script: str, *args: object) -> subprocess.CompletedProcess[str]:
    """Run Python code in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", script, *map(str, args)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def supervisor_pid(place: Path) -> int:
    return int((place / "supervisor.lock").read_text())
