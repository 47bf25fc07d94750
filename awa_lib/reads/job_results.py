"""Read the results of jobs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from awa_lib._json import as_data
from awa_lib._sql import sql
from awa_lib.enqueue.kinds import UNDECLARED
from awa_lib.errors import Conflict, JobFailed, JobNotFound, NoResult, ResultExpired
from awa_lib.reads.workflows import workflow_of_job
from awa_lib.states import ENDED
from awa_lib.validation import int64_of

if TYPE_CHECKING:
    from datetime import datetime

    from awa_lib._sql import Op
    from awa_lib.enqueue.kinds import Kinds
    from awa_lib.reads.workflows import JobWorkflow

__all__ = ["End", "JobResult", "ended_result", "job_result", "kept_result"]


@dataclass(frozen=True, slots=True)
class JobResult:
    """The result of a job: what its handler returned, as JSON data."""

    job_id: int
    value: Any
    size_bytes: int
    """Of the JSON text that the worker sent."""
    written_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class End:
    """A job that has not failed; the first three are None when only its result is left."""

    kind: str | None
    queue: str | None
    state: str | None
    result: JobResult | None
    """None while the job has not ended."""


@dataclass(frozen=True, slots=True)
class _Row:
    """How a job stands, and its result; ``state`` is None when only the result is left."""

    job_id: int
    kind: str | None
    queue: str | None
    state: str | None
    error: str | None
    error_type: str | None
    value: str | None
    size_bytes: int | None
    written_at: datetime | None
    expires_at: datetime | None
    expired: bool | None


_FAILED: Final = frozenset(ENDED) - {"completed"}
# States of a task without a job.
_NOT_BEGUN: Final = frozenset({"waiting", "skipped", "cancelled"})


def job_result(job_id: int, *, kinds: Kinds = UNDECLARED) -> Op[End]:
    """Return the result of a completed job, or that the job has not ended.

    A result stays until it expires when retention deletes its job.  A task of a workflow that
    waits for others has not ended.  Raises JobFailed, NoResult, ResultExpired, JobNotFound,
    ValidationError.
    """
    rows = yield sql.results("ends", ids=[int64_of("job_id", job_id)])
    if not rows:
        task = yield from workflow_of_job(job_id)
        if task is not None and task.state in _NOT_BEGUN:
            return _not_begun(job_id, task)
        # It may have started since.
        if task is not None:
            rows = yield sql.results("ends", ids=[job_id])
    if not rows:
        raise JobNotFound(job_id, why="it never existed, or it and its result were deleted")
    row = rows.into(_Row)[0]
    if row.state in _FAILED:
        raise JobFailed(job_id, row.state, row.error, row.error_type)
    if row.state is not None and row.state != "completed":
        return End(row.kind, row.queue, row.state, None)
    if row.size_bytes is None or row.written_at is None or row.expires_at is None:
        raise _no_result(job_id, row.kind, kinds)
    if row.value is None:
        if row.state is None:
            raise JobNotFound(job_id, why="it was deleted, and its result has expired")
        raise ResultExpired(job_id, row.expires_at)
    value = as_data(row.value)
    result = JobResult(job_id, value, row.size_bytes, row.written_at, row.expires_at)
    return End(row.kind, row.queue, row.state, result)


def _not_begun(job_id: int, task: JobWorkflow) -> End:
    """Return that the task of a job waits.  Raises NoResult and JobFailed when it will not run."""
    what = f"the task {task.task!r} of workflow {task.id}"
    if task.state == "skipped":
        raise NoResult(
            job_id,
            what="has not run, and has no result",
            why=f"{what} was skipped",
            hint=f"see its tasks: awa workflow show {task.id}",
        )
    if task.state == "cancelled":
        raise JobFailed(job_id, "cancelled", f"{what} was cancelled, and has no job", None)
    return End(None, None, "waiting", None)


def ended_result(job_id: int) -> Op[JobResult]:
    """Return the result of a job that has ended.  Raises Conflict for another; as job_result."""
    end = yield from job_result(job_id)
    if end.result is None:
        raise Conflict(
            f"job {job_id} has no result yet",
            why=f"it is {end.state}",
            hint=f"wait for it: awa job wait {job_id} --result",
        )
    return end.result


def _no_result(job_id: int, kind: str | None, kinds: Kinds) -> NoResult:
    if kind in kinds.results:
        return NoResult(
            job_id,
            why="it was completed by a worker that keeps no results: of awa 0.5, or of a program"
            f" that does not declare result=True for the kind {kind}; or by a callback",
            hint="list the workers and their versions: awa workers",
        )
    return NoResult(
        job_id,
        why=f"the kind {kind} keeps none, or the worker that completed it does not",
        hint=f"declare it where its handler is: {kinds.decorator(kind or '')}",
    )


def kept_result(job_id: int) -> Op[JobResult | None]:
    """Return the result of a job that is stored and has not expired, or None."""
    rows = yield sql.results("of_job", id=job_id)
    if not rows:
        return None
    found = JobResult(*rows[0])
    return JobResult(
        found.job_id, as_data(found.value), found.size_bytes, found.written_at, found.expires_at
    )
