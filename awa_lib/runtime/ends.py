"""The end of an attempt on its way into the database, and the ops that write it."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from awa_lib._sql import atomic, sql
from awa_lib.db.sqlstates import Meaning, meaning_of
from awa_lib.enqueue.new_jobs import NewJobs
from awa_lib.errors import AwaError, DatabaseError, SchemaMismatch, UniqueConflict
from awa_lib.ops import claims
from awa_lib.ops.inserts import insert_free
from awa_lib.runtime.outcomes import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from awa_lib._sql import Op
    from awa_lib.ops.claims import Missed
    from awa_lib.runtime.context import Attempt

__all__ = ["End", "finish", "finish_all", "finish_alone", "is_of_data", "is_written", "reduce"]

logger = logging.getLogger(__name__)

_ALONE_LOCK: Final = "20ms"


class End:
    """How an attempt ended, until that is durable; an outcome of None is a completion."""

    # Defaults of the class: nearly every end is written at once, and never has its own.
    done = False
    """Written, or refused."""
    refused = False
    """The attempt does not own its job any more."""
    unsure = False
    """Sent once without an answer: the row may hold it already."""
    alone = False
    """Failed in a batch: written by itself from now on."""
    tries = 0
    due = 0.0

    def __init__(self, attempt: Attempt, outcome: Outcome | None) -> None:
        self.attempt = attempt
        self.outcome = outcome
        self.id = attempt.job.id


def is_of_data(error: AwaError) -> bool:
    """Return whether an error is about the values of one job."""
    if isinstance(error, DatabaseError):
        return meaning_of(error.sqlstate, broken=False) is Meaning.THEIRS
    return not isinstance(error, SchemaMismatch)


def reduce(end: End, error: AwaError) -> None:
    """Leave out of an end what the database does not take: follow-ups first, then text."""
    attempt, outcome = end.attempt, end.outcome
    logger.error(
        "the end of a job cannot be recorded (%s); it is recorded without what was refused",
        error,
        extra={"job_id": end.id},
    )
    if attempt.after is not None:
        attempt.after = None
        reason = f"what follows from its end could not be enqueued: {error}"
        end.outcome = Outcome("failed", _ascii(reason), terminal=True)
        return
    attempt.noted = None
    if outcome is not None and outcome.error is not None:
        end.outcome = replace(outcome, error=_ascii(outcome.error))


def _ascii(text: str) -> str:
    return text.encode("ascii", "backslashreplace").decode("ascii")


def is_written(end: End, row: claims.Written) -> bool:
    """Return whether a row that is not running any more is what this end made of it."""
    if end.outcome is None:
        return row.state == "completed"
    if end.outcome.error is not None:
        return row.error == end.outcome.error
    return row.state in {end.outcome.target, "available", "waiting_external"}


def finish_all(part: Iterable[End], *, skip_locked: bool) -> Op[Missed]:
    """Write ends of one sort, completions or others, each job once, with their follow-ups."""
    ends = list(part)
    attempts = [end.attempt for end in ends]
    if ends[0].outcome is None:
        op = claims.finish_completed(attempts, skip_locked=skip_locked)
    else:
        op = claims.finish_attempts(
            [(end.attempt, end.outcome) for end in ends if end.outcome is not None],
            skip_locked=skip_locked,
        )
    return _with_follow_ups(op, attempts)


def _with_follow_ups(op: Op[Missed], attempts: Sequence[Attempt]) -> Op[Missed]:
    """Enqueue what follows from the ends that were written, in their transaction."""
    if not any(attempt.after for attempt in attempts):
        return op
    return _follow(op, attempts)


@atomic
def _follow(op: Op[Missed], attempts: Sequence[Attempt]) -> Op[Missed]:
    missed = yield from op
    out = {*missed.stale, *missed.busy}
    after = [a.after for a in attempts if a.after is not None and a.job.id not in out]
    if after:
        yield from insert_free(NewJobs.merge(after))
    return missed


def finish(attempt: Attempt, outcome: Outcome | None) -> Op[Missed]:
    """End one attempt with its follow-ups, unless its row is locked.

    The job fails when another one holds the unique key its next state needs.
    """
    return _with_follow_ups(_finish(attempt, outcome), [attempt])


@atomic
def finish_alone(attempt: Attempt, outcome: Outcome | None) -> Op[Missed]:
    """Do the same for an end that was in the way of others: it waits for nobody's lock.

    Raises Transient soon, where somebody holds the unique key that a follow-up needs.
    """
    yield sql.connections("set_local", names=["lock_timeout"], values=[_ALONE_LOCK])
    return (yield from finish(attempt, outcome))


def _finish(attempt: Attempt, outcome: Outcome | None) -> Op[Missed]:
    try:
        return (yield from _end(attempt, outcome))
    except UniqueConflict as error:
        reason = f"the job ended, but {error}"
        failed = [(attempt, Outcome("failed", reason))]
        return (yield from claims.finish_attempts(failed, skip_locked=True))


@atomic  # a savepoint, so that a transaction with follow-ups goes on after a conflict
def _end(attempt: Attempt, outcome: Outcome | None) -> Op[Missed]:
    if outcome is None:
        return (yield from claims.finish_completed([attempt], skip_locked=True))
    return (yield from claims.finish_attempts([(attempt, outcome)], skip_locked=True))
