"""Follow the state changes of all jobs, derived from the job rows by polling.

There is no trigger and no table of events: a poll costs in proportion to what has changed.  Each
new id is found once, even when its transaction commits late.  Claims and ends are found by index,
in a window that reaches back to the oldest transaction that may still commit.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from awa_lib._json import as_entries
from awa_lib._sql import sql
from awa_lib.states import ENDED
from awa_lib.validation import INT64_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from awa_lib._sql import Op, Rows

__all__ = ["Activity", "Transition", "recent_transitions"]

_PAGE: Final = 5_000
# The first poll reads this many ids back, for jobs whose transactions were open then.
_FIRST_IDS: Final = _PAGE - 1
# now() of a transaction may be this much older than its first write.
_SLACK: Final = timedelta(seconds=5)
# The window reaches back no further, even for a transaction that stays open longer.
_LONGEST_WINDOW: Final = timedelta(seconds=60)
# A gap is read again for this long: an id is taken just before its transaction gets its own.
_FRESH: Final = timedelta(seconds=2)
# A row does not record when it entered one of these states.
_UNTIMED: Final = frozenset({"waiting_external", "available", "scheduled"})
# A row in one of these states is retryable, or may have been retryable since the last poll.
_RETRIED: Final = frozenset({"retryable", "cancelled", *_UNTIMED})


@dataclass(frozen=True, slots=True)
class Transition:
    """A job came into a state.

    ``event`` is ``created`` or the name of a state.  ``at`` is the database's time; for waits and
    for jobs put back it is when they were seen, and an attempt that began and failed between two
    looks is told to have begun when it failed.  ``error`` is the first line of what failed.
    """

    id: int
    at: datetime
    event: str
    """``created``, or the state it came into."""
    kind: str
    queue: str
    attempt: int
    tags: list[str]
    error: str | None = None


@dataclass(slots=True)
class _Row:
    id: int
    kind: str
    queue: str
    state: str
    attempt: int
    run_lease: int
    tags: list[str]
    created_at: datetime
    attempted_at: datetime | None
    finalized_at: datetime | None
    errors: str | None

    def entries(self) -> list[dict[str, Any]]:
        return as_entries(self.errors) if self.errors else []

    @property
    def mark(self) -> tuple[str, int, datetime | None]:
        """Return a value that changes with every transition."""
        return (self.state, self.run_lease, self.finalized_at)


@dataclass(slots=True)
class _Gap:
    """A range of ids that were not visible; their transactions may still be open."""

    low: int
    high: int
    born: datetime
    until: int | None = None
    """The next transaction id when they were missed; they cannot appear after all before it end."""


class Activity:
    """Follow all jobs of a database from now on; ``step`` returns each transition once.

    It finds every new job, however late its transaction commits.  It finds every start and end of
    an attempt whose transaction first wrote within five seconds of its first statement and
    committed within a minute.  What a row does not record is missing: that a job became due or was
    retried (its next claim is reported), all but the last of several attempts between two polls
    that left no error, and jobs that were deleted before a poll.
    """

    def __init__(self) -> None:
        self._last_id = 0
        self._gaps: list[_Gap] = []
        self._polls: deque[tuple[datetime, int]] = deque()
        self._since = datetime.min.replace(tzinfo=UTC)
        self._known: dict[int, tuple[set[tuple[Any, ...]], Any, datetime]] = {}
        self._running: set[int] = set()
        self.more = False
        """True when a step ended at its limit: call ``step`` again at once."""

    def begin(self) -> Op[None]:
        """Start from the present: its rows are known, and no transition is returned for them."""
        now, xmin, xmax, last_id = (yield sql.read_activity("moment"))[0]
        self._since = self._horizon(now, xmin, xmax)
        changed = _rows((yield sql.read_activity("changed", since=self._since)))
        self._last_id = max(0, last_id - _FIRST_IDS)
        created = yield from self._created(now, xmin, xmax)
        for row in changed:
            self._derive(row, now, whole=False)
        for row in created:
            self._derive(row, now, whole=True)
        self._running = _running(changed, created)

    def step(self) -> Op[list[Transition]]:
        """Return the transitions since the last step, in order of time."""
        now, xmin, xmax, _ = (yield sql.read_activity("moment"))[0]
        found: list[Transition] = []
        changed = _rows((yield sql.read_activity("changed", since=self._since)))
        if left := self._running - {row.id for row in changed}:
            changed += _rows((yield sql.read_activity("by_id", ids=sorted(left))))
        for row in changed:
            found += self._derive(row, now, whole=False)
        # Read after them, so that a job whose start is returned is returned as created, too.
        created = yield from self._created(now, xmin, xmax)
        for row in created:
            found += self._derive(row, now, whole=True)
        self._running = _running(changed, created)
        self._since = self._horizon(now, xmin, xmax)
        self._forget()
        return _in_order(found)

    def recent(self, limit: int = 20) -> Op[list[Transition]]:
        """Return the latest transitions that no step will return, in order of time."""
        return recent_transitions(limit, self._is_past)

    def _is_past(self, row: _Row, key: tuple[Any, ...], at: datetime) -> bool:
        if key in self._known.get(row.id, ((), None))[0]:
            return True
        return row.id <= self._last_id - _PAGE if key == ("created",) else at < self._since

    def _horizon(self, now: datetime, xmin: int, xmax: int) -> datetime:
        """Return the earliest time of a change that this poll may miss and a later poll can see.

        A transaction that is not visible now has an id of at least xmin, so it began to write
        after the latest poll whose next id was no larger.
        """
        self._polls.append((now, xmax))
        while len(self._polls) > 1 and self._polls[1][1] <= xmin:
            self._polls.popleft()
        return max(self._polls[0][0] - _SLACK, now - _LONGEST_WINDOW)

    def _created(self, now: datetime, xmin: int, xmax: int) -> Op[list[_Row]]:
        """Return jobs with new ids, and remember the gaps between the ids."""
        for gap in self._gaps:
            gap.until = xmax if gap.until is None else gap.until
        rows = _rows(
            (
                yield sql.read_activity(
                    "created",
                    lows=[*[gap.low for gap in self._gaps], self._last_id + 1],
                    highs=[*[gap.high for gap in self._gaps], INT64_MAX],
                    limit=_PAGE,
                )
            )
        )
        self.more = len(rows) == _PAGE
        ids = [row.id for row in rows]
        reached = max(self._last_id, ids[-1] if ids else 0)
        # A full page says nothing about the ids after its last.
        checked = ids[-1] if self.more else reached
        fresh = [*self._gaps, _Gap(self._last_id + 1, reached, now)]
        self._gaps = [
            left
            for gap in fresh
            for left in _without(gap, ids)
            if left.low > checked
            or left.until is None
            or left.until > xmin
            or now - left.born < _FRESH
        ]
        self._last_id = reached
        return rows

    def _derive(self, row: _Row, now: datetime, *, whole: bool) -> Iterable[Transition]:
        """Return the new transitions of a row; with ``whole``, however old they are."""
        keys, mark, _ = self._known.get(row.id, (set(), None, now))
        self._known[row.id] = (keys, row.mark, now)
        if mark == row.mark and not whole:
            return []
        new = []
        for key, at, event, attempt, error in _events(row, now, created=whole):
            if key not in keys:
                keys.add(key)
                if whole or at >= self._since:
                    new.append(_transition(row, at, event, attempt, error))
        if row.attempted_at is not None:
            keys.add(("began", row.attempt))
        return new

    def _forget(self) -> None:
        old = [
            job_id
            for job_id, (_, _, seen) in self._known.items()
            if seen < self._since and job_id not in self._running
        ]
        for job_id in old:
            del self._known[job_id]


def recent_transitions(
    limit: int = 20, wanted: Callable[[_Row, tuple[Any, ...], datetime], bool] | None = None
) -> Op[list[Transition]]:
    """Return the latest transitions that the rows still record, in order of time."""
    now = (yield sql.read_activity("moment"))[0][0]
    rows = _rows((yield sql.read_activity("recent", limit=max(limit, 1))))
    found = [
        _transition(row, at, event, attempt, error)
        for row in rows
        for key, at, event, attempt, error in _events(row, now, created=True)
        if event not in _UNTIMED and key[0] != "began"
        if wanted is None or wanted(row, key, at)
    ]
    return _in_order(found)[-limit:] if limit else []


def _transition(row: _Row, at: datetime, event: str, attempt: int, error: str | None) -> Transition:
    return Transition(row.id, at, event, row.kind, row.queue, attempt, row.tags, error)


def _in_order(found: list[Transition]) -> list[Transition]:
    return sorted(found, key=lambda event: (event.at, event.id, event.event != "created"))


def _running(*found: list[_Row]) -> set[int]:
    return {row.id for rows in found for row in rows if row.state == "running"}


def _rows(rows: Rows) -> list[_Row]:
    return rows.into(_Row)


def _without(gap: _Gap, ids: list[int]) -> Iterator[_Gap]:
    """Remove ids, which are sorted, from a gap."""
    low = gap.low
    for job_id in ids[bisect_left(ids, gap.low) : bisect_right(ids, gap.high)]:
        if low < job_id:
            yield _Gap(low, job_id - 1, gap.born, gap.until)
        low = job_id + 1
    if low <= gap.high:
        yield _Gap(low, gap.high, gap.born, gap.until)


def _events(
    row: _Row, now: datetime, *, created: bool
) -> Iterator[tuple[tuple[Any, ...], datetime, str, int, str | None]]:
    """Yield (key, at, event, attempt, error) of each transition a row records, oldest first.

    A claim changes run_lease, and each failure leaves an error entry with its time.  The attempt
    alone does not identify a run: a snooze counts it down again.
    """
    if created:
        yield ("created",), row.created_at, "created", 0, None
    latest = _latest_errors(row)
    for attempt in sorted(number for number in latest if number < row.attempt):
        past = latest[attempt]
        if (at := _moment(past)) is not None:
            yield ("began", attempt), at, "running", attempt, None
            yield _retryable(attempt, past), at, "retryable", attempt, _first_line(past)
    if row.attempted_at is not None:
        yield ("running", row.run_lease), row.attempted_at, "running", row.attempt, None
    entry = latest.get(row.attempt)
    retried = entry if row.state in _RETRIED and entry and not entry.get("terminal") else None
    if retried is not None and (at := _moment(retried)) is not None:
        error = _first_line(retried)
        yield _retryable(row.attempt, retried), at, "retryable", row.attempt, error
    if row.state in ENDED:
        error = _first_line(entry) if row.state == "failed" else None
        yield (row.state, row.finalized_at), row.finalized_at or now, row.state, row.attempt, error
    elif row.state in _UNTIMED and row.attempted_at is not None:
        yield (row.state, row.run_lease), now, row.state, row.attempt, None


def _latest_errors(row: _Row) -> dict[int, dict[str, Any]]:
    """Return the latest error entry of each attempt that failed or asked for a retry.

    A retry that the handler asked for leaves no entry, only finalized_at, which claims keep.
    """
    entries = row.entries()
    found = {entry["attempt"]: entry for entry in entries if isinstance(entry.get("attempt"), int)}
    if row.finalized_at is not None and row.attempted_at is not None and row.state not in ENDED:
        last = row.attempt if row.finalized_at >= row.attempted_at else row.attempt - 1
        if last > 0:
            found.setdefault(last, {"at": row.finalized_at.isoformat()})
    return found


def _retryable(attempt: int, entry: dict[str, Any]) -> tuple[Any, ...]:
    return ("retryable", attempt, entry.get("at"))


def _moment(entry: dict[str, Any]) -> datetime | None:
    try:
        return datetime.fromisoformat(str(entry.get("at")))
    except ValueError:
        return None


def _first_line(entry: dict[str, Any] | None) -> str | None:
    error = entry.get("error") if entry else None
    return None if error is None else str(error).partition("\n")[0]
