"""Cron expressions, and what is wrong with a row of awa.cron_jobs.  croniter finds the dates.

Five fields (minute, hour, day of month, month, day of week) or six with seconds first, and
``@hourly`` ``@daily`` ``@midnight`` ``@weekly`` ``@monthly`` ``@yearly`` ``@annually``, which mean
the same as written out.  If both days are restricted, either matches.  Time zones are IANA names.

When clocks change:

- An hour field that matches every hour (``*``, ``*/n``, ``0-23``) follows elapsed time, as in Vixie
  cron: the schedule fires whenever the clock shows a matching time.  Skipped times do not fire,
  and repeated times fire twice.
- Any other hour field means times of the day.  Skipped times fire once, at the end of the gap.  A
  repeated time fires the first time only, or both times if the minute field is ``*`` or ``*/n``.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from heapq import merge
from itertools import islice, takewhile
from typing import TYPE_CHECKING, Final, Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from awa_lib.errors import ValidationError
from awa_lib.validation import LONGEST_NAME, name_of, number_of, text_of

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["CronExpression", "ScheduleRow", "ahead", "begin", "check_settings", "fault"]

# 29 February is absent for eight years around most centuries; no expression needs more.
_YEARS: Final = 9
_FIELDS: Final = (5, 6)
_LAST_WEEKDAY: Final = re.compile(r"\b([0-7]|sun|mon|tue|wed|thu|fri|sat)L\b", re.IGNORECASE)
_WEEKDAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_UNSUPPORTED: Final = re.compile(r"\b[HR]\b|[HR]\(")
_SECOND: Final = timedelta(seconds=1)
# No zone changes its clock twice within this time.
_PROBE: Final = timedelta(hours=6)
# A schedule that never fired starts this long before its creation, as in awa 0.5.
_LOOK_BACK: Final = timedelta(minutes=1)

_POLICIES: Final = ("coalesce", "catch_up")
_MAX_FIRES: Final = 10_000
_LONGEST_JITTER: Final = 86_400.0
# The CHECKs of the tables of jobs.
_PRIORITIES: Final = (1, 4)
_ATTEMPTS: Final = (1, 1000)
_MAX_TAGS: Final = 20
# After a failover the clock of the new server may differ a little.
_SKEW: Final = timedelta(minutes=1)


class CronExpression:
    """A checked expression in its time zone."""

    def __init__(self, expression: str, timezone: str) -> None:
        self.expression = expression
        self.zone = _zone(timezone)
        self._text = _checked(expression)
        minute, hour = _every_minute_and_hour(self._text)
        self._elapsed = hour
        self._twice = minute
        if self.next_after(datetime.now(UTC)) is None:
            raise ValidationError(
                f"invalid cron expression: {expression!r} never fires", why="no such date exists"
            )

    @staticmethod
    @lru_cache(maxsize=4096)
    def cached(expression: str, timezone: str) -> CronExpression:
        """Return a parsed expression from the cache.  Raises ValidationError."""
        return CronExpression(expression, timezone)

    def next_after(self, moment: datetime) -> datetime | None:
        """Return the first fire after a moment, in UTC; None when there is none in nine years."""
        return next(self._fires(moment, 1), None)

    def upcoming(self, moment: datetime, count: int) -> list[datetime]:
        """Return the next fires after a moment, in UTC, at most ``count``."""
        return list(islice(self._fires(moment, 1), count))

    def latest(self, after: datetime, until: datetime, limit: int = 1) -> list[datetime]:
        """Return the newest fires with after < fire <= until, at most ``limit``, oldest first.

        The search runs back from the end: its cost depends on the number of fires it returns, not
        on ``after``.
        """
        found = takewhile(lambda fire: fire > after, self.back_from(until))
        return list(islice(found, limit))[::-1]

    def back_from(self, moment: datetime) -> Iterator[datetime]:
        """Walk the fires at and before a moment, newest first, about 30 microseconds each."""
        return self._fires(moment, -1)

    def _fires(self, moment: datetime, step: int) -> Iterator[datetime]:
        """Walk the fires after a moment (step 1), or back from those at it (step -1)."""
        start = moment.astimezone(UTC).replace(microsecond=0)
        if self._elapsed:
            fires = self._by_elapsed_time(start, step)
        elif self._twice:
            fires = self._both(start, step)
        else:
            fires = self._by_clock(start, step, fold=0)
        last = None
        for fire in fires:
            # Times of one gap fire together.
            if fire != last and (fire > start if step > 0 else fire <= start):
                last = fire
                yield fire

    def _by_elapsed_time(self, start: datetime, step: int) -> Iterator[datetime]:
        """Walk the times at which the clock shows a matching time, from change to change."""
        change: datetime | None = start
        seen = begin = start
        while change is not None:
            offset = self._offset(seen)
            change = None
            for wall in self._walls(begin + offset, step):
                fire = wall - offset
                change = self._change(seen, fire, step)
                if change is not None:
                    begin = change - _SECOND
                    seen = change if step > 0 else begin
                    break
                yield fire
                seen = fire

    def _both(self, start: datetime, step: int) -> Iterator[datetime]:
        """Walk times of the day; repeated times come twice."""
        first = self._by_clock(start, step, fold=0)
        second = self._by_clock(start, step, fold=1)
        return merge(first, second, reverse=step < 0)

    def _by_clock(self, start: datetime, step: int, *, fold: int) -> Iterator[datetime]:
        """Walk times of the day; of a repeated time the first (fold 0) or the second."""
        local = start.astimezone(self.zone)
        # Around a change the clock runs up to its length ahead of, or behind, these times.
        wall = local.replace(tzinfo=None)
        slack = self._at(wall, 1) - self._at(wall, 0)
        wall = wall.replace(tzinfo=UTC) - step * slack
        for found in self._walls(wall, step):
            yield self._at(found.replace(tzinfo=None), fold)

    def _at(self, wall: datetime, fold: int) -> datetime:
        """Return when the clock shows a time; the end of the gap when it never does."""
        moment = wall.replace(tzinfo=self.zone, fold=fold).astimezone(UTC)
        if moment.astimezone(self.zone).replace(tzinfo=None) == wall:
            return moment
        # Read with either offset, a skipped time lies on the other side of the change.
        ends = [wall.replace(tzinfo=self.zone, fold=side).astimezone(UTC) for side in (1, 0)]
        return self._first_with_other_offset(*ends)

    def _walls(self, start: datetime, step: int) -> Iterator[datetime]:
        """Walk the matching times of the clock, as if in UTC: after ``start``, or back from it."""
        from croniter import CroniterBadDateError, croniter

        steps = croniter(
            self._text,
            start if step > 0 else start + _SECOND,
            second_at_beginning=True,
            max_years_between_matches=_YEARS,
        )
        move = steps.get_next if step > 0 else steps.get_prev
        try:
            while True:
                yield move(datetime)
        except (CroniterBadDateError, ValueError, OverflowError):
            return  # also where the calendar of Python ends

    def _offset(self, moment: datetime) -> timedelta:
        offset = moment.astimezone(self.zone).utcoffset()
        assert offset is not None
        return offset

    def _change(self, start: datetime, end: datetime, step: int) -> datetime | None:
        """Return the first moment with another offset; going back, the last change."""
        offset = self._offset(start)
        seen = start
        while seen != end:
            ahead = seen + step * _PROBE
            ahead = min(ahead, end) if step > 0 else max(ahead, end)
            if self._offset(ahead) != offset:
                return self._first_with_other_offset(*sorted((seen, ahead)))
            seen = ahead
        return None

    def _first_with_other_offset(self, low: datetime, high: datetime) -> datetime:
        """Return the moment of the change between two moments."""
        offset = self._offset(low)
        while high - low > _SECOND:
            middle = low + (high - low) // 2 // _SECOND * _SECOND
            if self._offset(middle) == offset:
                low = middle
            else:
                high = middle
        return high


def _zone(name: object) -> ZoneInfo:
    try:
        if isinstance(name, str) and name not in {"", "utc"}:
            return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        pass
    raise ValidationError(
        f"invalid timezone: {name!r}", hint="an IANA name, such as UTC or Europe/Paris"
    )


def _last_weekday(match: re.Match[str]) -> str:
    """Write ``5L`` and ``friL`` in croniter's form, ``L5``."""
    day = match[1].lower()
    return f"L{_WEEKDAYS.index(day) if day in _WEEKDAYS else day}"


