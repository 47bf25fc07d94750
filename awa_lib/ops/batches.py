"""One batch of a bulk operation: lock its jobs, change those that still fit, note how far it is."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Final

from awa_lib._sql import atomic, sql
from awa_lib.errors import AwaError, DatabaseError, Transient, Unavailable
from awa_lib.filters import JobFilter
from awa_lib.ops.jobs import id_array
from awa_lib.states import CAN_CANCEL, CAN_RETRY, ENDED, QUEUED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from awa_lib._sql import Op, Rows

__all__ = ["STATES", "Step", "do_batch", "put_off", "states_of"]

# Jobs held by others that are come back to; the list is written with each batch.
_MOST_DEFERRED: Final = 10_000
# How long a batch waits for a lock, in milliseconds, and one of its rows by itself.
_WAITS: Final = 250
_ROW_WAITS: Final = 20
# Rows one by one for so long; the rest is come back to.
_SECONDS: Final = 2.0
STATES: Final = {
    "retry": CAN_RETRY,
    "cancel": CAN_CANCEL,
    "delete": ENDED,
    "set_priority": QUEUED,
    "move_queue": QUEUED,
}
"""The states each operation may take a job from."""


class Step(Enum):
    """What a look for a batch to do came to."""

    NONE = "none"
    """There was nothing to do."""
    DONE = "done"
    STUCK = "stuck"
    """All that is left is in somebody's hands."""


@dataclass(frozen=True, slots=True)
class _Task:
    """What a batch needs to know of its operation."""

    id: str
    operation: str
    cursor: int
    last_id: int
    deferred: list[int]
    batch: int
    span: int | None
    worn_out: bool
    """It has been tried for long: what is still in somebody's hands is given up."""
    priority: int | None
    to_queue: str | None
    where: dict[str, str | None]


@atomic
def do_batch(operation_id: str | None, taken: list[str]) -> Op[Step]:
    """Do a batch of an operation, or of the oldest that may be tried.

    The id of its operation goes into ``taken``, known also when this raises.
    """
    yield sql.maintenance("wait_at_most", milliseconds=_WAITS)
    if operation_id is None:
        rows = yield sql.bulk("take_next")
    else:
        rows = yield sql.bulk("take_one", id=operation_id)
    if not rows:
        return Step.NONE
    task = _task(rows)
    taken.append(task.id)
    try:
        stuck = yield from _batch(task)
    except Transient:
        raise
    except DatabaseError as error:
        yield sql.bulk("fail", id=task.id, last_error=str(error))
        return Step.DONE
    return Step.STUCK if stuck else Step.DONE


def _task(rows: Rows) -> _Task:
    columns = dict(zip(rows.columns, rows[0], strict=True))
    where = {key: columns.pop(key) for key in JobFilter.__annotations__}
    return _Task(**columns, where=where)


@atomic
def _batch(task: _Task) -> Op[bool]:
    """Return True when all that is left is in somebody's hands."""
    first_pass = task.cursor < task.last_id
    cursor, deferred = task.cursor, list(task.deferred)
    if first_pass:
        page, cursor = yield from _page(task)
    else:
        page, deferred = deferred[: task.batch], deferred[task.batch :]
    locked: list[int] = []
    if page:
        rows = yield sql.bulk("lock_jobs", ids=id_array(page))
        locked = sorted(row[0] for row in rows)
    missed = sorted(set(page).difference(locked))
    # Under the lock they cannot change any more; until then they could.
    fitting = (yield from _still_fit(task, locked)) if locked else []
    done = (yield from _apply_all(task, fitting)) if fitting else _Done()
    skipped = len(locked) - done.tried
    again = done.blocked
    if first_pass:
        # Somebody holds them now: come back to them at the end.
        again = sorted([*again, *missed])
    else:
        skipped += len(missed)
        if task.worn_out:
            done.errors += [f"job {i}: an open transaction is in its way" for i in again]
            again = []
    kept = again[: max(0, _MOST_DEFERRED - len(deferred))]
    skipped += len(again) - len(kept)
    stuck = not first_pass and bool(kept) and not done.processed
    deferred += kept
    yield sql.bulk(
        "advance",
        id=task.id,
        cursor=cursor,
        deferred=id_array(deferred),
        over=cursor >= task.last_id and not deferred,
        processed=done.processed,
        skipped=skipped,
        errored=len(done.errors),
        last_error=done.errors[-1] if done.errors else done.reason,
        stuck=stuck,
    )
    return stuck


def _page(task: _Task) -> Op[tuple[list[int], int]]:
    """Return the jobs of the next batch, and up to which id all have been looked at."""
    upto = task.last_id if task.span is None else min(task.last_id, task.cursor + task.span)
    rows = yield sql.bulk(
        "matching_ids",
        after=task.cursor,
        upto=upto,
        limit=task.batch,
        states=states_of(task.operation),
        **task.where,
    )
    found = [row[0] for row in rows]
    return found, found[-1] if len(found) == task.batch else upto


def _still_fit(task: _Task, ids: Sequence[int]) -> Op[list[int]]:
    rows = yield sql.bulk(
        "still_fit", ids=id_array(ids), states=states_of(task.operation), **task.where
    )
    return [row[0] for row in rows]


@dataclass(slots=True)
class _Done:
    """What became of a set: how many were changed, what was said of those that cannot be."""

    processed: int = 0
    errors: list[str] = field(default_factory=list)
    blocked: list[int] = field(default_factory=list)
    """Somebody's open transaction is in the way of these."""
    reason: str | None = None

    @property
    def tried(self) -> int:
        """Return how many are accounted for; the others were changed by somebody else."""
        return self.processed + len(self.errors) + len(self.blocked)


def _apply_all(task: _Task, ids: Sequence[int]) -> Op[_Done]:
    """Change a set; when one row makes it fail, each by itself, with the reasons of those."""
    try:
        return _Done((yield from _apply(task, ids)))
    except Unavailable:
        raise
    except AwaError:
        pass
    yield sql.maintenance("wait_at_most", milliseconds=_ROW_WAITS)
    done = _Done()
    until = time.monotonic() + _SECONDS
    for place, job_id in enumerate(ids):
        if time.monotonic() >= until:
            done.blocked += ids[place:]
            break
        try:
            done.processed += yield from _apply(task, [job_id])
        except Unavailable:
            raise
        except Transient as error:
            done.blocked.append(job_id)
            done.reason = f"job {job_id}: {error}; it is come back to"
        except AwaError as error:
            done.errors.append(f"job {job_id}: {error}")
    return done


@atomic
def _apply(task: _Task, ids: Sequence[int]) -> Op[int]:
    chosen = id_array(ids)
    if task.operation == "retry":
        rows = yield sql.jobs("retry_jobs", ids=chosen)
    elif task.operation == "cancel":
        rows = yield sql.jobs("cancel_jobs", ids=chosen)
    elif task.operation == "delete":
        rows = yield sql.bulk("delete", ids=chosen)
    elif task.operation == "set_priority":
        rows = yield sql.bulk("set_priority", ids=chosen, priority=task.priority)
    else:
        rows = yield sql.bulk("move_queue", ids=chosen, to_queue=task.to_queue)
    return len(rows)


@atomic
def put_off(operation_id: str, error: Transient) -> Op[None]:
    """Note that a batch failed for the moment."""
    yield sql.maintenance("wait_at_most", milliseconds=_WAITS)
    yield sql.bulk("put_off", id=operation_id, last_error=str(error))


def states_of(operation: str) -> str:
    """Return the states an operation may take a job from, as an array literal."""
    return "{" + ",".join(STATES[operation]) + "}"
