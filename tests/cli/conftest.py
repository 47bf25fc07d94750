"""Fixtures of the golden files, the schemas, worker processes in the database, and the sound server."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import uuid
from contextlib import ExitStack

import pytest
from fix_cli import environment
from golden_runs import ENVIRONMENT, GOLDEN, Place, seed
from psycopg.conninfo import conninfo_to_dict

# A place is as old as this at most; the golden files show the same for a minute.
SEED_SECONDS = 10


@pytest.fixture(scope="module")
def terminals():
    """A process that runs commands at terminals; see golden_terminals.py."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWA_CONFIG", "")  # each request brings its own
        env = environment(None)
    with subprocess.Popen(
        [sys.executable, str(GOLDEN.parent / "golden_terminals.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=env,
    ) as process:
        yield process
        process.stdin.close()


@pytest.fixture(scope="session")
def seeded(postgres, template):
    """Return the name of a seeded database that places are cloned from, and its moment.

    To seed each place would take twice as long as to clone it.
    """
    until, kept = 0.0, None
    with ExitStack() as database:

        def get():
            nonlocal until, kept
            if time.monotonic() > until:
                database.close()
                url = database.enter_context(postgres.database(template))
                until = time.monotonic() + SEED_SECONDS
                kept = conninfo_to_dict(url)["dbname"], seed(url)
            return kept

        yield get


@pytest.fixture
def place(postgres, seeded, tmp_path, monkeypatch):
    """Make places: databases with the seed in them."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    time.tzset()
    folder = tmp_path / "here"
    folder.mkdir()

    def make_empty() -> str:
        with postgres.database() as url:
            return url

    def make() -> Place:
        source, now = seeded()
        with postgres.database(source) as url:
            monkeypatch.setenv("DATABASE_URL", url)
            monkeypatch.setenv("HERE", url)
            return Place(url, now, make_empty, folder)

    return make


@pytest.fixture
def fleet(db):
    """Put worker processes into the fleet table."""

    def put(**columns) -> None:
        row = {
            "instance_id": str(uuid.uuid4()),
            "hostname": "box",
            "pid": 7,
            "version": "0.5.7",
            "started_at": "now",
            "snapshot_interval_ms": 10000,
            "healthy": True,
            "postgres_connected": True,
            "poll_loop_alive": True,
            "heartbeat_alive": True,
            "maintenance_alive": True,
            "shutting_down": False,
            "leader": False,
            "queues": json.dumps([{"queue": "email", "in_flight": 3}]),
            **columns,
        }
        places = ", ".join(["%s"] * len(row))
        db.execute(
            f"INSERT INTO awa.runtime_instances ({', '.join(row)}) VALUES ({places})",
            list(row.values()),
        )

    return put


@pytest.fixture
def live_worker(fleet) -> None:
    """A live worker process of another machine, with one queue and one kind."""
    fleet(
        leader=True,
        queue_descriptor_hashes='{"email": "a"}',
        job_kind_descriptor_hashes='{"send_email": "a"}',
    )


@pytest.fixture
def ask(offline, monkeypatch, sound_url):
    """Run the command on a database of the sound server."""
    monkeypatch.setenv("DATABASE_URL", sound_url)
    monkeypatch.setenv("COLUMNS", "80")
    return offline