def _checked(expression: object) -> str:
    from croniter import CroniterError, croniter

    hint = "five fields (minute hour day month weekday), or six with seconds first, or @daily"
    if not isinstance(expression, str):
        raise ValidationError(f"invalid cron expression: {expression!r} is not text", hint=hint)
    text = _LAST_WEEKDAY.sub(_last_weekday, expression.strip())
    fields = len(text.split())
    if not text.startswith("@") and fields not in _FIELDS:
        raise ValidationError(
            f"invalid cron expression: {expression!r} has {fields} fields, 5 or 6 are possible",
            hint=hint,
        )
    if _UNSUPPORTED.search(text):
        raise ValidationError(
            f"invalid cron expression: {expression!r}", why="H and R are not supported", hint=hint
        )
    try:
        croniter(text, second_at_beginning=True)
    except (CroniterError, ValueError) as error:
        raise ValidationError(
            f"invalid cron expression: {expression!r}", why=str(error), hint=hint
        ) from error
    return text


def _every_minute_and_hour(text: str) -> tuple[bool, bool]:
    """Return whether a checked expression matches every minute, and every hour."""
    from croniter import croniter

    fields = text.split() if not text.startswith("@") else croniter(text).expressions
    taken = croniter(text, second_at_beginning=True).expanded
    minute, hour = (
        field.startswith("*") or values == ["*"]
        for field, values in zip(fields[-5:-3], taken, strict=False)
    )
    return minute, hour


