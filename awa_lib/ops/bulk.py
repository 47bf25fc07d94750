"""Bulk operations: one change of many jobs, in batches that survive a crash."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from awa_lib._json import dumps, loads
from awa_lib._sql import atomic, sql
from awa_lib.errors import (
    AwaError,
    BulkOperationNotFound,
    Conflict,
    DatabaseError,
    Unavailable,
    ValidationError,
)
from awa_lib.fields import LONGEST_NAME, name_of, number_of, text_of
from awa_lib.filters import JobFilter, checked_filter, checked_uuid, require_some
from awa_lib.models import BulkOperation
from awa_lib.ops.jobs import CANCELS, ENDED, RETRIES, WAITING, id_array

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Unpack

    from awa_lib._sql import Op, Rows

__all__ = [
    "BATCH",
    "STATES",
    "BulkPreview",
    "advance_next",
    "cancel_bulk_operation",
    "preview_bulk_operation",
    "run_bulk_operation",
    "submit_bulk_operation",
]

# Jobs locked by one transaction.
BATCH: Final = 500
# Jobs held by others that are come back to; the list is written with each batch.
_MOST_DEFERRED: Final = 10_000
STATES: Final = {
    "retry": RETRIES,
    "cancel": CANCELS,
    "delete": ENDED,
    "set_priority": WAITING,
    "move_queue": WAITING,
}
"""The states each operation may take a job from."""
# Serialization and deadlock, a lock or statement time-out: the batch is tried again.
_TRANSIENT: Final = ("40", "53", "55", "57")


@dataclass(frozen=True, slots=True)
class BulkPreview:
    """How many jobs a bulk operation would take, their ten lowest ids, and how many by state."""

    total_matched: int
    sample: list[int]
    states: dict[str, int]


@dataclass(frozen=True, slots=True)
class _Task:
    """What a batch needs to know of its operation."""

    id: str
    operation: str
    cursor: int
    last_id: int
    deferred: list[int]
    priority: int | None
    to_queue: str | None
    where: dict[str, str | None]


def preview_bulk_operation(
    operation: str,
    *,
    all: bool = False,  # noqa: A002 - says it best
    **where: Unpack[JobFilter],
) -> Op[BulkPreview]:
    """Return what ``submit_bulk_operation`` with these filters would take; changes nothing.

    Only jobs in a state that the operation may change are counted.  Raises ValidationError.
    """
    filters = _filters(operation, where, everything=all)
    rows = yield sql.bulk("preview", states=_states(operation), **filters)
    total, _, sample, by_state = rows[0]
    states: dict[str, int] = loads(by_state or "{}")
    most = sorted(states.items(), key=lambda pair: (-pair[1], pair[0]))
    return BulkPreview(int(total), list(sample), dict(most))


def submit_bulk_operation(
    operation: str,
    *,
    priority: int | None = None,
    to_queue: str | None = None,
    submitted_by: str | None = None,
    all: bool = False,  # noqa: A002 - says it best
    **where: Unpack[JobFilter],
) -> Op[BulkOperation]:
    """Record one change of all jobs that fit, and return it; the fleet's leader carries it out.

    ``operation`` is ``retry``, ``cancel``, ``delete`` (ended jobs only), ``set_priority`` (needs
    ``priority``, 1 to 4) or ``move_queue`` (needs ``to_queue``); the last two take jobs that wait.
    Filters are the keys of ``JobFilter``; without any, ``all=True`` is required.  Jobs inserted
    after this call are not touched.  A script without a worker calls ``run_bulk_operation``.
    Raises ValidationError.
    """
    filters = _filters(operation, where, everything=all)
    spec = _spec(operation, priority, to_queue)
    if submitted_by is not None:
        text_of("submitted_by", submitted_by, LONGEST_NAME)
    return (yield from _submit(operation, filters, spec, submitted_by))


@atomic
def _submit(
    operation: str, filters: dict[str, Any], spec: dict[str, Any], submitted_by: str | None
) -> Op[BulkOperation]:
    found = yield sql.bulk("preview", states=_states(operation), **filters)
    total, last_id, *_ = found[0]
    stored = {key: value for key, value in filters.items() if value is not None}
    if "args" in stored:
        stored["args"] = loads(stored["args"])
    rows = yield sql.bulk(
        "submit",
        operation=operation,
        filter=dumps(stored),
        spec=dumps(spec),
        last_id=last_id,
        total_matched=total,
        submitted_by=submitted_by,
    )
    return rows.into(BulkOperation)[0]


def cancel_bulk_operation(operation_id: str) -> Op[BulkOperation]:
    """Stop an operation between two batches and return it; what it changed stays changed.

    Waits for a batch in progress.  Raises BulkOperationNotFound, Conflict when it is over already,
    or ValidationError.
    """
    operation_id = checked_uuid(operation_id)
    rows = yield sql.bulk("cancel", id=operation_id)
    if rows:
        return rows.into(BulkOperation)[0]
    found = yield from _read(operation_id)
    raise Conflict(
        f"cannot cancel bulk operation {operation_id}: it is {found.state}",
        why="only a pending or running one can be stopped",
        hint="what it changed stays changed; submit another to change it back",
    )


def run_bulk_operation(
    operation_id: str, *, on_progress: Callable[[BulkOperation], object] | None = None
) -> Op[BulkOperation]:
    """Carry an operation out here, to its end, and return it; for scripts without a worker.

    ``on_progress`` is called after each batch.  A leader may carry it out at the same time: they
    take turns.  Called again after a failure it goes on where it stopped.
    Raises BulkOperationNotFound, ValidationError, or what made a batch fail for the moment.
    """
    operation_id = checked_uuid(operation_id)
    if on_progress is not None and not callable(on_progress):
        raise ValidationError(f"on_progress must be a function, got {on_progress!r}")
    while True:
        yield from _step(operation_id)
        now = yield from _read(operation_id)
        if on_progress is not None:
            on_progress(now)
        if now.finished:
            return now


def advance_next() -> Op[bool]:
    """Do one batch of the oldest operation that is not over; return whether there was one."""
    return (yield from _step(None))


def _read(operation_id: str) -> Op[BulkOperation]:
    rows = yield sql.read_bulk("get", id=operation_id)
    if not rows:
        raise BulkOperationNotFound(operation_id)
    return rows.into(BulkOperation)[0]


@atomic
def _step(operation_id: str | None) -> Op[bool]:
    if operation_id is None:
        rows = yield sql.bulk("take_next")
    else:
        rows = yield sql.bulk("take_one", id=operation_id)
    if not rows:
        return False
    task = _task(rows)
    try:
        yield from _batch(task)
    except Unavailable:
        raise
    except DatabaseError as error:
        if error.sqlstate is None or error.sqlstate[:2] in _TRANSIENT:
            raise
        yield sql.bulk("fail", id=task.id, last_error=str(error))
    return True


def _task(rows: Rows) -> _Task:
    columns = dict(zip(rows.columns, rows[0], strict=True))
    where = {key: columns.pop(key) for key in JobFilter.__annotations__}
    return _Task(**columns, where=where)


@atomic
def _batch(task: _Task) -> Op[None]:
    first_pass = task.cursor < task.last_id
    cursor, deferred, skipped = task.cursor, list(task.deferred), 0
    if first_pass:
        page = yield from _matching(task, None)
        cursor = page[-1] if len(page) == BATCH else task.last_id
    else:
        page, deferred = deferred[:BATCH], deferred[BATCH:]
    locked: list[int] = []
    if page:
        rows = yield sql.bulk("lock_jobs", ids=id_array(page))
        locked = sorted(row[0] for row in rows)
    missed = sorted(set(page).difference(locked))
    if first_pass:
        # Somebody holds them now: come back to them at the end.
        room = max(0, _MOST_DEFERRED - len(deferred))
        deferred, missed = deferred + missed[:room], missed[room:]
    # Under the lock they cannot change any more; until then they could.
    fitting = (yield from _matching(task, locked)) if locked else []
    skipped += len(missed) + len(locked) - len(fitting)
    processed, errors = (yield from _apply_all(task, fitting)) if fitting else (0, [])
    skipped += len(fitting) - processed - len(errors)
    yield sql.bulk(
        "advance",
        id=task.id,
        cursor=cursor,
        deferred=id_array(deferred),
        over=cursor >= task.last_id and not deferred,
        processed=processed,
        skipped=skipped,
        errored=len(errors),
        last_error=errors[-1] if errors else None,
    )


def _matching(task: _Task, only: Sequence[int] | None) -> Op[list[int]]:
    rows = yield sql.bulk(
        "matching_ids",
        after=task.cursor if only is None else 0,
        last_id=task.last_id,
        only=None if only is None else id_array(only),
        limit=BATCH,
        states=_states(task.operation),
        **task.where,
    )
    return [row[0] for row in rows]


def _apply_all(task: _Task, ids: Sequence[int]) -> Op[tuple[int, list[str]]]:
    """Change a set; when one row makes it fail, each by itself, with the reasons of those."""
    try:
        return (yield from _apply(task, ids)), []
    except Unavailable:
        raise
    except AwaError:
        processed, errors = 0, []
        for job_id in ids:
            try:
                processed += yield from _apply(task, [job_id])
            except Unavailable:
                raise
            except AwaError as error:
                errors.append(f"job {job_id}: {error}")
        return processed, errors


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


def _states(operation: str) -> str:
    return "{" + ",".join(STATES[operation]) + "}"


def _filters(operation: object, where: JobFilter, *, everything: bool) -> dict[str, str | None]:
    if not isinstance(operation, str) or operation not in STATES:
        near = difflib.get_close_matches(str(operation), STATES, n=1)
        raise ValidationError(
            f"unknown bulk operation {operation!r}",
            why=f"operations are {', '.join(STATES)}",
            hint=f"did you mean {near[0]!r}?" if near else None,
        )
    filters = checked_filter(where, JobFilter)
    state = filters["state"]
    if state is not None and state not in STATES[operation]:
        raise ValidationError(
            f"jobs that are {state} cannot be chosen for this",
            why=f"it is for jobs that are {', '.join(STATES[operation])}",
        )
    require_some(operation, filters, everything=everything)
    return filters


def _spec(operation: str, priority: object, to_queue: object) -> dict[str, Any]:
    given = {"priority": priority, "to_queue": to_queue}
    wanted = {"set_priority": "priority", "move_queue": "to_queue"}.get(operation)
    for name, value in given.items():
        if value is not None and name != wanted:
            raise ValidationError(f"{operation} takes no {name}")
    if wanted is None:
        return {}
    if given[wanted] is None:
        raise ValidationError(f"{operation} needs {wanted}")
    if wanted == "priority":
        return {wanted: number_of(wanted, priority, 1, 4)}
    name_of(wanted, to_queue)
    return {wanted: to_queue}
