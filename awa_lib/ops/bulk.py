"""Bulk operations: a change of many jobs, in batches that survive a crash."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from awa_lib._json import dumps, loads
from awa_lib._sql import atomic, compute, sql
from awa_lib.errors import (
    BulkOperationNotFound,
    Conflict,
    Transient,
    Unavailable,
    ValidationError,
)
from awa_lib.filters import JobFilter, checked_filter, checked_uuid, require_some
from awa_lib.models import BulkOperation
from awa_lib.ops.batches import STATES, Step, do_batch, put_off, states_of
from awa_lib.validation import LONGEST_NAME, did_you_mean, name_of, number_of, text_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Unpack

    from awa_lib._sql import Op

__all__ = [
    "STATES",
    "BulkPreview",
    "advance_next",
    "cancel_bulk_operation",
    "preview_bulk_operation",
    "run_bulk_operation",
    "submit_bulk_operation",
]

# Without a leader a batch with a transient error is tried at most this many times in a row.
_TRIES: Final = 6
_FIRST_PAUSE_SECONDS: Final = 0.2


@dataclass(frozen=True, slots=True)
class BulkPreview:
    """How many jobs a bulk operation would change, their ten lowest ids, and counts by state."""

    total_matched: int
    sample: list[int]
    states: dict[str, int]


def preview_bulk_operation(
    operation: str,
    *,
    all: bool = False,  # noqa: A002 - the name of the option
    **where: Unpack[JobFilter],
) -> Op[BulkPreview]:
    """Return what ``submit_bulk_operation`` with these filters would change; changes nothing.

    Only jobs in a state that the operation may change are counted.  Raises ValidationError.
    """
    filters = _filters(operation, where, everything=all)
    rows = yield sql.bulk("preview", states=states_of(operation), **filters)
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
    all: bool = False,  # noqa: A002 - the name of the option
    **where: Unpack[JobFilter],
) -> Op[BulkOperation]:
    """Record a change of all jobs that match and return it; the fleet's leader carries it out.

    ``operation`` is ``retry`` (of failed jobs, unless ``state`` names others), ``cancel``,
    ``delete`` (of ended jobs), ``set_priority`` (needs ``priority``, 1 to 4) or ``move_queue``
    (needs ``to_queue``); the last two change waiting jobs.
    Filters are the keys of ``JobFilter``; without any, ``all=True`` is required.  Jobs inserted
    after this call are not changed.  A script without a worker calls ``run_bulk_operation``.
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
    found = yield sql.bulk("preview", states=states_of(operation), **filters)
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

    Waits for a running batch.  Raises BulkOperationNotFound, Conflict when it has already ended,
    or ValidationError.
    """
    operation_id = checked_uuid(operation_id)
    rows = yield sql.bulk("cancel", id=operation_id)
    if rows:
        return rows.into(BulkOperation)[0]
    found = yield from _read(operation_id)
    raise Conflict(
        f"cannot cancel bulk operation {operation_id}: it is {found.state}",
        why="only a pending or running operation can be cancelled",
        hint="what it changed stays changed; submit another operation to change it back",
    )


def run_bulk_operation(
    operation_id: str, *, on_progress: Callable[[BulkOperation], object] | None = None
) -> Op[BulkOperation]:
    """Carry out an operation to its end and return it; for scripts without a worker.

    ``on_progress`` is called after each batch.  A leader may carry it out at the same time: they
    take turns.  Another call after a failure continues where it stopped.
    Raises BulkOperationNotFound, ValidationError, or Transient when a batch keeps failing.
    """
    operation_id = checked_uuid(operation_id)
    if on_progress is not None and not callable(on_progress):
        raise ValidationError(f"on_progress must be a function, got {on_progress!r}")
    failed = 0
    while True:
        try:
            stuck = (yield from do_batch(operation_id, [])) is Step.STUCK
        except Unavailable:
            raise
        except Transient as error:
            yield from put_off(operation_id, error)
            if failed + 1 == _TRIES:
                raise
            stuck = True
        failed = failed + 1 if stuck else 0
        now = yield from _read(operation_id)
        if on_progress is not None:
            on_progress(now)
        if now.finished:
            return now
        if failed == _TRIES:
            raise _in_the_way(now)
        if failed:
            yield compute(partial(time.sleep, _FIRST_PAUSE_SECONDS * 2 ** (failed - 1)))


def _in_the_way(now: BulkOperation) -> Transient:
    return Transient(
        f"bulk operation {now.id} cannot be finished now",
        why=now.last_error or "open transactions lock the jobs that are left",
        hint=f"continue later: awa batch run {now.id}; a leader continues by itself",
    )


def advance_next() -> Op[bool]:
    """Do a batch of the oldest operation that may be tried; return False when there is none.

    An operation whose batch fails with a transient error is postponed, so that the next call takes
    another operation.
    """
    taken: list[str] = []
    try:
        return (yield from do_batch(None, taken)) is not Step.NONE
    except Unavailable:
        raise
    except Transient as error:
        if not taken:
            raise
        yield from put_off(taken[0], error)
        return True


def _read(operation_id: str) -> Op[BulkOperation]:
    rows = yield sql.read_bulk("get", id=operation_id)
    if not rows:
        raise BulkOperationNotFound(operation_id)
    return rows.into(BulkOperation)[0]


def _filters(operation: object, where: JobFilter, *, everything: bool) -> dict[str, str | None]:
    if not isinstance(operation, str) or operation not in STATES:
        raise ValidationError(
            f"unknown bulk operation {operation!r}",
            why=f"operations are {', '.join(STATES)}",
            hint=did_you_mean(operation, STATES),
        )
    filters = checked_filter(where, JobFilter)
    state = filters["state"]
    if state is not None and state not in STATES[operation]:
        raise ValidationError(
            f"{operation} does not apply to jobs that are {state}",
            why=f"it applies to jobs that are {', '.join(STATES[operation])}",
        )
    require_some(operation, filters, everything=everything)
    if operation == "retry" and state is None:
        # Cancelled jobs were meant to end, and others still wait: they must be asked for.
        filters["state"] = "failed"
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
