"""What statements touch on a large queue, whatever the planner believes of it.

A table is filled after its statistics were taken, or without any; sessions are those of a worker,
which plans when its queue is empty, and those behind a pooler that drops settings.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest
from psycopg import sql as text

from awa_lib import _sql
from awa_lib.db.connect import as_options
from awa_lib.runtime.sessions import HOT_PLANS
from awa_lib.testing._databases import Postgres

ROWS = 60_000
"""Available jobs of a kind that nobody asks for, at the head of queue ``q``."""
MINE = 300
"""Available jobs of the kinds ``a`` and ``b`` behind them."""
RUNNING = 200
"""Running jobs; ids from 1 on, of lease 7."""
COLD = 30_000

FILL = f"""
INSERT INTO awa.jobs_hot (id, kind, queue, args, state, priority, attempt, run_lease, run_at,
                          attempted_at, heartbeat_at, deadline_at, finalized_at)
SELECT g, CASE WHEN g <= {RUNNING} OR g > {ROWS + RUNNING} THEN chr(97 + g % 2) ELSE 'foreign' END,
       'q', jsonb_build_object('n', g, 'text', repeat('x', 150)),
       (CASE WHEN g <= {RUNNING} THEN 'running' ELSE 'available' END)::awa.job_state,
       CASE WHEN g > {ROWS + RUNNING} THEN 2 ELSE 1 END, 1, 7, now() - interval '1 hour',
       CASE WHEN g <= {RUNNING} THEN now() END, CASE WHEN g <= {RUNNING} THEN now() END,
       CASE WHEN g <= {RUNNING} THEN now() + interval '5 minutes' END, NULL