class ScheduleRow(Protocol):
    """The columns of awa.cron_jobs that say when and what a schedule fires.

    Another version of awa, or a person, may have written them.
    """

    @property
    def cron_expr(self) -> str:
        """The cron expression."""
        ...

    @property
    def timezone(self) -> str:
        """The time zone it is read in."""
        ...

    @property
    def kind(self) -> str:
        """The kind of the jobs."""
        ...

    @property
    def queue(self) -> str:
        """The queue of the jobs."""
        ...

    @property
    def priority(self) -> int:
        """The priority of the jobs."""
        ...

    @property
    def max_attempts(self) -> int:
        """The most attempts of each job."""
        ...

    @property
    def missed_fire_policy(self) -> str:
        """What happens with fires that were missed."""
        ...

    @property
    def catch_up_limit(self) -> int:
        """How many missed fires are made up for."""
        ...

    @property
    def jitter_seconds(self) -> float:
        """How much later a job may run."""
        ...

    @property
    def last_enqueued_at(self) -> datetime | None:
        """The last fire that was enqueued."""
        ...

    @property
    def created_at(self) -> datetime:
        """When the schedule was made."""
        ...


def fault(row: ScheduleRow, *, tags: int, metadata: str, times_readable: bool) -> str | None:
    """Return why a schedule cannot fire, or None.

    ``tags`` is the number of tags, ``metadata`` the JSON type of the metadata.  Times are not
    readable if no datetime can hold them.
    """
    try:
        CronExpression.cached(row.cron_expr, row.timezone)
        text_of("kind", row.kind, LONGEST_NAME)
        name_of("queue", row.queue)
        number_of("priority", row.priority, *_PRIORITIES)
        number_of("max_attempts", row.max_attempts, *_ATTEMPTS)
        number_of("the number of tags", tags, 0, _MAX_TAGS)
        check_settings(row.missed_fire_policy, row.catch_up_limit, row.jitter_seconds)
    except ValidationError as error:
        return str(error) if error.why is None else f"{error}: {error.why}"
    except Exception as error:  # noqa: BLE001 - croniter may raise anything for text written by hand
        return f"invalid cron expression: {row.cron_expr!r}: {type(error).__name__}"
    if metadata != "object":
        return f"metadata must be a JSON object, not {metadata}"
    if not times_readable:
        return "last_enqueued_at or created_at is no time between the years 2 and 9998"
    return None


def begin(row: ScheduleRow) -> datetime:
    """Return the moment after which a valid schedule fires next."""
    return row.last_enqueued_at or row.created_at - _LOOK_BACK


def ahead(row: ScheduleRow, now: datetime) -> str | None:
    """Return what is wrong if the last fire, or the creation, is in the future, else None."""
    after = begin(row)
    if after <= now + _SKEW:
        return None
    column = "created_at" if row.last_enqueued_at is None else "last_enqueued_at"
    return f"{column} is in the future: nothing fires before {after:%Y-%m-%d %H:%M:%SZ}"


def check_settings(policy: object, limit: object, jitter: object) -> None:
    """Check the settings that awa 0.5 does not have.  Raises ValidationError."""
    if policy not in _POLICIES:
        raise ValidationError(f"missed_fire_policy must be one of {_POLICIES}, got {policy!r}")
    number_of("catch_up_limit", limit, 1, _MAX_FIRES)
    if (
        not isinstance(jitter, int | float)
        or isinstance(jitter, bool)
        or not 0 <= jitter <= _LONGEST_JITTER
    ):
        raise ValidationError(
            f"jitter_seconds must be a number from 0 to {_LONGEST_JITTER:g}, got {jitter!r}"
        )
