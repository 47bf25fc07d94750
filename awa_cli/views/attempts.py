"""The attempts of a job, for comparison, and whether each was tried again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from awa_cli.views.words import age
from awa_lib.reads.attempts import limit_of
from awa_lib.reads.job_dumps import dump_run

if TYPE_CHECKING:
    from awa_lib._sql import Op
    from awa_lib.reads.job_dumps import JobRun
    from awa_lib.reads.jobs import JobRow

__all__ = ["latest_runs", "retry_of", "why_no_retry"]

_RUN_LIMIT: Final = 6


def latest_runs(job: JobRow) -> Op[list[JobRun]]:
    """Return the latest recorded attempts, the latest first."""
    kept = {entry.get("attempt") for entry in job.errors if isinstance(entry.get("attempt"), int)}
    numbers = sorted({job.attempt, *(n for n in kept if n is not None and n < job.attempt)})
    found: list[JobRun] = []
    for number in numbers[::-1][:_RUN_LIMIT]:
        run = yield from dump_run(job.id, number)
        found.append(run)
    return found


def retry_of(job: JobRow, run: JobRun) -> str | None:
    """Return whether an attempt that failed is tried again, and when; None for another attempt."""
    if run.raw_error_entry is None or run.state == "cancelled":
        return None
    if run.selected_attempt != job.attempt:
        return "yes"
    if run.state == "failed":
        return why_no_retry(job, run.raw_error_entry)
    return age(job.run_at) if run.state == "retryable" else "yes"


def why_no_retry(job: JobRow, entry: dict[str, Any]) -> str:
    """Return why a job has failed for good, by its last error."""
    limit, crashes = limit_of(job), entry.get("crash")
    if entry.get("terminal"):
        return "none: its error allows none"
    if isinstance(crashes, int) and crashes > 1:
        return f"none: its worker died {crashes} times"
    if job.attempt >= limit:
        return (
            f"none: it was the last of {limit} attempts"
            if limit > 1
            else "none: it had one attempt"
        )
    return "none"
