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
from awa_lib.ops.late_jobs import Late, late_jobs
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
    """The claims of a dispatcher, and its looks beside them, with a clock of its own."""

    def __init__(self, conn: psycopg.Connection[Any], kinds: list[str]) -> None:
        self.conn, self.kinds, self.now = conn, kinds, 0.0
        self.marks = Marks(kinds, clock=lambda: self.now)
        self.marks.guarded = True
        # The shortest time of a claim is known.
        self.marks.claimed([], wanted=1, seconds=0.001, begins=None)
        self._looking: list[Late] | None = None

    def claim(self, limit: int, *, look_ends: bool = False) -> tuple[list[int], bool]:
        """Claim; a look that has begun may end while the claim is under way."""
        begins = self.marks.begins(limit)
        op = claims.claim("q", self.kinds, limit, None, lease=7, begins=begins)
        rows = run(self.conn, op)
        if look_ends:
            self.end_look()
        seconds = DEAR if begins is None else 0.001
        self.marks.claimed(rows, wanted=limit, seconds=seconds, begins=begins)
        return [row[0] for row in rows], begins is None

    def begin_look(self) -> None:
        if self.marks.used and self._looking is None:
            self._looking = run(self.conn, late_jobs("q", self.marks.ask()))

    def end_look(self, seconds: float = DEAR) -> None:
        found, self._looking = self._looking, None
        if found is not None:
            self.marks.looked(found, seconds)

    def look(self) -> None:
        self.begin_look()
        self.end_look()


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

    @rule(n=st.integers(0, 1), limit=st.integers(1, 5), look_ends=st.booleans())
    def claim(self, n: int, limit: int, look_ends: bool) -> None:
        self._claim(self.workers[n], limit, look_ends=look_ends)

    @rule(n=st.integers(0, 1))
    def begin_look(self, n: int) -> None:
        self.workers[n].begin_look()

    @rule(n=st.integers(0, 1), seconds=st.sampled_from([DEAR, DEAR, 0.0]))
    def end_look(self, n: int, seconds: float) -> None:
        self.workers[n].end_look(seconds)

    @rule(n=st.integers(0, 1))
    def fail(self, n: int) -> None:
        self.workers[n].marks.forget()

    def _claim(self, worker: Worker, limit: int, *, look_ends: bool = False) -> int:
        ids, full = worker.claim(limit, look_ends=look_ends)
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
        worker.end_look()
        self._claim_all(worker)
        worker.look()
        self._claim_all(worker)
        left = [key for key in self.free.values() if key[0] in worker.kinds]
        assert left == []

    def _claim_all(self, worker: Worker) -> None:
        while self._claim(worker, 3) or worker.marks.has_late_jobs:
            pass


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
        self.marks = self.worker.marks

    def insert(self, priority: int, age: float) -> int:
        row = self.conn.execute(INSERT, ["k", priority, age]).fetchone()
        return row[0]  # type: ignore[index,no-any-return] # RETURNING

    def begin_at_marks(self) -> None:
        first = self.insert(2, 0)
        assert self.claim() == [first]
        assert self.marks.used

    def insert_many_behind(self) -> list[int]:
        return [self.insert(2, 3600 - n) for n in range(MOST)]

    def claim(self, *, look_ends: bool = False) -> list[int]:
        return self.worker.claim(1, look_ends=look_ends)[0]

    def mark(self, priority: int) -> str:
        return self.marks.ask()[priority - 1].at


MOST = 1000
"""So many jobs behind a mark are not taken by their ids."""


@pytest.fixture
def queue(database_url: str) -> Iterator[Queue]:
    with psycopg.connect(database_url, autocommit=True) as conn:
        yield Queue(conn)


def test_what_comes_behind_a_mark_is_found_by_the_next_look(queue: Queue) -> None:
    queue.begin_at_marks()
    mark, late = queue.mark(2), queue.insert(2, 3600)
    assert queue.claim() == []
    queue.worker.look()

    assert queue.claim() == [late]
    # Claims go on from where they were: they do not read what lies between.
    assert queue.mark(2) == mark
    assert not queue.marks.has_late_jobs


def test_what_a_claim_had_no_room_for_is_claimed_from_marks(queue: Queue) -> None:
    ids = [queue.insert(2, age) for age in (30, 20, 10)]

    assert [queue.claim() for _ in range(4)] == [[one] for one in ids] + [[]]


def test_late_jobs_are_claimed_in_order(queue: Queue) -> None:
    queue.begin_at_marks()
    second, first = queue.insert(2, 1800), queue.insert(2, 3600)
    urgent, fresh, last = queue.insert(1, 0), queue.insert(2, 0), queue.insert(4, 3600)
    queue.worker.look()
    found = [queue.claim() for _ in range(6)]

    assert found == [[one] for one in (urgent, first, second, fresh, last)] + [[]]


def test_late_jobs_that_a_claim_had_no_room_for_are_tried_again(queue: Queue) -> None:
    queue.begin_at_marks()
    late = [queue.insert(2, 60 - n) for n in range(4)]
    urgent = [queue.insert(1, 0) for _ in range(2)]
    queue.worker.look()
    found = [queue.worker.claim(3)[0] for _ in range(3)]

    assert found[0] == [*urgent, late[0]]
    assert sorted(found[1] + found[2]) == late[1:]


def test_where_many_are_behind_claims_begin_at_the_first(queue: Queue) -> None:
    queue.begin_at_marks()
    behind = queue.insert_many_behind()
    queue.worker.look()

    assert [queue.claim() for _ in range(3)] == [[one] for one in behind[:3]]


