"""Callbacks: answers of outside systems to jobs that wait for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from awa_cli.access import Identity
from awa_cli.web.api.fields import change
from awa_cli.web.endpoints import Routes
from awa_cli.web.json_schema import Rule
from awa_cli.web.problems import Refused
from awa_lib._sql import Op
from awa_lib.errors import CallbackNotFound
from awa_lib.models import Job, JobState
from awa_lib.ops import callbacks

__all__ = ["routes"]

routes = Routes("callbacks", signed=True)

Id = Annotated[str, Rule(format="uuid", maxLength=64, description="Id of the callback.")]
Verb = Literal["complete", "fail", "resume", "heartbeat"]
Payload = Annotated[Any, Rule(description="Any JSON value.")]


@dataclass(frozen=True, slots=True)
class Answered:
    """The job of the callback, and its state, spelled like ``WaitingExternal``."""

    id: int
    state: str
    repeated: bool = False
    """An earlier delivery did this: the state is that of then, and nothing was changed now."""


@routes.post("/callbacks/{callback_id}/complete", raw="payload")
def complete(who: Identity, callback_id: Id, *, payload: Payload = None) -> Op[Answered]:
    """Complete the job of a callback."""
    op = callbacks.complete_external(callback_id, payload)
    return _answer(who, "complete", callback_id, op)


@routes.post("/callbacks/{callback_id}/fail", raw="error")
def fail(
    who: Identity,
    callback_id: Id,
    *,
    error: Annotated[str, Rule(maxLength=100_000, pattern=r"^[^\u0000]*$")],
) -> Op[Answered]:
    """Fail the job of a callback, even if attempts are left."""
    op = callbacks.fail_external(callback_id, error)
    return _answer(who, "fail", callback_id, op)


@routes.post("/callbacks/{callback_id}/resume", raw="payload")
def resume(who: Identity, callback_id: Id, *, payload: Payload = None) -> Op[Answered]:
    """Resume the handler that waits for a callback, with a payload."""
    op = callbacks.resume_external(callback_id, payload)
    return _answer(who, "resume", callback_id, op)


@routes.post("/callbacks/{callback_id}/heartbeat")
def heartbeat(
    who: Identity,
    callback_id: Id,
    *,
    timeout_seconds: Annotated[float, Rule(minimum=0)] = 3600.0,
) -> Op[Answered]:
    """Restart the timeout of a waiting job."""
    op = callbacks.heartbeat_callback(callback_id, timeout_seconds)
    return _answer(who, "heartbeat", callback_id, op)


def _answer(who: Identity, verb: Verb, callback_id: str, op: Op[Job]) -> Op[Answered]:
    # A signed answer is part of the job's normal course: only an operator's change is audited.
    by_hand = who.way != "signature"
    try:
        job = yield from (change(who, f"callback.{verb}", callback_id, op) if by_hand else op)
    except CallbackNotFound:
        # Read after the wait for the row's lock: of two deliveries at once the second finds it.
        earlier = yield from callbacks.find_answer(callback_id)
        if earlier is None:
            raise
        return _repeated(verb, callback_id, earlier)
    return Answered(job.id, job.state.name)


def _repeated(verb: Verb, callback_id: str, earlier: callbacks.Answer) -> Answered:
    state = JobState.parse(earlier.state).name
    if earlier.action != verb:
        raise Refused(
            409,
            f"callback already answered: {callback_id}",
            f"an earlier {earlier.action} made job {earlier.job_id} {state}; a callback has one "
            "answer",
            f"look at the job: awa job show {earlier.job_id}",
        )
    return Answered(earlier.job_id, state, repeated=True)
