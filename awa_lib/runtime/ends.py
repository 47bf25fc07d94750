"""The ends of attempts until they are written, and the ops that write them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from awa_lib._sql import atomic, sql
from awa_lib.db.sqlstates import Meaning, meaning_of
from awa_lib.enqueue.new_jobs import NewJobs
from awa_lib.errors import AwaError, DatabaseError, SchemaMismatch, UniqueConflict
from awa_lib.logs import Logger
from awa_lib.ops import claims
from awa_lib.ops.inserts import insert_free
from awa_lib.runtime import identity
from awa_lib.runtime.context import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from awa_lib._sql import Op
    from awa_lib.ops.claims import Missed
    from awa_lib.runtime.context import Attempt

__all__ = [
    "End",
    "finish",
    "finish_all",
    "finish_alone",
    "is_of_data",
    "is_written",
    "portions",
    "reduce",
]

logger = Logger(__name__)

_ALONE_LOCK_TIMEOUT: Final = "20ms"
# Of the results of a statement, unless it has a single one; the server holds them several times.
_RESULT_BYTES: Final = 8 << 20


class End:
    """The end of an attempt until it is durable; an outcome of None is a completion."""

    # Slots: an end is made for each job, and a dict each made the worker 7 % slower.
    __slots__ = ("alone", "attempt", "done", "due", "id", "outcome", "refused", "tries", "unsure")

    def __init__(self, attempt: Attempt, outcome: Outcome | None) -> None:
        self.attempt = attempt
        self.outcome = outcome
        self.id = attempt.job.id
        # done: written, or refused.  refused: the attempt no longer owns its job.  unsure: sent
        # without an answer, so the row may hold it already.  alone: failed in a batch, written by
        # itself from now on.
        self.done = self.refused = self.unsure = self.alone = False
        self.tries = 0
        self.due = 0.0


def is_of_data(error: AwaError) -> bool:
    """Return True when an error is about the values of a job."""
    if isinstance(error, DatabaseError):
        return meaning_of(error.sqlstate, broken=False) is Meaning.THEIRS
    return not isinstance(error, SchemaMismatch)


def reduce(end: End, error: AwaError) -> None:
    """Remove from an end what the database rejects: follow-ups first, then result and text."""
    attempt, outcome = end.attempt, end.outcome
    logger.error(
        "the end of a job cannot be written (%s); the worker writes it without the rejected values",
        error,
        extra={"job_id": end.id},
    )
    if attempt.follow_ups is not None:
        attempt.follow_ups = None
        reason = f"its follow-ups could not be enqueued: {error}"
        end.outcome = Outcome("failed", _ascii(reason), terminal=True)
        return
    attempt.noted = None
    if outcome is None and attempt.result is not None:
        end.outcome = Outcome(
            "failed", _ascii(f"its result could not be stored: {error}"), terminal=True
        )
        return
    if outcome is not None and outcome.error is not None:
        end.outcome = replace(outcome, error=_ascii(outcome.error))


def _ascii(text: str) -> str:
    return text.encode("ascii", "backslashreplace").decode("ascii")


def is_written(end: End, row: claims.Written) -> bool:
    """Return True when a row that this attempt no longer runs is what this end made of it.

    Of a job that was claimed again only an end with an error can be known.
    """
    if end.outcome is not None and end.outcome.error is not None:
        return row.error == end.outcome.error
    if row.lease != end.attempt.lease:
        return False
    if end.outcome is None:
        return row.state == "completed"
    return row.state in {end.outcome.target, "available", "waiting_external"}


def portions(completed: list[End]) -> Iterator[list[End]]:
    """Split completions so that the results of each part fit a statement; keeps their order."""
    start = size = 0
    for at, end in enumerate(completed):
        result = end.attempt.result
        if result is None:
            continue
        if size and size + result.size_bytes > _RESULT_BYTES:
            yield completed[start:at]
            start, size = at, 0
        size += result.size_bytes
    yield completed[start:]


def finish_all(part: Iterable[End], *, skip_locked: bool) -> Op[Missed]:
    """Write ends with their follow-ups: all completions or all others, each job once."""
    ends = list(part)
    attempts = [end.attempt for end in ends]
    if ends[0].outcome is None:
        op = claims.finish_completed(attempts, skip_locked=skip_locked)
    else:
        op = claims.finish_attempts(
            [(end.attempt, end.outcome) for end in ends if end.outcome is not None],
            by=identity.of_errors(),
            skip_locked=skip_locked,
        )
    return _with_follow_ups(op, attempts)


def _with_follow_ups(op: Op[Missed], attempts: Sequence[Attempt]) -> Op[Missed]:
    """Enqueue the follow-ups of the ends that were written, in the same transaction."""
    if any(attempt.follow_ups for attempt in attempts):
        return _follow(op, attempts)
    return op


@atomic
def _follow(op: Op[Missed], attempts: Sequence[Attempt]) -> Op[Missed]:
    missed = yield from op
    out = {*missed.stale, *missed.busy}
    new = [a.follow_ups for a in attempts if a.follow_ups is not None and a.job.id not in out]
    if new:
        yield from insert_free(NewJobs.merge(new))
    return missed


def finish(attempt: Attempt, outcome: Outcome | None) -> Op[Missed]:
    """End an attempt with its follow-ups, unless its row is locked.

    The job fails when another job holds the unique key that its next state needs.
    """
    return _with_follow_ups(_finish(attempt, outcome), [attempt])


@atomic
def finish_alone(attempt: Attempt, outcome: Outcome | None) -> Op[Missed]:
    """Do as ``finish`` for an end that made a batch fail, almost without waiting for locks.

    Raises Transient soon when a transaction holds the unique key that a follow-up needs.
    """
    yield sql.connections("set_local", names=["lock_timeout"], values=[_ALONE_LOCK_TIMEOUT])
    return (yield from finish(attempt, outcome))


def _finish(attempt: Attempt, outcome: Outcome | None) -> Op[Missed]:
    try:
        return (yield from _end(attempt, outcome))
    except UniqueConflict as error:
        reason = f"the job ended, but {error}"
        logger.error(  # noqa: TRY400 - the traceback is that of the statement
            "job %(job_id)s (kind %(job_kind)s) failed for good: %(error)s",
            fields := {"job_id": attempt.job.id, "job_kind": attempt.job.kind, "error": reason},
            extra=fields,
        )
        failed = [(attempt, Outcome("failed", reason))]
        return (
            yield from claims.finish_attempts(failed, by=identity.of_errors(), skip_locked=True)
        )


@atomic  # a savepoint, so that a transaction with follow-ups goes on after a conflict
def _end(attempt: Attempt, outcome: Outcome | None) -> Op[Missed]:
    if outcome is None:
        return (yield from claims.finish_completed([attempt], skip_locked=True))
    ended = [(attempt, outcome)]
    return (yield from claims.finish_attempts(ended, by=identity.of_errors(), skip_locked=True))
