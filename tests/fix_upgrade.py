"""Producers that insert while a schema is migrated, and a ledger of what handlers ran."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg

from awa_lib.db.drive import run
from awa_lib.doctor import doctor
from awa_lib.errors import SchemaNotMigrated

# What the doctor can say of a schema alone.
OF_THE_SCHEMA = ("migrations", "drift", "storage", "rights", "public")
PAUSE = 0.004


class Ledger:
    """A file with the id of each job that a handler ended, one a line, from any process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    def write(self, job_id: int) -> None:
        with self.path.open("a") as file:
            file.write(f"{job_id}\n")

    def counts(self) -> Counter[int]:
        return Counter(map(int, self.path.read_text().splitlines()))


class Load:
    """Inserts without a pause until the end of the block, and remembers the longest insert."""

    def __init__(self, insert: Callable[[int], int]) -> None:
        self._insert = insert
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self.ids: list[int] = []
        self.longest = 0.0
        self.error: Exception | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.stop()
        if self.error is not None and error is None:
            raise self.error

    def stop(self) -> None:
        """End the inserts; all of them are known after."""
        self._over.set()
        self._thread.join(30)

    def _work(self) -> None:
        try:
            while not self._over.wait(PAUSE):
                started = time.monotonic()
                self.ids.append(self._insert(len(self.ids)))
                self.longest = max(self.longest, time.monotonic() - started)
        except Exception as error:
            self.error = error

    def more(self, count: int) -> Callable[[], bool]:
        """Return a check that so many further jobs were inserted."""
        goal = len(self.ids) + count

        def check() -> bool:
            if self.error is not None:
                raise self.error
            return len(self.ids) >= goal

        return check


async def start_when_it_may(start: Callable[[], Awaitable[None]]) -> list[SchemaNotMigrated]:
    """Start a worker as a supervisor of processes would: again, until the schema is migrated."""
    refusals = []
    while True:
        try:
            await start()
        except SchemaNotMigrated as refusal:
            refusals.append(refusal)
            await asyncio.sleep(0.02)
        else:
            return refusals


def snapshot(conn: psycopg.Connection[Any], ids: list[int]) -> list[dict[str, Any]]:
    """Return whole rows of jobs."""
    query = "SELECT to_jsonb(j) FROM awa.jobs AS j WHERE id = ANY(%s) ORDER BY id"
    return [row for (row,) in conn.execute(query, (ids,)).fetchall()]


def states(conn: psycopg.Connection[Any], ids: list[int]) -> dict[str, int]:
    query = "SELECT state::text, count(*) FROM awa.jobs WHERE id = ANY(%s) GROUP BY 1"
    return dict(conn.execute(query, (ids,)).fetchall())


def deadlocks(conn: psycopg.Connection[Any]) -> int:
    """Return how many the server had to break in this database."""
    query = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    return conn.execute(query).fetchone()[0]  # type: ignore[index]


def schema_findings(conn: psycopg.Connection[Any]) -> list[Any]:
    """Return what the doctor says of the schema."""
    return run(conn, doctor(OF_THE_SCHEMA))
