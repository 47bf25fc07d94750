"""Failures as rows of a table: groups of attempts, and jobs that only rows show."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from awa_cli.views.failures import short_type, title_of
from awa_cli.views.words import counted, now
from awa_cli.web.pages._list_query import address
from awa_cli.web.pages._sparks import Bars, Spark, spark
from awa_cli.web.pages.render import at
from awa_lib.reads.ends import ends_by_failure, ungrouped_failures
from awa_lib.reads.failures import list_failures

if TYPE_CHECKING:
    from datetime import datetime

    from awa_cli.views.series import Window
    from awa_lib._sql import Op
    from awa_lib.reads.ends import UngroupedFailure
    from awa_lib.reads.failures import Failure

__all__ = ["FailureRow", "FailureTime", "failure_rows", "failure_time"]

_LONGEST_NAMES: Final = 3
_HOUR: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class FailureRow:
    """A row: ``parts`` are (text, path) below its title, ``failure`` is None without a group."""

    count: int
    name: str
    """The class of the exception, empty for an error without one."""
    message: str
    to: str
    first: datetime
    last: datetime
    parts: list[tuple[str, str | None]]
    spark: Spark | None = None
    failure: Failure | None = None

    @property
    def title(self) -> str:
        """The name and the message."""
        return title_of(self.failure) if self.failure else self.message


@dataclass(frozen=True, slots=True)
class FailureTime:
    """The time whose failures stand below the charts of a window: an hour at least."""

    begin: datetime
    length: timedelta
    words: str


def failure_time(window: Window) -> FailureTime:
    """Return the time for a window."""
    length = max(timedelta(seconds=window.width * window.buckets), _HOUR)
    words = {"15m": "hour", "1h": "hour", "24h": "24 hours", "7d": "7 days"}[window.name]
    return FailureTime(now() - length, length, words)


def failure_rows(
    begin: datetime,
    length: timedelta,
    *,
    queue: str | None = None,
    kind: str | None = None,
    muted: bool = False,
    limit: int = 50,
) -> Op[list[FailureRow]]:
    """Return the failures since ``begin``, which is ``length`` ago, the most frequent first."""
    found = yield from list_failures(since=begin, queue=queue, kind=kind, muted=muted, limit=limit)
    bars = Bars.over(length)
    ids = [one.id for one in found]
    counts = yield from ends_by_failure(ids, bars.since, seconds=bars.seconds)
    rows = [_group(one, spark(bars, counts.get(one.id, {}))) for one in found]
    loose = yield from ungrouped_failures(begin, queue=queue, kind=kind)
    rows += [_loose(one) for one in loose]
    return sorted(rows, key=lambda one: (one.count, one.last), reverse=True)[:limit]


def _group(one: Failure, drawn: Spark | None) -> FailureRow:
    parts = _places(one.kinds, one.queues)
    if one.first_version:
        parts.append((f"since version {one.first_version}", None))
    if one.requeued:
        parts.append((f"{counted(one.requeued)} retried by somebody", None))
    return FailureRow(
        one.total,
        short_type(one),
        one.message,
        at("failures", one.id),
        one.first_seen_at,
        one.last_seen_at,
        parts,
        drawn,
        one,
    )


def _loose(one: UngroupedFailure) -> FailureRow:
    where: dict[str, Any] = {"kind": one.kind}
    to = address(where, "/dlq") if one.dead else address({"state": "failed", **where})
    last = at("dlq" if one.dead else "jobs", one.job_id)
    parts = [*_places([one.kind], one.queues), (f"job {one.job_id}", last), ("not grouped", None)]
    return FailureRow(
        one.failed,
        "",
        one.message or "no error text",
        to,
        one.first_seen_at,
        one.last_seen_at,
        parts,
    )


def _places(kinds: list[str], queues: list[str]) -> list[tuple[str, str | None]]:
    parts: list[tuple[str, str | None]] = [
        (one, at("kinds", one)) for one in kinds[:_LONGEST_NAMES]
    ]
    if len(kinds) > _LONGEST_NAMES:
        parts.append((f"{len(kinds) - _LONGEST_NAMES} more kinds", None))
    parts += [(one, at("queues", one)) for one in queues[:_LONGEST_NAMES] if one not in kinds]
    if len(queues) > _LONGEST_NAMES:
        parts.append((f"{len(queues) - _LONGEST_NAMES} more queues", None))
    return parts
