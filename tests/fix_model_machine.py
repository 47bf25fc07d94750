"""The sessions of the state machine: each operation runs on the database and on the model."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from fix_model import TIMES, Change, Job, Missing, Model, Refused, Session, Taken, Wait
from fix_model_rows import Comparison, clock_skew, invariants, lock_holders, places, read
from hypothesis.stateful import RuleBasedStateMachine

from awa_lib._sql import Op
from awa_lib.db.drive import run
from awa_lib.errors import AwaError, Conflict, NotFound, Transient, UniqueConflict
from awa_lib.runtime.context import Attempt

LOCK_MS = 15
RESET = """
DELETE FROM awa.jobs_hot; DELETE FROM awa.scheduled_jobs; DELETE FROM awa.dead_letters;
DELETE FROM awa.job_unique_claims; DELETE FROM awa.queue_meta; DELETE FROM awa.queue_policies;
DELETE FROM awa.bulk_operations; SELECT setval('awa.jobs_id_seq', 1, false)
"""
# Nothing vacuums the databases of tests.
EMPTY = """
TRUNCATE awa.jobs_hot, awa.scheduled_jobs, awa.dead_letters, awa.job_unique_claims,
         awa.queue_meta, awa.queue_policies, awa.bulk_operations
"""
EARLIER = ", ".join(f"{name} = {name} - %(way)s" for name in TIMES)
PASS_TIME = (
    f"UPDATE awa.jobs_hot SET {EARLIER}",
    f"UPDATE awa.scheduled_jobs SET {EARLIER}",
    f"UPDATE awa.dead_letters SET {EARLIER}",
    "UPDATE awa.queue_policies SET counted_at = counted_at - %(way)s",
    "UPDATE awa.bulk_operations SET retry_at = retry_at - %(way)s",
)
PUT_OFF = "UPDATE awa.scheduled_jobs SET run_at = run_at + %s WHERE id = %s"
ERRORS: dict[type[Exception], type[AwaError]] = {
    Wait: Transient,
    Taken: UniqueConflict,
    Refused: Conflict,
    Missing: NotFound,
}
Way = Callable[[Change], Any]


class World:
    """The connections, which all examples share."""

    def __init__(self, url: str) -> None:
        options = f"-c timezone=UTC -c lock_timeout={LOCK_MS}"
        conns = [psycopg.connect(url, autocommit=True, options=options) for _ in range(4)]
        *self.conns, self.observer = conns
        self.skew = timedelta(seconds=clock_skew(self.observer))
        self.examples = 0

    def reset(self) -> None:
        for conn in self.conns:
            conn.rollback()
        if self.examples % 25 == 0:
            self.observer.execute(EMPTY)
        self.observer.execute(RESET)
        self.examples += 1

    def close(self) -> None:
        for conn in (*self.conns, self.observer):
            conn.close()


@dataclass
class Handle:
    """An attempt as its worker knows it, however the row has changed since."""

    attempt: Attempt
    noted: Any
    """The progress that the worker has noted."""

    @property
    def id(self) -> int:
        return self.attempt.job.id

    @property
    def pair(self) -> tuple[int, int]:
        return self.attempt.job.id, self.attempt.lease

    def note(self, percent: int | None) -> None:
        if percent is not None:
            self.attempt.job.set_progress(percent)
            self.noted = {**(self.noted or {}), "percent": percent}


@dataclass
class Outcome:
    """What an operation returned or raised."""

    value: Any = None
    error: AwaError | None = None


class Driven(RuleBasedStateMachine):
    """A machine without rules."""

    def __init__(self, world: World) -> None:
        super().__init__()
        world.reset()
        self.world = world
        self.sessions = [Session(name, conn) for name, conn in zip("ABC", world.conns, strict=True)]
        self.model = Model(self.sessions)
        self.comparison = Comparison(self.model)
        self.handles: list[Handle] = []
        self.callbacks: list[tuple[str, Handle]] = []
        self.leases = itertools.count(1)
        self.clock = 0.0
        """What monotonic clocks of the leader show."""
        self.last = Outcome()
        self.probed: set[int] = set()
        """Rows that something may have locked since time passed, which the rows still tell."""

    def teardown(self) -> None:
        for session in self.sessions:
            with suppress(psycopg.Error):
                session.conn.rollback()

    # -- time and transactions ---------------------------------------------------------------

    def now(self) -> datetime:
        return datetime.now(UTC) + self.world.skew

    def begin(self, session: Session) -> None:
        session.conn.execute("BEGIN")
        row = session.conn.execute("SELECT now()").fetchone()
        assert row is not None
        self.model.begin(session, row[0])

    def end(self, session: Session, *, commit: bool) -> None:
        self.probed |= session.held
        session.conn.execute("COMMIT" if commit else "ROLLBACK")
        self.model.end(session, commit=commit)
        self.look(None)

    @property
    def open(self) -> list[Session]:
        return [session for session in self.sessions if session.pending is not None]

    def let_pass(self, seconds: float) -> None:
        way = {"way": timedelta(seconds=seconds)}
        for statement in PASS_TIME:
            self.world.observer.execute(statement, way)
        self.probed.clear()
        self.model.pass_time(seconds)
        self.clock += seconds
        self.look(None)

    # -- operations --------------------------------------------------------------------------

    def attempt(self, session: Session, call: Callable[[], Any]) -> Outcome:
        """Make a call; in a transaction behind a savepoint, as clients do."""
        if session.pending is None:
            try:
                return Outcome(call())
            except AwaError as error:
                return Outcome(error=error)
        outcome = Outcome()
        with session.conn.transaction():
            try:
                outcome.value = call()
            except AwaError as error:
                outcome.error = error
                raise psycopg.Rollback from error
        # A leader's settings last until the end of its transaction.
        session.conn.execute(f"SET LOCAL lock_timeout = {LOCK_MS}")
        return outcome

    def do(
        self, session: Session, op: Op[Any], *ways: Way, shape: Way = lambda value: value
    ) -> Any:
        """Run an operation, find the way of the model that it went, and compare all rows.

        Returns the result in its shape, or the error.
        """
        return self.check(session, lambda: run(session.conn, op), *ways, shape=shape)

    def check(
        self,
        session: Session,
        call: Callable[[], Any],
        *ways: Way,
        shape: Way = lambda value: value,
    ) -> Any:
        self.last = self.attempt(session, call)
        found = self.last.error or shape(self.last.value)
        expected = []
        for way in ways:
            change = Change(self.model, session, self.now())
            try:
                value = way(change)
            except tuple(ERRORS) as error:
                expected.append(repr(error))
                if isinstance(found, ERRORS[type(error)]):
                    break
            else:
                expected.append(repr(value))
                if type(found) is type(value) and found == value:
                    change.apply()
                    break
        else:
            raise AssertionError(f"the operation gave {found!r}, the model {expected}")
        self.look(session)
        # It may have locked rows that it did not change, or was undone by an error.
        self.probed |= {key[1] for key in self.model.committed if key[0] == "job"}
        return found

    def look(self, session: Session | None) -> None:
        """Compare every row that a session sees, and what is committed."""
        if session is not None and session.pending is None:
            session = None
        conn = self.world.observer if session is None else session.conn
        self.comparison.compare(session, read(conn), self.now())
        self._put_off(session, conn)
        invariants(self.model)
        if session is not None:
            self.probed |= lock_holders(self.model, self.world.observer, session)

    def _put_off(self, session: Session | None, conn: psycopg.Connection[Any]) -> None:
        """Let what is due in seconds be due in half an hour: no step takes that long."""
        now, way = self.now(), timedelta(minutes=30)
        for key, job in self.model.view(session).items():
            soon = key[0] == "job" and now < job.run_at < now + timedelta(seconds=100)
            if soon and job.table == "cold":
                conn.execute(PUT_OFF, (way, job.id))
                self.model.adopt(session, key, replace(job, run_at=job.run_at + way))

    def places(self, session: Session) -> dict[int, tuple[str, str]]:
        """Return the table and the state of each job that a session sees."""
        return places(read(session.conn))

    # -- choosing ----------------------------------------------------------------------------

    def jobs(self, session: Session) -> list[Job]:
        seen = self.model.view(session)
        return [row for key, row in seen.items() if key[0] == "job" and row.reason is None]

    def any_job(self, *states: str, dead: bool = False) -> bool:
        """Return whether a job is in one of these states, in whoever's eyes."""
        layers = [self.model.committed, *(one.pending or {} for one in self.sessions)]
        return any(
            row.state in states and (row.reason is not None) == dead
            for layer in layers
            for key, row in layer.items()
            if key[0] == "job" and row is not None
        )

    def some_job(self, session: Session, pick: int) -> int:
        """Return the id of a job that the session sees; of none when there is none."""
        jobs = self.jobs(session)
        return jobs[pick % len(jobs)].id if jobs else 999_999

    def some_handle(self, pick: int) -> Handle:
        """Return an attempt that runs, one whose job runs under another lease, or any; by pick.

        The latest come first; where there is none of a sort it is any one.
        """
        leases = {j.id: j.lease for j in self.jobs(self.sessions[0]) if j.state == "running"}
        live = [one for one in self.handles if leases.get(one.id) == one.pair[1]]
        stale = [one for one in self.handles if one.id in leases and one not in live]
        chosen = (live, stale, self.handles)[pick % 3] or self.handles
        return chosen[-1 - pick // 3 % len(chosen)]

    def some_callback(self, pick: int) -> tuple[str, Handle]:
        """Return a callback in the same way: one that a job has, or any one."""
        open_now = {job.callback_id for job in self.jobs(self.sessions[0])}
        live = [one for one in self.callbacks if one[0] in open_now]
        chosen = self.callbacks if pick % 2 or not live else live
        return chosen[-1 - pick // 2 % len(chosen)]

    def some_handles(self, picks: Sequence[int]) -> list[Handle]:
        """Return attempts of different jobs, by id."""
        chosen = {handle.id: handle for handle in map(self.some_handle, picks)}
        return [chosen[job_id] for job_id in sorted(chosen)]
