"""Callbacks: answers of outside systems, and the ops of handlers that wait for them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal
from uuid import UUID

from awa_lib._json import dumps, loads
from awa_lib._sql import compute, sql
from awa_lib.callbacks import cel
from awa_lib.callbacks.cel import Decision, Expressions
from awa_lib.codec.encode import to_json
from awa_lib.codec.pgtext import int_array
from awa_lib.errors import CallbackNotFound, ValidationError
from awa_lib.models import Job, ResolveResult
from awa_lib.telemetry.failures import group_of_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from awa_lib._sql import Op, Rows

__all__ = [
    "ANSWERS_BATCH",
    "Answer",
    "WaitStatus",
    "abandon_wait",
    "cancel_callback",
    "check_timeout",
    "complete_external",
    "enter_wait",
    "fail_external",
    "find_answer",
    "forget_answers",
    "heartbeat_callback",
    "leave_wait",
    "look_at_waits",
    "register_callback",
    "resolve_callback",
    "resume_external",
    "retry_external",
    "take_answer",
]

ANSWERS_BATCH: Final = 1_000
_ACTIONS: Final = ("complete", "fail", "ignore")
_DEFAULT_TIMEOUT_SECONDS: Final = 3_600.0
# A hundred years, well within timestamptz.
_LONGEST_TIMEOUT_SECONDS: Final = 3.15e9
Block = Literal[
    "complete_external", "fail_external", "retry_external", "resume_external", "heartbeat_callback"
]


def complete_external(callback_id: str, payload: Any = None) -> Op[Job]:
    """Complete the job of a callback and return it.

    The payload (JSON data) is kept in the job's metadata under ``_awa_callback_result``.  A job
    that is still running, because its handler does not wait yet, is completed too.  Raises
    CallbackNotFound for an unknown or resolved callback, ValidationError for a malformed id.
    """
    return (yield from _resolve("complete_external", callback_id, payload=_payload(payload)))


def fail_external(callback_id: str, error: str) -> Op[Job]:
    """Fail the job of a callback, whatever attempts are left, and return it.

    Raises as ``complete_external``.
    """
    return (yield from _fail(callback_id, {"error": _text(error)}))


def retry_external(callback_id: str) -> Op[Job]:
    """Make the waiting job of a callback available again, with attempt 0, and return it.

    Raises as ``complete_external``; a job that still runs is not found.
    """
    return (yield from _resolve("retry_external", callback_id))


def resume_external(callback_id: str, payload: Any = None) -> Op[Job]:
    """Pass a payload to the handler that waits for a callback and return the job.

    A handler in ``wait_for_callback`` continues at once.  When no process waits any longer the job
    becomes available and the attempt does not count; the next handler gets the payload when it
    waits for the same callback.  The same holds for a job that was handed back before it waited.
    Raises as ``complete_external``.
    """
    return (yield from _resolve("resume_external", callback_id, payload=_payload(payload)))


def heartbeat_callback(
    callback_id: str, timeout_seconds: float = _DEFAULT_TIMEOUT_SECONDS
) -> Op[Job]:
    """Restart the time-out of a waiting job and return the job.

    Raises as ``retry_external``, ValidationError for a negative or NaN time-out.
    """
    return (
        yield from _resolve(
            "heartbeat_callback", callback_id, timeout_seconds=check_timeout(timeout_seconds)
        )
    )


def resolve_callback(
    callback_id: str,
    payload: Any = None,
    default_action: str = "ignore",
) -> Op[ResolveResult]:
    """Resolve a callback by the expressions that it was registered with.

    If ``filter`` is false the payload is ignored and the job keeps waiting.  If ``on_fail`` is true
    the job fails; if ``on_complete`` is true it completes with ``transform(payload)``.  Otherwise
    ``default_action`` applies: complete, fail or ignore.  An expression that cannot be evaluated
    counts as absent.  Raises as ``complete_external``.
    """
    if default_action not in _ACTIONS:
        raise ValidationError(f"default_action must be one of {_ACTIONS}, got {default_action!r}")
    data = to_json(payload, "payload")
    rows = yield sql.callbacks("find_callback", callback_id=_uuid(callback_id))
    if not rows:
        raise CallbackNotFound(callback_id)
    expressions = Expressions(*rows[0][2:])
    decided = yield compute(lambda: cel.decide(expressions, data, default_action))
    decision: Decision = decided.scalar()
    if decision.outcome == "ignored":
        return ResolveResult("ignored", reason=decision.reason)
    if decision.outcome == "failed":
        error = {"error": decision.reason}
        if decision.expression is not None:
            error["expression"] = decision.expression
        return ResolveResult("failed", job=(yield from _fail(callback_id, error)))
    job = yield from complete_external(callback_id, decision.payload)
    return ResolveResult("completed", job=job, payload=decision.payload)


def _fail(callback_id: str, error: dict[str, Any]) -> Op[Job]:
    group = group_of_text(error["error"])
    return (
        yield from _resolve(
            "fail_external",
            callback_id,
            error=dumps({**error, "failure": group.id}),
            failure=dumps(
                {"id": group.id, "error_type": group.error_type, "message": group.message}
            ),
        )
    )


def _resolve(block: Block, callback_id: str, **given: Any) -> Op[Job]:
    rows: Rows = yield sql.callbacks(block, callback_id=_uuid(callback_id), **given)
    if not rows:
        raise CallbackNotFound(callback_id)
    return rows.into(Job)[0]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the first answer of a callback did."""

    job_id: int
    action: str
    """complete, fail or resume."""
    state: str
    """The state of the job just after it."""


