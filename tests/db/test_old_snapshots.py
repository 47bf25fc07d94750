"""What reads dead index entries begins behind them while a transaction holds an old snapshot.

The entries of 30,000 jobs and of 10,000 waits cannot be removed here.  What comes behind a mark is
found by the next look from the start, and nothing is lost.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from fix_wait import eventually

from awa_lib.db.drive import run
from awa_lib.ops import claims

JOBS, WAITS = 30_000, 10_000
DEAD = f"""
INSERT INTO awa.jobs_hot (kind, queue, state, run_at)
SELECT 'k', queue, 'available', now() - interval '1 hour'
FROM generate_series(1, {JOBS}), unnest('{{q,keys}}'::text[]) AS queue;
INSERT INTO awa.job_waits (job_id, session, expires_at)
SELECT n, 1, now() - interval '1 s' FROM generate_series(1, {WAITS}) AS n
"""
PAGES = 500
"""More than a claim reads that passes over all dead entries, less than one that does not."""


class Queue:
    """A queue with limits."""

    def __init__(self, conn: psycopg.Connection[Any], name: str) -> None:
        self.conn, self.name = conn, name

    def insert(self, *, kind: str = "k", priority: int = 2, age: float = 0, key: str = "") -> int:
        metadata = json.dumps({"_awa_concurrency_key": key} if key else {})
        row = self.conn.execute(
            "INSERT INTO awa.jobs_hot (kind, queue, priority, run_at, metadata) VALUES"
            " (%s, %s, %s, now() - make_interval(secs => %s), %s) RETURNING id",
            [kind, self.name, priority, age, metadata],
        ).fetchone()
        return row[0]  # type: ignore[index,no-any-return] # RETURNING

    def claim(self, limit: int = 5, kinds: tuple[str, ...] = ("k",)) -> list[int]:
        op = claims.claim(self.name, kinds, limit, None, lease=7, limited=True)
        return [row[0] for row in run(self.conn, op)]

    def complete(self, job_id: int) -> None:
        self.conn.execute("UPDATE awa.jobs_hot SET state = 'completed' WHERE id = %s", [job_id])

    def mark(self, at: str | None = None) -> None:
        """Look from the start, which makes marks that stay."""
        self.conn.execute(
            "UPDATE awa.queue_policies SET counted_at = '-infinity', marks = '{}' WHERE queue = %s",
            [self.name],
        )
        self.claim()
        self.put("due", "3000-01-01")
        if at:
            self.put("ats", [at] * 4)

    def put(self, key: str, value: object) -> None:
        self.conn.execute(
            "UPDATE awa.queue_policies SET marks = jsonb_set(marks, ARRAY['[\"k\"]', %s], %s)"
            " WHERE queue = %s",
            [key, json.dumps(value), self.name],
        )

    @property
    def marks(self) -> dict[str, Any]:
        row = self.conn.execute(
            "SELECT marks FROM awa.queue_policies WHERE queue = %s", [self.name]
        ).fetchone()
        return row[0]  # type: ignore[index,no-any-return] # set in the fixture


@pytest.fixture(scope="module")
def pinned(postgres: Any, template: str) -> Iterator[tuple[str, psycopg.Connection[Any]]]:
    """A database, and the transaction that keeps its dead entries."""
    with (
        postgres.database(template) as url,
        psycopg.connect(url, autocommit=True) as conn,
        psycopg.connect(url) as old,
    ):
        conn.execute(
            "INSERT INTO awa.queue_policies (queue, max_running, max_running_per_key)"
            " VALUES ('q', 100, NULL), ('keys', 100, 1)"
        )
        old.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        old.execute("SELECT FROM awa.jobs_hot")
        conn.execute("ALTER TABLE awa.jobs_hot DISABLE TRIGGER USER")
        conn.execute(DEAD)
        conn.execute("UPDATE awa.jobs_hot SET state = 'completed'")
        conn.execute("ALTER TABLE awa.jobs_hot ENABLE TRIGGER USER")
        conn.execute("DELETE FROM awa.job_waits")
        yield url, old


@pytest.fixture
def conn(pinned: tuple[str, Any]) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(pinned[0], autocommit=True) as connection:
        connection.execute("DELETE FROM awa.jobs_hot WHERE state <> 'completed'")
        yield connection


@pytest.fixture
def queue(conn: psycopg.Connection[Any]) -> Queue:
    return Queue(conn, "q")


@pytest.fixture
def keys(conn: psycopg.Connection[Any]) -> Queue:
    return Queue(conn, "keys")


def pages(conn: psycopg.Connection[Any], query: str) -> int:
    """Return how many pages a query reads, with those of its triggers."""
    plan = conn.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {query}").fetchone()
    top = plan[0][0]["Plan"]  # type: ignore[index] # a row
    return int(top["Shared Hit Blocks"] + top["Shared Read Blocks"])


@pytest.mark.parametrize("name", ["q", "keys"])
def test_a_claim_within_limits_reads_no_dead_entries(conn: Any, name: str) -> None:
    queue = Queue(conn, name)
    claim = f"SELECT count(*) FROM awa.claim_limited('{name}', '{{k}}', 5, NULL, 7, '{{}}', NULL)"
    conn.execute("UPDATE awa.queue_policies SET counted_at = '-infinity', marks = '{}'")
    queue.insert()
    whole = pages(conn, claim)
    queue.insert()
    marked = pages(conn, claim)

    assert whole > 3 * PAGES
    assert marked < PAGES


def test_a_claim_from_an_idle_queue_counts_no_dead_entries(conn: Any, queue: Queue) -> None:
    claim = "SELECT count(*) FROM awa.claim_limited('q', '{k}', 5, NULL, 7, '{}', NULL)"
    queue.mark()
    conn.execute(
        "UPDATE awa.jobs_hot SET state = 'running' WHERE state = 'completed' AND id % 2 = 0"
    )
    conn.execute("UPDATE awa.jobs_hot SET state = 'completed' WHERE state = 'running'")
    conn.execute("UPDATE awa.queue_policies SET counted_at = '-infinity', count_from = 0")
    whole, idle = pages(conn, claim), pages(conn, claim)
    job_id = queue.insert(age=0.5)
    queue.conn.execute("UPDATE awa.queue_policies SET max_running = 1 WHERE queue = 'q'")
    try:
        queue.insert(age=0.4)
        taken = queue.claim() + queue.claim()
    finally:
        queue.conn.execute("UPDATE awa.queue_policies SET max_running = 100 WHERE queue = 'q'")

    assert whole > 3 * PAGES
    assert idle < PAGES
    assert taken == [job_id]


def test_an_end_reads_no_waits_that_are_over(conn: Any, queue: Queue) -> None:
    job_id = queue.insert()
    conn.execute(
        "CREATE OR REPLACE FUNCTION pg_temp.touch() RETURNS void LANGUAGE sql"
        f" AS 'UPDATE awa.jobs_hot SET progress = ''1'' WHERE id = {job_id}'"
    )

    assert pages(conn, "SELECT pg_temp.touch()") < 100


def test_who_waits_is_told_and_whose_wait_is_over_is_not(conn: Any, queue: Queue) -> None:
    late, waited, other = queue.insert(), queue.insert(), queue.insert()
    conn.execute(
        "INSERT INTO awa.job_waits VALUES (%s, 1, now() - interval '1 s'), (%s, 1, 'infinity')",
        [late, waited],
    )
    conn.execute("LISTEN awa_job_state")
    for one in (late, waited, other):
        queue.complete(one)
    conn.execute("NOTIFY awa_job_state, 'last'")
    told = [note.payload for note in conn.notifies(timeout=10, stop_after=2)]

    assert told == [f"{waited} completed", "last"]
    conn.execute("DELETE FROM awa.job_waits")


def test_claims_from_marks_take_what_comes_in_order(queue: Queue) -> None:
    queue.mark()
    wanted = [queue.insert(priority=priority) for priority in (4, 3, 2, 1)]

    assert queue.claim(3) == wanted[:0:-1]
    assert queue.claim(3) == wanted[:1]


def test_what_is_committed_a_little_late_is_found_by_the_next_claim(queue: Queue) -> None:
    queue.mark()
    late = queue.insert(age=0.9)

    assert queue.claim() == [late]


@pytest.mark.parametrize("priority", [1, 2, 4])
def test_what_comes_behind_a_mark_is_found_by_the_next_look(queue: Queue, priority: int) -> None:
    queue.mark()
    late = queue.insert(age=60, priority=priority)
    assert queue.claim() == []
    queue.put("due", "2000-01-01")

    assert queue.claim() == [late]


def test_a_look_from_the_start_comes_by_itself(queue: Queue) -> None:
    queue.mark()
    queue.put("due", "2000-01-01")
    queue.claim()
    late = queue.insert(age=60)

    eventually(lambda: queue.claim() == [late], timeout=20)


def test_marks_that_move_pass_no_job_of_a_busy_key(keys: Queue) -> None:
    """It becomes claimable without any change of its row, as soon as another one has ended."""
    keys.mark(at="2000-01-01")
    first, second = keys.insert(age=60, key="a"), keys.insert(age=50, key="a")
    other = keys.insert(age=40, key="b")
    assert keys.claim() == [first, other]
    for _ in range(2):
        keys.put("moved", "2000-01-01")
        assert keys.claim() == []
    keys.complete(first)

    assert keys.claim() == [second]


def test_marks_that_move_pass_no_job_that_is_locked(queue: Queue, pinned: Any) -> None:
    queue.mark(at="2000-01-01")
    locked = queue.insert(age=60)
    with psycopg.connect(pinned[0]) as stranger:
        stranger.execute("SELECT FROM awa.jobs_hot WHERE id = %s FOR UPDATE", [locked])
        for _ in range(2):
            queue.put("moved", "2000-01-01")
            assert queue.claim() == []

    assert queue.claim() == [locked]


def test_marks_of_one_set_of_kinds_hide_no_job_of_another(queue: Queue) -> None:
    queue.mark()
    other = queue.insert(kind="other", age=60)

    assert queue.claim(kinds=("k", "other")) == [other]


def test_keys_behind_the_head_are_claimed_by_looks_from_the_start(keys: Queue) -> None:
    """The walk over the keys has no marks."""
    keys.mark()
    flood = [keys.insert(age=0.5, key="a") for _ in range(40)]
    behind = keys.insert(key="b")
    assert keys.claim() == flood[:1]
    keys.put("due", "2000-01-01")

    assert keys.claim() == [behind]


def test_a_job_by_its_id_is_claimed_behind_marks(queue: Queue) -> None:
    queue.mark()
    late = queue.insert(age=60)
    rows = queue.conn.execute(
        "SELECT id FROM awa.claim_limited('q', '{k}', 1, NULL, 7, '{}', %s)", [late]
    ).fetchall()

    assert rows == [(late,)]


def test_without_the_old_snapshot_claims_use_no_marks(
    queue: Queue, pinned: tuple[str, psycopg.Connection[Any]]
) -> None:
    """Last in this module: it ends the snapshot."""
    queue.mark()
    assert queue.marks
    pinned[1].rollback()
    queue.conn.execute("VACUUM awa.jobs_hot")
    queue.put("due", "2000-01-01")
    late = queue.insert(age=60)

    assert queue.claim() == [late]
    assert queue.marks == {}
