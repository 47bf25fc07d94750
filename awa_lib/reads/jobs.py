"""Read the rows of jobs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from awa_lib._json import as_data, as_entries, as_members, dumps
from awa_lib._sql import sql
from awa_lib.errors import JobNotFound, ValidationError
from awa_lib.filters import JobQuery
from awa_lib.states import JobState
from awa_lib.validation import int64_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from typing import Unpack

    from awa_lib._sql import Op
    from awa_lib.states import StateName

__all__ = [
    "SORTS",
    "JobRow",
    "job_row",
    "job_rows",
    "job_rows_after",
    "job_rows_of",
    "ordered",
]

SORTS: Final = ("id", "run_at", "created_at", "attempted_at", "finalized_at", "priority", "attempt")
_INDEXED: Final = {
    "-id": "list_jobs",
    "-finalized_at": "last_ended_jobs",
    "finalized_at": "first_ended_jobs",
    "-run_at": "last_due_jobs",
    "run_at": "first_due_jobs",
}
_WAITING: Final = frozenset({"scheduled", "retryable"})
_LOWEST_ID: Final = -(2**63)
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


def job_rows(*, sort: str = "-id", limit: int = 20, **query: Unpack[JobQuery]) -> Op[list[JobRow]]:
    """Return a page of jobs; in the default order the next page starts before the last id.

    ``sort`` is a name of ``SORTS``, with ``-`` in front for the largest first; jobs of the same
    value are in the same order by id, and those without one are the last.  By ``finalized_at``,
    jobs that have ended come first, then the others by the end of their last attempt.  An index is
    read for the orders by ``id``, by ``finalized_at`` if enough jobs have ended, and by ``run_at``
    if only scheduled and retryable jobs are asked for; all others read and sort every job that
    matches.
    """
    if int64_of("limit", limit) < 0:
        raise ValidationError(f"limit must not be negative, got {limit}")
    if sort == "id" and query.get("before_id") is None:
        return (yield from job_rows_after(_LOWEST_ID, limit=limit, **query))[::-1]
    asked = _parameters(query)
    field = sort.removeprefix("-")
    if field not in SORTS:
        raise ValidationError(
            f"jobs cannot be sorted by {field!r}", why=f"fields are {', '.join(SORTS)}"
        )
    block = _INDEXED.get(sort)
    if block == "list_jobs" and asked["tag"] is not None:
        block = "list_tagged_jobs"
    if block and (field != "run_at" or _WAITING.issuperset(query.get("states") or ("any",))):
        rows = yield sql.read_jobs(block, **asked, limit=limit)
        # When not enough have ended, the others are read with them, in one statement.
        if field != "finalized_at" or len(rows) == limit:
            return rows.into(_row)
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
    block = "list_jobs_after" if asked["tag"] is None else "list_tagged_jobs_after"
    rows = yield sql.read_jobs(block, after_id=after_id, limit=limit, **asked)
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
