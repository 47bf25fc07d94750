"""Read statistics of all jobs: counts by state, ends and waiting times over time, failures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from awa_lib._sql import sql

if TYPE_CHECKING:
    from datetime import datetime

    from awa_lib._sql import Op

__all__ = ["Bucket", "Failure", "ended_series", "latest_failures", "state_counts"]


@dataclass(frozen=True, slots=True)
class Bucket:
    """Jobs that ended in an interval, which begins at ``number`` times its width (epoch seconds).

    ``waited`` is the time from run_at to the claim in seconds: the mean of a sample of completed
    jobs, None where none completed.
    """

    number: int
    completed: int
    failed: int
    waited: float | None


@dataclass(frozen=True, slots=True)
class Failure:
    """A job that failed; ``error`` is the first line of its last error."""

    id: int
    kind: str
    queue: str
    attempt: int
    max_attempts: int
    finalized_at: datetime
    error: str | None


def state_counts() -> Op[dict[str, int]]:
    """Return the number of jobs by state; for completed jobs, the leader's last count."""
    rows = yield sql.read_statistics("state_counts")
    return dict(rows)


def ended_series(
    since: datetime,
    until: datetime,
    seconds: int,
    *,
    queue: str | None = None,
    kind: str | None = None,
) -> Op[list[Bucket]]:
    """Return what ended from ``since`` to ``until`` in buckets of ``seconds``, oldest first.

    ``queue`` and ``kind`` restrict the jobs.  Buckets begin at multiples of their width; empty
    buckets are left out.
    """
    span = {"since": since, "until": until, "seconds": seconds, "queue": queue, "kind": kind}
    ended = yield sql.read_statistics("ended_series", **span)
    waited: dict[int, float] = dict((yield sql.read_statistics("wait_series", **span)))
    return [Bucket(number, done, failed, waited.get(number)) for number, done, failed in ended]


def latest_failures(
    limit: int = 10, *, queue: str | None = None, kind: str | None = None
) -> Op[list[Failure]]:
    """Return the jobs that failed last, the latest first, of all jobs or of a queue or kind."""
    rows = yield sql.read_statistics("latest_failures", limit=limit, queue=queue, kind=kind)
    return rows.into(Failure)
