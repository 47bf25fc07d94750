"""Write the durable steps of running attempts, and forget those of jobs that are gone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from awa_lib._sql import atomic, sql
from awa_lib.codec import pgtext
from awa_lib.codec.pgtext import int_array
from awa_lib.ops.claims import Missed, held_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from awa_lib._sql import Op

__all__ = ["FORGET_BATCH", "NewStep", "forget_steps", "write_steps"]

FORGET_BATCH: Final = 500


class NewStep(NamedTuple):
    """A step that has ended, or a sleep that begins, until it is written."""

    job_id: int
    lease: int
    number: int
    name: str
    text: str
    lasted: float
    left: float


def write_steps(steps: Sequence[NewStep], *, skip_locked: bool = False) -> Op[Missed]:
    """Write steps, at most one of each job, sorted by job; renew the leases."""
    if skip_locked:
        return (yield from _write_held(steps))
    rows = yield sql.steps(
        "write",
        ids=int_array([step.job_id for step in steps]),
        leases=[step.lease for step in steps],
        numbers=[step.number for step in steps],
        names=pgtext.text_array(step.name for step in steps),
        step_values=pgtext.text_array(step.text for step in steps),
        lasts=[step.lasted for step in steps],
        left=[step.left for step in steps],
    )
    return Missed([row[0] for row in rows], [])


@atomic
def _write_held(steps: Sequence[NewStep]) -> Op[Missed]:
    rows = yield sql.steps(
        "hold_attempts",
        ids=int_array([step.job_id for step in steps]),
        leases=[step.lease for step in steps],
    )
    held, missed = held_of([(step.job_id, step.lease) for step in steps], rows)
    kept = [step for step in steps if step.job_id in held]
    if kept:
        yield from write_steps(kept)
    return missed


def forget_steps() -> Op[int]:
    """Delete a batch of steps of jobs that are gone; return how many were looked at."""
    rows = yield sql.steps("forget", limit=FORGET_BATCH)
    return int(rows.scalar())
