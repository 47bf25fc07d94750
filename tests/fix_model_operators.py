"""The rules of the state machine for operators, and for callbacks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import fix_model_callbacks as answers
import fix_model_changes as changes
from fix_model import HOUR, Bulk, Change
from fix_model_machine import Driven
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from awa_lib._sql import Op
from awa_lib.callbacks.cel import Expressions
from awa_lib.ops import bulk, callbacks, dead_letters, jobs, queues
from awa_lib.ops.policies import set_queue_policy

SESSIONS = st.sampled_from(range(3))
PICK = st.integers(0, 11)
QUEUE = st.sampled_from(("one", "one", "two"))
POLICY = {"max_running": None, "max_running_per_key": None, "dead_letters": False}
VERBS: dict[str, Callable[[int, Any], Op[Any]]] = {
    "retry": lambda job_id, value: jobs.retry(job_id),
    "cancel": lambda job_id, value: jobs.cancel(job_id),
    "delete": lambda job_id, value: jobs.discard(job_id),
    "set_priority": jobs.set_priority,
    "move_queue": jobs.move_queue,
}
ANSWERS: dict[str, Callable[[str, Any], Op[Any]]] = {
    "complete": callbacks.complete_external,
    "fail": lambda callback_id, value: callbacks.fail_external(callback_id, "no"),
    "retry": lambda callback_id, value: callbacks.retry_external(callback_id),
    "resume": callbacks.resume_external,
    "heartbeat": callbacks.heartbeat_callback,
}


class OperatorRules(Driven):
    # -- jobs --------------------------------------------------------------------------------

    @rule(
        n=SESSIONS,
        verb=st.sampled_from(["retry", "retry", "cancel", "delete", "set_priority", "move_queue"]),
        pick=PICK,
        priority=st.integers(1, 4),
        queue=QUEUE,
    )
    def operate(self, n: int, verb: str, pick: int, priority: int, queue: str) -> None:
        session = self.sessions[n]
        job_id = self.some_job(session, pick)
        value = {"set_priority": priority, "move_queue": queue}.get(verb)
        self.do(
            session,
            VERBS[verb](job_id, value),
            lambda change: changes.operate(change, verb, job_id, value),
            shape=lambda _: job_id,
        )

    @precondition(lambda self: len(self.jobs(self.sessions[0])) > 5)
    @rule(n=SESSIONS, queue=QUEUE)
    def drain(self, n: int, queue: str) -> None:
        op = queues.drain_queue(queue)
        self.do(self.sessions[n], op, lambda change: changes.drain(change, queue))

    # -- queues ------------------------------------------------------------------------------

    @rule(n=SESSIONS, queue=QUEUE)
    def pause(self, n: int, queue: str) -> None:
        self.do(
            self.sessions[n],
            queues.pause_queue(queue),
            lambda change: change.set(("paused", queue), True),
        )

    @precondition(lambda self: any(key[0] == "paused" for key in self.model.view(None)))
    @rule(n=SESSIONS, queue=QUEUE)
    def resume(self, n: int, queue: str) -> None:
        def resumed(change: Change) -> None:
            if change.get(("paused", queue)):
                change.set(("paused", queue), None)

        self.do(self.sessions[n], queues.resume_queue(queue), resumed)

    @rule(
        n=SESSIONS,
        queue=QUEUE,
        most=st.sampled_from([None, 0, 1, 1, 2]),
        per_key=st.sampled_from([None, 1, 1, 2]),
    )
    def limit(self, n: int, queue: str, most: int | None, per_key: int | None) -> None:
        op = set_queue_policy(queue, max_running=most, max_running_per_key=per_key)
        given = {"max_running": most, "max_running_per_key": per_key}
        self._policy(n, op, queue, given)

    @rule(n=SESSIONS, queue=QUEUE, enabled=st.booleans())
    def keep_dead_letters(self, n: int, queue: str, enabled: bool) -> None:
        op = dead_letters.set_dead_letters(queue, enabled)
        self._policy(n, op, queue, {"dead_letters": enabled})

    def _policy(self, n: int, op: Op[Any], queue: str, given: dict[str, Any]) -> None:
        def changed(change: Change) -> None:
            before = change.get(("policy", queue)) or POLICY
            change.set(("policy", queue), {**before, **given})

        self.do(self.sessions[n], op, changed, shape=lambda _: None)

    # -- dead letters ------------------------------------------------------------------------

    @precondition(lambda self: self.any_job("failed"))
    @rule(n=SESSIONS, pick=PICK)
    def move_to_dead(self, n: int, pick: int) -> None:
        session = self.sessions[n]
        failed = [job.id for job in self.jobs(session) if job.state == "failed"]
        job_id = failed[pick % len(failed)] if failed else self.some_job(session, pick)
        self.do(
            session,
            dead_letters.move_failed_to_dlq(job_id),
            lambda change: changes.move_to_dead(change, job_id),
        )

    @precondition(lambda self: self.any_job("failed", dead=True))
    @rule(n=SESSIONS, pick=PICK, purge=st.sampled_from([False, False, True]))
    def end_death(self, n: int, pick: int, purge: bool) -> None:
        session = self.sessions[n]
        seen = self.model.view(session)
        dead = [row.id for key, row in seen.items() if key[0] == "job" and row.reason is not None]
        job_id = dead[pick % len(dead)] if dead else self.some_job(session, pick)
        if purge:
            op: Op[Any] = dead_letters.purge_dlq_job(job_id)
            self.do(session, op, lambda change: changes.purge(change, job_id))
        else:
            op = dead_letters.retry_from_dlq(job_id)
            self.do(
                session, op, lambda change: changes.revive(change, job_id), shape=lambda job: job.id
            )

    # -- callbacks of attempts ---------------------------------------------------------------

    @precondition(lambda self: self.handles)
    @rule(n=SESSIONS, pick=PICK, again=st.booleans())
    def register_callback(self, n: int, pick: int, again: bool) -> None:
        handle = self.some_handle(pick)
        mine = [token for token, owner in self.callbacks if owner is handle]
        token = f"00000000-0000-0000-0000-{len(self.callbacks):012d}"
        if mine and again:
            token = mine[-1]
        else:
            self.callbacks.append((token, handle))
        self.do(
            self.sessions[n],
            callbacks.register_callback(*handle.pair, token, 2 * HOUR, Expressions()),
            lambda change: answers.register(change, *handle.pair, token, 2 * HOUR),
        )

    @precondition(lambda self: self.callbacks)
    @rule(
        n=SESSIONS,
        pick=PICK,
        what=st.sampled_from(["enter", "enter", "leave", "abandon", "cancel", "take", "take"]),
    )
    def wait(self, n: int, pick: int, what: str) -> None:
        token, handle = self.some_callback(pick)
        pair, noted = handle.pair, handle.noted
        text = handle.attempt.progress_text
        model: dict[str, Callable[[Change], Any]] = {
            "enter": lambda change: answers.enter_wait(change, *pair, token, noted),
            "leave": lambda change: answers.leave_wait(change, *pair, token, 600),
            "abandon": lambda change: answers.abandon_wait(change, *pair),
            "cancel": lambda change: answers.cancel_callback(change, *pair, token),
            "take": lambda change: answers.take_answer(change, *pair, token, None),
        }
        ops: dict[str, Callable[[], Op[Any]]] = {
            "enter": lambda: callbacks.enter_wait(*pair, token, text),
            "leave": lambda: callbacks.leave_wait(*pair, token, 600),
            "abandon": lambda: callbacks.abandon_wait(*pair),
            "cancel": lambda: callbacks.cancel_callback(*pair, token),
            "take": lambda: callbacks.take_answer(*pair, token, None),
        }

        def shape(value: Any) -> Any:
            return value if what != "take" or value is None else [int(value)]

        self.do(self.sessions[n], ops[what](), model[what], shape=shape)

    @precondition(lambda self: self.callbacks)
    @rule(
        n=SESSIONS,
        pick=PICK,
        verb=st.sampled_from(["complete", "fail", "retry", "resume", "resume", "heartbeat"]),
        value=st.integers(1, 9),
    )
    def answer(self, n: int, pick: int, verb: str, value: int) -> None:
        token, _ = self.some_callback(pick)
        given = value * HOUR if verb == "heartbeat" else value
        self.do(
            self.sessions[n],
            ANSWERS[verb](token, given),
            lambda change: answers.answer(change, verb, token, given),
            shape=lambda job: job.id,
        )

    # -- bulk operations ---------------------------------------------------------------------

    def _open_bulks(self) -> list[Bulk]:
        """Return the versions of the bulk operation that is open in anybody's eyes."""
        layers = [self.model.committed, *(one.pending or {} for one in self.sessions)]
        rows = [row for layer in layers for key, row in layer.items() if key[0] == "bulk"]
        return [row for row in rows if row.state in ("pending", "running")]

    @precondition(lambda self: not self._open_bulks())
    @rule(
        n=SESSIONS,
        verb=st.sampled_from(sorted(VERBS)),
        kind=st.sampled_from([None, "a"]),
        queue=st.sampled_from([None, "one"]),
        of_state=st.sampled_from([None, 0, 1]),
    )
    def submit_bulk(
        self, n: int, verb: str, kind: str | None, queue: str | None, of_state: int | None
    ) -> None:
        state = None if of_state is None else changes.CAN[verb][of_state]
        where = {"kind": kind, "queue": queue, "state": state}
        spec = {"set_priority": {"priority": 1}, "move_queue": {"to_queue": "two"}}.get(verb, {})
        op = bulk.submit_bulk_operation(verb, all=not any(where.values()), **where, **spec)  # type: ignore[arg-type] # as chosen
        if verb == "retry" and state is None:
            where["state"] = "failed"
        stored = {key: value for key, value in where.items() if value is not None}

        def submitted(change: Change) -> int:
            made = Bulk(self.last.value.id, verb, stored, dict(spec), 0, 0)
            return changes.submit(change, made).total_matched

        self.do(self.sessions[n], op, submitted, shape=lambda made: made.total_matched)

    @precondition(_open_bulks)
    @rule(n=SESSIONS)
    def advance_bulk(self, n: int) -> None:
        last = self._open_bulks()[-1]

        def stepped(change: Change) -> bool:
            mine: Bulk | None = change.get(("bulk", last.id))
            if mine is None or mine.state not in ("pending", "running"):
                return False
            if change.is_open(("bulk", last.id)):
                return False
            changes.step(change, last.id)
            return True

        # After a failure it is left alone for a second.
        failed = any(one.failures for one in self._open_bulks())
        ways = [stepped, lambda change: False] if failed else [stepped]
        self.do(self.sessions[n], bulk.advance_next(), *ways)

    @precondition(_open_bulks)
    @rule(n=SESSIONS)
    def cancel_bulk(self, n: int) -> None:
        last = self._open_bulks()[-1]
        self.do(
            self.sessions[n],
            bulk.cancel_bulk_operation(last.id),
            lambda change: changes.cancel_bulk(change, last.id),
            shape=lambda _: None,
        )
