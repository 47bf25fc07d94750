"""The options of queues: checked, and with every default filled in."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from awa_lib.retries import check_backoff
from awa_lib.validation import LONGEST_HOURS, LONGEST_SECONDS, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable

    from awa_lib.retries import Backoff

__all__ = [
    "QueueOptions",
    "RateLimit",
    "Retention",
    "check_flag",
    "declare_queue",
    "parse_queue",
    "unknown_key",
    "with_declared",
]


@dataclass(frozen=True, slots=True)
class RateLimit:
    """The token bucket of a queue in one process; starts full."""

    max_rate: float
    """Jobs per second."""
    burst: int
    """The size of the bucket; 0 means ceil(max_rate), at least 1."""


@dataclass(frozen=True, slots=True)
class Retention:
    """How long ended jobs are kept, in hours, at most a hundred years.

    None means the value of the process.
    """

    completed_hours: float | None = None
    failed_hours: float | None = None


@dataclass(frozen=True, slots=True)
class QueueOptions:
    """A queue that this process works."""

    name: str
    max_workers: int | None = None
    """The slots of this queue; None only in weighted mode."""
    min_workers: int = 0
    """The guaranteed slots in weighted mode."""
    weight: int = 1
    """The share of the other slots in weighted mode."""
    rate_limit: RateLimit | None = None
    retention: Retention | None = None
    deadline_seconds: float | None = 300.0
    """The longest run of an attempt; None for no limit."""
    backoff: Backoff | Callable[[int, BaseException], float] | None = None
    """The delay of a retry, for kinds without their own; None is the backoff of awa 0.5."""
    dead_letters: bool | None = None
    """Whether failed jobs become dead letters, set at start; None leaves the setting as it is."""

    capture_logs: bool = False
    """Whether what its jobs log is kept, for kinds that do not say it themselves."""

    @property
    def capacity(self) -> int:
        """Return the limit of slots (hard-reserved mode)."""
        return self.max_workers if self.max_workers is not None else self.min_workers


def declare_queue(name: str, concurrency: int, **options: Any) -> dict[str, Any]:
    """Return the checked options of ``AsyncClient.queue``, under the names of a queue's dict.

    Raises ValueError or TypeError.
    """
    _count("concurrency", concurrency, 1)
    own = {"name": name, "max_workers": concurrency, **options}
    for weighted in (False, True):
        parse_queue(_of_mode(own, weighted=weighted), weighted=weighted)
    return own


def _of_mode(own: Mapping[str, Any], *, weighted: bool) -> dict[str, Any]:
    """Return the options without those of the other mode, which must not be given there."""
    others = ("max_workers",) if weighted else ("min_workers", "weight")
    return {key: value for key, value in own.items() if key not in others}


def with_declared(item: Any, declared: Mapping[str, Mapping[str, Any]], *, weighted: bool) -> Any:
    """Add to an entry of ``queues`` what is declared of its queue and not given in it."""
    given: Mapping[str, Any]
    if isinstance(item, tuple) and len(item) == 2 and not weighted:  # noqa: PLR2004 - a pair
        name, given = item[0], {"max_workers": item[1]}
    elif isinstance(item, Mapping):
        name, given = item.get("name"), item
    else:
        return item
    if not isinstance(name, str) or name not in declared:
        return item
    return {**_of_mode(declared[name], weighted=weighted), **given}


def unknown_key(what: str, key: str, known: Iterable[str]) -> str:
    """Return the message for an unknown key, with the nearest known one."""
    hint = did_you_mean(key, known) or f"valid: {', '.join(sorted(known))}"
    return f"unknown {what} {key!r}; {hint}"


def parse_queue(item: object, *, weighted: bool) -> QueueOptions:
    """Read one entry of ``queues``: a (name, max_workers) tuple or a mapping."""
    if isinstance(item, tuple):
        return _pair(item, weighted=weighted)
    if not isinstance(item, Mapping):
        raise TypeError(f"queue config must be a tuple or a dict, got {type(item).__name__}")
    known = {f.name for f in fields(QueueOptions)}
    for key in item:
        if key not in known:
            raise ValueError(unknown_key("queue config key", str(key), known))
    if "name" not in item:
        raise ValueError("queue config dict must have 'name' key")
    if item.get("max_workers") is not None and item.get("min_workers") is not None:
        raise ValueError("max_workers and min_workers cannot be used together")
    if not weighted and item.get("max_workers") is None:
        raise ValueError("max_workers required in hard-reserved mode (no global_max_workers set)")
    weight = item.get("weight", 1)
    if weight is not None and _count("weight", weight, None) <= 0:
        raise ValueError("weight must be > 0")
    return QueueOptions(
        name=_name(item["name"]),
        max_workers=None if weighted else _count("max_workers", item["max_workers"], 1),
        min_workers=_count("min_workers", item.get("min_workers") or 0, 0),
        weight=weight or 1,
        rate_limit=_rate_limit(item.get("rate_limit")),
        retention=_retention(item.get("retention")),
        deadline_seconds=_deadline(item.get("deadline_seconds", 300.0)),
        backoff=check_backoff(item.get("backoff")),
        dead_letters=check_flag("dead_letters", item.get("dead_letters")),
        capture_logs=check_flag("capture_logs", item.get("capture_logs")) or False,
    )


def _pair(item: tuple[str, int], *, weighted: bool) -> QueueOptions:
    if weighted:
        raise ValueError(
            "tuple queue config is not supported with global_max_workers; "
            "use dict form with min_workers/weight"
        )
    if len(item) != 2:  # noqa: PLR2004 - a pair
        raise ValueError(f"a queue's tuple must be (name, max_workers), got {item!r}")
    name, workers = item
    return QueueOptions(name=_name(name), max_workers=_count("max_workers", workers, 1))


def _name(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"queue name must be a string, got {value!r}")
    if not value or len(value) > 200:  # noqa: PLR2004 - the column's CHECK
        raise ValueError(f"queue name must have 1 to 200 characters, got {value!r}")
    return value


def _count(name: str, value: object, least: int | None) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    if least is not None and value < least:
        raise ValueError(f"{name} must be >= {least}, got {value}")
    return value


def check_flag(name: str, value: object) -> bool | None:
    """Return True, False or None.  Raises TypeError."""
    if value is not None and not isinstance(value, bool):
        raise TypeError(f"{name} must be True, False or None, got {value!r}")
    return value


def _rate_limit(value: object) -> RateLimit | None:
    if value is None:
        return None
    if not isinstance(value, tuple | list) or len(value) != 2:  # noqa: PLR2004 - a pair
        raise TypeError("rate_limit must be a (max_rate, burst) tuple")
    rate, burst = value[0], _count("burst", value[1], 0)
    if isinstance(rate, bool) or not isinstance(rate, int | float):
        raise TypeError(f"rate_limit max_rate must be a number, got {rate!r}")
    if not rate > 0 or not math.isfinite(rate):
        raise ValueError("rate_limit max_rate must be > 0.0")
    return RateLimit(float(rate), burst or max(1, math.ceil(rate)))


def _retention(value: object) -> Retention | None:
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise TypeError("retention must be a dict with completed_hours and failed_hours")
    known = {f.name for f in fields(Retention)}
    for key, hours in value.items():
        if key not in known:
            raise ValueError(unknown_key("retention key", str(key), known))
        number = isinstance(hours, int | float) and not isinstance(hours, bool)
        if hours is not None and not (number and 0 <= hours < math.inf):
            raise ValueError(f"retention {key} must be >= 0, got {hours!r}")
    capped = {key: hours and min(hours, LONGEST_HOURS) for key, hours in value.items()}
    return Retention(**capped)


def _deadline(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ValueError(f"deadline_seconds must be > 0 or None, got {value!r}")
    return min(float(value), LONGEST_SECONDS)
