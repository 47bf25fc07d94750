"""Policies of queues, which the running fleet follows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from awa_lib._json import dumps
from awa_lib._sql import sql
from awa_lib.errors import ValidationError
from awa_lib.policies import (
    LONGEST_DEADLINE,
    LONGEST_POLL_MS,
    LONGEST_RETENTION,
    RATES,
    PolicyChanges,
    QueuePolicy,
)
from awa_lib.validation import INT32_MAX, name_of, number_of, unknown_word

if TYPE_CHECKING:
    from typing import Unpack

    from awa_lib._sql import Op

__all__ = ["set_queue_policy"]

_COUNTS: Final = {
    "max_running": (0, INT32_MAX),
    "max_running_per_key": (1, INT32_MAX),
    "poll_interval_ms": (1, LONGEST_POLL_MS),
    "claim_batch": (1, INT32_MAX),
}


def set_queue_policy(queue: str, **changes: Unpack[PolicyChanges]) -> Op[QueuePolicy]:
    """Change the policy of a queue and return it.

    None removes a setting; settings that are not given stay.  Workers follow within milliseconds
    of the commit if notifications arrive, otherwise within ten seconds; running attempts keep the
    settings that they began with.  ``rate_limit`` is (jobs a second, burst) for each process, where
    burst 0 means the jobs of a second; ``deadline_seconds`` 0 means no deadline; retention is in
    hours, at most a hundred years.  Limits of running jobs apply to the whole fleet; jobs that wait
    for a callback do not count, and lowering a limit stops no running job.
    Locks the queue's row, which every claim of a limited queue waits for.
    Raises ValidationError.
    """
    name = name_of("queue", queue)
    if not changes:
        raise ValidationError(
            "nothing to change", hint=f"give one of {', '.join(PolicyChanges.__annotations__)}"
        )
    stored: dict[str, Any] = {}
    for key, value in changes.items():
        stored |= _stored(key, value)
    rows = yield sql.policies("set_queue_policy", queue=name, changes=dumps(stored))
    return rows.into(QueuePolicy)[0]


def _stored(key: str, value: object) -> dict[str, Any]:
    """Return the columns of a setting."""
    if key not in PolicyChanges.__annotations__:
        raise unknown_word(f"unknown queue setting {key!r}", key, PolicyChanges.__annotations__)
    if key == "rate_limit":
        return _rate_limit(value)
    if value is not None and key in _COUNTS:
        return {key: number_of(key, value, *_COUNTS[key])}
    if value is None:
        return {key: None}
    number = _real(key, value)
    if key == "deadline_seconds" and number > LONGEST_DEADLINE:
        raise ValidationError(
            f"deadline_seconds must be at most {LONGEST_DEADLINE:.0f}, ten years: {value!r}",
            hint="use 0 for no deadline",
        )
    # Longer is forever too.
    return {key: min(number, LONGEST_RETENTION)}


def _rate_limit(value: object) -> dict[str, Any]:
    if value is None:
        return {"max_rate": None, "burst": None}
    if not isinstance(value, tuple | list) or len(value) != 2:  # noqa: PLR2004 - a pair
        raise ValidationError(f"rate_limit must be a (max_rate, burst) pair: {value!r}")
    rate = _real("rate_limit max_rate", value[0])
    if not rate:
        raise ValidationError("rate_limit max_rate must be more than 0")
    if not RATES[0] <= rate <= RATES[1]:
        raise ValidationError(
            f"rate_limit max_rate must be a number from {RATES[0]:g} to {RATES[1]:g}: {rate!r}",
            hint="use None for no limit",
        )
    burst = number_of("rate_limit burst", value[1], 0, INT32_MAX)
    return {"max_rate": rate, "burst": burst or max(1, min(math.ceil(rate), INT32_MAX))}


def _real(field: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise ValidationError(f"{field} must be a number of at least 0: {value!r}")
    return float(value)
