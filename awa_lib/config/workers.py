"""The options of ``start()``: checked, and with every default filled in."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any, Final, TypedDict

from awa_lib.config.heartbeats import heartbeat_options
from awa_lib.config.queues import QueueOptions, parse_queue, unknown_key, with_declared
from awa_lib.validation import LONGEST_SECONDS

__all__ = ["QueuesArgument", "StartOptions", "WorkerOptions"]

# To mypy a list of tuples and dicts is one of collections.
QueuesArgument = Iterable[Collection[Any]]


_DEFAULT_WORKERS: Final = 10


# The unit that the name of an option ends in, in seconds.
_UNITS: Final = {"_ms": 0.001, "_seconds": 1, "_hours": 3600, "_days": 86_400}


_COUNTS: Final = ("global_max_workers", "claim_batch", "cleanup_batch_size")


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
                raise ValueError(unknown_key("start() option", key, StartOptions.__annotations__))
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
            parse_queue(with_declared(item, declared, weighted=weighted), weighted=weighted)
            for item in queues
        )
        _check_queues(parsed, () if partial else tuple(used), given.get("global_max_workers"))
        return cls(queues=parsed, **given)


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
