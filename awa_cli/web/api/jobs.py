"""Jobs: list, show, enqueue and change them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from awa_cli.access import Identity
from awa_cli.clock import now
from awa_cli.filters.query import pairs
from awa_cli.filters.spelling import QUERY_STRING
from awa_cli.web.api.fields import (
    BeforeId,
    Count,
    Ids,
    JobId,
    Limit,
    Name,
    Object,
    Ok,
    Priority,
    State,
    Text,
    When,
    change,
)
from awa_cli.web.endpoints import Routes
from awa_cli.web.json_schema import Rule
from awa_cli.web.settings import Settings
from awa_lib._sql import Op
from awa_lib.errors import InvalidInput, NotFound, ValidationError
from awa_lib.ops import inserts, jobs
from awa_lib.reads.job_documents import (
    DescribedJob,
    described_job,
    described_jobs,
    described_jobs_of,
)
from awa_lib.reads.job_dumps import JobDump, JobRun, dump_job, dump_run
from awa_lib.reads.job_logs import JobLog, get_job_logs
from awa_lib.reads.job_results import JobResult, ended_result

__all__ = ["routes"]

routes = Routes("jobs")

_LISTED_IDS = 10

Sort = Literal[
    "-id",
    "id",
    "run_at",
    "-run_at",
    "created_at",
    "-created_at",
    "attempted_at",
    "-attempted_at",
    "finalized_at",
    "-finalized_at",
    "priority",
    "-priority",
    "attempt",
    "-attempt",
]
Where = Annotated[
    list[
        Annotated[
            str, Rule(maxLength=1000, pattern=r"^(args|metadata)(\.[^.=\u0000]+)+=[^\u0000]*$")
        ]
    ],
    Rule(maxItems=20, description="Only jobs with this in args or metadata: args.customer=42."),
]


@routes.get("/jobs")
def list_jobs(
    settings: Settings,
    *,
    state: list[State] | None = None,
    kind: Name | None = None,
    queue: Name | None = None,
    tag: Name | None = None,
    since: When | None = None,
    until: When | None = None,
    where: Where | None = None,
    error: Text | None = None,
    failure: Name | None = None,
    before_id: BeforeId = None,
    sort: Sort = "-id",
    limit: Limit = 100,
) -> Op[list[DescribedJob]]:
    """List the jobs that match every filter, newest first, as ``awa job list -o json`` does.

    If the result has ``limit`` jobs, the Link header has the address of the next jobs.
    """
    given = pairs(
        state=state,
        kind=kind,
        queue=queue,
        tag=tag,
        since=since,
        until=until,
        where=where,
        error=error,
        failure=failure,
    )
    query = QUERY_STRING.read(given)
    query["before_id"] = before_id
    if settings.redactor is not None:
        settings.redactor.check_query(query)
    return described_jobs(sort=sort, limit=limit, **query)


@routes.post("/jobs")
def enqueue(
    who: Identity,
    *,
    kind: Name,
    args: Object | None = None,
    queue: Name = "default",
    priority: Priority = 2,
    max_attempts: Annotated[int, Rule(minimum=1, maximum=1000)] = 25,
    tags: Annotated[list[Name], Rule(maxItems=20)] | None = None,
    metadata: Object | None = None,
    run_at: Annotated[str, Rule(format="date-time", maxLength=64)] | None = None,
    unique_by: Annotated[list[Literal["args", "queue", "kind"]], Rule(maxItems=3)] | None = None,
    unique_seconds: Annotated[int, Rule(minimum=1, maximum=2**31)] | None = None,
    concurrency_key: Name | None = None,
) -> Op[DescribedJob]:
    """Enqueue a job and return it.

    With ``unique_by`` it is refused if an unfinished job has the same values.  With
    ``unique_seconds`` it is refused only within the same period of that length.
    """
    unique: dict[str, Any] | None = None
    if unique_by is not None or unique_seconds is not None:
        by = unique_by or []
        unique = {"by_args": "args" in by, "by_queue": "queue" in by}
        if unique_seconds is not None:
            unique["by_period"] = int(now().timestamp()) // unique_seconds
    op = inserts.insert(
        args or {},
        kind=kind,
        queue=queue,
        priority=priority,
        max_attempts=max_attempts,
        tags=tags,
        metadata=metadata,
        run_at=run_at,
        unique_opts=unique,
        concurrency_key=concurrency_key,
    )
    job = yield from change(
        who, "job.enqueue", kind, op, outcome=lambda job: {"job_id": job.id}, queue=queue
    )
    return (yield from described_job(job.id))


@routes.get("/jobs/{job_id}")
def show(job_id: JobId) -> Op[DescribedJob]:
    """Show a job."""
    return described_job(job_id)


@routes.get("/jobs/{job_id}/result", conflicts=True)
def result(job_id: JobId) -> Op[JobResult]:
    """Show what the handler of a completed job returned.

    409 if the job has not ended, failed or was cancelled; 404 if it keeps no result, or the result
    has expired.
    """
    return ended_result(job_id)


@routes.get("/jobs/{job_id}/dump")
def dump(job_id: JobId) -> Op[JobDump]:
    """Show everything that is known about a job: row, summary, timeline."""
    return dump_job(job_id)


@routes.get("/jobs/{job_id}/run")
def run(
    job_id: JobId, *, attempt: Annotated[int, Rule(minimum=0, maximum=32767)] | None = None
) -> Op[JobRun]:
    """Show an attempt of a job, by default the present attempt."""
    try:
        return (yield from dump_run(job_id, attempt))
    except ValidationError as error:
        raise NotFound(str(error), why=error.why, hint=error.hint) from None


@routes.get("/jobs/{job_id}/logs")
def logs(
    job_id: JobId, *, attempt: Annotated[int, Rule(minimum=0, maximum=32767)] | None = None
) -> Op[list[JobLog]]:
    """Show what the runs of a job have logged, in their order; of one attempt if it is given."""
    return get_job_logs(job_id, attempt=attempt)


@routes.post("/jobs/{job_id}/retry")
def retry(who: Identity, job_id: JobId) -> Op[DescribedJob]:
    """Retry a failed, cancelled or waiting job; run a retryable job at once."""
    yield from change(who, "job.retry", job_id, jobs.retry(job_id))
    return (yield from described_job(job_id))


@routes.post("/jobs/{job_id}/cancel")
def cancel(who: Identity, job_id: JobId) -> Op[DescribedJob]:
    """Cancel a job that has not ended; a running handler is notified."""
    yield from change(who, "job.cancel", job_id, jobs.cancel(job_id))
    return (yield from described_job(job_id))


@routes.post("/jobs/{job_id}/priority")
def priority(who: Identity, job_id: JobId, *, priority: Priority) -> Op[DescribedJob]:
    """Change the priority of a job that has not started."""
    op = jobs.set_priority(job_id, priority)
    yield from change(who, "job.priority", job_id, op, priority=priority)
    return (yield from described_job(job_id))


@routes.post("/jobs/{job_id}/move")
def move(who: Identity, job_id: JobId, *, to_queue: Name) -> Op[DescribedJob]:
    """Move a job that has not started to another queue."""
    op = jobs.move_queue(job_id, to_queue)
    yield from change(who, "job.move", job_id, op, to_queue=to_queue)
    return (yield from described_job(job_id))


@routes.post("/jobs/{job_id}/delete")
def delete(who: Identity, job_id: JobId) -> Op[Ok]:
    """Delete a job that has ended."""
    yield from change(who, "job.delete", job_id, jobs.discard(job_id))
    return Ok()


@routes.post("/jobs/bulk-retry")
def bulk_retry(who: Identity, *, ids: Ids) -> Op[list[DescribedJob]]:
    """Retry these jobs; those that cannot be retried or do not exist are skipped."""
    op = jobs.retry_in_pages(sorted(set(ids)))
    changed = yield from change(who, "job.retry", _target(ids), op)
    return (yield from described_jobs_of([job.id for job in changed]))


@routes.post("/jobs/bulk-cancel")
def bulk_cancel(who: Identity, *, ids: Ids) -> Op[list[DescribedJob]]:
    """Cancel these jobs; those that have ended or do not exist are skipped."""
    op = jobs.cancel_in_pages(sorted(set(ids)))
    changed = yield from change(who, "job.cancel", _target(ids), op)
    return (yield from described_jobs_of(changed))


@routes.post("/jobs/retry-failed", oneOf=[{"required": ["kind"]}, {"required": ["queue"]}])
def retry_failed(who: Identity, *, kind: Name = "", queue: Name = "") -> Op[Count]:
    """Retry every failed job of a kind or of a queue."""
    if bool(kind) == bool(queue):
        raise InvalidInput("give either kind or queue, not both and not neither")
    op = jobs.retry_failed(kind=kind or None, queue=queue or None)
    target = f"kind {kind}" if kind else f"queue {queue}"
    changed = yield from change(who, "job.retry-failed", target, op)
    return Count(len(changed))


@routes.post("/jobs/discard-failed")
def discard_failed(who: Identity, *, kind: Name) -> Op[Count]:
    """Delete every failed job of a kind."""
    op = jobs.discard_failed(kind)
    count = yield from change(who, "job.discard", kind, op, outcome=lambda count: {"jobs": count})
    return Count(count)


def _target(ids: list[int]) -> str:
    listed = ", ".join(map(str, ids[:_LISTED_IDS]))
    return f"{listed} and {more} more" if (more := len(ids) - _LISTED_IDS) > 0 else listed
