"""The rules of the state machine for the fleet's leader, and for limits of running jobs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any

import fix_model_changes as changes
from fix_model import ENDED, HOUR, Change, Job, Session, Taken, Wait
from fix_model_attempts import Limits, limits_of
from fix_model_machine import Driven, World
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from awa_lib._sql import Op
from awa_lib.config.workers import WorkerOptions
from awa_lib.db.drive import run
from awa_lib.ops import dead_letters, maintenance
from awa_lib.ops.apart import Aside
from awa_lib.ops.maintenance import Pulse, Rescued
from awa_lib.reads.overviews import list_queues
from awa_lib.runtime.rescues import Contact, Rescues

SESSIONS = st.sampled_from(range(3))
OPTIONS = WorkerOptions(queues=())
# The claims of the machine declare nothing.
STALENESS = OPTIONS.undeclared_staleness_ms / 1000
PULSE = Pulse(OPTIONS.undeclared_interval_ms / 1000, STALENESS)
# Of a job past its deadline: two heartbeats are missing.
SILENCE = 2 * PULSE.interval_seconds


class Direct:
    """A link of the leader that is the connection of a session."""

    def __init__(self) -> None:
        self.session: Session | None = None

    async def run(self, op: Op[Any]) -> Any:
        assert self.session is not None
        return run(self.session.conn, op)


class Unbroken(Contact):
    """The machine's time jumps; that is no silence of the database."""

    def seconds(self, longest_break: float) -> float:
        return super().seconds(math.inf)


