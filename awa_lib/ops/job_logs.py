"""Write and delete what handlers log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from awa_lib._sql import sql
from awa_lib.codec import pgtext
from awa_lib.codec.pgtext import int_array

if TYPE_CHECKING:
    from collections.abc import Sequence

    from awa_lib._sql import Op

__all__ = ["FIRST", "LOGS_BATCH", "Place", "RunLog", "forget_job_logs", "write_job_logs"]

LOGS_BATCH: Final = 1_000


class RunLog(NamedTuple):
    """What a run of a job has logged until now."""

    job_id: int
    run_lease: int
    attempt: int
    lines: str
    """A line of JSON for each record that is kept, the oldest first; at most 64 kB."""
    records: int
    """How many records the run has made."""
    dropped: int
    """How many of them are not in ``lines``."""


class Place(NamedTuple):
    """A row of awa.job_logs; a batch begins after it."""

    job_id: int
    run_lease: int


FIRST: Final = Place(-(2**63), 0)


def write_job_logs(logs: Sequence[RunLog]) -> Op[None]:
    """Store the logs of runs, each in place of the earlier state of it.

    A later state that is stored already stays.  Of each job the newest 20 other runs are kept.
    """
    yield sql.job_logs(
        "write",
        ids=int_array([log.job_id for log in logs]),
        leases=int_array([log.run_lease for log in logs]),
        attempts=int_array([log.attempt for log in logs]),
        lines=pgtext.text_array(log.lines for log in logs),
        records=int_array([log.records for log in logs]),
        dropped=int_array([log.dropped for log in logs]),
    )


def forget_job_logs(after: Place) -> Op[Place | None]:
    """Delete the logs of jobs that are gone, of the next 1000 logs; return the last of these.

    None when fewer were left.
    """
    rows = yield sql.job_logs(
        "forget", after_id=after.job_id, after_lease=after.run_lease, limit=LOGS_BATCH
    )
    if not rows or rows[0][0] < LOGS_BATCH:
        return None
    return Place(*rows[0][1:])
