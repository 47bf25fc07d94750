"""The work of the leader: promote, rescue, age, clean up, count.

A transient error (a lock, a time-out) never parks, fails or ends a job.  Rows that cannot be
changed now are put aside, in the ``Aside`` that the caller keeps, and the others are changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeVar

from awa_lib._sql import atomic, sql
from awa_lib.codec.pgtext import int_array
from awa_lib.errors import AwaError, Transient, Unavailable
from awa_lib.logs import Logger
from awa_lib.ops.apart import Aside, change_apart
from awa_lib.telemetry.failures import group_of_text
from awa_lib.validation import bounded

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from awa_lib._sql import Op

__all__ = [
    "EVER",
    "INDEXES_ONLY",
    "Deleted",
    "Due",
    "Others",
    "Pulse",
    "Rescued",
    "age",
    "briefly",
    "delete_old",
    "due_states",
    "expired_callback_ids",
    "forget",
    "forget_signatures",
    "free_ids",
    "once_locked_ids",
    "overdue_ids",
    "promote",
    "recount",
    "rescue",
    "stale_ids",
    "while_writable",
]

logger = Logger(__name__)
R = TypeVar("R")

PROMOTE_BATCH: Final = 4096
RESCUE_BATCH: Final = 500
_RUNNING_JOBS_PER_SEARCH: Final = 50_000
_SHORTEST_GRACE_SECONDS: Final = 5.0
_LOCK_MS: Final = 250
INDEXES_ONLY: Final = (("enable_seqscan", "off"), ("enable_bitmapscan", "off"))
"""Settings of a connection for looks that are repeated often, as ``settle`` has them."""
EVER: Final = "-infinity"
# The server lets only one transaction at a time commit notifications.  That wait is for the disk,
# not for somebody's lock: under many inserts it lasts for several flushes.
_COMMIT_MS: Final = 10_000
Block = Literal["promote_scheduled", "promote_retryable"]
Cause = Literal["heartbeat", "deadline", "callback"]
Ended = Literal["completed", "unsuccessful"]
_REASONS: Final[dict[Cause, str]] = {
    "heartbeat": "heartbeat stale: worker presumed dead",
    "deadline": "hard deadline exceeded",
    "callback": "callback timed out",
}


@dataclass(frozen=True, slots=True)
class Pulse:
    """How often a worker process sends heartbeats, and how old the last one of a dead one is."""

    interval_seconds: float
    staleness_seconds: float

    @property
    def grace_seconds(self) -> float:
        """Return the seconds in which a live worker renews its leases."""
        return min(self.staleness_seconds, max(self.interval_seconds, _SHORTEST_GRACE_SECONDS))

    @property
    def longest_break_seconds(self) -> float:
        """Return for how long the database may be silent before leases look stale because of it."""
        staleness = self.staleness_seconds
        return max(staleness - 2 * self.interval_seconds, staleness / 3)

    def bounded(self) -> dict[str, float]:
        """Return the parameters of a statement."""
        return {
            "interval_seconds": bounded(self.interval_seconds),
            "staleness_seconds": bounded(self.staleness_seconds),
        }


@dataclass(frozen=True, slots=True)
class Rescued:
    """A job that was taken from an attempt."""

    id: int
    kind: str
    queue: str
    run_lease: int
    state: str
    error: str


_NO_PULSE: Final = Pulse(0, 0)


class Due(NamedTuple):
    """Whether jobs of a state are due."""

    state: str
    is_due: bool
    begin: str
    """Where a later look may begin: no job that is not aside is due before."""


class Others(NamedTuple):
    """What the duties of the leader look for, besides jobs that are due."""

    bulk: bool
    """A bulk operation is open."""
    dead_letters: bool
    """A queue keeps dead letters."""
    schedules: str
    """Another value now means that a schedule was changed."""
    now: datetime
    """The database's clock."""


def due_states(
    begins: Mapping[str, str], apart: Iterable[int] = (), *, others: bool = False
) -> Op[tuple[list[Due], Others | None]]:
    """Return whether scheduled and retryable jobs are due, those apart left out.

    Looks at those due since the time that is given for their state.  ``others`` asks also for the
    rest.  One statement without settings: the connection has those of ``INDEXES_ONLY``.
    """
    rows = yield sql.maintenance(
        "due_states_and_others" if others else "due_states",
        scheduled_from=begins.get("scheduled", EVER),
        retryable_from=begins.get("retryable", EVER),
        apart=int_array(sorted(apart)),
    )
    return [Due(*row[:3]) for row in rows], Others(*rows[0][3:]) if others else None


