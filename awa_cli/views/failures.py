"""How failures are shown: groups of attempts that failed in the same way."""

from __future__ import annotations

from dataclasses import replace
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from awa_cli.views.columns import Column
from awa_cli.views.states import STATE_STYLES
from awa_cli.views.words import age, clock
from awa_lib.reads.ends import ungrouped_failures
from awa_lib.reads.failures import Failure, list_failures

if TYPE_CHECKING:
    from datetime import datetime

    from awa_lib._sql import Op
    from awa_lib.reads.ends import UngroupedFailure
    from awa_lib.reads.failures import FailedJob

__all__ = [
    "FAILED_JOBS",
    "FAILURE_GROUPS",
    "FAILURE_ROWS",
    "SUMMARY_FAILURES",
    "all_failures",
    "job_of",
    "short_type",
    "title_of",
]


def short_type(one: Failure) -> str:
    """Return the name of the exception's class, empty for an error without one."""
    return one.error_type.rpartition(".")[2]


def title_of(one: Failure) -> str:
    """Return ``MailDown: mail server <n> is down``."""
    return ": ".join(part for part in (short_type(one), one.message) if part)


# The ids of failures that only rows show: those of their latest job.
_JOB: Final = "job "
_DEAD: Final = "dead letter "


def all_failures(since: datetime, *, muted: bool = False, limit: int = 50) -> Op[list[Failure]]:
    """Return the failures since a moment, the most frequent first, with those of rows alone.

    Workers of awa 0.5 write no groups: their failed jobs are grouped by kind and text.
    """
    found = yield from list_failures(since=since, muted=muted, limit=limit)
    loose = yield from ungrouped_failures(since)
    rows = [*found, *map(_of_rows, loose)]
    return sorted(rows, key=attrgetter("total", "last_seen_at"), reverse=True)[:limit]


def _of_rows(one: UngroupedFailure) -> Failure:
    return Failure(
        id=f"{_DEAD if one.dead else _JOB}{one.job_id}",
        error_type="",
        message=one.message or "no error text",
        frames=[],
        queues=one.queues,
        kinds=[one.kind],
        failed=one.failed,
        retried=0,
        cancelled=0,
        requeued=0,
        first_seen_at=one.first_seen_at,
        last_seen_at=one.last_seen_at,
        first_version=None,
        muted_until=None,
        job_id=one.job_id,
    )


def job_of(one: Failure) -> str | None:
    """Return the page of the job of a failure that only rows show, None for a group."""
    if one.id.startswith(_DEAD):
        return "dead_letter"
    return "job" if one.id.startswith(_JOB) else None


FAILURE_GROUPS: Final[tuple[Column[Failure], ...]] = (
    Column("id", "ID", lambda one: one.id),
    Column("count", "COUNT", lambda one: one.total, right=True),
    Column("failed", "FAILED", lambda one: one.failed, right=True, wide=True),
    Column("retried", "RETRIED", lambda one: one.retried, right=True, wide=True),
    Column("requeued", "REQUEUED", lambda one: one.requeued, right=True),
    Column("error", "ERROR", title_of, width=12, style=lambda _: "red"),
    Column("kind", "KIND", lambda one: ", ".join(one.kinds), width=6),
    Column("queue", "QUEUE", lambda one: ", ".join(one.queues), width=5, wide=True),
    Column(
        "first",
        "FIRST",
        lambda one: age(one.first_seen_at),
        style=lambda _: "bright_black",
        by=lambda one: one.first_seen_at,
    ),
    Column(
        "last",
        "LAST",
        lambda one: age(one.last_seen_at),
        style=lambda _: "bright_black",
        by=lambda one: one.last_seen_at,
    ),
    Column("version", "SINCE VERSION", lambda one: one.first_version, width=3, wide=True),
    Column("muted", "MUTED", lambda one: age(one.muted_until), width=3, wide=True),
)

# Of the monitor: times by the clock, to be compared with that of a deploy.
FAILURE_ROWS: Final[tuple[Column[Failure], ...]] = (
    Column("count", "COUNT", lambda one: f"{one.total:,}", right=True, by=lambda one: one.total),
    Column("error", "FAILURE", title_of, width=24, style=lambda _: "red"),
    Column("kind", "KIND", lambda one: ", ".join(one.kinds), width=6),
    Column("queue", "QUEUE", lambda one: ", ".join(one.queues), width=5, wide=True),
    Column(
        "failed",
        "FOR GOOD",
        lambda one: one.failed,
        right=True,
        wide=True,
    ),
    Column("retried", "RETRIED", lambda one: one.retried, right=True, wide=True),
    Column("requeued", "REQUEUED", lambda one: one.requeued, right=True, wide=True),
    Column(
        "first", "FIRST", lambda one: clock(one.first_seen_at), by=lambda one: one.first_seen_at
    ),
    Column("last", "LAST", lambda one: clock(one.last_seen_at), by=lambda one: one.last_seen_at),
    Column("version", "SINCE VERSION", lambda one: one.first_version, wide=True),
    Column("muted", "MUTED UNTIL", lambda one: clock(one.muted_until), wide=True),
)

SUMMARY_FAILURES: Final = tuple(
    replace(one, wide=False, width=16 if one.key == "error" else one.width)
    for one in FAILURE_ROWS
    if one.key in {"count", "error", "queue", "first", "last", "version"}
)

FAILED_JOBS: Final[tuple[Column[FailedJob], ...]] = (
    Column("id", "JOB", lambda one: one.id),
    Column("kind", "KIND", lambda one: one.kind, width=12),
    Column("queue", "QUEUE", lambda one: one.queue, width=8),
    Column(
        "state",
        "STATE",
        lambda one: one.state,
        style=lambda one: STATE_STYLES.get(one.state, ""),
        state=lambda one: one.state,
    ),
    Column("att", "ATT", lambda one: one.attempt, right=True),
    Column("when", "WHEN", lambda one: age(one.at), by=lambda one: one.at),
)
