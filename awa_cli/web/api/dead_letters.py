"""Dead letters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from awa_cli.access import Identity
from awa_cli.filters.query import Read, pairs
from awa_cli.filters.spelling import QUERY_STRING
from awa_cli.web.api.fields import (
    BeforeId,
    Count,
    DeadLetterFilter,
    Everything,
    JobId,
    Limit,
    Name,
    Ok,
    Priority,
    change,
)
from awa_cli.web.endpoints import Routes
from awa_cli.web.json_schema import Rule
from awa_lib._sql import Op
from awa_lib.ops import dead_letters
from awa_lib.reads.dead_letters import (
    DeadLetter,
    dead_letter,
    dlq_depth_by_queue,
)
from awa_lib.reads.dead_letters import dead_letters as list_dead_letters
from awa_lib.reads.job_documents import DescribedJob, described_job

__all__ = ["routes"]

routes = Routes("dead letters")

Reason = Annotated[str, Rule(minLength=1, maxLength=1000, pattern=r"^[^\u0000]*$")]


@dataclass(frozen=True, slots=True)
class Depth:
    """The number of dead letters in total, and in each queue that has some."""

    total: int
    queues: dict[str, int]


@routes.get("/dlq")
def listed(
    *,
    kind: Name | None = None,
    queue: Name | None = None,
    tag: Name | None = None,
    failure: Name | None = None,
    before_id: BeforeId = None,
    limit: Limit = 100,
) -> Op[list[DeadLetter]]:
    """List the dead letters that match every filter, newest first."""
    return list_dead_letters(before_id=before_id, limit=limit, **_where(kind, queue, tag, failure))


@routes.get("/dlq/depth")
def depth() -> Op[Depth]:
    """Count the dead letters of each queue."""
    found = yield from dlq_depth_by_queue()
    return Depth(sum(found.values()), found)


@routes.get("/dlq/{job_id}")
def show(job_id: JobId) -> Op[DeadLetter]:
    """Show a dead letter."""
    return dead_letter(job_id)


@routes.post("/dlq/{job_id}/retry")
def retry(
    who: Identity,
    job_id: JobId,
    *,
    run_at: Annotated[str, Rule(format="date-time", maxLength=64)] | None = None,
    priority: Priority | None = None,
    queue: Name | None = None,
) -> Op[DescribedJob]:
    """Retry a dead letter: it becomes a job with the same id, attempt 0 and its errors."""
    op = dead_letters.retry_from_dlq(job_id, run_at=run_at, priority=priority, queue=queue)
    yield from change(who, "dlq.retry", job_id, op)
    return (yield from described_job(job_id))


@routes.post("/dlq/{job_id}/purge")
def purge(who: Identity, job_id: JobId) -> Op[Ok]:
    """Delete a dead letter."""
    yield from change(who, "dlq.purge", job_id, dead_letters.purge_dlq_job(job_id))
    return Ok()


@routes.post("/jobs/{job_id}/dead-letter")
def move(who: Identity, job_id: JobId, *, reason: Reason = "moved by hand") -> Op[DeadLetter]:
    """Move a failed job to the dead letters."""
    yield from change(who, "dlq.move", job_id, dead_letters.move_failed_to_dlq(job_id, reason))
    return (yield from dead_letter(job_id))


@routes.post("/dlq/retry", anyOf=DeadLetterFilter)
def retry_all(
    who: Identity,
    *,
    kind: Name | None = None,
    queue: Name | None = None,
    tag: Name | None = None,
    failure: Name | None = None,
    all: Everything = False,  # noqa: A002 - the name in the JSON document
) -> Op[Count]:
    """Retry all matching dead letters."""
    where = _where(kind, queue, tag, failure)
    op = dead_letters.bulk_retry_from_dlq(all=all, **where)
    return Count((yield from change(who, "dlq.retry-all", _target(where), op)))


@routes.post("/dlq/purge", anyOf=DeadLetterFilter)
def purge_all(
    who: Identity,
    *,
    kind: Name | None = None,
    queue: Name | None = None,
    tag: Name | None = None,
    failure: Name | None = None,
    all: Everything = False,  # noqa: A002 - the name in the JSON document
) -> Op[Count]:
    """Delete all matching dead letters."""
    where = _where(kind, queue, tag, failure)
    op = dead_letters.purge_dlq(all=all, **where)
    return Count((yield from change(who, "dlq.purge-all", _target(where), op)))


@routes.post("/dlq/move", anyOf=DeadLetterFilter)
def move_all(
    who: Identity,
    *,
    kind: Name | None = None,
    queue: Name | None = None,
    tag: Name | None = None,
    failure: Name | None = None,
    reason: Reason = "moved by hand",
    all: Everything = False,  # noqa: A002 - the name in the JSON document
) -> Op[Count]:
    """Move all matching failed jobs to the dead letters."""
    where = _where(kind, queue, tag, failure)
    op = dead_letters.bulk_move_failed_to_dlq(reason=reason, all=all, **where)
    return Count((yield from change(who, "dlq.move-all", _target(where), op)))


def _where(
    kind: str | None, queue: str | None, tag: str | None, failure: str | None
) -> dict[str, Any]:
    given = pairs(kind=kind, queue=queue, tag=tag, failure=failure)
    return dict(QUERY_STRING.read(given, Read.DEAD_LETTERS))


def _target(where: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in where.items()) or "all"
