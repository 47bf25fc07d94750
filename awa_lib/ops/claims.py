"""The worker's operations on attempts: claim, heartbeat, progress, finish.

Pairs of id and lease, attempts and ends come sorted by id, at most one of each id.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import SystemRandom
from typing import TYPE_CHECKING, Any, Final, Protocol

from awa_lib._json import dumps
from awa_lib._sql import atomic, sql
from awa_lib.errors import AwaError, Unavailable
from awa_lib.ops.jobs import id_array

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from awa_lib._sql import Op, Rows, Statement

__all__ = [
    "Missed",
    "Written",
    "claim",
    "claim_each",
    "finish_attempts",
    "finish_completed",
    "hand_back_claim",
    "heartbeat",
    "new_lease",
    "write_progress",
    "written_ends",
]

# Exact in JSON (below 2**53), whoever reads it; workers of awa 0.5 count on from what they find.
_MOST_LEASE: Final = 2**53 - 2**20
# Each may have waited for a lock; a call of claim_each stays short.
_MOST_FAILURES: Final = 16
# Reads the system's randomness at each call, so forked processes get different numbers.
_random: Final = SystemRandom()


@dataclass(frozen=True, slots=True)
class Missed:
    """The ids that an operation did not touch."""

    stale: list[int]
    """No longer ours: rescued, cancelled or ended."""
    busy: list[int]
    """Ours, but locked by another transaction at this moment; only with ``skip_locked``."""


@dataclass(frozen=True, slots=True)
class Written:
    """A row that an attempt left behind."""

    id: int
    state: str
    attempt: int
    error: str | None
    """The text of its last error."""


class OwnedJob(Protocol):
    """What the finishing ops need of a job."""

    @property
    def id(self) -> int: ...


class OwnedAttempt(Protocol):
    """A running attempt and its lease."""

    @property
    def job(self) -> OwnedJob: ...
    @property
    def lease(self) -> int: ...
    @property
    def progress_text(self) -> str | None: ...


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
    def delay(self) -> float | None: ...
    @property
    def attempt_back(self) -> int: ...


def new_lease() -> int:
    """Return a number that no other claim has: the lease of the rows of one claim."""
    return _random.randint(1, _MOST_LEASE)


def claim(
    queue: str,
    kinds: Sequence[str],
    limit: int,
    deadline_seconds: float | None,
    *,
    lease: int,
    limited: bool = False,
    passing: Sequence[int] = (),
) -> Op[Rows]:
    """Claim up to ``limit`` jobs of a queue whose kind is known here; rows in run order.

    Each becomes running with ``lease``, and attempt one higher.  Jobs that another transaction has
    locked, and those whose id is in ``passing``, are passed over.  A paused queue gives none.
    ``limited`` keeps to the limits of the queue's policy.  Fails as a whole when one job cannot
    become running; ``claim_each`` then gets the others.
    """
    given = {
        "queue": queue,
        "limit": limit,
        "deadline_seconds": deadline_seconds,
        "lease": lease,
        "passing": id_array(passing),
    }
    if limited:
        return (yield sql.claims("claim_limited", kinds=list(kinds), only=None, **given))
    if len(kinds) == 1:
        return (yield sql.claims("claim_kind", kind=kinds[0], **given))
    return (yield sql.claims("claim_kinds", kinds=list(kinds), **given))


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
    """Claim as ``claim`` does, each job by a statement of its own.

    Return the rows, and the error of each job that could not become running.  Stops early after
    16 errors, as each may have waited for a lock.  Raises Unavailable; jobs claimed before it
    have the same lease, so ``hand_back_claim`` finds them.
    """
    rows: list[tuple[Any, ...]] = []
    errors: dict[int, AwaError] = {}
    tried = list(passing)
    while len(rows) < limit and len(errors) < _MOST_FAILURES:
        try:
            found = yield from _candidates(queue, kinds, limit - len(rows), limited, tried)
        except Unavailable:
            raise
        except AwaError:
            if rows or errors:
                break  # what was claimed is running
            raise
        if not found:
            break
        for (job_id,) in found:
            tried.append(job_id)
            try:
                rows += yield from _alone(
                    _claim_one(queue, kinds, deadline_seconds, lease, limited, job_id)
                )
            except Unavailable:
                raise
            except AwaError as error:
                errors[job_id] = error
                if len(errors) == _MOST_FAILURES:
                    break
    return rows, errors


@atomic  # as below
def _candidates(
    queue: str, kinds: Sequence[str], limit: int, limited: bool, passing: Sequence[int]
) -> Op[Rows]:
    look = "candidates_limited" if limited else "candidates"
    given = {"queue": queue, "kinds": list(kinds), "limit": limit, "passing": id_array(passing)}
    return (yield sql.claims(look, **given))


@atomic  # a savepoint, so that a transaction goes on after an error
def _alone(statement: Statement) -> Op[Rows]:
    return (yield statement)


def _claim_one(
    queue: str,
    kinds: Sequence[str],
    deadline_seconds: float | None,
    lease: int,
    limited: bool,
    job_id: int,
) -> Statement:
    given = {
        "queue": queue,
        "kinds": list(kinds),
        "deadline_seconds": deadline_seconds,
        "lease": lease,
        "only": job_id,
    }
    if limited:
        return sql.claims("claim_limited", limit=1, passing="{}", **given)
    return sql.claims("claim_one", **given)


def hand_back_claim(queue: str, lease: int, keep: Sequence[int] = ()) -> Op[list[int]]:
    """Give back the jobs of a claim whose answer never arrived; return their ids.

    They become available again and their attempt does not count.  Those in ``keep`` stay
    running; rows that another transaction has locked are left for the next call.
    """
    rows = yield sql.claims("hand_back_claim", queue=queue, lease=lease, keep=id_array(keep))
    return [row[0] for row in rows]


def heartbeat(leases: Sequence[tuple[int, int]], *, skip_locked: bool = False) -> Op[Missed]:
    """Renew (id, lease) pairs.

    With ``skip_locked`` no row that another transaction has locked is waited for; so it is with
    the other operations on attempts.
    """
    if skip_locked:
        return (yield from _heartbeat_held(leases))
    rows = yield sql.claims("heartbeat", **_pairs(leases))
    return Missed([row[0] for row in rows], [])


@atomic
def _heartbeat_held(leases: Sequence[tuple[int, int]]) -> Op[Missed]:
    held, missed = yield from _hold(leases)
    if held:
        yield from heartbeat([pair for pair in leases if pair[0] in held])
    return missed


def write_progress(
    leases: Sequence[tuple[int, int]],
    progress: Sequence[str | None],
    *,
    skip_locked: bool = False,
) -> Op[Missed]:
    """Write progress of (id, lease) pairs, JSON text or None, and renew them."""
    if skip_locked:
        return (yield from _write_progress_held(leases, progress))
    rows = yield sql.claims("write_progress", progress=_array(progress), **_pairs(leases))
    return Missed([row[0] for row in rows], [])


@atomic
def _write_progress_held(
    leases: Sequence[tuple[int, int]], progress: Sequence[str | None]
) -> Op[Missed]:
    held, missed = yield from _hold(leases)
    if held:
        kept = [pair for pair in zip(leases, progress, strict=True) if pair[0][0] in held]
        yield from write_progress([lease for lease, _ in kept], [value for _, value in kept])
    return missed


def finish_completed(attempts: Sequence[OwnedAttempt], *, skip_locked: bool = False) -> Op[Missed]:
    """Complete attempts."""
    if skip_locked:
        return (yield from _finish_completed_held(attempts))
    rows = yield sql.claims("finish_completed", **_pairs(_leases(attempts)))
    return Missed([row[0] for row in rows], [])


@atomic
def _finish_completed_held(attempts: Sequence[OwnedAttempt]) -> Op[Missed]:
    held, missed = yield from _hold(_leases(attempts))
    if held:
        yield from finish_completed([attempt for attempt in attempts if attempt.job.id in held])
    return missed


def finish_attempts(
    ended: Sequence[tuple[OwnedAttempt, Ending]], *, skip_locked: bool = False
) -> Op[Missed]:
    """End attempts that did not complete.

    Errors get ``attempt`` and ``at`` from the row and the database's clock.
    """
    if skip_locked:
        return (yield from _finish_attempts_held(ended))
    rows = yield sql.claims(
        "finish_attempts",
        **_pairs(_leases([attempt for attempt, _ in ended])),
        targets=[ending.target for _, ending in ended],
        delays=[ending.delay for _, ending in ended],
        attempts_back=[ending.attempt_back for _, ending in ended],
        errors=dumps([_error(ending) for _, ending in ended]),
        progress=_array(attempt.progress_text for attempt, _ in ended),
    )
    return Missed([row[0] for row in rows], [])


@atomic
def _finish_attempts_held(ended: Sequence[tuple[OwnedAttempt, Ending]]) -> Op[Missed]:
    held, missed = yield from _hold(_leases([attempt for attempt, _ in ended]))
    if held:
        yield from finish_attempts([end for end in ended if end[0].job.id in held])
    return missed


def written_ends(leases: Sequence[tuple[int, int]]) -> Op[list[Written]]:
    """Return the rows of (id, lease) pairs that are not running any more.

    For ends whose write was cut off: it may have been committed.
    """
    rows = yield sql.claims("written_ends", **_pairs(leases))
    return rows.into(Written)


def _hold(leases: Sequence[tuple[int, int]]) -> Op[tuple[set[int], Missed]]:
    """Lock what nobody else has locked until the commit; return that, and the rest."""
    rows = yield sql.claims("hold_attempts", **_pairs(leases))
    ours: dict[int, bool] = dict(rows)
    missed = Missed(
        [job_id for job_id, _ in leases if job_id not in ours],
        sorted(job_id for job_id, held in ours.items() if not held),
    )
    return {job_id for job_id, held in ours.items() if held}, missed


def _leases(attempts: Sequence[OwnedAttempt]) -> list[tuple[int, int]]:
    return [(attempt.job.id, attempt.lease) for attempt in attempts]


def _pairs(leases: Sequence[tuple[int, int]]) -> dict[str, str]:
    return {
        "ids": id_array([job_id for job_id, _ in leases]),
        "leases": id_array([lease for _, lease in leases]),
    }


def _array(texts: Iterable[str | None]) -> str:
    return "[" + ",".join("null" if text is None else text for text in texts) + "]"


def _error(ending: Ending) -> dict[str, Any] | None:
    if ending.error is None:
        return None
    kind = {} if ending.error_type is None else {"type": ending.error_type}
    return {"error": ending.error} | kind | ({"terminal": True} if ending.terminal else {})
