"""Wait for jobs to reach a state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from awa_lib._sql import sql

if TYPE_CHECKING:
    from collections.abc import Sequence

    from awa_lib._sql import Op
    from awa_lib.states import StateName

__all__ = ["CHANNEL", "FIRST_LOOKS", "JobStatus", "job_states", "unwatch_jobs", "watch_jobs"]

# Payload: id and state, separated by a space.
CHANNEL: Final = "awa_job_state"
# Seconds after which a new wait looks again.  A job that is ending while its wait begins does not
# notify: its transaction has begun before, and commits within a flush or two.
FIRST_LOOKS: Final = (0.02, 0.1, 0.5)


@dataclass(frozen=True, slots=True)
class JobStatus:
    """Where a job stands; ``error`` is the latest one, with its traceback; None once completed."""

    id: int
    state: StateName
    attempt: int
    error: str | None


def watch_jobs(ids: Sequence[int], seconds: float) -> Op[None]:
    """Notify this session on ``CHANNEL`` when one of these jobs is claimed or ends.

    Lasts for ``seconds``, or until the next call.  Changes that move a job out of the table of live
    jobs (a later retry) are not notified: poll now and then too.
    """
    yield sql.waits("watch", ids=list(ids), seconds=seconds)


def unwatch_jobs(ids: Sequence[int]) -> Op[None]:
    """Stop the notifications of these jobs to this session."""
    yield sql.waits("unwatch", ids=list(ids))


def job_states(ids: Sequence[int]) -> Op[dict[int, JobStatus]]:
    """Return the status of these jobs by id; jobs that do not exist are left out.

    A task of a workflow that waits for others has the id of its job before there is one, and counts
    as scheduled.
    """
    rows = yield sql.waits("states", ids=list(ids))
    found = {status.id: status for status in rows.into(JobStatus)}
    if missing := [one for one in ids if one not in found]:
        # Asked only then: whoever may read jobs may not be allowed to read workflows.  A task that
        # has started in between is found, too.
        rows = yield sql.waits("tasks", ids=missing)
        found |= {job_id: JobStatus(job_id, "scheduled", 0, None) for (job_id,) in rows}
    return found