def find_answer(callback_id: str) -> Op[Answer | None]:
    """Return what the answer of a callback did; None without one, or after its 30 days.

    An answer by awa 0.5 is not kept.  Raises ValidationError for a malformed id.
    """
    rows = yield sql.callbacks("find_answer", callback_id=_uuid(callback_id))
    return Answer(*rows[0]) if rows else None


def forget_answers() -> Op[int]:
    """Delete a batch of answers older than 30 days; return how many, at most ANSWERS_BATCH."""
    rows = yield sql.callbacks("forget_answers", limit=ANSWERS_BATCH)
    return int(rows.scalar())


def register_callback(
    job_id: int,
    lease: int,
    callback_id: str,
    timeout_seconds: float,
    expressions: Expressions,
) -> Op[bool]:
    """Register a callback of a running attempt; return False when it no longer owns its job.

    May be repeated: a callback that was answered meanwhile stays answered.
    """
    rows = yield sql.callbacks(
        "register_callback",
        id=job_id,
        lease=lease,
        callback_id=callback_id,
        timeout_seconds=check_timeout(timeout_seconds),
        filter=expressions.filter,
        on_complete=expressions.on_complete,
        on_fail=expressions.on_fail,
        transform=expressions.transform,
    )
    return bool(rows)


def cancel_callback(job_id: int, lease: int, callback_id: str, *, again: bool = False) -> Op[bool]:
    """Withdraw the callback of a running attempt; return False when it is not registered.

    ``again`` marks a repetition whose first try may have been carried out.
    """
    rows = yield sql.callbacks(
        "cancel_callback", id=job_id, lease=lease, callback_id=callback_id, again=again
    )
    return bool(rows)


def enter_wait(job_id: int, lease: int, callback_id: str, progress: str | None) -> Op[bool]:
    """Move a running attempt to waiting_external; return False when its row does not allow it.

    Progress is JSON text.
    """
    rows = yield sql.callbacks(
        "enter_wait", id=job_id, lease=lease, callback_id=callback_id, progress=progress or "null"
    )
    return bool(rows)


def leave_wait(
    job_id: int, lease: int, callback_id: str, deadline_seconds: float | None
) -> Op[bool]:
    """Let an attempt go on without an answer, with a new deadline; return False if it is lost.

    May be repeated.
    """
    rows = yield sql.callbacks(
        "leave_wait",
        id=job_id,
        lease=lease,
        callback_id=callback_id,
        deadline_seconds=deadline_seconds,
    )
    return bool(rows)


def abandon_wait(job_id: int, lease: int) -> Op[bool]:
    """Record that no process waits for the answer of this attempt any longer.

    An attempt that was already answered is handed back and does not count.
    """
    rows = yield sql.callbacks("abandon_wait", id=job_id, lease=lease)
    return bool(rows)


@dataclass(frozen=True, slots=True)
class WaitStatus:
    """The state of a waiting attempt's row."""

    state: str
    lease: int
    callback_id: str | None
    pending: bool
    """There is an answer outside the journal."""
    answered: frozenset[str]
    """Callbacks with an answer in the journal."""


def look_at_waits(ids: Sequence[int]) -> Op[dict[int, WaitStatus]]:
    """Return the status of each of these jobs that still exists, by id."""
    rows = yield sql.callbacks("look_at_waits", ids=int_array(ids))
    return {
        row[0]: WaitStatus(row[1], row[2], row[3], row[4], frozenset(loads(row[5]))) for row in rows
    }


def take_answer(
    job_id: int, lease: int, callback_id: str, deadline_seconds: float | None
) -> Op[str | None]:
    """Take the answer of a resumed job as JSON text and renew lease and deadline; None without one.

    May be repeated and then returns the same answer.
    """
    rows = yield sql.callbacks(
        "take_answer",
        id=job_id,
        lease=lease,
        callback_id=callback_id,
        deadline_seconds=deadline_seconds,
    )
    return rows.scalar() if rows else None


def _payload(payload: Any) -> str:
    return dumps(to_json(payload, "payload"))


def _text(error: Any) -> str:
    if not isinstance(error, str):
        raise ValidationError(f"error must be text, got {type(error).__name__}")
    to_json(error, "error")
    return error


def _uuid(callback_id: Any) -> str:
    try:
        return str(UUID(callback_id))
    except (ValueError, AttributeError, TypeError):
        raise ValidationError(f"invalid callback id: {callback_id!r} is not a UUID") from None


def check_timeout(value: Any) -> float:
    """Return a time-out in seconds, bounded.  Raises ValidationError."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValidationError(f"timeout_seconds must be a number, got {value!r}")
    if math.isnan(value) or value < 0:
        raise ValidationError(f"timeout_seconds must not be negative or NaN, got {value!r}")
    return min(float(value), _LONGEST_TIMEOUT_SECONDS)
