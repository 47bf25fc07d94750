"""The worker's operations on attempts: claim, heartbeat, progress, finish."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from awa_lib._json import dumps
from awa_lib._sql import sql
from awa_lib.ops.jobs import id_array

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from awa_lib._sql import Op, Rows

__all__ = ["claim", "finish_attempts", "finish_completed", "heartbeat", "write_progress"]


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


def claim(
    queue: str,
    kinds: Sequence[str],
    limit: int,
    deadline_seconds: float | None,
    *,
    limited: bool = False,
) -> Op[Rows]:
    """Claim up to ``limit`` jobs of a queue whose kind is known here; rows in run order.

    Each becomes running with attempt and run_lease one higher.  A paused queue gives none.
    ``limited`` keeps to the limits of the queue's policy.
    """
    if limited:
        return (
            yield sql.claims(
                "claim_limited",
                queue=queue,
                kinds=list(kinds),
                limit=limit,
                deadline_seconds=deadline_seconds,
            )
        )
    if len(kinds) == 1:
        return (
            yield sql.claims(
                "claim_kind",
                queue=queue,
                kind=kinds[0],
                limit=limit,
                deadline_seconds=deadline_seconds,
            )
        )
    return (
        yield sql.claims(
            "claim_kinds",
            queue=queue,
            kinds=list(kinds),
            limit=limit,
            deadline_seconds=deadline_seconds,
        )
    )


def heartbeat(leases: Sequence[tuple[int, int]]) -> Op[list[int]]:
    """Renew (id, lease) pairs, sorted by id; return the ids that are no longer ours."""
    rows = yield sql.claims(
        "heartbeat",
        ids=id_array([job_id for job_id, _ in leases]),
        leases=id_array([lease for _, lease in leases]),
    )
    return [row[0] for row in rows]


def write_progress(
    leases: Sequence[tuple[int, int]], progress: Sequence[str | None]
) -> Op[list[int]]:
    """Write progress of (id, lease) pairs, sorted by id; return ids that are no longer ours.

    Progress is JSON text, None for none.
    """
    rows = yield sql.claims(
        "write_progress",
        ids=id_array([job_id for job_id, _ in leases]),
        leases=id_array([lease for _, lease in leases]),
        progress=_array(progress),
    )
    return [row[0] for row in rows]


def finish_completed(attempts: Sequence[OwnedAttempt]) -> Op[list[int]]:
    """Complete attempts, sorted by id; return the ids that were stale."""
    rows = yield sql.claims(
        "finish_completed",
        ids=id_array([attempt.job.id for attempt in attempts]),
        leases=id_array([attempt.lease for attempt in attempts]),
    )
    return [row[0] for row in rows]


def finish_attempts(ended: Sequence[tuple[OwnedAttempt, Ending]]) -> Op[list[int]]:
    """End attempts that did not complete, sorted by id; return the ids that were stale.

    Errors get ``attempt`` and ``at`` from the row and the database's clock.
    """
    rows = yield sql.claims(
        "finish_attempts",
        ids=id_array([attempt.job.id for attempt, _ in ended]),
        leases=id_array([attempt.lease for attempt, _ in ended]),
        targets=[ending.target for _, ending in ended],
        delays=[ending.delay for _, ending in ended],
        attempts_back=[ending.attempt_back for _, ending in ended],
        errors=dumps([_error(ending) for _, ending in ended]),
        progress=_array(attempt.progress_text for attempt, _ in ended),
    )
    return [row[0] for row in rows]


def _array(texts: Iterable[str | None]) -> str:
    return "[" + ",".join("null" if text is None else text for text in texts) + "]"


def _error(ending: Ending) -> dict[str, Any] | None:
    if ending.error is None:
        return None
    kind = {} if ending.error_type is None else {"type": ending.error_type}
    return {"error": ending.error} | kind | ({"terminal": True} if ending.terminal else {})
