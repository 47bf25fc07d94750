"""Read the durable steps of a job."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from awa_lib._sql import sql

if TYPE_CHECKING:
    from datetime import datetime

    from awa_lib._sql import Op

__all__ = ["Step", "steps_of"]


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a job: its value is JSON text."""

    name: str
    number: int
    value: str
    attempt: int
    started_at: datetime
    ended_at: datetime
    """Of a sleep that is not over, when it will be."""
    seconds_left: float


def steps_of(job_id: int) -> Op[list[Step]]:
    """Return the steps of a job, in the order of their ends."""
    return (yield sql.steps("of_job", id=job_id)).into(Step)
