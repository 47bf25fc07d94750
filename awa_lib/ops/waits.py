"""Waiting for jobs to come into a state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from awa_lib._sql import sql

if TYPE_CHECKING:
    from collections.abc import Sequence

    from awa_lib._sql import Op
    from awa_lib.states import StateName

__all__ = ["CHANNEL", "JobStatus", "job_states", "unwatch_jobs", "watch_jobs"]

# Payload: id and state, separated by a blank.
CHANNEL: Final = "awa_job_state"


@dataclass(frozen=True, slots=True)
class JobStatus:
    """Where a job stands; ``error`` is the latest one, with its traceback; None once completed."""

    id: int
    state: StateName
    attempt: int
    error: str | None


def watch_jobs(ids: Sequence[int], seconds: float) -> Op[None]:
    """Have this session told on ``CHANNEL`` when one of these jobs is claimed or ends.

    Lasts so many seconds, or until it is said again.  Changes that take a job out of the table of
    live jobs (a retry later) are not told: look now and then too.
    """
    yield sql.waits("watch", ids=list(ids), seconds=seconds)


def unwatch_jobs() -> Op[None]:
    """Have this session told no more."""
    yield sql.waits("unwatch")


def job_states(ids: Sequence[int]) -> Op[dict[int, JobStatus]]:
    """Return where these jobs stand, by id; one that is gone is left out."""
    rows = yield sql.waits("states", ids=list(ids))
    return {one.id: one for one in rows.into(JobStatus)}