def promote(
    block: Block, limit: int = PROMOTE_BATCH, aside: Aside | None = None, begin: str = EVER
) -> Op[int]:
    """Make scheduled or retryable jobs available that are due, since ``begin``; return how many.

    A row that cannot be promoted (its unique key is taken) is parked for a minute with the reason
    in its errors; a row that an open transaction locks is retried soon.
    """
    aside = Aside() if aside is None else aside
    ids = yield from _search("due_" + block.removeprefix("promote_"), aside, limit, begin=begin)
    promoted = yield from change_apart(ids, _promote, aside, _park)
    return len(promoted)


@atomic
def _search(block: str, aside: Aside, limit: int, **params: object) -> Op[list[int]]:
    """Return at most ``limit`` ids that a query finds and that are not aside, in its order."""
    yield sql.maintenance("settle", milliseconds=_LOCK_MS)
    rows = yield sql.maintenance(block, limit=limit + len(aside), **params)
    return [row[0] for row in rows if row[0] not in aside][:limit]


@atomic
def _promote(ids: Sequence[int], milliseconds: int) -> Op[dict[int, None]]:
    yield sql.maintenance("settle", milliseconds=milliseconds)
    rows = yield sql.maintenance("promote", ids=int_array(ids))
    if rows:
        yield sql.maintenance("wait_at_most", milliseconds=_COMMIT_MS)
    return {row[0]: None for row in rows}


def _park(job_id: int, error: AwaError) -> Op[dict[int, None]]:
    logger.warning(
        "a job could not be promoted; it is tried again in a minute",
        extra={"job_id": job_id, "error": str(error)},
    )
    yield sql.maintenance("park", id=job_id, reason=f"cannot be made available: {error}")
    return {}


@atomic
def while_writable(op: Op[R]) -> Op[R]:
    """Run an op if heartbeats can be written now.  Raises Transient when they cannot."""
    yield sql.maintenance("settle", milliseconds=_LOCK_MS)
    yield sql.maintenance("intend_to_write")
    if (yield sql.read_health("is_read_only")).scalar():
        raise Unavailable("the server is read-only")
    return (yield from op)


def stale_ids(undeclared: Pulse) -> Op[dict[int, Pulse]]:
    """Return the running jobs whose worker is presumed dead, by id, and the pulse of each worker.

    A worker that declares none (of awa 0.5, or an older release) has the one that is given.
    """
    rows = yield sql.maintenance(
        "stale_ids", limit=_RUNNING_JOBS_PER_SEARCH, **undeclared.bounded()
    )
    return {job_id: Pulse(interval, staleness) for job_id, interval, staleness in rows}


def overdue_ids() -> Op[list[int]]:
    """Return the ids of running jobs past their deadline."""
    return (yield from _search("overdue_ids", Aside(), _RUNNING_JOBS_PER_SEARCH))


def expired_callback_ids(aside: Aside, limit: int = RESCUE_BATCH) -> Op[list[int]]:
    """Return the ids of waiting jobs whose callback timed out, oldest first."""
    return (yield from _search("expired_callback_ids", aside, limit))


def once_locked_ids(ids: Iterable[int]) -> Op[set[int]]:
    """Return the ids of rows that a transaction has locked since their last change."""
    rows = yield sql.maintenance("once_locked_ids", ids=int_array(sorted(ids)))
    return {row[0] for row in rows}


def free_ids(ids: Sequence[int]) -> Op[set[int]]:
    """Return the ids of rows that are not locked now."""
    rows = yield sql.maintenance("free_ids", ids=int_array(sorted(ids)))
    return {row[0] for row in rows}


def rescue(
    ids: Sequence[int],
    cause: Cause,
    undeclared: Pulse = _NO_PULSE,
    *,
    silent: bool = False,
    aside: Aside | None = None,
) -> Op[list[Rescued]]:
    """Rescue the jobs of a set that still need it, and those put aside before.

    A heartbeat is stale by what the worker declares, else by ``undeclared``; with ``silent`` also
    when two heartbeats are missing.  No limit of attempts is exceeded: a job on its last attempt
    fails, and so does a job that cannot become retryable (its unique key is taken).
    """
    aside = Aside() if aside is None else aside

    @atomic
    def change(
        chosen: Sequence[int], milliseconds: int, because: AwaError | None = None
    ) -> Op[dict[int, Rescued]]:
        error = _REASONS[cause] if because is None else f"{_REASONS[cause]}; no retry: {because}"
        yield sql.maintenance("settle", milliseconds=milliseconds)
        rows = yield sql.maintenance(
            "rescue",
            ids=int_array(chosen),
            cause=cause,
            error=error,
            failure=group_of_text(error).id,
            silent=silent,
            **undeclared.bounded(),
            spent=because is not None,
        )
        return {row.id: row for row in rows.into(Rescued)}

    def fail(job_id: int, reason: AwaError) -> Op[Mapping[int, Rescued]]:
        try:
            return (yield from change([job_id], _LOCK_MS, reason))
        except Unavailable:
            raise
        except AwaError as again:
            aside.put([job_id])
            if not isinstance(again, Transient):
                logger.warning(
                    "a job could not be rescued; it is tried again",
                    extra={"job_id": job_id, "error": str(again)},
                )
            return {}

    rescued = yield from change_apart(sorted(i for i in ids if i not in aside), change, aside, fail)
    return [rescued[job_id] for job_id in sorted(rescued)]


