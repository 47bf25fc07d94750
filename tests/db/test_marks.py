"""Claims that begin at marks take every job that can be claimed, each once, the next look latest.

A model of which jobs can be claimed is compared with what a real database gives to two workers,
whatever becomes claimable behind their marks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from awa_lib.db.drive import run
from awa_lib.ops import claims
from awa_lib.runtime.marks import Marks

INSERT = (
    "INSERT INTO awa.jobs_hot (kind, queue, state, priority, run_at, args, metadata)"
    " VALUES (%s, 'q', 'available', %s, now() - make_interval(secs => %s), '{}', '{}') RETURNING id"
)
KINDS = st.sampled_from(["k", "other"])
PRIORITIES = st.integers(1, 4)
AGES = st.sampled_from([0.0, 0.05, 3600.0, 7200.0])
DEAR = 0.1
"""How long a look from the start takes here: long enough for marks."""


class Worker:
    """The claims of a dispatcher, with a clock of its own."""

    def __init__(self, conn: psycopg.Connection[Any], kinds: list[str]) -> None:
        self.conn, self.kinds, self.now = conn, kinds, 0.0
        self.marks = Marks(kinds, clock=lambda: self.now)
        # The shortest time of a claim is known.
        self.marks.claimed([], wanted=1, seconds=0.001, marked=False)

    def claim(self, limit: int) -> tuple[list[int], bool]:
        begins = self.marks.begins()
        op = claims.claim("q", self.kinds, limit, None, lease=7, begins=begins)
        rows = run(self.conn, op)
        seconds = DEAR if begins is None else 0.001
        self.marks.claimed(rows, wanted=limit, seconds=seconds, marked=begins is not None)
        return [row[0] for row in rows], begins is None


class Database:
    def __init__(self, url: str) -> None:
        self.conns = [psycopg.connect(url, autocommit=n != 1) for n in range(3)]

    def close(self) -> None:
        for conn in self.conns:
            conn.close()


class Machine(RuleBasedStateMachine):
    def __init__(self, database: Database) -> None:
        super().__init__()
        self.conn, late, other = database.conns
        for conn in database.conns:
            conn.rollback()
        self.conn.execute("TRUNCATE awa.jobs_hot")
        self.late = late
        self.workers = [Worker(self.conn, ["k"]), Worker(other, ["k", "other"])]
        self.free: dict[int, tuple[str, int]] = {}
        """Kind and priority of each job that can be claimed."""
        self.uncommitted: dict[int, tuple[str, int]] = {}
        self.taken: set[int] = set()

    @rule(kind=KINDS, priority=PRIORITIES, age=AGES, count=st.integers(1, 7))
    def insert(self, kind: str, priority: int, age: float, count: int) -> None:
        for _ in range(count):
            row = self.conn.execute(INSERT, [kind, priority, age]).fetchone()
            self.free[row[0]] = (kind, priority)  # type: ignore[index] # RETURNING

    @precondition(lambda self: len(self.uncommitted) < 6)
    @rule(kind=KINDS, priority=PRIORITIES)
    def insert_and_commit_late(self, kind: str, priority: int) -> None:
        row = self.late.execute(INSERT, [kind, priority, 0.0]).fetchone()
        self.uncommitted[row[0]] = (kind, priority)  # type: ignore[index] # RETURNING

    @precondition(lambda self: self.uncommitted)
    @rule()
    def commit(self) -> None:
        self.late.commit()
        self.free |= self.uncommitted
        self.uncommitted.clear()

    @precondition(lambda self: self.taken)
    @rule(pick=st.integers(0, 50))
    def hand_back(self, pick: int) -> None:
        """A job becomes claimable again with its old time: behind the mark of who claimed it."""
        job_id = sorted(self.taken)[pick % len(self.taken)]
        row = self.conn.execute(
            "UPDATE awa.jobs_hot SET state = 'available', run_lease = 0 WHERE id = %s"
            " RETURNING kind, priority", [job_id],
        ).fetchone()  # fmt: skip
        self.taken.discard(job_id)
        self.free[job_id] = row  # type: ignore[assignment] # RETURNING

    @precondition(lambda self: self.free)
    @rule(pick=st.integers(0, 50), priority=PRIORITIES)
    def change_priority(self, pick: int, priority: int) -> None:
        job_id = sorted(self.free)[pick % len(self.free)]
        self.conn.execute("UPDATE awa.jobs_hot SET priority = %s WHERE id = %s", [priority, job_id])
        self.free[job_id] = (self.free[job_id][0], priority)

    @rule(n=st.integers(0, 1), limit=st.integers(1, 5), seconds=st.sampled_from([0.0, 0.0, 0.5]))
    def claim(self, n: int, limit: int, seconds: float) -> None:
        worker = self.workers[n]
        worker.now += seconds
        self._claim(worker, limit)

    def _claim(self, worker: Worker, limit: int) -> int:
        ids, full = worker.claim(limit)
        can = {one: key for one, key in self.free.items() if key[0] in worker.kinds}
        assert set(ids) <= set(can), "a job was claimed that could not be"
        ranks = [can[one][1] for one in ids]
        assert ranks == sorted(ranks)
        if full:
            assert len(ids) == min(limit, len(can)), "a look from the start left jobs out"
            assert ranks == sorted(key[1] for key in can.values())[: len(ids)]
        for one in ids:
            del self.free[one]
            self.taken.add(one)
        return len(ids)

    @rule(n=st.integers(0, 1))
    def drain(self, n: int) -> None:
        """A worker that claims until nothing comes, and again after the next look, has all."""
        worker = self.workers[n]
        while self._claim(worker, 3):
            pass
        until = worker.marks.seconds
        assert until is not None
        assert until < 1.001
        worker.now += until + 0.001
        while self._claim(worker, 3):
            pass
        left = [key for key in self.free.values() if key[0] in worker.kinds]
        assert left == []


@pytest.fixture(scope="module")
def database(postgres: Any, template: str) -> Iterator[Database]:
    with postgres.database(template) as url:
        database = Database(url)
        yield database
        database.close()


def test_nothing_stays_behind_a_mark(database: Database) -> None:
    chosen = settings(
        max_examples=80, stateful_step_count=30, derandomize=True, database=None, deadline=None,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    run_state_machine_as_test(lambda: Machine(database), settings=chosen)


class Queue:
    """A queue with a worker that claims one job at a time."""

    def __init__(self, conn: psycopg.Connection[Any]) -> None:
        self.conn = conn
        self.worker = Worker(conn, ["k"])

    def insert(self, priority: int, age: float) -> int:
        row = self.conn.execute(INSERT, ["k", priority, age]).fetchone()
        return row[0]  # type: ignore[index,no-any-return] # RETURNING

    def claim(self) -> list[int]:
        return self.worker.claim(1)[0]


@pytest.fixture
def queue(database_url: str) -> Iterator[Queue]:
    with psycopg.connect(database_url, autocommit=True) as conn:
        yield Queue(conn)


def test_what_comes_behind_a_mark_is_found_by_the_next_look(queue: Queue) -> None:
    first = queue.insert(2, 0)
    assert queue.claim() == [first]
    late = queue.insert(2, 3600)
    assert queue.claim() == []
    queue.worker.now += queue.worker.marks.seconds or math.inf

    assert queue.claim() == [late]


def test_what_a_look_had_no_room_for_is_claimed_from_marks(queue: Queue) -> None:
    ids = [queue.insert(2, age) for age in (30, 20, 10)]

    assert [queue.claim() for _ in range(4)] == [[one] for one in ids] + [[]]


def test_what_a_look_did_not_reach_is_claimed_from_the_start(queue: Queue) -> None:
    first = queue.insert(2, 0)
    assert queue.claim() == [first]
    behind, urgent = queue.insert(2, 3600), queue.insert(1, 0)
    queue.worker.now += queue.worker.marks.seconds or math.inf

    assert [queue.claim() for _ in range(3)] == [[urgent], [behind], []]


def test_cheap_looks_need_no_marks() -> None:
    marks = Marks(["k"], clock=lambda: 0.0)
    for seconds in (0.02, 0.021, 0.025):  # a slow network, not a long look
        assert (marks.begins(), marks.seconds) == (None, None)
        marks.claimed([row("k", 2)], wanted=1, seconds=seconds, marked=False)


def test_a_mark_is_forgotten_with_an_error_and_at_the_next_look() -> None:
    now = 0.0
    marks = Marks(["k"], clock=lambda: now)
    marks.claimed([], wanted=1, seconds=0.001, marked=False)
    marks.claimed([row("k", 2)], wanted=1, seconds=0.04, marked=False)

    assert [one.at for one in marks.begins() or ()] == ["-infinity", AT, "-infinity", "-infinity"]
    assert math.isclose(marks.seconds or 0, 16 * 0.039 - 16 * 0.00005, rel_tol=0.01)
    now = 1.0
    assert marks.begins() is None
    marks.claimed([], wanted=1, seconds=0.9, marked=False)
    assert math.isclose(marks.seconds or 0, 4 * 0.9, rel_tol=0.01)
    assert marks.begins() is not None
    marks.forget()
    assert marks.begins() is None


AT = "2026-01-02 03:04:05.6+00"


def row(kind: str, priority: int) -> tuple[Any, ...]:
    return (1, kind, "q", "running", priority, *[None] * 8, AT, AT, None, None)
