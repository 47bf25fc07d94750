"""Read a job with its timeline and attempts, or a single attempt."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from awa_lib._json import as_data
from awa_lib.errors import JobNotFound, SchemaNotMigrated, ValidationError
from awa_lib.reads.attempts import (
    FAULTLESS,
    JobAttempt,
    JobWorker,
    attempts_of,
    failed_attempt,
    limit_of,
    worker_of,
)
from awa_lib.reads.job_results import JobResult, kept_result
from awa_lib.reads.job_steps import steps_of
from awa_lib.reads.jobs import JobRow, job_row
from awa_lib.reads.workflows import JobWorkflow, workflow_of_job
from awa_lib.states import CAN_RETRY_IN_AWA_05, ENDED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from awa_lib._sql import Op
    from awa_lib.reads.job_steps import Step
    from awa_lib.states import StateName

__all__ = [
    "Callback",
    "JobDump",
    "JobEvent",
    "JobRun",
    "JobStep",
    "JobSummary",
    "dump_job",
    "dump_run",
    "stamp",
    "step_event",
]


@dataclass(frozen=True, slots=True)
class JobSummary:
    """What an operator asks first."""

    original_priority: int
    """Before waiting raised it."""
    can_retry: bool
    can_cancel: bool
    error_count: int
    latest_error: dict[str, Any] | None
    max_attempts: int
    """The limit of the job, or the lower one of its kind, which is known from the last error."""


@dataclass(frozen=True, slots=True)
class JobEvent:
    """Something that happened to a job.  ``timestamp`` keeps the nanoseconds workers write."""

    timestamp: str
    label: str
    """What happened, in words."""
    state: StateName | None = None
    detail: str | None = None
    """The error's text."""
    is_error: bool = False


@dataclass(frozen=True, slots=True)
class JobStep:
    """A durable step of a job, or a sleep; a sleep ends when it is over, which may be later."""

    name: str
    value: Any
    """What it returned."""
    attempt: int
    """In which it was done."""
    started_at: datetime
    ended_at: datetime
    seconds: float


@dataclass(frozen=True, slots=True)
class JobDump:
    """A job with its summary, and its events and attempts, oldest first."""

    job: JobRow
    summary: JobSummary
    timeline: list[JobEvent]
    attempts: list[JobAttempt]
    worker: JobWorker | None
    """The process that runs the job, or ran it last; None when that was not one of this release."""
    result: JobResult | None
    """What the handler of a completed job returned, of kinds that keep results."""
    workflow: JobWorkflow | None = None
    """The workflow whose task the job is; None for other jobs, or when that was deleted."""
    steps: list[JobStep] = field(default_factory=list)
    """Its durable steps, in the order in which they ended."""


@dataclass(frozen=True, slots=True)
class Callback:
    """The callback fields of a job."""

    callback_id: str | None
    callback_timeout_at: datetime | None
    callback_filter: str | None
    callback_on_complete: str | None
    callback_on_fail: str | None
    callback_transform: str | None


@dataclass(frozen=True, slots=True)
class JobRun:
    """One attempt of a job: the present one from its row, an earlier one from its errors."""

    job_id: int
    kind: str
    queue: str
    selected_attempt: int
    current_attempt: int
    current_run_lease: int
    selected_run_lease: int | None
    """None for an earlier attempt."""
    source: str
    """``current_job_row`` or ``error_history``."""
    state: StateName
    started_at: datetime | None
    finished_at: datetime | str | None
    error: str | None
    terminal: bool | None
    """Whether its error allows no retry.  The last attempt may fail without one that does."""
    progress: dict[str, Any] | None
    metadata: dict[str, Any] | None
    callback: Callback | None
    raw_error_entry: dict[str, Any] | None
    notes: list[str]
    """What is not known of it, in sentences."""
    worker: str | None
    """Host and process id; None when a worker of awa 0.5 or of an older release has run it."""


def dump_job(job_id: int) -> Op[JobDump]:
    """Return a job with its summary, timeline, attempts, worker, result and workflow.

    Raises JobNotFound, which says so when the job is that of a task that has not started.
    """
    try:
        job = yield from job_row(job_id)
    except JobNotFound as error:
        raise (yield from _explained(error)) from None
    summary = JobSummary(
        original_priority=job.metadata.get("_awa_original_priority", job.priority),
        can_retry=job.state in CAN_RETRY_IN_AWA_05,
        can_cancel=job.state not in ENDED,
        error_count=len(job.errors),
        latest_error=job.errors[-1] if job.errors else None,
        max_attempts=limit_of(job),
    )
    worker = yield from worker_of(job)
    result = (yield from kept_result(job_id)) if job.state == "completed" else None
    workflow = (yield from workflow_of_job(job_id)) if "_awa_workflow" in job.metadata else None
    read = yield from steps_of(job_id)
    steps = [_step(step) for step in read]
    timeline = _timeline(job, [one for one in read if not one.seconds_left])
    attempts = attempts_of(job, worker)
    return JobDump(job, summary, timeline, attempts, worker, result, workflow, steps)


def _step(step: Step) -> JobStep:
    seconds = (step.ended_at - step.started_at).total_seconds()
    value = as_data(step.value)
    return JobStep(step.name, value, step.attempt, step.started_at, step.ended_at, seconds)


def step_event(step: Step | JobStep) -> JobEvent:
    """Return the end of a step as an event of the timeline."""
    return JobEvent(stamp(step.ended_at), f"Step {step.name}")


