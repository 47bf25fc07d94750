"""The durable steps of a job: read them, forget some."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from awa_lib._sql import sql
from awa_lib.errors import ValidationError
from awa_lib.validation import unknown_word

if TYPE_CHECKING:
    from datetime import datetime

    from awa_lib._sql import Op

__all__ = ["Step", "forget_from", "steps_of"]


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


def forget_from(job_id: int, name: str) -> Op[list[str]]:
    """Forget a step of a job and those after it; return their names.

    Raises ValidationError for a step that the job does not have.
    """
    rows = yield sql.steps("forget_from", id=job_id, name=name)
    if not rows:
        known = [step.name for step in (yield from steps_of(job_id))]
        if known:
            raise unknown_word(f"job {job_id} has no step {name!r}", name, known)
        raise ValidationError(
            f"job {job_id} has no step {name!r}", why="it has no finished steps at all"
        )
    return [row[0] for row in rows]
