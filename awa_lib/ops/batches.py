"""A batch of a bulk operation: lock jobs, change those that still match, save the progress."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Final

from awa_lib._sql import atomic, sql
from awa_lib.codec.pgtext import int_array
from awa_lib.errors import AwaError, DatabaseError, Transient, Unavailable
from awa_lib.filters import JobFilter
from awa_lib.states import CAN_CANCEL, CAN_RETRY, ENDED, QUEUED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from awa_lib._sql import Op, Rows

__all__ = ["STATES", "Step", "do_batch", "put_off", "states_of"]

# Locked jobs that are retried at the end; the list is written with each batch.
_DEFERRED_JOBS: Final = 10_000
# How long a batch, and a row by itself, waits for a lock.
_LOCK_MS: Final = 250
_ROW_LOCK_MS: Final = 20
# Rows are changed one by one for this long; the rest is deferred.
_ROW_BY_ROW_SECONDS: Final = 2.0
STATES: Final = {
    "retry": CAN_RETRY,
    "cancel": CAN_CANCEL,
    "delete": ENDED,
    "set_priority": QUEUED,
    "move_queue": QUEUED,
}
"""The states each operation may take a job from."""


class Step(Enum):
    """The result of doing a batch."""

    NONE = "none"
    """There was no operation to continue."""
    DONE = "done"
    STUCK = "stuck"
    """All jobs that are left are locked."""


@dataclass(frozen=True, slots=True)
class _Task:
    """A bulk operation, as a batch needs it."""

    id: str
    operation: str
    cursor: int
    last_id: int
    deferred: list[int]
    batch: int
    span: int | None
    worn_out: bool
    """It has been retried for long: jobs that are still locked are given up."""
    priority: int | None
    to_queue: str | None
    where: dict[str, str | None]


@atomic
def do_batch(operation_id: str | None, taken: list[str]) -> Op[Step]:
    """Do a batch of an operation, or of the oldest operation that may be tried.

    The id of the operation is added to ``taken``, so that the caller has it when this raises.
    """
    yield sql.maintenance("wait_at_most", milliseconds=_LOCK_MS)
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
    """Do a batch; return True when all jobs that are left are locked."""
    first_pass = task.cursor < task.last_id
    cursor, deferred = task.cursor, list(task.deferred)
    if first_pass:
        page, cursor = yield from _page(task)
    else:
        page, deferred = deferred[: task.batch], deferred[task.batch :]
    locked: list[int] = []
    if page:
        rows = yield sql.bulk("lock_jobs", ids=int_array(page))
        locked = sorted(row[0] for row in rows)
    missed = sorted(set(page).difference(locked))
    # Checked under the lock: until then they could change.
    matching = (yield from _still_match(task, locked)) if locked else []
    done = (yield from _apply_all(task, matching)) if matching else _Done()
    skipped = len(locked) - done.tried
    again = done.blocked
    if first_pass:
        # Locked now: retried at the end.
        again = sorted([*again, *missed])
    else:
        skipped += len(missed)
        if task.worn_out:
            done.errors += [f"job {i}: an open transaction locks it" for i in again]
            again = []
    kept = again[: max(0, _DEFERRED_JOBS - len(deferred))]
    skipped += len(again) - len(kept)
    stuck = not first_pass and bool(kept) and not done.processed
    deferred += kept
    yield sql.bulk(
        "advance",
        id=task.id,
        cursor=cursor,
        deferred=int_array(deferred),
        over=cursor >= task.last_id and not deferred,
        processed=done.processed,
        skipped=skipped,
        errored=len(done.errors),
        last_error=done.errors[-1] if done.errors else done.reason,
        stuck=stuck,
    )
    return stuck


def _page(task: _Task) -> Op[tuple[list[int], int]]:
    """Return the jobs of the next batch, and the id up to which all jobs were searched."""
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


def _still_match(task: _Task, ids: Sequence[int]) -> Op[list[int]]:
    rows = yield sql.bulk(
        "still_fit", ids=int_array(ids), states=states_of(task.operation), **task.where
    )
    return [row[0] for row in rows]


@dataclass(slots=True)
class _Done:
    """The result of changing a set: how many were changed, the errors of the others."""

    processed: int = 0
    errors: list[str] = field(default_factory=list)
    blocked: list[int] = field(default_factory=list)
    """Jobs that an open transaction locks."""
    reason: str | None = None

    @property
    def tried(self) -> int:
        """Return how many are accounted for; other programs changed the rest."""
        return self.processed + len(self.errors) + len(self.blocked)


def _apply_all(task: _Task, ids: Sequence[int]) -> Op[_Done]:
    """Change a set; when a row makes it fail, change each row by itself and note its error."""
    try:
        return _Done((yield from _apply(task, ids)))
    except Unavailable:
        raise
    except AwaError:
        pass
    yield sql.maintenance("wait_at_most", milliseconds=_ROW_LOCK_MS)
    done = _Done()
    until = time.monotonic() + _ROW_BY_ROW_SECONDS
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
            done.reason = f"job {job_id}: {error}; it is tried again"
        except AwaError as error:
            done.errors.append(f"job {job_id}: {error}")
    return done


@atomic
def _apply(task: _Task, ids: Sequence[int]) -> Op[int]:
    chosen = int_array(ids)
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
    """Record that a batch failed with a transient error."""
    yield sql.maintenance("wait_at_most", milliseconds=_LOCK_MS)
    yield sql.bulk("put_off", id=operation_id, last_error=str(error))


def states_of(operation: str) -> str:
    """Return the states an operation may take a job from, as an array literal."""
    return "{" + ",".join(STATES[operation]) + "}"
