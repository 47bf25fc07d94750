"""Rows of every kind, producers that insert during a migration, a ledger of what handlers ran."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg
from fix_wait import aeventually

from awa_lib.db.drive import run
from awa_lib.doctor import doctor
from awa_lib.enqueue.unique import unique_key
from awa_lib.errors import SchemaNotMigrated
from awa_lib.schema.migrate import Step, apply

# What the doctor can say of a schema alone.
OF_THE_SCHEMA = ("migrations", "drift", "storage", "rights", "public")
PAUSE = 0.004
EVERY_STATE = """
    INSERT INTO awa.{table} (
        kind, queue, state, args, attempt, run_at, unique_key, unique_states, heartbeat_at,
        finalized_at, callback_id, callback_timeout_at, errors
    )
    SELECT 'ends', queue, state::awa.job_state, jsonb_build_object('how', how, 'n', n),
           CASE WHEN state = 'running' THEN 1 ELSE 0 END, now() + run_in::interval,
           CASE WHEN how = 'unique' THEN %(key)s::bytea END,
           CASE WHEN how = 'unique' THEN B'11111000' END,
           CASE WHEN state = 'running' THEN now() - interval '1 hour' END,
           CASE WHEN state IN ('completed', 'failed', 'cancelled') THEN now() END,
           CASE WHEN state = 'waiting_external' THEN gen_random_uuid() END,
           CASE WHEN state = 'waiting_external' THEN now() + interval '1 hour' END,
           CASE WHEN state = 'failed' THEN ARRAY['{{"error": "no", "attempt": 1}}'::jsonb] END
    FROM (VALUES {rows}) AS given (how, queue, state, run_in), generate_series(1, 2) AS n
    WHERE how <> 'unique' OR n = 1
"""
HOT = """
    ('available', 'work', 'available', '0'), ('running', 'work', 'running', '0'),
    ('completed', 'work', 'completed', '0'), ('failed', 'work', 'failed', '0'),
    ('cancelled', 'work', 'cancelled', '0'), ('paused', 'paused', 'available', '0'),
    ('waiting_external', 'work', 'waiting_external', '0'), ('unique', 'paused', 'available', '0')
"""
COLD = """
    ('scheduled', 'work', 'scheduled', '1 year'), ('retryable', 'work', 'retryable', '1 hour'),
    ('due', 'work', 'scheduled', '0'), ('due again', 'work', 'retryable', '0')
"""
ACTIVE = ("available", "due", "due again")
RESTING = (
    "completed", "failed", "cancelled", "scheduled", "retryable", "waiting_external", "paused",
    "unique",
)  # fmt: skip
# A row of each other table, if the version has the table.
OTHERS = {
    "queue_meta": "(queue, paused, paused_at, paused_by) VALUES ('paused', true, now(), 'me')",
    "cron_jobs": "(name, cron_expr, kind, queue) VALUES ('yearly', '0 3 1 7 *', 'ends', 'work')",
    "runtime_instances": """
        (instance_id, hostname, pid, version, started_at, last_seen_at, snapshot_interval_ms,
         healthy, postgres_connected, poll_loop_alive, heartbeat_alive, shutting_down, leader)
        VALUES (gen_random_uuid(), 'gone', 1, '0', now(), now(), 10000, true, true, true, true,
                false, false)""",
    "queue_descriptors": """
        (queue, display_name, descriptor_hash) VALUES ('other', 'Other', 'x')""",
    "callback_signatures": "VALUES ('x', now() + interval '1 hour')",
    "cron_settings": "(name, jitter_seconds) VALUES ('yearly', 3)",
    "queue_policies": "(queue, dead_letters) VALUES ('other', true)",
    "dead_letters": "SELECT j.*, 'old' FROM awa.jobs_hot AS j WHERE args ->> 'how' = 'failed'",
    "bulk_operations": """
        (operation, filter, state, last_id, total_matched) VALUES ('retry', '{}', 'completed', 1, 1)
        """,
    "audit_log": "(actor, via, action, target) VALUES ('me', 'cli', 'retry', '1')",
}


class Enough(Exception):
    """The version that was wanted is there."""


def migrate_until(url: str, label: str) -> None:
    """Migrate up to a version of any track: as a migration that was stopped there leaves it."""

    def stop(step: Step) -> None:
        if (
            step.status == "applied"
            and step.migration is not None
            and step.migration.label == label
        ):
            raise Enough

    with psycopg.connect(url, autocommit=True) as conn, suppress(Enough):
        apply(conn, on_step=stop)
        raise AssertionError(f"{label} was not applied")


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


async def rescued(conn: psycopg.Connection[Any], ids: list[int]) -> None:
    """Wait for the rescue of jobs whose worker is gone, and spare the pause before their retry."""
    await aeventually(lambda: "running" not in states(conn, ids))
    conn.execute("UPDATE awa.scheduled_jobs SET run_at = now() WHERE id = ANY(%s)", (ids,))


def deadlocks(conn: psycopg.Connection[Any]) -> int:
    """Return how many the server had to break in this database."""
    query = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    return conn.execute(query).fetchone()[0]  # type: ignore[index]


def schema_findings(conn: psycopg.Connection[Any]) -> list[Any]:
    """Return what the doctor says of the schema."""
    return run(conn, doctor(OF_THE_SCHEMA))


def fill(conn: psycopg.Connection[Any]) -> dict[str, list[int]]:
    """Write rows in every state and in every table; return the ids of the jobs by kind of row."""
    key = unique_key("ends", args={"how": "unique", "n": 1})
    for table, rows in (("jobs_hot", HOT), ("scheduled_jobs", COLD)):
        conn.execute(EVERY_STATE.format(table=table, rows=rows), {"key": key})
    present = "SELECT relname FROM pg_class WHERE relnamespace = 'awa'::regnamespace"
    tables = {name for (name,) in conn.execute(present)}
    for table, text in OTHERS.items():
        if table in tables:
            conn.execute(f"INSERT INTO awa.{table} {text}")
    query = "SELECT args ->> 'how', array_agg(id ORDER BY id) FROM awa.jobs GROUP BY 1"
    return dict(conn.execute(query).fetchall())


def others(conn: psycopg.Connection[Any]) -> dict[str, list[dict[str, Any]]]:
    """Return all rows of the tables beside those of the jobs, of those that there are."""
    present = "SELECT relname FROM pg_class WHERE relnamespace = 'awa'::regnamespace"
    tables = {name for (name,) in conn.execute(present)}
    query = "SELECT to_jsonb(t) FROM awa.{} AS t"
    return {
        table: [row for (row,) in conn.execute(query.format(table))]
        for table in OTHERS
        if table in tables
    }
