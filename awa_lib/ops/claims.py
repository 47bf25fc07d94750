"""Operations on attempts: claim, heartbeat, progress, finish.

Pairs of id and lease, attempts and ends must be sorted by id, with each id at most once.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Protocol

from awa_lib._json import dumps
from awa_lib._sql import atomic, sql
from awa_lib.codec.pgtext import int_array
from awa_lib.errors import AwaError, Unavailable
from awa_lib.ops.late_jobs import legs
from awa_lib.ops.results import values_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from awa_lib._sql import Op, Rows, Statement
    from awa_lib.codec.job_results import KeptResult
    from awa_lib.ops.late_jobs import Begin
    from awa_lib.telemetry.failures import Group

__all__ = [
    "Missed",
    "Written",
    "claim",
    "claim_each",
    "finish_attempts",
    "finish_completed",
    "hand_back_claim",
    "heartbeat",
    "held_of",
    "queues_with_jobs",
    "write_progress",
    "written_ends",
]

# Each error may follow a wait for a lock: keeps a call of claim_each short.
_ERRORS_PER_CALL: Final = 16
# Claimed jobs run, and renew their leases, only when the call has returned.
_SECONDS_PER_CALL: Final = 0.5


@dataclass(frozen=True, slots=True)
class Missed:
    """The ids that an operation did not change."""

    stale: list[int]
    """No longer owned by the attempt: rescued, cancelled or ended."""
    busy: list[int]
    """Still owned, but locked by another transaction; only with ``skip_locked``."""


@dataclass(frozen=True, slots=True)
class Written:
    """A row after its attempt has ended."""

    id: int
    state: str
    lease: int
    error: str | None
    """The text of the error that came first after the claim."""


class OwnedJob(Protocol):
    """The part of a job that the finishing ops need."""

    @property
    def id(self) -> int: ...
    @property
    def workflow_id(self) -> int | None: ...


class OwnedAttempt(Protocol):
    """A running attempt and its lease."""

    @property
    def job(self) -> OwnedJob: ...
    @property
    def lease(self) -> int: ...
    @property
    def progress_text(self) -> str | None: ...
    @property
    def trace(self) -> str | None: ...
    @property
    def result(self) -> KeptResult | None: ...


class Ending(Protocol):
    """How an attempt ends when it does not complete."""

    @property
    def target(self) -> str: ...
    @property
    def error(self) -> str | None: ...
    @property
    def terminal(self) -> bool: ...
    @property
    def error_type(self) -> str | None: ...
    @property
    def failure(self) -> Group | None: ...
    @property
    def delay(self) -> float | None: ...
    @property
    def attempt_back(self) -> int: ...
    @property
    def limit(self) -> int | None: ...


def claim(
    queue: str,
    kinds: Sequence[str],
    limit: int,
    deadline_seconds: float | None,
    *,
    lease: int,
    limited: bool = False,
    passing: Sequence[int] = (),
    begins: Sequence[Begin] | None = None,
) -> Op[Rows]:
    """Claim at most ``limit`` jobs of a queue and of these kinds; return rows in run order.

    Each becomes running with ``lease`` and the next attempt number.  Jobs that another transaction
    has locked, and jobs whose id is in ``passing``, are skipped.  A paused queue returns none.
    ``limited`` applies the limits of the queue's policy.  With ``begins``, in the order of claims,
    jobs of their kinds and priorities before those times are left out, but for a tenth of a
    second and for those that are given by their id.  Fails as a whole when a job cannot become
    running; ``claim_each`` then claims the others.
    """
    given = {
        "queue": queue,
        "limit": limit,
        "deadline_seconds": deadline_seconds,
        "lease": lease,
        "passing": int_array(passing),
    }
    if limited:
        return (yield sql.claims("claim_limited", kinds=list(kinds), only=None, **given))
    if begins is not None:
        given |= legs(begins) | {"late": [one.id for one in begins]}
        if len(kinds) == 1:
            return (yield sql.claims("claim_kind_from", kind=kinds[0], **given))
        each = [one.kind for one in begins]
        return (yield sql.claims("claim_kinds_from", kinds=list(kinds), each=each, **given))
    if len(kinds) == 1:
        return (yield sql.claims("claim_kind", kind=kinds[0], **given))
    return (yield sql.claims("claim_kinds", kinds=list(kinds), **given))


def queues_with_jobs(queues: Iterable[str], kinds: Iterable[str]) -> Op[list[str]]:
    """Return those of these queues that have a job of these kinds to claim.

    A paused queue has none.  Jobs that other transactions have locked count.
    """
    rows = yield sql.claims("queues_with_jobs", queues=list(queues), kinds=list(kinds))
    return [row[0] for row in rows]


def claim_each(
    queue: str,
    kinds: Sequence[str],
    limit: int,
    deadline_seconds: float | None,
    *,
    lease: int,
    limited: bool = False,
    passing: Sequence[int] = (),
) -> Op[tuple[list[tuple[Any, ...]], dict[int, AwaError]]]:
    """Claim as ``claim`` does, each job with a statement of its own.

    Return the rows, and the error of each job that could not become running.  Stops after half a
    second, and after 16 errors, as each may follow a wait for a lock.  Raises Unavailable; jobs
    claimed before it have the same lease, so ``hand_back_claim`` finds them.
    """
    rows: list[tuple[Any, ...]] = []
    errors: dict[int, AwaError] = {}
    tried = list(passing)
    block = "claim_limited" if limited else "claim_one"
    given = {
        "queue": queue,
        "kinds": list(kinds),
        "deadline_seconds": deadline_seconds,
        "lease": lease,
        **({"limit": 1, "passing": "{}"} if limited else {}),
    }
    until, over = time.monotonic() + _SECONDS_PER_CALL, False
    while len(rows) < limit and not over:
        try:
            found = yield from _candidates(queue, kinds, limit - len(rows), limited, tried)
        except Unavailable:
            raise
        except AwaError:
            if rows or errors:
                break  # the claimed jobs are running
            raise
        if not found:
            break
        for (job_id,) in found:
            tried.append(job_id)
            try:
                rows += yield from _alone(sql.claims(block, only=job_id, **given))
            except Unavailable:
                raise
            except AwaError as error:
                errors[job_id] = error
            if over := len(errors) == _ERRORS_PER_CALL or time.monotonic() >= until:
                break
    return rows, errors


@atomic  # a savepoint, as in _alone
def _candidates(
    queue: str, kinds: Sequence[str], limit: int, limited: bool, passing: Sequence[int]
) -> Op[Rows]:
    block = "candidates_limited" if limited else "candidates"
    given = {"queue": queue, "kinds": list(kinds), "limit": limit, "passing": int_array(passing)}
    return (yield sql.claims(block, **given))


@atomic  # a savepoint, so that a transaction goes on after an error
def _alone(statement: Statement) -> Op[Rows]:
    return (yield statement)


def hand_back_claim(queue: str, lease: int, keep: Sequence[int] = ()) -> Op[list[int]]:
    """Hand back the jobs of a claim whose answer never arrived; return their ids.

    They become available again, and the attempt does not count.  Jobs in ``keep`` stay running;
    rows that another transaction has locked are left to the next call.
    """
    rows = yield sql.claims("hand_back_claim", queue=queue, lease=lease, keep=int_array(keep))
    return [row[0] for row in rows]


def heartbeat(leases: Sequence[tuple[int, int]], *, skip_locked: bool = False) -> Op[Missed]:
    """Renew (id, lease) pairs.

    With ``skip_locked`` rows that another transaction has locked are skipped, here as in the other
    operations on attempts.
    """
    if skip_locked:
        return (yield from _heartbeat_held(leases))
    rows = yield sql.claims("heartbeat", **_pairs(leases))
    return Missed([row[0] for row in rows], [])


@atomic
def _heartbeat_held(leases: Sequence[tuple[int, int]]) -> Op[Missed]:
    held, missed = yield from hold(leases)
    if held:
        yield from heartbeat([pair for pair in leases if pair[0] in held])
    return missed


def write_progress(
    leases: Sequence[tuple[int, int]],
    progress: Sequence[str | None],
    *,
    skip_locked: bool = False,
) -> Op[Missed]:
    """Write the progress of (id, lease) pairs, JSON text or None, and renew them."""
    if skip_locked:
        return (yield from _write_progress_held(leases, progress))
    rows = yield sql.claims("write_progress", progress=_array(progress), **_pairs(leases))
    return Missed([row[0] for row in rows], [])


@atomic
def _write_progress_held(
    leases: Sequence[tuple[int, int]], progress: Sequence[str | None]
) -> Op[Missed]:
    held, missed = yield from hold(leases)
    if held:
        kept = [pair for pair in zip(leases, progress, strict=True) if pair[0][0] in held]
        yield from write_progress([lease for lease, _ in kept], [value for _, value in kept])
    return missed


def finish_completed(attempts: Sequence[OwnedAttempt], *, skip_locked: bool = False) -> Op[Missed]:
    """Complete attempts, write their results, and note the ends of tasks of workflows."""
    if skip_locked:
        return (yield from _finish_completed_held(attempts))
    pairs, flows = _pairs(_leases(attempts)), _flows(attempts)
    if any(flows) or any(attempt.result is not None for attempt in attempts):
        rows = yield sql.claims(
            "finish_completed_with_extras", **pairs, flows=int_array(flows), **values_of(attempts)
        )
    else:
        rows = yield sql.claims("finish_completed", **pairs)
    return Missed([row[0] for row in rows], [])


@atomic
def _finish_completed_held(attempts: Sequence[OwnedAttempt]) -> Op[Missed]:
    held, missed = yield from hold(_leases(attempts))
    if held:
        yield from finish_completed([attempt for attempt in attempts if attempt.job.id in held])
    return missed


def finish_attempts(
    ended: Sequence[tuple[OwnedAttempt, Ending]],
    *,
    by: Mapping[str, str] = MappingProxyType({}),
    skip_locked: bool = False,
) -> Op[Missed]:
    """End attempts that did not complete, and note the ends of tasks of workflows.

    Errors get their ``attempt`` and ``started`` from the row, ``at`` from the database's clock, the
    ``traceback`` of the attempt if it keeps one, and what ``by`` says of the worker.
    """
    if skip_locked:
        return (yield from _finish_attempts_held(ended, by))
    rows = yield sql.claims(
        "finish_attempts",
        **_pairs(_leases([attempt for attempt, _ in ended])),
        flows=int_array(_flows([attempt for attempt, _ in ended])),
        targets=[ending.target for _, ending in ended],
        delays=[ending.delay for _, ending in ended],
        attempts_back=[ending.attempt_back for _, ending in ended],
        errors=dumps([_error(ending, by, attempt.trace) for attempt, ending in ended]),
        progress=_array(attempt.progress_text for attempt, _ in ended),
    )
    return Missed([row[0] for row in rows], [])


@atomic
def _finish_attempts_held(
    ended: Sequence[tuple[OwnedAttempt, Ending]], by: Mapping[str, str]
) -> Op[Missed]:
    held, missed = yield from hold(_leases([attempt for attempt, _ in ended]))
    if held:
        yield from finish_attempts([end for end in ended if end[0].job.id in held], by=by)
    return missed


def written_ends(ended: Sequence[tuple[int, int, int]]) -> Op[list[Written]]:
    """Return the rows of (id, lease, number of errors at the claim) that this lease no longer runs.

    For ends whose write got no answer: it may have been committed, and the job claimed again.
    """
    rows = yield sql.claims(
        "written_ends",
        **_pairs([(job_id, lease) for job_id, lease, _ in ended]),
        known=int_array([known for *_, known in ended]),
    )
    return rows.into(Written)


def hold(leases: Sequence[tuple[int, int]]) -> Op[tuple[set[int], Missed]]:
    """Lock the rows that are not locked, until the commit; return their ids, and the rest."""
    return held_of(leases, (yield sql.claims("hold_attempts", **_pairs(leases))))


def held_of(leases: Sequence[tuple[int, int]], rows: Rows) -> tuple[set[int], Missed]:
    """Return the ids that a statement of ``hold`` has locked, and the rest."""
    owned: dict[int, bool] = dict(rows)
    missed = Missed(
        [job_id for job_id, _ in leases if job_id not in owned],
        sorted(job_id for job_id, held in owned.items() if not held),
    )
    return {job_id for job_id, held in owned.items() if held}, missed


def _leases(attempts: Sequence[OwnedAttempt]) -> list[tuple[int, int]]:
    return [(attempt.job.id, attempt.lease) for attempt in attempts]


def _flows(attempts: Sequence[OwnedAttempt]) -> list[int]:
    """Return the workflow of each, or 0."""
    return [attempt.job.workflow_id or 0 for attempt in attempts]


def _pairs(leases: Sequence[tuple[int, int]]) -> dict[str, str]:
    return {
        "ids": int_array([job_id for job_id, _ in leases]),
        "leases": int_array([lease for _, lease in leases]),
    }


def _array(texts: Iterable[str | None]) -> str:
    return "[" + ",".join("null" if text is None else text for text in texts) + "]"


def _error(ending: Ending, by: Mapping[str, str], trace: str | None) -> dict[str, Any] | None:
    if ending.error is None:
        return None
    kind = {} if ending.error_type is None else {"type": ending.error_type}
    failure = {} if ending.failure is None else {"failure": ending.failure.id}
    last = {"terminal": True} if ending.terminal else {}
    limit = {} if ending.limit is None else {"max_attempts": ending.limit}
    whole = {} if trace is None else {"traceback": trace}
    return {"error": ending.error} | kind | failure | last | limit | whole | dict(by)
