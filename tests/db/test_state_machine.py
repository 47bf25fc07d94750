"""Every transition of jobs in any order, on three connections, against a model in plain Python.

``MODEL_EXAMPLES=5000`` plays that many random examples instead of the few of every run.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import fix_model_attempts as attempts
import fix_model_changes as changes
import pytest
from fix_model import HOUR, NOW, STATES, Change, Job, Near, Session
from fix_model_leader import LeaderRules
from fix_model_machine import Handle, World
from fix_model_operators import OperatorRules
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

import awa_lib as awa
from awa_lib.enqueue.new_jobs import NewJobs, check
from awa_lib.enqueue.unique import NOT_STARTED
from awa_lib.errors import AwaError, TerminalError, UniqueConflict
from awa_lib.ops import claims
from awa_lib.ops.claims import Missed
from awa_lib.ops.inserts import insert, insert_many
from awa_lib.runtime.calls import attempt_of
from awa_lib.runtime.context import Outcome
from awa_lib.runtime.ends import End, finish_all, finish_alone
from awa_lib.runtime.handlers import Handlers
from awa_lib.runtime.outcomes import of_error, of_result

QUEUES = ("one", "two")
KINDS = ("a", "b")
HANDLERS = Handlers()
for _kind in KINDS:
    HANDLERS.add(dict, lambda job: None, _kind, "one")
# The default; while it runs or may run; only while it runs; while it waits; until it has ended well.
MASKS = (0b00011111, 0b00000110, 0b00000100, 0b00010010, 0b10111111, 0b00100010)
STEPS = 50
SESSIONS = st.sampled_from(range(3))
PICK = st.integers(0, 11)
ORDERS = ("rows", "releases", "takes")
PICKS = st.lists(PICK, min_size=1, max_size=3)


def missed(found: Missed) -> tuple[list[int], list[int]]:
    return sorted(found.stale), sorted(found.busy)


class Machine(LeaderRules, OperatorRules):
    """The rules of producers and workers."""

    # -- transactions ------------------------------------------------------------------------

    @precondition(lambda self: len(self.open) < 2)
    @rule(n=SESSIONS)
    def begin_transaction(self, n: int) -> None:
        if self.sessions[n].pending is None:
            self.begin(self.sessions[n])

    @precondition(lambda self: not self.open)
    @rule(n=SESSIONS)
    def begin_two_transactions(self, n: int) -> None:
        self.begin(self.sessions[n])
        self.begin(self.sessions[n - 1])

    @precondition(lambda self: self.open)
    @rule(n=SESSIONS, commit=st.sampled_from([True, True, False]))
    def end_transaction(self, n: int, commit: bool) -> None:
        self.end(self.open[n % len(self.open)], commit=commit)

    @precondition(
        lambda self: self.any_job("scheduled", "retryable", "running", "waiting_external")
    )
    @rule(hours=st.sampled_from([1, 3]))
    def time_passes(self, hours: int) -> None:
        """No transaction is as long as that."""
        for session in self.open:
            self.end(session, commit=True)
        self.let_pass(hours * HOUR)
        self.forget_doubts()

    # -- producers ---------------------------------------------------------------------------

    @initialize(
        limit_key=st.sampled_from([None, "x"]),
        mask=st.sampled_from(MASKS),
        max_attempts=st.integers(1, 3),
        limits=st.sampled_from([None, None, (1, None), (2, None), (None, 1), (2, 1)]),
        in_transaction=st.booleans(),
        claimed=st.integers(0, 2),
    )
    def first_jobs(
        self,
        limit_key: str | None,
        mask: int,
        max_attempts: int,
        limits: tuple[int | None, int | None] | None,
        in_transaction: bool,
        claimed: int,
    ) -> None:
        """Begin with jobs of which some run, or are just being claimed."""
        session = self.sessions[0]
        self._insert(session, 3, "one", "a", limit_key=limit_key, max_attempts=max_attempts)
        self._insert(session, 1, "one", "a", unique=("a", 0), mask=mask)
        if limits is not None:
            self.limit(0, "one", *limits)
        if in_transaction:
            self.begin(session)
        if claimed:
            self._claim(session, "one", ["a"], claimed, 600.0)

    @precondition(lambda self: len(self.model.view(None)) < 40)
    @rule(
        n=SESSIONS,
        count=st.integers(1, 3),
        queue=st.sampled_from(QUEUES),
        kind=st.sampled_from(KINDS),
        limit_key=st.sampled_from([None, "x", "y"]),
        hours=st.sampled_from([None, None, 2, -1]),
        priority=st.integers(1, 4),
        max_attempts=st.integers(1, 3),
    )
    def insert(self, n: int, count: int, queue: str, kind: str, **options: Any) -> None:
        self._insert(self.sessions[n], count, queue, kind, **options)

    @precondition(lambda self: len(self.model.view(None)) < 40)
    @rule(
        n=SESSIONS,
        kind=st.sampled_from(KINDS),
        args=st.integers(0, 1),
        mask=st.sampled_from(MASKS),
        hours=st.sampled_from([None, None, 2]),
        on_conflict=st.sampled_from(["raise", "skip", "return_existing", "replace"]),
    )
    def insert_unique(self, n: int, kind: str, args: int, mask: int, **options: Any) -> None:
        self._insert(self.sessions[n], 1, "one", kind, unique=(kind, args), mask=mask, **options)

    @precondition(lambda self: len(self.model.view(None)) < 40)
    @rule(n=SESSIONS, key=st.integers(5, 6), version=st.integers(0, 9), short=st.booleans())
    def debounce(self, n: int, key: int, version: int, short: bool) -> None:
        """Insert a job that runs two hours after the last of its key, four after the first."""
        args, longest = {"n": key, "version": version}, 2 * HOUR if short else 4 * HOUR
        op = insert(
            args, kind="a", queue="one", max_attempts=3, debounce=2 * HOUR, max_wait=longest,
            unique=awa.Unique(fields=["n"]),
        )  # fmt: skip
        job = Job(
            0, "a", "one", args, "scheduled", 2, 3, Near(2 * HOUR, 2 * HOUR), unique=("a", key),
            mask=NOT_STARTED,
        )  # fmt: skip

        def inserted(change: Change) -> list[int]:
            made = self.last.value.id if self.last.value else 10**9
            made = made if change.get(("job", made)) is None else 10**9
            found = changes.insert(change, replace(job, id=made), "replace", longest)
            assert found is not None
            return [found]

        self.do(self.sessions[n], op, inserted, shape=lambda made: [made.id])

    def _insert(
        self,
        session: Session,
        count: int,
        queue: str,
        kind: str,
        *,
        hours: int | None = None,
        limit_key: str | None = None,
        priority: int = 2,
        max_attempts: int = 3,
        unique: tuple[str, int] | None = None,
        mask: int = 0,
        on_conflict: Any = "raise",
    ) -> None:
        args = {"n": unique[1] if unique else -1}
        run_at = None if hours is None else self.now() + timedelta(hours=hours)
        op = insert_many(
            [args] * count,
            kind=kind, queue=queue, run_at=run_at, concurrency_key=limit_key, priority=priority,
            max_attempts=max_attempts, on_conflict=on_conflict,
            unique_opts=None if unique is None else {"by_args": True, "states": mask},
        )  # fmt: skip
        job = Job(
            0, kind, queue, args, "scheduled" if hours and hours > 0 else "available", priority,
            max_attempts, run_at or NOW, unique=unique, mask=mask,
            metadata={} if limit_key is None else {"_awa_concurrency_key": limit_key},
        )  # fmt: skip

        def inserted(change: Change) -> list[int]:
            ids = [made.id for made in self.last.value or [job]]
            new = [job_id for job_id in ids if change.get(("job", job_id)) is None] or [10**9]
            found = [changes.insert(change, replace(job, id=i), on_conflict) for i in new]
            return [job_id for job_id in found if job_id is not None]

        self.do(session, op, inserted, shape=lambda jobs: [made.id for made in jobs])

    # -- claims ------------------------------------------------------------------------------

    @precondition(lambda self: self.any_job("available"))
    @rule(
        n=SESSIONS,
        queue=st.sampled_from(("one", "one", "two")),
        kinds=st.sampled_from([["a"], ["a", "b"], ["a", "b"]]),
        limit=st.integers(1, 4),
        deadline=st.sampled_from([None, 600.0]),
    )
    def claim(
        self, n: int, queue: str, kinds: list[str], limit: int, deadline: float | None
    ) -> None:
        self._claim(self.sessions[n], queue, kinds, limit, deadline)

    @precondition(lambda self: self.any_job("available"))
    @rule(n=SESSIONS, limit=st.integers(1, 3))
    def claim_more(self, n: int, limit: int) -> None:
        self._claim(self.sessions[n], "one", ["a"], limit, 600.0)

    def _claim(
        self, session: Session, queue: str, kinds: list[str], limit: int, deadline: float | None
    ) -> None:
        """Claim as a dispatcher does: a batch, and one by one when that fails."""
        lease = next(self.leases)
        ways = self.limits(session, queue)
        given = (queue, kinds, limit, deadline)
        limited = ways[0] is not None
        op = claims.claim(*given, lease=lease, limited=limited)
        found = self.do(
            session, op,
            *[
                lambda change, w=way, f=first: attempts.claim(change, *given, lease, w, first=f)
                for way in ways for first in ORDERS
            ],
            shape=lambda rows: [row[0] for row in rows],
        )  # fmt: skip
        rows = self.last.value
        if isinstance(found, AwaError):
            op = claims.claim_each(*given, lease=lease, limited=limited)
            self.do(
                session, op,
                *[lambda change, w=way: attempts.claim_each(change, *given, lease, w)
                  for way in ways],
                shape=lambda pair: ([row[0] for row in pair[0]], list(pair[1])),
            )  # fmt: skip
            rows = self.last.value[0] if self.last.value else []
        for row in rows:
            attempt = attempt_of(row, HANDLERS, None, 0.0)  # type: ignore[arg-type] # not asked
            self.handles.append(Handle(attempt, attempt.progress))
        self.note_limits(session, [(row[0], lease) for row in rows], ways[0])

    @precondition(lambda self: self.handles)
    @rule(n=SESSIONS, pick=PICK, keep=st.booleans())
    def hand_back_claim(self, n: int, pick: int, keep: bool) -> None:
        handle = self.some_handle(pick)
        queue, lease = handle.attempt.job.queue, handle.attempt.lease
        kept = [handle.id] if keep else []
        self.do(
            self.sessions[n],
            claims.hand_back_claim(queue, lease, kept),
            lambda change: attempts.hand_back(change, queue, lease, kept),
        )

    # -- attempts ----------------------------------------------------------------------------

    @precondition(lambda self: self.handles)
    @rule(n=SESSIONS, picks=PICKS, skip=st.booleans())
    def heartbeat(self, n: int, picks: list[int], skip: bool) -> None:
        pairs = [handle.pair for handle in self.some_handles(picks)]
        self.do(
            self.sessions[n],
            claims.heartbeat(pairs, skip_locked=skip),
            lambda change: attempts.heartbeat(change, pairs, skip=skip),
            shape=missed,
        )

    @precondition(lambda self: self.handles and self.any_lost())
    @rule(n=SESSIONS, picks=PICKS)
    def heartbeat_before_a_rescue(self, n: int, picks: list[int]) -> None:
        """A worker that was thought dead comes back between the search and the rescue."""
        self.look_for_lost(n, "heartbeat")
        self.heartbeat(n, picks, skip=True)
        if self.seen[1]:
            self.rescue_late(n)

    @precondition(lambda self: self.handles)
    @rule(n=SESSIONS, picks=PICKS, percent=st.integers(0, 100), skip=st.booleans())
    def flush_progress(self, n: int, picks: list[int], percent: int, skip: bool) -> None:
        chosen = self.some_handles(picks)
        for handle in chosen:
            handle.note(percent)
        pairs, noted = [h.pair for h in chosen], [h.noted for h in chosen]
        texts = [h.attempt.progress_text for h in chosen]
        self.do(
            self.sessions[n],
            claims.write_progress(pairs, texts, skip_locked=skip),
            lambda change: attempts.write_progress(change, pairs, noted, skip=skip),
            shape=missed,
        )

    @precondition(lambda self: self.handles)
    @rule(
        n=SESSIONS,
        picks=PICKS,
        skip=st.booleans(),
        follow_up=st.sampled_from([None, None, "plain", "unique"]),
    )
    def complete(self, n: int, picks: list[int], skip: bool, follow_up: str | None) -> None:
        """Complete jobs; each end may insert a follow-up in its transaction."""
        chosen = self.some_handles(picks)
        for handle in chosen:
            handle.attempt.follow_ups = None if follow_up is None else _follow_up(follow_up)
        self._finish(self.sessions[n], [(h, "complete") for h in chosen], skip, follow_up)
        for handle in chosen:
            handle.attempt.follow_ups = None

    @precondition(lambda self: self.handles)
    @rule(
        n=SESSIONS,
        picks=PICKS,
        hows=st.lists(
            st.sampled_from(
                ["error", "error", "terminal", "snooze", "later", "cancel", "wait", "hand back"]
            ),
            min_size=3,
            max_size=3,
        ),
        percent=st.sampled_from([None, 50]),
        skip=st.booleans(),
    )
    def end_otherwise(
        self, n: int, picks: list[int], hows: list[str], percent: int | None, skip: bool
    ) -> None:
        chosen = self.some_handles(picks)
        for handle in chosen:
            handle.note(percent)
        self._finish(self.sessions[n], list(zip(chosen, hows, strict=False)), skip)

    def _finish(
        self,
        session: Session,
        ended: list[tuple[Handle, str]],
        skip: bool,
        follow_up: str | None = None,
    ) -> None:
        """Write ends as the completer does: a batch, and one by one when that fails."""
        given = [attempts.Ended(*h.pair, how, h.noted, HOUR) for h, how in ended]
        ends = [End(h.attempt, _outcome(h, how)) for h, how in ended]
        found = self.do(
            session,
            finish_all(ends, skip_locked=skip),
            *[
                lambda change, f=first: self._follow(
                    change, attempts.finish(change, given, skip=skip, first=f), given, follow_up
                )
                for first in ORDERS
            ],
            shape=missed,
        )
        if isinstance(found, UniqueConflict):
            for end, one in zip(ends, given, strict=True):
                alone = self.do(
                    session,
                    finish_alone(end.attempt, end.outcome),
                    lambda change, one=one: self._follow(
                        change, attempts.finish_alone(change, one), [one], follow_up
                    ),
                    shape=missed,
                )
                self.note_ended(session, [one], alone)
        else:
            self.note_ended(session, given, found)

    def _follow(
        self,
        change: Change,
        found: tuple[list[int], list[int]],
        ends: list[attempts.Ended],
        follow_up: str | None,
    ) -> tuple[list[int], list[int]]:
        """Insert the follow-ups of the ends that were written."""
        written = [end for end in ends if end.job_id not in (*found[0], *found[1])]
        if follow_up is None or not written:
            return found
        seen = change.all("job")
        # Without a new row the model inserts one that the database does not have.
        new = [i for i in self.places(change.session) if i not in seen] or [10**9]
        if follow_up == "unique":
            made = replace(FOLLOW_UP, id=new[0], unique=("b", 7), mask=NOT_FINISHED)
            changes.insert(change, made, "skip")
        else:
            for _, job_id in zip(written, sorted(new), strict=False):
                changes.insert(change, replace(FOLLOW_UP, id=job_id))
        return found

    def note_ended(self, session: Session, ends: list[attempts.Ended], found: Any) -> None:
        """Check that no lease ends twice: what the database accepted, whatever the model says."""
        if isinstance(found, AwaError):
            return
        change = Change(self.model, session, self.now())
        for end in ends:
            key = ("ended", (end.job_id, end.lease))
            # A job that waits, or was resumed, goes on under its lease.
            if end.job_id not in (*found[0], *found[1]) and end.how != "wait":
                assert change.get(key) is None, f"two ends of {key}"
                change.set(key, end.how)
        change.apply()


NOT_FINISHED = NOT_STARTED | 1 << STATES.index("running") | 1 << STATES.index("waiting_external")
FOLLOW_UP = Job(0, "b", "two", {"n": 7}, "available", 2, 3, NOW)


def _follow_up(how: str) -> NewJobs:
    options: dict[str, Any] = {"kind": "b", "queue": "two", "max_attempts": 3}
    if how == "unique":
        options["unique"] = awa.Unique()
    return check([{"n": 7}], **options)


def _outcome(handle: Handle, how: str) -> Outcome | None:
    """Return what the worker makes of a handler's result or error."""
    attempt = handle.attempt
    results: dict[str, Any] = {
        "snooze": awa.Snooze(HOUR),
        "later": awa.RetryAfter(HOUR),
        "cancel": awa.Cancel("why"),
        "wait": awa.WaitForCallback("token"),
    }
    if how == "hand back":
        return Outcome("available", attempt_back=1)
    if how in ("error", "terminal"):
        return of_error(
            attempt, ValueError("broken") if how == "error" else TerminalError("broken")
        )
    return of_result(attempt, results.get(how))


@pytest.fixture(scope="module")
def world(postgres: Any, template: str) -> Iterator[World]:
    with postgres.database(template) as url:
        world = World(url)
        yield world
        world.close()


def test_every_transition_in_any_order(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    # The model has no time; a busy machine may take long for a few jobs.
    monkeypatch.setattr(claims, "_SECONDS_PER_CALL", 60.0)
    examples = int(os.environ.get("MODEL_EXAMPLES") or 0)
    chosen = settings(
        max_examples=examples or 200,
        stateful_step_count=STEPS,
        derandomize=not examples,
        # To shrink a failure takes minutes, longer than a test may take.
        phases=tuple(Phase) if examples else (Phase.explicit, Phase.generate),
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=bool(examples),
    )
    try:
        run_state_machine_as_test(lambda: Machine(world), settings=chosen)
    finally:
        print(f"{world.examples} examples")
