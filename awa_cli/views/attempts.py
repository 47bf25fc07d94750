"""The attempts of a job, for comparison."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from awa_lib.reads.job_dumps import dump_run

if TYPE_CHECKING:
    from awa_lib._sql import Op
    from awa_lib.reads.job_dumps import JobRun
    from awa_lib.reads.jobs import JobRow

__all__ = ["latest_runs"]

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