FROM generate_series(1, {ROWS + RUNNING + MINE}) AS g;
INSERT INTO awa.jobs_hot (id, kind, queue, args, state, finalized_at, attempt, run_lease)
SELECT g, 'a', 'q', jsonb_build_object('text', repeat('x', 150)), 'completed', now(), 1, 7
FROM generate_series(1000000, {1_000_000 + ROWS // 2}) AS g;
INSERT INTO awa.scheduled_jobs (id, kind, queue, state, run_at, run_lease)
SELECT g, 'a', 'q', 'scheduled', now() + interval '1 day', 7
FROM generate_series(2000000, {2_000_000 + COLD}) AS g;
INSERT INTO awa.job_results (job_id, value, size_bytes, expires_at, purge_at)
SELECT g, '1', 1, now() + interval '1 day', now() + CASE WHEN g % 1000 = 0
    THEN interval '-1 hour' ELSE interval '1 day' END
FROM generate_series(1000000, {1_000_000 + ROWS // 2}) AS g;
INSERT INTO awa.queue_policies (queue, max_running, max_running_per_key) VALUES ('q', 1000, 3)
"""
OTHER = """
INSERT INTO awa.jobs_hot (kind, queue, state, run_at, attempted_at, heartbeat_at, deadline_at,
                          finalized_at)
SELECT 'k' || g % 3, 'q', (ARRAY['running', 'failed', 'available'])[1 + g % 3]::awa.job_state,
       now() - interval '1 hour', now(), now(), now(), now()
FROM generate_series(1, 30000) AS g
"""
FEW = """
INSERT INTO awa.jobs_hot (kind, queue, state) VALUES ('a', 'q', 'running'), ('b', 'q', 'available')
"""
TABLES = ("jobs_hot", "scheduled_jobs", "dead_letters", "job_results")

RETIRE = "DROP INDEX awa.idx_awa_jobs_hot_dequeue"

# Before the statistics, and whether there are any.
STATES = {
    "never analysed": (None, False),
    "analysed empty": (None, True),
    "analysed with two jobs": (FEW, True),
    "analysed with other jobs": (OTHER, True),
    "without the dequeue index": (RETIRE, True),
}
# Settings, and whether it plans before the table is filled.
SESSIONS = {
    "worker": (as_options(HOT_PLANS), True),
    "pooled, custom plans": ("-c plan_cache_mode=force_custom_plan", False),
    "pooled, generic plans": ("-c plan_cache_mode=force_generic_plan", False),
}

MOST_ROWS = 2_000
MOST_PAGES = 2_500


@dataclass(frozen=True)
class Case:
    """One statement of a file, with values other than ``VALUES`` where it needs them."""

    noun: str
    name: str
    values: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.noun}.{self.name}"


IDS = list(range(50, 60))
# By the names of parameters.
VALUES: dict[str, Any] = {
    "queue": "q", "kind": "a", "kinds": ["a", "b"], "limit": 10, "deadline_seconds": 300.0,
    "lease": 9, "passing": [], "keep": [], "only": ROWS + RUNNING + 5, "ids": IDS,
    "leases": [7] * len(IDS), "flows": [0] * len(IDS), "known": [0] * 10, "progress": "[1,2,3,4,5,6,7,8,9,10]",
    "targets": ["failed", "retryable", "scheduled", "available", "cancelled"] * 2,
    "result_ids": IDS, "results": ["1"] * 10, "ttls": [60.0] * 10,
    "delays": [1.0] * 10, "attempts_back": [0] * 10, "errors": json.dumps([{"error": "x"}] * 10),
}  # fmt: skip


class Queue:
    """A filled database with sessions that have planned, or not yet."""

    def __init__(self, url: str, state: str, cases: list[Case]) -> None:
        before, analysed = STATES[state]
        self._sessions = {
            name: psycopg.connect(url, options=options, autocommit=True)
            for name, (options, _) in SESSIONS.items()
        }
        # Without triggers; to switch them off in the table would make the sessions plan again.
        quiet = "-c session_replication_role=replica"
        with psycopg.connect(url, options=quiet, autocommit=True) as conn:
            for table in TABLES:
                conn.execute(f"ALTER TABLE awa.{table} SET (autovacuum_enabled = off)")
            if before:
                conn.execute(before)
            if analysed:
                conn.execute(f"ANALYZE {', '.join('awa.' + table for table in TABLES)}")
            conn.execute("DELETE FROM awa.jobs_hot")
            self._prepare(cases, early=True)
            conn.execute(FILL)
        self._prepare(cases, early=False)

    def _prepare(self, cases: list[Case], *, early: bool) -> None:
        for name, conn in self._sessions.items():
            if SESSIONS[name][1] == early:
                for case in cases:
                    body = _sql.query(case.noun, case.name).text.replace("%", "%%")
                    conn.execute(f"PREPARE {case.noun}_{case.name} AS {body}")
                    self.explain(name, case)  # functions plan when they run

    def _asked(self, words: str, case: Case) -> text.Composed:
        query = _sql.query(case.noun, case.name)
        given = VALUES | case.values
        values = [text.Literal(given[name]) for name in query.params]
        call = text.Identifier(f"{case.noun}_{case.name}")
        if not values:
            return text.SQL("{} EXECUTE {}").format(text.SQL(words), call)
        return text.SQL("{} EXECUTE {} ({})").format(
            text.SQL(words), call, text.SQL(", ").join(values)
        )

    def explain(self, session: str, case: Case) -> dict[str, Any]:
        """Run a statement, take it back, and return its plan with what it did."""
        conn = self._sessions[session]
        with conn.transaction(force_rollback=True):
            asked = self._asked("EXPLAIN (ANALYZE, BUFFERS, TIMING off, FORMAT json)", case)
            plan: dict[str, Any] = conn.execute(asked).fetchone()[0][0]["Plan"]
            return plan

    def close(self) -> None:
        for conn in self._sessions.values():
            conn.close()


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Return a node and all below it."""
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)


def rows_read(plan: dict[str, Any]) -> int:
    """Return the most rows that one scan of a table read, those it threw away included."""
    counted = ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Index Recheck")
    return max(
        (
            int(sum(node.get(key, 0) for key in counted) * node["Actual Loops"])
            for node in nodes(plan)
            if "Relation Name" in node and node["Node Type"] != "ModifyTable"
        ),
        default=0,
    )


def pages_read(plan: dict[str, Any]) -> int:
    """Return how many pages of tables and indexes were looked at."""
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


def check(queue: Queue, case: Case) -> None:
    """Fail when a statement scans a whole table, or a whole index, in any session."""
    for session in SESSIONS:
        plan = queue.explain(session, case)
        said = f"{case}, {session}: {json.dumps(plan, indent=1)}"
        assert rows_read(plan) <= MOST_ROWS, said
        assert pages_read(plan) <= MOST_PAGES, said


@pytest.fixture(scope="module")
def filled(request: pytest.FixtureRequest, postgres: Postgres, template: str) -> Iterator[Queue]:
    """A large queue in the state that the test's parameter names; cases are the module's own."""
    with postgres.database(template) as url:
        queue = Queue(url, request.param, request.module.CASES)
        try:
            yield queue
        finally:
            queue.close()
