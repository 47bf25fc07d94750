"""A worker in this process, and workers in processes of their own that can be killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

import awa_lib as awa

# Short intervals, so that a rescue is a matter of a second.
QUICK: dict[str, Any] = {
    "heartbeat_interval_ms": 200,
    "heartbeat_staleness_ms": 1500,
    "heartbeat_rescue_interval_ms": 200,
    "deadline_rescue_interval_ms": 200,
    "callback_rescue_interval_ms": 200,
    "promote_interval_ms": 50,
    "leader_election_interval_ms": 200,
}


@dataclass
class Noop:
    n: int = 0


@dataclass
class Rows:
    """Looks at the tables directly, as an operator with psql would."""

    conn: psycopg.Connection[dict[str, Any]]

    def all(self, text: str, *params: object) -> list[dict[str, Any]]:
        return self.conn.execute(text, params).fetchall()  # type: ignore[arg-type]

    def one(self, text: str, *params: object) -> dict[str, Any]:
        (row,) = self.all(text, *params)
        return row

    def job(self, job_id: int) -> dict[str, Any]:
        return self.one("SELECT * FROM awa.jobs WHERE id = %s", job_id)

    def states(self) -> dict[str, int]:
        rows = self.all("SELECT state::text AS state, count(*) AS n FROM awa.jobs GROUP BY state")
        return {row["state"]: row["n"] for row in rows}


@pytest.fixture
def rows(database_url: str) -> Iterator[Rows]:
    with psycopg.connect(database_url, autocommit=True, row_factory=psycopg.rows.dict_row) as conn:
        yield Rows(conn)


@asynccontextmanager
async def working(
    client: awa.AsyncClient, *queues: tuple[str, int] | dict[str, Any], **options: Any
) -> AsyncIterator[awa.AsyncClient]:
    """Run the client's worker inside the block; shut it down after."""
    await client.start(list(queues) or [("default", 10)], **{**QUICK, **options})
    try:
        yield client
    finally:
        await client.shutdown(2000)


@pytest.fixture
async def aclient(database_url: str) -> AsyncIterator[awa.AsyncClient]:
    async with awa.AsyncClient(database_url) as client:
        yield client


@pytest.fixture
def spawn_worker(
    database_url: str, tmp_path: Path
) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start ``python FILE`` with DATABASE_URL set; the process group is killed at the end."""
    started: list[subprocess.Popen[bytes]] = []

    def spawn(source: str) -> subprocess.Popen[bytes]:
        path = tmp_path / f"worker{len(started)}.py"
        path.write_text(source)
        process = subprocess.Popen(
            [sys.executable, str(path)],
            env={**os.environ, "DATABASE_URL": database_url},
            start_new_session=True,
        )
        started.append(process)
        return process

    yield spawn
    for process in started:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()