def test_a_claim_under_way_does_not_undo_what_a_look_has_found(queue: Queue) -> None:
    queue.begin_at_marks()
    behind, fresh = queue.insert_many_behind(), queue.insert(2, 0)
    queue.worker.begin_look()
    assert queue.claim(look_ends=True) == [fresh]

    assert queue.claim() == behind[:1]


def test_a_look_passes_no_job_where_no_claim_has_been(queue: Queue) -> None:
    queue.begin_at_marks()
    old = queue.insert(3, 60)
    queue.worker.look()

    assert queue.claim() == [old]
    assert queue.mark(1) != "-infinity"


def test_a_look_finds_the_jobs_of_an_infinite_past(queue: Queue) -> None:
    queue.begin_at_marks()
    old = queue.insert(1, 60)
    queue.conn.execute("UPDATE awa.jobs_hot SET run_at = '-infinity' WHERE id = %s", [old])
    queue.worker.look()

    assert queue.claim() == [old]


def test_marks_in_the_future_are_moved_to_now(queue: Queue) -> None:
    """The clock of the server was set back."""
    queue.begin_at_marks()
    queue.marks.claimed([row("k", 2, "3000-01-01 00:00:00+00")], wanted=1, seconds=0.001, begins=[])
    old, soon = queue.insert(2, 10), queue.insert(2, 0)
    queue.worker.look()
    found = [queue.claim(), queue.claim()]
    fresh = queue.insert(2, 0)

    assert found == [[old], [soon]]
    assert queue.claim() == [fresh]


def test_a_late_job_that_is_locked_waits_for_a_look(queue: Queue, database_url: str) -> None:
    queue.begin_at_marks()
    locked, free = queue.insert(2, 60), queue.insert(2, 30)
    with psycopg.connect(database_url) as stranger:
        stranger.execute("SELECT FROM awa.jobs_hot WHERE id = %s FOR UPDATE", [locked])
        queue.worker.look()
        assert [queue.claim() for _ in range(3)] == [[], [free], []]
    assert queue.claim() == []
    queue.worker.look()

    assert queue.claim() == [locked]


@pytest.mark.parametrize("priority", [2, 3])
def test_a_late_job_that_stays_locked_holds_back_no_other(
    queue: Queue, database_url: str, priority: int
) -> None:
    """Also where a look ends between any two claims."""
    queue.begin_at_marks()
    locked, free = queue.insert(2, 60), queue.insert(priority, 30)
    with psycopg.connect(database_url) as stranger:
        stranger.execute("SELECT FROM awa.jobs_hot WHERE id = %s FOR UPDATE", [locked])
        found = []
        for _ in range(2):
            queue.worker.look()
            found += queue.claim()

    assert found == [free]


def test_a_look_leaves_out_what_cannot_be_claimed(queue: Queue) -> None:
    queue.begin_at_marks()
    bad, late = queue.insert(2, 60), queue.insert(2, 30)
    found = {one.priority: one.ids for one in run(queue.conn, late_jobs("q", queue.marks.ask()))}
    without = run(queue.conn, late_jobs("q", queue.marks.ask(), [bad]))

    assert found == {1: [], 2: [bad, late], 3: [], 4: []}
    assert without[1].ids == [late]


def test_a_paused_queue_needs_no_marks(queue: Queue) -> None:
    queue.begin_at_marks()
    queue.conn.execute("INSERT INTO awa.queue_meta (queue, paused) VALUES ('q', true)")
    assert run(queue.conn, late_jobs("q", queue.marks.ask())) == []


def test_cheap_claims_need_no_marks() -> None:
    marks = Marks(["k"], clock=lambda: 0.0)
    marks.guarded = True
    for seconds in (0.02, 0.021, 0.025):  # a slow network, not a long look
        assert (marks.begins(1), marks.used) == (None, False)
        marks.claimed([row("k", 2)], wanted=1, seconds=seconds, begins=None)


def test_without_looks_beside_each_claim_is_one_from_the_start() -> None:
    marks = Marks(["k"], clock=lambda: 0.0)
    marks.claimed([], wanted=1, seconds=0.001, begins=None)
    marks.claimed([row("k", 2)], wanted=1, seconds=0.5, begins=None)
    assert marks.begins(1) is None


def test_looks_take_a_part_of_the_time_and_a_cheap_one_ends_the_marks() -> None:
    now = 0.0
    marks = Marks(["k"], clock=lambda: now)
    marks.guarded = True
    marks.claimed([], wanted=1, seconds=0.001, begins=None)
    marks.claimed([row("k", 2)], wanted=1, seconds=0.04, begins=None)

    assert [one.at for one in marks.begins(1) or ()] == ["-infinity", AT, "-infinity", "-infinity"]
    assert math.isclose(marks.due_at, 16 * 0.039 - 16 * 0.00005, rel_tol=0.01)
    now = 1.0
    marks.ask()
    marks.looked([], 0.9)
    assert math.isclose(marks.due_at, 1 + 4 * 0.9, rel_tol=0.01)
    assert marks.begins(1) is not None
    marks.ask()
    marks.looked([Late("k", 2, AT, [7])], 0.005)
    assert marks.begins(1) is None


def test_an_error_while_a_look_is_under_way_voids_what_it_finds() -> None:
    marks = Marks(["k"], clock=lambda: 0.0)
    marks.guarded = True
    marks.claimed([], wanted=1, seconds=0.001, begins=None)
    marks.claimed([row("k", 2)], wanted=1, seconds=0.04, begins=None)
    marks.ask()
    marks.forget()
    marks.looked([Late("k", 2, AT, [7])], 0.9)

    assert marks.begins(1) is None
    assert not marks.has_late_jobs


AT = "2026-01-02 03:04:05.6+00"


def row(kind: str, priority: int, at: str = AT) -> tuple[Any, ...]:
    return (1, kind, "q", "running", priority, *[None] * 8, at, at, None, None)
