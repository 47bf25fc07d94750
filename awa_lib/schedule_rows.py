"""What is wrong with a row of awa.cron_jobs: leader, pages and doctor say the same.

Anybody may write these rows: awa 0.5, another release, a hand.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from awa_lib.cron import CronExpression
from awa_lib.errors import ValidationError
from awa_lib.validation import LONGEST_NAME, name_of, number_of, text_of

if TYPE_CHECKING:
    from datetime import datetime

    from awa_lib.ops.cron import Due
    from awa_lib.reads.cron import CronJob

__all__ = ["ahead", "begin", "check_settings", "fault"]

# A schedule that never fired looks back so far before its creation, as published.
_LOOK_BACK: Final = timedelta(minutes=1)

_POLICIES: Final = ("coalesce", "catch_up")
_MOST_FIRES: Final = 10_000
_LONGEST_JITTER: Final = 86_400.0
# The CHECKs of the tables of jobs.
_PRIORITIES: Final = (1, 4)
_ATTEMPTS: Final = (1, 1000)
_MOST_TAGS: Final = 20
# Servers that take over from each other have clocks that differ a little.
_SKEW: Final = timedelta(minutes=1)


def fault(row: Due | CronJob, *, tags: int, metadata: str, times_readable: bool) -> str | None:
    """Return in a sentence why a schedule cannot fire, None when it can.

    ``tags`` is how many it has, ``metadata`` the type of JSON they are; times are not readable that
    no datetime can hold.
    """
    try:
        CronExpression.cached(row.cron_expr, row.timezone)
        text_of("kind", row.kind, LONGEST_NAME)
        name_of("queue", row.queue)
        number_of("priority", row.priority, *_PRIORITIES)
        number_of("max_attempts", row.max_attempts, *_ATTEMPTS)
        number_of("the number of tags", tags, 0, _MOST_TAGS)
        check_settings(row.missed_fire_policy, row.catch_up_limit, row.jitter_seconds)
    except ValidationError as error:
        return str(error) if error.why is None else f"{error}: {error.why}"
    except Exception as error:  # noqa: BLE001 - whatever is made of what somebody wrote
        return f"invalid cron expression: {row.cron_expr!r}: {type(error).__name__}"
    if metadata != "object":
        return f"metadata must be a JSON object, not {metadata}"
    if not times_readable:
        return "last_enqueued_at or created_at is no time between the years 2 and 9998"
    return None


def begin(row: Due | CronJob) -> datetime:
    """Return after which moment a schedule without fault fires next."""
    return row.last_enqueued_at or row.created_at - _LOOK_BACK


def ahead(row: Due | CronJob, now: datetime) -> str | None:
    """Return in a sentence that the last fire, or the beginning, lies in the future."""
    after = begin(row)
    if after <= now + _SKEW:
        return None
    column = "created_at" if row.last_enqueued_at is None else "last_enqueued_at"
    return f"{column} is in the future: nothing fires before {after:%Y-%m-%d %H:%M:%SZ}"


def check_settings(policy: object, limit: object, jitter: object) -> None:
    """Check what a schedule has beside its published row.  Raises ValidationError."""
    if policy not in _POLICIES:
        raise ValidationError(f"missed_fire_policy must be one of {_POLICIES}, got {policy!r}")
    number_of("catch_up_limit", limit, 1, _MOST_FIRES)
    if (
        not isinstance(jitter, int | float)
        or isinstance(jitter, bool)
        or not 0 <= jitter <= _LONGEST_JITTER
    ):
        raise ValidationError(
            f"jitter_seconds must be a number from 0 to {_LONGEST_JITTER:g}, got {jitter!r}"
        )