def age(threshold_seconds: float = 60, limit: int = 1000) -> Op[int]:
    """Raise the priority of jobs that have waited longer by one level; return how many."""
    return (yield from _count("age", threshold=bounded(threshold_seconds), limit=limit))


@atomic
def _count(block: str, **params: object) -> Op[int]:
    yield sql.maintenance("settle", milliseconds=_LOCK_MS)
    return int((yield sql.maintenance(block, **params)).scalar())


class Deleted(NamedTuple):
    """A batch of deleted jobs."""

    found: int
    """At most the limit of the batch."""
    deleted: int
    last: str = EVER
    """When the last of them ended: the next batch may begin there."""


def delete_old(
    ended: Ended,
    seconds: float,
    limit: int,
    *,
    queue: str | None = None,
    except_queues: Sequence[str] = (),
    ended_after: str = EVER,
    aside: Aside | None = None,
) -> Op[Deleted]:
    """Delete a batch of completed or unsuccessful jobs that ended longer ago.

    With ``ended_after``, only those that ended since then: jobs that were locked, and those that
    have appeared before it, are left to a batch from the start.
    """
    aside = Aside() if aside is None else aside
    seconds = bounded(seconds)
    scope = {"seconds": seconds, "queue": queue, "except_queues": list(except_queues)}
    try:
        if not len(aside):
            return (yield from _delete_batch(ended, limit=limit, ended_after=ended_after, **scope))
    except Unavailable:
        raise
    except AwaError:
        pass  # because of a single job
    found = sorted((yield from _search(f"old_{ended}", aside, limit, **scope)))

    @atomic
    def change(ids: Sequence[int], milliseconds: int) -> Op[dict[int, None]]:
        yield sql.maintenance("settle", milliseconds=milliseconds)
        rows = yield sql.maintenance("delete_old", ids=int_array(ids), seconds=seconds)
        return {row[0]: None for row in rows}

    def blame(job_id: int, error: AwaError) -> Op[dict[int, None]]:
        logger.warning(
            "a job past its retention could not be deleted; it is tried again",
            extra={"job_id": job_id, "error": str(error)},
        )
        aside.put([job_id])
        yield from ()
        return {}

    gone = yield from change_apart(found, change, aside, blame)
    return Deleted(len(found), len(gone))


@atomic
def _delete_batch(ended: Ended, *, ended_after: str, **scope: Any) -> Op[Deleted]:
    yield sql.maintenance("settle", milliseconds=_LOCK_MS)
    block = "delete_completed" if ended == "completed" else "delete_unsuccessful"
    deleted, last = (yield sql.maintenance(block, ended_after=ended_after, **scope))[0]
    return Deleted(deleted, deleted, last or ended_after)


@atomic
def briefly(op: Op[R]) -> Op[R]:
    """Run an op with a short lock timeout."""
    yield sql.maintenance("wait_at_most", milliseconds=_LOCK_MS)
    return (yield from op)


def recount() -> Op[None]:
    """Update the cached counters; the statement limits its own time."""
    yield from briefly(_recount())


def _recount() -> Op[None]:
    yield sql.maintenance("recount")


def forget_signatures() -> Op[None]:
    """Delete request signatures of callbacks that are too old to be accepted."""
    yield sql.callbacks("forget_signatures")


def forget(descriptor_seconds: float) -> Op[None]:
    """Delete rows of processes, and descriptors, that were not renewed; 0 keeps descriptors.

    Waits are deleted when they have expired, bulk operations a month after they ended.
    """
    yield sql.waits("forget_expired")
    yield sql.maintenance("forget_instances")
    yield sql.maintenance("forget_bulk_operations")
    if descriptor_seconds:
        seconds = bounded(descriptor_seconds)
        yield sql.maintenance("forget_queue_descriptors", seconds=seconds)
        yield sql.maintenance("forget_kind_descriptors", seconds=seconds)
