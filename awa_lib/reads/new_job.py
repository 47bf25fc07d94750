"""The row of a new job, made from what was inserted."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from awa_lib.reads.jobs import JobRow, ordered
from awa_lib.states import STATES, JobState

if TYPE_CHECKING:
    from awa_lib.models import Job

__all__ = ["row_of_new"]


def row_of_new(job: Job, unique_key: bytes | None = None, unique_states: int = 0) -> JobRow:
    """Return the row of a job that was just inserted, without reading it.

    A role that inserts need not be allowed to read, and a worker may have changed the row.
    """
    states = [str(state) for state in JobState if unique_states >> state.value & 1]
    return JobRow(
        id=job.id,
        kind=job.kind,
        queue=job.queue,
        args=ordered(job.args),
        state=STATES[job.state],  # type: ignore[arg-type]  # these are the names
        priority=job.priority,
        attempt=job.attempt,
        run_lease=job.run_lease,
        max_attempts=job.max_attempts,
        run_at=datetime.fromisoformat(job.run_at),
        heartbeat_at=None,
        deadline_at=None,
        attempted_at=None,
        finalized_at=None,
        created_at=datetime.fromisoformat(job.created_at),
        errors=[],
        metadata=ordered(job.metadata),
        tags=job.tags,
        unique_key=None if unique_key is None else list(unique_key),
        unique_states=None if unique_key is None else states,
        callback_id=None,
        callback_timeout_at=None,
        callback_filter=None,
        callback_on_complete=None,
        callback_on_fail=None,
        callback_transform=None,
        progress=None,
    )