class LeaderRules(Driven):
    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.link = Direct()
        contact = Unbroken(self.link, self._monotonic)  # type: ignore[arg-type] # all it asks for
        self.found: list[Rescued] = []
        self.rescues = Rescues(
            contact, OPTIONS, on_rescued=self.found.extend, clock=self._monotonic
        )
        self.seen: tuple[Any, list[int]] = ("heartbeat", [])
        # Jobs that a rescue has passed over: they may be left for a while.  A stale job whose row
        # was locked is left until its owner has had time for a heartbeat.
        self.doubts: dict[str, dict[int, str]] = {"heartbeat": {}, "deadline": {}, "callback": {}}

    def _monotonic(self) -> float:
        return self.clock

    def forget_doubts(self) -> None:
        """Forget who was passed over: time has passed."""
        self.doubts = {
            cause: {job_id: how for job_id, how in left.items() if how == "locked"}
            for cause, left in self.doubts.items()
        }

    # -- rescues -----------------------------------------------------------------------------

    def any_lost(self) -> bool:
        """Return whether a rescue has something to do."""
        change = Change(self.model, self.sessions[0], self.now())
        return any(
            changes.lost(change, job, cause, STALENESS)
            for job in change.jobs()
            for cause in changes.REASONS
        )

    @precondition(any_lost)
    @rule(n=SESSIONS, cause=st.sampled_from(["heartbeat", "deadline", "deadline", "callback"]))
    def rescue(self, n: int, cause: str) -> None:
        session = self.sessions[n]
        self.link.session = session
        calls: dict[str, Callable[[], Coroutine[Any, Any, Any]]] = {
            "heartbeat": self.rescues.stale,
            "deadline": self.rescues.deadline,
            "callback": self.rescues.callback,
        }

        def call() -> list[tuple[int, str]]:
            self.found.clear()
            _finish(calls[cause]())
            return sorted((one.id, one.state) for one in self.found)

        doubts = self.doubts[cause]
        self.check(
            session, call, lambda change: self._rescued(change, session, cause, doubts=doubts)
        )

    @precondition(any_lost)
    @rule(n=SESSIONS, cause=st.sampled_from(["heartbeat", "deadline", "callback"]))
    def look_for_lost(self, n: int, cause: str) -> None:
        """A leader finds lost jobs, and is slow to rescue them."""
        found: dict[str, Op[Any]] = {
            "heartbeat": maintenance.stale_ids(PULSE),
            "deadline": maintenance.overdue_ids(),
            "callback": maintenance.expired_callback_ids(Aside()),
        }
        session = self.sessions[n]
        ids = sorted(run(session.conn, found[cause]))
        change = Change(self.model, session, self.now())
        lost = [j.id for j in change.jobs() if changes.lost(change, j, cause, STALENESS)]
        assert ids == lost
        self.seen = (cause, ids)

    @precondition(lambda self: self.seen[1])
    @rule(n=SESSIONS)
    def rescue_late(self, n: int) -> None:
        """What was found is looked at again: a job may have come back to life."""
        session, (cause, ids) = self.sessions[n], self.seen
        doubts: dict[int, str] = {}
        self.do(
            session,
            maintenance.rescue(ids, cause, PULSE),
            lambda change: self._rescued(change, session, cause, ids=ids, doubts=doubts),
            shape=lambda rescued: sorted((one.id, one.state) for one in rescued),
        )

    def _rescued(
        self,
        change: Change,
        session: Session,
        cause: str,
        *,
        doubts: dict[int, str],
        ids: Sequence[int] | None = None,
    ) -> list[tuple[int, str]]:
        """Follow a rescue: which of two jobs gets a key that both need is its choice."""
        where = self.places(session)

        def why_of(job: Job) -> str:
            died = cause == "deadline" and ids is None
            return (
                "heartbeat" if died and changes.lost(change, job, "heartbeat", SILENCE) else cause
            )

        lost = [
            job
            for job in change.jobs()
            if changes.lost(change, job, cause, STALENESS) and (ids is None or job.id in ids)
        ]
        left = [job for job in lost if where[job.id] == (job.table, job.state)]
        taken = [job for job in lost if job not in left]
        assert all(change.free(job) for job in taken), f"locked jobs were rescued: {taken}"
        spent = [job for job in taken if self._is_conflict(job, why_of(job), where)]
        _put_all(change, [changes.rescued(job, why_of(job)) for job in taken if job not in spent])
        for job in spent:
            assert _conflicts(change, changes.rescued(job, why_of(job))) == "taken", job
            change.put(changes.rescued(job, why_of(job), conflict=True))
        for job in left:
            if not change.free(job):
                doubts[job.id] = "locked"
            elif doubts.get(job.id) == "locked":
                doubts[job.id] = "free"
            elif cause == "heartbeat" and ids is None and job.id in self.probed:
                self.probed.discard(job.id)
                doubts[job.id] = "free"
            elif job.id not in doubts:
                why = _conflicts(change, changes.rescued(job, why_of(job)))
                if why == "taken":
                    why = _conflicts(change, changes.rescued(job, why_of(job), conflict=True))
                assert why, f"not rescued: {job}"
                doubts[job.id] = why
        for job in taken:
            assert cause != "heartbeat" or doubts.get(job.id) != "locked", f"too early: {job}"
            doubts.pop(job.id, None)
        return sorted((job.id, where[job.id][1]) for job in taken)

    @staticmethod
    def _is_conflict(job: Job, cause: str, where: dict[int, tuple[str, str]]) -> bool:
        return where[job.id][1] != changes.rescued(job, cause).state

    # -- promotion ---------------------------------------------------------------------------

    @precondition(lambda self: self.any_job("scheduled", "retryable"))
    @rule(n=SESSIONS, state=st.sampled_from(["scheduled", "retryable"]))
    def promote(self, n: int, state: Any) -> None:
        session = self.sessions[n]

        def promoted(change: Change) -> int:
            where = self.places(session)
            due = [j for j in change.jobs() if j.state == state and change.due(j.run_at)]
            done = [job for job in due if where[job.id] == ("hot", "available")]
            assert all(change.free(job) for job in done), f"locked jobs were promoted: {done}"
            _put_all(change, [changes.promoted(job) for job in done])
            for job in due:
                if job in done or not change.free(job):
                    continue
                try:
                    change.put(changes.promoted(job))
                except Wait:
                    continue
                except Taken as taken:
                    change.put(changes.parked(job, taken.args[0]))
                else:
                    raise AssertionError(f"not promoted: {job}")
            return len(done)

        op = maintenance.promote(f"promote_{state}")  # type: ignore[arg-type] # one of two
        self.do(session, op, promoted)

    # -- aging, retention, dead letters, counts ----------------------------------------------

    @precondition(lambda self: self.any_job("available"))
    @rule(n=SESSIONS)
    def age(self, n: int) -> None:
        self.do(self.sessions[n], maintenance.age(60), lambda change: changes.age(change, 60))

    @precondition(lambda self: self.any_job(*ENDED))
    @rule(
        n=SESSIONS,
        ended=st.sampled_from(["completed", "unsuccessful"]),
        hours=st.sampled_from([0.5, 1.5]),
        queue=st.sampled_from([None, "one"]),
    )
    def clean_up(self, n: int, ended: Any, hours: float, queue: str | None) -> None:
        self.do(
            self.sessions[n],
            maintenance.delete_old(ended, hours * HOUR, 100, queue=queue),
            lambda change: changes.delete_old(change, ended, hours * HOUR, queue),
            shape=lambda pair: pair[1],
        )

    @precondition(lambda self: self.any_job("failed"))
    @rule(n=SESSIONS)
    def move_failed(self, n: int) -> None:
        self.do(self.sessions[n], dead_letters.move_failed(), changes.move_failed)

    @rule(n=SESSIONS)
    def count(self, n: int) -> None:
        """The counts of queues, as read and as cached, are those of the rows."""
        session = self.sessions[n]
        states: dict[str, Counter[str]] = {}
        for job in self.jobs(session):
            states.setdefault(job.queue, Counter())[job.state] += 1
        names = ("scheduled", "available", "retryable", "running", "failed", "waiting_external")
        for queue in run(session.conn, list_queues()):
            told = {name: getattr(queue, name) for name in names}
            mine = states.get(queue.queue, Counter())
            assert told == {name: mine[name] for name in names}, queue
        if session.pending is None:
            # A recount that is dear is left out for a while.
            self.world.observer.execute("UPDATE awa.toolkit_counts SET cost_ms = 0")
            run(session.conn, maintenance.recount())
            self._check_cache(states)

    def _check_cache(self, states: dict[str, Counter[str]]) -> None:
        rows = self.world.observer.execute(
            "SELECT to_jsonb(c) FROM awa.queue_state_counts AS c"
        ).fetchall()
        cached = {row.pop("queue"): {k: n for k, n in row.items() if n} for (row,) in rows}
        assert cached == {queue: dict(counted) for queue, counted in states.items()}
        refs = self.world.observer.execute(
            "SELECT kind, ref_count FROM awa.job_kind_catalog"
        ).fetchall()
        jobs = [row for key, row in self.model.view(None).items() if key[0] == "job"]
        assert dict(refs) == Counter(job.kind for job in jobs if job.reason is None)

    # -- limits ------------------------------------------------------------------------------

    def limits(self, session: Session, queue: str) -> list[Limits | None]:
        """Return the limits of a queue, and how they may be counted.

        For five seconds after a full count, jobs below its lowest id that run again without a
        claim within limits are not counted.
        """
        found = limits_of(Change(self.model, session, self.now()), queue)
        if found is None:
            return [None]
        row = session.conn.execute(
            "SELECT count_from FROM awa.queue_policies WHERE queue = %s", [queue]
        ).fetchone()
        return [found, replace(found, count_from=row[0] if row else 0)]

    def note_limits(
        self, session: Session, pairs: Sequence[tuple[int, int]], limits: Limits | None
    ) -> None:
        """Note within which limits jobs were claimed."""
        if limits is None:
            return
        change = Change(self.model, session, self.now())
        for pair in pairs:
            job = change.job(pair[0])
            assert job is not None
            noted: dict[Any, int | None] = {("queue", job.queue): limits.most}
            if job.limit_key is not None:
                noted["key", job.queue, job.limit_key] = limits.per_key
            change.set(("limited", pair), noted)
        change.apply()


def _finish(coroutine: Coroutine[Any, Any, Any]) -> None:
    """Run a coroutine that never waits, because its link does not."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    raise AssertionError("the coroutine waits")


def _conflicts(change: Change, job: Job) -> str:
    """Return why a row cannot be written, or nothing."""
    trial = dict(change.pending)
    try:
        change.put(job)
    except Wait:
        return "wait"
    except Taken:
        return "taken"
    finally:
        change.pending = trial
    return ""


def _put_all(change: Change, jobs: list[Job]) -> None:
    """Write rows in an order in which each finds its key free."""
    while jobs:
        waiting = [job for job in jobs if _conflicts(change, job)]
        for job in jobs:
            if job not in waiting:
                change.put(job)
        assert len(waiting) < len(jobs), f"a key has two holders: {waiting}"
        jobs = waiting