def _explained(error: JobNotFound) -> Op[JobNotFound]:
    """Say in which workflow a job waits that is not there yet."""
    try:
        found = yield from workflow_of_job(error.job_id)
    except SchemaNotMigrated:
        return error
    if found is None or found.state not in {"waiting", "skipped"}:
        return error
    state = "waits" if found.state == "waiting" else "was skipped"
    return JobNotFound(
        error.job_id,
        why=f"it is the job of task {found.task!r} of workflow {found.id}, which {state}",
        hint=f"see what the task waits for: awa workflow show {found.id}",
    )


def dump_run(job_id: int, attempt: int | None = None) -> Op[JobRun]:
    """Return one attempt, by default the current one.

    Raises JobNotFound, or ValidationError when there is no such attempt or no record of it.
    """
    job = yield from job_row(job_id)
    chosen = job.attempt if attempt is None else attempt
    entry = next((e for e in reversed(job.errors) if e.get("attempt") == chosen), None)
    if chosen == job.attempt:
        # A retry counts attempts from 1 again: an error of this number may be an older attempt's.
        worker = yield from worker_of(job)
        entry = None if job.state in FAULTLESS else entry
        return _current_run(job, entry, None if worker is None else worker.name)
    if not 0 < chosen < job.attempt:
        raise ValidationError(
            f"attempt {chosen} is not available for job {job_id}; current attempt is {job.attempt}",
            why="attempts count from 1, and only attempts that started can be shown",
            hint=f"list its attempts: awa job dump {job_id}",
        )
    if entry is None:
        raise ValidationError(
            f"there is no record of attempt {chosen} of job {job_id}: it left no error",
            why="only the current attempt and earlier failures are recorded",
            hint=f"list what is recorded: awa job dump {job_id}",
        )
    return _past_run(job, chosen, entry)


def _current_run(job: JobRow, entry: dict[str, Any] | None, worker: str | None = None) -> JobRun:
    callback = Callback(*[getattr(job, field.name) for field in fields(Callback)])
    return JobRun(
        job_id=job.id,
        kind=job.kind,
        queue=job.queue,
        selected_attempt=job.attempt,
        current_attempt=job.attempt,
        current_run_lease=job.run_lease,
        selected_run_lease=job.run_lease,
        source="current_job_row",
        state=job.state,
        started_at=job.attempted_at,
        finished_at=job.finalized_at if job.state in ENDED else None,
        error=entry.get("error") if entry else None,
        terminal=bool(entry.get("terminal")) if entry else None,
        progress=job.progress,
        metadata=job.metadata,
        callback=callback if callback != Callback(*[None] * 6) else None,
        raw_error_entry=entry,
        notes=[] if job.attempt else ["No attempt has begun; this is the job as it waits."],
        worker=worker,
    )


def _past_run(job: JobRow, attempt: int, entry: dict[str, Any]) -> JobRun:
    known = failed_attempt(entry)
    return replace(
        _current_run(job, entry, known.worker),
        selected_attempt=attempt,
        selected_run_lease=None,
        source="error_history",
        state="failed" if entry.get("terminal") else "retryable",
        started_at=known.started_at,
        finished_at=stamp(entry["at"]) if "at" in entry else None,
        error=entry.get("error"),
        terminal=bool(entry.get("terminal")),
        progress=None,
        metadata=None,
        callback=None,
        raw_error_entry=entry,
        notes=[
            "Earlier attempts are known from their error entries alone.",
            "Progress, metadata and callback are kept for the present attempt only.",
        ],
    )


def _timeline(job: JobRow, steps: Sequence[Step]) -> list[JobEvent]:
    events = [JobEvent(stamp(job.created_at), "Created"), *map(step_event, steps)]
    for entry in job.errors:
        number = entry.get("attempt")
        label = f"Attempt {number} failed" if number is not None else "Error"
        when = stamp(entry.get("at") or job.created_at)
        events.append(JobEvent(when, label, "failed", entry.get("error"), is_error=True))
    if job.attempted_at is not None and job.attempt:  # a retry sets attempt to 0, keeps the time
        state = job.state if job.state in {"running", "waiting_external"} else "running"
        words = {"waiting_external": " — waiting for callback", "running": " running"}
        doing = words.get(job.state, " started")
        events.append(JobEvent(stamp(job.attempted_at), f"Attempt {job.attempt}{doing}", state))
    if job.finalized_at is not None:
        plural = "" if job.attempt == 1 else "s"
        labels = {
            "completed": f"Completed (attempt {job.attempt})",
            "failed": f"Failed after {job.attempt} attempt{plural}",
            "cancelled": "Cancelled",
        }
        label = labels.get(job.state, "Finalized")
        events.append(JobEvent(stamp(job.finalized_at), label, job.state))
    return sorted(events, key=lambda event: datetime.fromisoformat(event.timestamp))


def stamp(moment: datetime | str) -> str:
    """Format a time as RFC 3339 in UTC with 0, 3, 6 or 9 decimals, as awa 0.5 does."""
    if isinstance(moment, str) and moment.endswith("+00:00"):
        # Kept as text: a datetime has no nanoseconds.
        whole, _, decimals = moment.removesuffix("+00:00").partition(".")
    else:
        value = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
        whole, _, decimals = value.astimezone(UTC).replace(tzinfo=None).isoformat().partition(".")
    decimals = decimals.rstrip("0")
    width = -(-len(decimals) // 3) * 3
    return f"{whole}.{decimals:0<{width}}Z" if decimals else f"{whole}Z"
