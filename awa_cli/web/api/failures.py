"""Failures: groups of attempts that failed in the same way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from awa_cli.access import Identity
from awa_cli.filters.query import Read, pairs
from awa_cli.filters.spelling import QUERY_STRING
from awa_cli.views.actions import submitted
from awa_cli.web.api.fields import Limit, Name, When, change
from awa_cli.web.endpoints import Routes
from awa_cli.web.json_schema import Rule
from awa_lib._sql import Op
from awa_lib.models import BulkOperation
from awa_lib.ops import failures
from awa_lib.ops.bulk import preview_bulk_operation, submit_bulk_operation
from awa_lib.ops.dead_letters import bulk_retry_from_dlq
from awa_lib.reads.dead_letters import count_dead_letters
from awa_lib.reads.failures import Failure, FailureDetails, failure_details, get_failure
from awa_lib.reads.failures import list_failures as read_failures

__all__ = ["routes"]

routes = Routes("failures")

Until = Annotated[
    str,
    Rule(format="date-time", maxLength=64, description="The end; after 7 days if left out."),
]


@dataclass(frozen=True, slots=True)
class FailureRetry:
    """The jobs and dead letters whose last attempt failed so.

    ``sample`` are ids of the jobs.
    """

    jobs: int
    dead_letters: int
    sample: list[int]


@dataclass(frozen=True, slots=True)
class RetriedFailure:
    """``operation`` retries the jobs, None if there are none; dead letters are retried already."""

    operation: BulkOperation | None
    dead_letters: int


@routes.get("/failures", cached=True)
def listed(
    *,
    since: When | None = None,
    queue: Name | None = None,
    kind: Name | None = None,
    muted: bool = False,
    limit: Limit = 50,
) -> Op[list[Failure]]:
    """List the failures since a time, by default of 24 hours, the most frequent first."""
    return read_failures(since=_moment(since), queue=queue, kind=kind, muted=muted, limit=limit)


@routes.get("/failures/{failure_id}")
def show(failure_id: Name, *, since: When | None = None) -> Op[FailureDetails]:
    """Show a failure and its latest jobs, with its counts since a time, by default of 30 days."""
    return failure_details(failure_id, since=_moment(since))


@routes.post("/failures/{failure_id}/retry/preview")
def preview(failure_id: Name) -> Op[FailureRetry]:
    """Count the jobs and dead letters that a retry of the failure would retry."""
    yield from failures.checked_failure(failure_id)
    found = yield from preview_bulk_operation("retry", state="failed", failure=failure_id)
    dead = yield from count_dead_letters(failure=failure_id)
    return FailureRetry(found.total_matched, dead, found.sample)


@routes.post("/failures/{failure_id}/retry")
def retry(who: Identity, failure_id: Name) -> Op[RetriedFailure]:
    """Retry the jobs and dead letters of a failure; the leader of the workers retries the jobs."""
    found = yield from preview(failure_id)
    operation, dead = None, 0
    if found.jobs:
        op = submit_bulk_operation(
            "retry", submitted_by=who.name, state="failed", failure=failure_id
        )
        operation = yield from change(who, "failure.retry", failure_id, op, outcome=submitted)
    if found.dead_letters:
        again = bulk_retry_from_dlq(failure=failure_id)
        dead = yield from change(who, "dlq.retry-all", f"failure {failure_id}", again)
    return RetriedFailure(operation, dead)


@routes.post("/failures/{failure_id}/mute")
def mute(who: Identity, failure_id: Name, *, until: Until | None = None) -> Op[Failure]:
    """Leave a failure out of lists; it is still counted."""
    yield from change(who, "failure.mute", failure_id, failures.mute_failure(failure_id, until))
    return (yield from get_failure(failure_id))


@routes.post("/failures/{failure_id}/unmute")
def unmute(who: Identity, failure_id: Name) -> Op[Failure]:
    """Show a muted failure in lists again."""
    yield from change(who, "failure.unmute", failure_id, failures.unmute_failure(failure_id))
    return (yield from get_failure(failure_id))


def _moment(since: str | None) -> Any:
    return QUERY_STRING.read(pairs(since=since), Read.AUDIT).get("since")
