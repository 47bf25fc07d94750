"""The states of jobs, workflows and tasks, and the groups of states that allow a change."""

from __future__ import annotations

from enum import IntEnum
from typing import Final, Literal, get_args

__all__ = [
    "BY_NAME",
    "CAN_CANCEL",
    "CAN_RETRY",
    "CAN_RETRY_IN_AWA_05",
    "COUNTED",
    "ENDED",
    "IN_ATTEMPT",
    "QUEUED",
    "STATES",
    "TASK_STATES",
    "WORKFLOW_STATES",
    "JobState",
    "StateName",
]


class JobState(IntEnum):
    """The state of a job.  ``str()`` returns its name in SQL, filters and JSON.

    It equals its name and its number; in a set or as a key it is found by its name.
    """

    Scheduled = 0
    Available = 1
    Running = 2
    Completed = 3
    Retryable = 4
    Failed = 5
    Cancelled = 6
    WaitingExternal = 7

    def __str__(self) -> str:
        """Return the snake_case name."""
        return STATES[self]

    def __eq__(self, other: object) -> bool:
        """Return True for the same state, its name, or its number."""
        return str(self) == other if isinstance(other, str) else int.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        """Return the opposite of ``==``; that of int knows no names."""
        return not self == other

    def __hash__(self) -> int:
        """Return the hash of the name."""
        return hash(str(self))

    def __repr__(self) -> str:
        """Return ``JobState.Failed``."""
        return f"JobState.{self.name}"

    @classmethod
    def parse(cls, name: str) -> JobState:
        """Return the state with this snake_case name.  Raises ValueError."""
        try:
            return BY_NAME[name]
        except KeyError:
            raise ValueError(f"unknown job state: {name}") from None


StateName = Literal[
    "scheduled",
    "available",
    "running",
    "completed",
    "retryable",
    "failed",
    "cancelled",
    "waiting_external",
]
STATES: Final[tuple[str, ...]] = get_args(StateName)
"""The name of every state, in the order of JobState."""
BY_NAME: Final = {STATES[state]: state for state in JobState}

ENDED: Final = ("completed", "failed", "cancelled")
"""The job has ended.  It can be discarded."""
QUEUED: Final = ("scheduled", "available", "retryable")
"""The job waits for a worker.  Its priority and queue can be changed."""
IN_ATTEMPT: Final = ("running", "waiting_external")
"""An attempt owns the job: it runs, or waits for a callback."""
CAN_RETRY: Final = ("failed", "cancelled", "waiting_external", "retryable")
"""The states from which a job can be retried."""
CAN_RETRY_IN_AWA_05: Final = ("failed", "cancelled", "waiting_external")
"""``can_retry`` of a job document has the meaning of awa 0.5, which retries no retryable job."""
CAN_CANCEL: Final = ("scheduled", "available", "running", "retryable", "waiting_external")
"""The states from which a job can be cancelled."""
COUNTED: Final = (
    "available",
    "running",
    "scheduled",
    "retryable",
    "waiting_external",
    "failed",
)
"""The states that are counted per queue and kind, in the order of display."""
WORKFLOW_STATES: Final = ("open", "succeeded", "failed", "cancelled")
"""The states of a workflow."""
TASK_STATES: Final = ("waiting", "started", "succeeded", "failed", "cancelled", "skipped")
"""The states of a task of a workflow."""
