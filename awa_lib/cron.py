"""Cron expressions: when a schedule fires.  croniter parses, the rules on top are ours.

Five fields (minute, hour, day of month, month, day of week) or six with seconds first, and
``@hourly`` ``@daily`` ``@midnight`` ``@weekly`` ``@monthly`` ``@yearly`` ``@annually``.  Where both
days are restricted either suffices.  Time zones are IANA names.

Clock changes follow Vixie cron: a time that does not exist fires at the end of the gap; a time
that exists twice fires the first time only, unless the minute or hour field starts with ``*``.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from awa_lib.errors import ValidationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from croniter import croniter

__all__ = ["CronExpression"]

# 29 February is absent for eight years around a century; no expression has to look further.
_YEARS: Final = 9
_FIELDS: Final = (5, 6)
_LAST_WEEKDAY: Final = re.compile(r"\b([0-7]|sun|mon|tue|wed|thu|fri|sat)L\b", re.IGNORECASE)
_WEEKDAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_UNSUPPORTED: Final = re.compile(r"\b[HR]\b|[HR]\(")
# Fires around a clock change that may have to be skipped before one counts.
_SKIPS: Final = 8


class CronExpression:
    """A checked expression in its time zone."""

    def __init__(self, expression: str, timezone: str) -> None:
        self.expression = expression
        self.zone = _zone(timezone)
        self._text = _checked(expression)
        fields = self._text.split()
        by_clock = fields[-5:-3]  # minute and hour
        self._twice = len(fields) < _FIELDS[0] or any(field.startswith("*") for field in by_clock)
        if self.next_after(datetime.now(UTC)) is None:
            raise ValidationError(
                f"invalid cron expression: {expression!r} never fires", why="no such date exists"
            )

    @staticmethod
    @lru_cache(maxsize=4096)
    def cached(expression: str, timezone: str) -> CronExpression:
        """Return an expression, parsed once.  Raises ValidationError."""
        return CronExpression(expression, timezone)

    def next_after(self, moment: datetime) -> datetime | None:
        """Return the first fire after a moment, in UTC; None when there is none in nine years."""
        return next(self._forward(moment), None)

    def upcoming(self, moment: datetime, count: int) -> list[datetime]:
        """Return the next fires after a moment, in UTC, at most ``count``."""
        return list(islice(self._forward(moment), count))

    def latest(self, after: datetime, until: datetime, limit: int = 1) -> list[datetime]:
        """Return the newest fires with after < fire <= until, at most ``limit``, oldest first.

        Looks back from the end, so a long outage costs nothing.
        """
        start = self._back(until + timedelta(seconds=1), limit + _SKIPS)
        fires = []
        for fire in self._forward(max(start, after)):
            if fire > until:
                break
            fires.append(fire)
        return fires[-limit:]

    def _forward(self, moment: datetime) -> Iterator[datetime]:
        from croniter import CroniterBadDateError

        steps = self._iterator(moment)
        try:
            while True:
                local = steps.get_next(datetime)
                if not local.fold or self._twice:
                    yield local.astimezone(UTC)
        except CroniterBadDateError:
            return

    def _back(self, moment: datetime, count: int) -> datetime:
        from croniter import CroniterBadDateError

        steps = self._iterator(moment)
        earliest = moment
        try:
            for _ in range(count):
                earliest = steps.get_prev(datetime).astimezone(UTC)
        except CroniterBadDateError:
            pass
        return earliest - timedelta(seconds=1)

    def _iterator(self, moment: datetime) -> croniter:
        from croniter import croniter

        return croniter(
            self._text,
            moment.astimezone(self.zone),
            second_at_beginning=True,
            max_years_between_matches=_YEARS,
        )


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
    """Write ``5L`` and ``friL`` as croniter has it, ``L5``."""
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
