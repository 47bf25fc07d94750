"""The options of ``start()``: checked, and with every default filled in."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypedDict

from awa_lib.heartbeats import heartbeat_options
from awa_lib.retries import check_backoff
from awa_lib.validation import LONGEST_HOURS, LONGEST_SECONDS, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable

    from awa_lib.retries import Backoff

__all__ = [
    "QueueOptions",
    "QueuesArgument",
    "RateLimit",
    "Retention",
    "StartOptions",
    "WorkerOptions",
    "declare_queue",
    "parse_queue",
]

# To mypy a list of tuples and dicts is one of collections.
QueuesArgument = Iterable[Collection[Any]]

_DEFAULT_WORKERS: Final = 10
# The unit that the name of an option ends in, in seconds.
_UNITS: Final = {"_ms": 0.001, "_seconds": 1, "_hours": 3600, "_days": 86_400}
_COUNTS: Final = ("global_max_workers", "claim_batch", "cleanup_batch_size")


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

    @property
    def capacity(self) -> int:
        """Return the limit of slots (hard-reserved mode)."""
        return self.max_workers if self.max_workers is not None else self.min_workers


class StartOptions(TypedDict, total=False):
    """Options of ``start()``; None means the default, which is in ``WorkerOptions``."""

    poll_interval_ms: float | None
    quiet_poll_interval_ms: float | None
    global_max_workers: int | None
    claim_batch: int | None
    heartbeat_interval_ms: float | None
    heartbeat_staleness_ms: float | None
    cancel_grace_ms: float | None
    callback_hold_ms: float | None
    promote_interval_ms: float | None
    heartbeat_rescue_interval_ms: float | None
    deadline_rescue_interval_ms: float | None
    callback_rescue_interval_ms: float | None
    leader_election_interval_ms: float | None
    spans_per_second: float | None
    leads: bool | None
    listens: bool | None
    completed_retention_hours: float | None
    failed_retention_hours: float | None
    descriptor_retention_days: float | None
    audit_retention_days: float | None
    ends_retention_days: float | None
    cleanup_batch_size: int | None


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """The options of a worker process, with their defaults."""

    queues: tuple[QueueOptions, ...]
    poll_interval_ms: float = 200
    """The interval of polling an idle queue when notifications do not arrive."""
    quiet_poll_interval_ms: float = 1_000
    """The same while the listener is known to be alive."""
    global_max_workers: int | None = None
    """The slots of all queues together; turns on weighted mode."""
    claim_batch: int = 500
    """The maximum number of jobs of a claim."""
    heartbeat_interval_ms: float = 3_000
    heartbeat_staleness_ms: float = 10_000
    """The age of its last heartbeat at which a leader takes this worker for dead."""
    undeclared_interval_ms: float = 30_000
    """The interval that a leader takes for that of workers that declare none, as of awa 0.5."""
    undeclared_staleness_ms: float = 90_000
    """Their staleness; ``heartbeat_staleness_ms`` when that is given."""
    cancel_grace_ms: float = 2_000
    """The time an async handler has to end by itself before CancelledError; may be 0."""
    callback_hold_ms: float = 0
    """How long a handler that waits for a callback keeps its slot; 0 for as long as it waits."""
    promote_interval_ms: float = 250
    heartbeat_rescue_interval_ms: float = 2_000
    deadline_rescue_interval_ms: float = 30_000
    callback_rescue_interval_ms: float = 30_000
    leader_election_interval_ms: float = 3_000
    spans_per_second: float = 500
    """The attempts per second with an OpenTelemetry span of their own; failures always have one."""
    leads: bool = True
    """Whether this process may become the leader, which maintains the whole fleet."""
    listens: bool = True
    """Whether this process listens for notifications; without them it polls."""
    completed_retention_hours: float = 24
    failed_retention_hours: float = 72
    descriptor_retention_days: float = 30
    audit_retention_days: float = 365
    """How long the audit log is kept: at least 90 days, or 0 for ever."""
    ends_retention_days: float = 30
    """How long counts of ends and failures are kept: at least 2 days."""
    cleanup_batch_size: int = 1_000

    @classmethod
    def build(
        cls,
        queues: QueuesArgument | None,
        used: Iterable[str],
        *,
        declared: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
        partial: bool = False,
        **options: Any,
    ) -> WorkerOptions:
        """Check and resolve the arguments of ``start()``.

        ``declared`` are the options of ``AsyncClient.queue`` by name, and ``used`` the queues of
        the registered handlers.  When ``queues`` is None both are worked, those that are not
        declared with 10 slots.  Otherwise an entry adds its options to the declared ones of its
        queue, and the used queues must be in it unless ``partial``.  An option that is None keeps
        its default.  Raises ValueError or TypeError as awa 0.5 does; the error for an unknown key
        names the nearest valid key.
        """
        for key in options:
            if key not in StartOptions.__annotations__:
                raise ValueError(_unknown("start() option", key, StartOptions.__annotations__))
        given = {key: value for key, value in options.items() if value is not None}
        _check_options(given)
        given = {key: _clamped(key, value) for key, value in given.items()}
        given |= heartbeat_options(given, {one.name: one.default for one in fields(cls)})
        weighted = given.get("global_max_workers") is not None
        if queues is None:
            if weighted and not declared:
                raise ValueError(
                    "weighted mode requires explicit queue configs "
                    "(global_max_workers set but queues=None)"
                )
            default = {} if weighted else {"max_workers": _DEFAULT_WORKERS}
            names = dict.fromkeys((*declared, *used))
            queues = [{"name": name, **({} if name in declared else default)} for name in names]
        if isinstance(queues, str | bytes | Mapping) or not isinstance(queues, Iterable):
            raise TypeError(f"queues must be a list of tuples and dicts, got {queues!r}")
        parsed = tuple(
            parse_queue(_completed(item, declared, weighted=weighted), weighted=weighted)
            for item in queues
        )
        _check_queues(parsed, () if partial else tuple(used), given.get("global_max_workers"))
        return cls(queues=parsed, **given)


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


def _completed(item: Any, declared: Mapping[str, Mapping[str, Any]], *, weighted: bool) -> Any:
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


def _unknown(what: str, key: str, known: Iterable[str]) -> str:
    hint = did_you_mean(key, known) or f"valid: {', '.join(sorted(known))}"
    return f"unknown {what} {key!r}; {hint}"


def _check_options(given: Mapping[str, Any]) -> None:
    for key, value in given.items():
        if key in ("leads", "listens"):
            if not isinstance(value, bool):
                raise ValueError(f"{key} must be True or False, got {value!r}")
            continue
        number = isinstance(value, int | float) and not isinstance(value, bool)
        # Compared, not converted: an int may be beyond every float.
        if not number or not -math.inf < value < math.inf:
            raise ValueError(f"{key} must be a number, got {value!r}")
        if key in _COUNTS and not isinstance(value, int):
            raise ValueError(f"{key} must be a whole number, got {value!r}")
        if value < 0 or (
            value == 0 and not key.endswith(("_hours", "_days", "_grace_ms", "_hold_ms"))
        ):
            raise ValueError(f"{key} must be > 0, got {value!r}")


def _clamped(key: str, value: Any) -> Any:
    """Return a length of time of at most a hundred years."""
    unit = next((unit for end, unit in _UNITS.items() if key.endswith(end)), None)
    return value if unit is None else min(value, LONGEST_SECONDS / unit)


def _check_queues(
    queues: tuple[QueueOptions, ...], declared: tuple[str, ...], total: int | None
) -> None:
    names = [queue.name for queue in queues]
    missing = [name for name in dict.fromkeys(declared) if name not in names]
    if missing:
        raise ValueError(
            "start() must configure the worker queues declared via @client.task(..., queue=...): "
            + ", ".join(missing)
        )
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ValueError(f"queue {min(twice)!r} is configured twice")
    if total is not None and (reserved := sum(queue.min_workers for queue in queues)) > total:
        raise ValueError(f"sum of min_workers ({reserved}) exceeds global_max_workers ({total})")


def parse_queue(item: object, *, weighted: bool) -> QueueOptions:
    """Read one entry of ``queues``: a (name, max_workers) tuple or a mapping."""
    if isinstance(item, tuple):
        return _pair(item, weighted=weighted)
    if not isinstance(item, Mapping):
        raise TypeError(f"queue config must be a tuple or a dict, got {type(item).__name__}")
    known = {f.name for f in fields(QueueOptions)}
    for key in item:
        if key not in known:
            raise ValueError(_unknown("queue config key", str(key), known))
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
        dead_letters=_flag("dead_letters", item.get("dead_letters")),
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


def _flag(name: str, value: object) -> bool | None:
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
            raise ValueError(_unknown("retention key", str(key), known))
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
