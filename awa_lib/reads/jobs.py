"""Read jobs: rows, dumps with a timeline, single attempts."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from awa_lib._json import as_data, as_entries, as_members, dumps
from awa_lib._sql import sql
from awa_lib.errors import JobNotFound, ValidationError
from awa_lib.filters import JobQuery
from awa_lib.reads.attempts import (
    FAULTLESS,
    JobAttempt,
    JobWorker,
    attempts_of,
    failed_attempt,
    limit_of,
    worker_of,
)
from awa_lib.states import CAN_RETRY_IN_AWA_05, ENDED, JobState
from awa_lib.validation import int64_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Unpack

    from awa_lib._sql import Op
    from awa_lib.states import StateName

__all__ = [
    "SORTS",
    "Callback",
    "JobDump",
    "JobEvent",
    "JobRow",
    "JobRun",
    "JobSummary",
    "dump_job",
    "dump_run",
    "job_row",
    "job_rows",
    "job_rows_after",
    "job_rows_of",
    "ordered",
]

SORTS: Final = ("id", "run_at", "created_at", "attempted_at", "finalized_at", "priority", "attempt")
_NESTED: Final = frozenset({dict, list})


@dataclass(frozen=True, slots=True)
class JobRow:
    """Every column of a job.  ``unique_states`` holds the names of the states its key blocks."""

    id: int
    kind: str
    queue: str
    args: Any
    """What the handler gets, an object in most cases."""
    state: StateName
    priority: int
    """1 is the most urgent, 4 the least; waiting raises it."""
    attempt: int
    """Attempts that have begun."""
    run_lease: int
    """The number of the claim; an attempt that lost its job cannot end it."""
    max_attempts: int
    run_at: datetime
    """Not before this moment."""
    heartbeat_at: datetime | None
    """Last sign of life of the running attempt."""
    deadline_at: datetime | None
    """When the running attempt is given up."""
    attempted_at: datetime | None
    """Begin of the latest attempt."""
    finalized_at: datetime | None
    """End of the latest attempt; retries keep it."""
    created_at: datetime
    errors: list[dict[str, Any]]
    """One object for each failed attempt, oldest first: attempt, error, at, terminal."""
    metadata: dict[str, Any]
    tags: list[str]
    unique_key: list[int] | None
    """Sixteen bytes as numbers."""
    unique_states: list[str] | None
    callback_id: str | None
    callback_timeout_at: datetime | None
    """When waiting for the callback ends."""
    callback_filter: str | None
    callback_on_complete: str | None
    callback_on_fail: str | None
    callback_transform: str | None
    progress: dict[str, Any] | None
    """What the handler noted: percent, message, metadata."""


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
class JobDump:
    """A job with its summary, and its events and attempts, oldest first."""

    job: JobRow
    summary: JobSummary
    timeline: list[JobEvent]
    attempts: list[JobAttempt]
    worker: JobWorker | None
    """The process that runs the job, or ran it last; None when that was not one of this release."""


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


def job_rows(*, sort: str = "-id", limit: int = 20, **query: Unpack[JobQuery]) -> Op[list[JobRow]]:
    """Return a page of jobs; in the default order the next page starts before the last id.

    ``sort`` is a name of ``SORTS``, with ``-`` in front for the largest first.
    """
    if int64_of("limit", limit) < 0:
        raise ValidationError(f"limit must not be negative, got {limit}")
    asked = _parameters(query)
    if sort == "-id":
        rows = yield sql.read_jobs("list_jobs", **asked, limit=limit)
    else:
        field = sort.removeprefix("-")
        if field not in SORTS:
            raise ValidationError(
                f"jobs cannot be sorted by {field!r}", why=f"fields are {', '.join(SORTS)}"
            )
        rows = yield sql.read_jobs(
            "sort_jobs", **asked, field=field, descending=sort.startswith("-"), limit=limit
        )
    return rows.into(_row)


def job_rows_after(
    after_id: int, *, limit: int = 20, **query: Unpack[JobQuery]
) -> Op[list[JobRow]]:
    """Return the page that precedes an id in ``job_rows``: the next larger ids, newest first."""
    asked = _parameters(query)
    del asked["before_id"]
    rows = yield sql.read_jobs("list_jobs_after", after_id=after_id, limit=limit, **asked)
    return rows.into(_row)[::-1]


def _parameters(query: JobQuery) -> dict[str, Any]:
    asked: dict[str, Any] = {name: query.get(name) for name in JobQuery.__annotations__}
    if (before := asked["before_id"]) is not None:
        int64_of("before_id", before)
    asked["states"] = "{" + ",".join(query.get("states") or ()) + "}"
    for name in ("args", "metadata"):
        asked[name] = None if asked[name] is None else dumps(asked[name])
    return asked


def job_row(job_id: int) -> Op[JobRow]:
    """Return one job.  Raises JobNotFound, whose hint names a dead letter of this id."""
    rows = yield sql.read_jobs("get_job", id=job_id)
    if not rows:
        if (yield sql.dead_letters("is_dead", id=job_id)):
            raise JobNotFound(
                job_id,
                why="it failed and was moved to the dead letters",
                hint=f"show it: awa dlq show {job_id}; run it again: awa dlq retry {job_id}",
            )
        raise JobNotFound(job_id)
    return rows.into(_row)[0]


def job_rows_of(ids: Sequence[int]) -> Op[list[JobRow]]:
    """Return the jobs with these ids that exist, by id."""
    rows = yield sql.read_jobs("get_jobs", ids=list(ids))
    return rows.into(_row)


def dump_job(job_id: int) -> Op[JobDump]:
    """Return a job with its summary, timeline, attempts and worker.  Raises JobNotFound."""
    job = yield from job_row(job_id)
    summary = JobSummary(
        original_priority=job.metadata.get("_awa_original_priority", job.priority),
        can_retry=job.state in CAN_RETRY_IN_AWA_05,
        can_cancel=job.state not in ENDED,
        error_count=len(job.errors),
        latest_error=job.errors[-1] if job.errors else None,
        max_attempts=limit_of(job),
    )
    worker = yield from worker_of(job)
    return JobDump(job, summary, _timeline(job), attempts_of(job, worker), worker)


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
        finished_at=_stamp(entry["at"]) if "at" in entry else None,
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


def _timeline(job: JobRow) -> list[JobEvent]:
    events = [JobEvent(_stamp(job.created_at), "Created")]
    for entry in job.errors:
        number = entry.get("attempt")
        label = f"Attempt {number} failed" if number is not None else "Error"
        when = _stamp(entry.get("at") or job.created_at)
        events.append(JobEvent(when, label, "failed", entry.get("error"), is_error=True))
    if job.attempted_at is not None and job.attempt:  # a retry sets attempt to 0, keeps the time
        state = job.state if job.state in {"running", "waiting_external"} else "running"
        words = {"waiting_external": " — waiting for callback", "running": " running"}
        doing = words.get(job.state, " started")
        events.append(JobEvent(_stamp(job.attempted_at), f"Attempt {job.attempt}{doing}", state))
    if job.finalized_at is not None:
        plural = "" if job.attempt == 1 else "s"
        labels = {
            "completed": f"Completed (attempt {job.attempt})",
            "failed": f"Failed after {job.attempt} attempt{plural}",
            "cancelled": "Cancelled",
        }
        label = labels.get(job.state, "Finalized")
        events.append(JobEvent(_stamp(job.finalized_at), label, job.state))
    return sorted(events, key=lambda event: datetime.fromisoformat(event.timestamp))


def _stamp(moment: datetime | str) -> str:
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


def ordered(value: Any) -> Any:
    """Sort the keys of objects at every depth: jsonb returns them by length."""
    if type(value) is dict:
        return {
            key: ordered(item) if type(item := value[key]) in _NESTED else item
            for key in sorted(value)
        }
    return [ordered(item) for item in value] if type(value) is list else value


def _row(
    *,
    args: str,
    errors: str | None,
    metadata: str,
    unique_key: str | None,
    unique_states: str | None,
    progress: str | None,
    **columns: Any,
) -> JobRow:
    return JobRow(
        args=ordered(as_data(args)) if args != "{}" else {},
        errors=ordered(as_entries(errors)) if errors else [],
        metadata=ordered(as_members(metadata)) if metadata != "{}" else {},
        unique_key=list(bytes.fromhex(unique_key)) if unique_key is not None else None,
        unique_states=[str(JobState(bit)) for bit, set_ in enumerate(unique_states) if set_ == "1"]
        if unique_states is not None
        else None,
        progress=ordered(as_members(progress)) if progress and progress != "null" else None,
        **columns,
    )
