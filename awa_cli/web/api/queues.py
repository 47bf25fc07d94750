"""Queues and kinds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from awa_cli.access import Identity
from awa_cli.web.api.fields import KEEP, Name, Ok, Text, change
from awa_cli.web.endpoints import Routes
from awa_cli.web.json_schema import Rule
from awa_lib._sql import Op
from awa_lib.errors import InvalidInput
from awa_lib.ops import dead_letters, policies, queues
from awa_lib.policies import LONGEST_DEADLINE, LONGEST_POLL_MS, RATES, QueuePolicy
from awa_lib.reads.overviews import (
    KindOverview,
    QueueDetails,
    QueueOverview,
    kind_overview,
    list_kinds,
    list_queues,
    queue_details,
)
from awa_lib.reads.policies import get_queue_policy
from awa_lib.reads.runtime import QueueRuntime, queue_runtimes

__all__ = ["routes"]

routes = Routes("queues")

_MAX_INT = 2**31 - 1
_COUNT: Any = Rule(minimum=1, maximum=_MAX_INT)
_HOURS: Any = Rule(minimum=0, maximum=1e9)


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The number of jobs that were cancelled."""

    cancelled: int


@dataclass(frozen=True, slots=True)
class Drained:
    """The number of jobs that were cancelled."""

    drained: int


@routes.get("/queues", cached=True)
def listed() -> Op[list[QueueOverview]]:
    """List the queues by name, with exact counts."""
    return list_queues()


@routes.get("/queues/runtime", cached=True)
def runtime() -> Op[list[QueueRuntime]]:
    """List the queues with their worker processes."""
    return queue_runtimes()


@routes.get("/queues/{queue}")
def show(queue: Text) -> Op[QueueOverview]:
    """Show a queue."""
    return (yield from queue_details(queue)).overview


@routes.get("/queues/{queue}/details")
def details(queue: Text) -> Op[QueueDetails]:
    """Show a queue with its settings, its workers and the number of its dead letters."""
    return queue_details(queue)


@routes.get("/queues/{queue}/settings")
def settings(queue: Name) -> Op[QueuePolicy]:
    """Show the stored settings of a queue; null: each worker uses the value it was started with."""
    return get_queue_policy(queue)


@routes.post("/queues/{queue}/settings", minProperties=1, dependentRequired={"burst": ["max_rate"]})
def set_settings(
    who: Identity,
    queue: Name,
    *,
    max_running: Annotated[int | None, Rule(minimum=0, maximum=_MAX_INT)] = KEEP,
    max_running_per_key: Annotated[int | None, _COUNT] = KEEP,
    max_rate: Annotated[float | None, Rule(minimum=RATES[0], maximum=RATES[1])] = KEEP,
    burst: Annotated[int | None, Rule(minimum=0, maximum=_MAX_INT)] = KEEP,
    poll_interval_ms: Annotated[int | None, Rule(minimum=1, maximum=LONGEST_POLL_MS)] = KEEP,
    claim_batch: Annotated[int | None, _COUNT] = KEEP,
    deadline_seconds: Annotated[float | None, Rule(minimum=0, maximum=LONGEST_DEADLINE)] = KEEP,
    completed_retention_hours: Annotated[float | None, _HOURS] = KEEP,
    failed_retention_hours: Annotated[float | None, _HOURS] = KEEP,
) -> Op[QueuePolicy]:
    """Change settings of a queue; null resets a setting, a member that is left out keeps it."""
    given = {
        "max_running": max_running,
        "max_running_per_key": max_running_per_key,
        "rate_limit": _rate_limit(max_rate, burst),
        "poll_interval_ms": poll_interval_ms,
        "claim_batch": claim_batch,
        "deadline_seconds": deadline_seconds,
        "completed_retention_hours": completed_retention_hours,
        "failed_retention_hours": failed_retention_hours,
    }
    changes: Any = {name: value for name, value in given.items() if value is not KEEP}
    op = policies.set_queue_policy(queue, **changes)
    return (yield from change(who, "queue.set", queue, op, changes=changes))


def _rate_limit(max_rate: float | None, burst: int | None) -> Any:
    if max_rate is KEEP:
        if burst is not KEEP:
            raise InvalidInput("burst needs max_rate", hint="send both")
        return KEEP
    return None if max_rate is None else (max_rate, 0 if burst is KEEP else burst or 0)


@routes.post("/queues/{queue}/dead-letters")
def keep_dead_letters(who: Identity, queue: Name, *, enabled: bool) -> Op[QueuePolicy]:
    """Set whether failed jobs of a queue move to the dead letters."""
    action = "dlq.enable" if enabled else "dlq.disable"
    yield from change(who, action, queue, dead_letters.set_dead_letters(queue, enabled))
    return (yield from get_queue_policy(queue))


@routes.post("/queues/{queue}/pause")
def pause(who: Identity, queue: Name, *, paused_by: Name | None = None) -> Op[Ok]:
    """Pause a queue for all workers; an unknown queue is created, paused."""
    op = queues.pause_queue(queue, paused_by or who.name)
    yield from change(who, "queue.pause", queue, op)
    return Ok()


@routes.post("/queues/{queue}/resume")
def resume(who: Identity, queue: Name) -> Op[Ok]:
    """Resume a paused queue."""
    yield from change(who, "queue.resume", queue, queues.resume_queue(queue))
    return Ok()


@routes.post("/queues/{queue}/cancel-waiting")
def cancel_waiting(who: Identity, queue: Name) -> Op[Cancelled]:
    """Cancel every job of a queue that waits; running jobs go on."""
    op = queues.cancel_waiting(queue)
    return Cancelled((yield from change(who, "queue.cancel-waiting", queue, op)))


@routes.post("/queues/{queue}/drain")
def drain(who: Identity, queue: Name) -> Op[Drained]:
    """Do as cancel-waiting, under the name of awa 0.5."""
    return Drained((yield from cancel_waiting(who, queue)).cancelled)


@routes.get("/kinds")
def kinds() -> Op[list[KindOverview]]:
    """List the kinds that have jobs, are declared or have workers, by name."""
    return list_kinds()


@routes.get("/kinds/{kind}")
def kind(kind: Text) -> Op[KindOverview]:
    """Show a kind."""
    return kind_overview(kind)
