"""Forget durable steps of a job."""

from __future__ import annotations

from typing import TYPE_CHECKING

from awa_lib._sql import sql
from awa_lib.errors import ValidationError
from awa_lib.validation import unknown_word

if TYPE_CHECKING:
    from awa_lib._sql import Op

__all__ = ["forget_from"]


def forget_from(job_id: int, name: str) -> Op[list[str]]:
    """Forget a step of a job and those after it; return their names.

    Raises ValidationError for a step that the job does not have.
    """
    rows = yield sql.steps("forget_from", id=job_id, name=name)
    if not rows:
        known = [row[0] for row in (yield sql.steps("of_job", id=job_id))]
        if known:
            raise unknown_word(f"job {job_id} has no step {name!r}", name, known)
        raise ValidationError(
            f"job {job_id} has no step {name!r}", why="it has no finished steps at all"
        )
    return [row[0] for row in rows]
