"""What a worker logs about itself when it starts and stops."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from awa_lib.db.urls import label_of
from awa_lib.logs import Logger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from awa_lib.config.queues import QueueOptions
    from awa_lib.config.workers import WorkerOptions
    from awa_lib.runtime.context import Attempt
    from awa_lib.runtime.handlers import Handlers

__all__ = ["log_start", "log_stop"]

logger = Logger(__name__)

_MOST_KINDS: Final = 20


def log_start(dsn: str, options: WorkerOptions, handlers: Handlers) -> None:
    """Log the database without its password, each queue with its settings, and the kinds."""
    database = {"database": label_of(dsn)}
    logger.info("worker started on %(database)s", database, extra=database)
    kinds: dict[str, list[str]] = {}
    for kind, handler in sorted(handlers.items()):
        kinds.setdefault(handler.queue, []).append(kind)
    for queue in options.queues:
        _log_queue(queue, kinds.pop(queue.name, []), options.global_max_workers)
    for name, left in kinds.items():
        logger.info(
            "queue %(queue)s is not worked here; kinds: %(text)s",
            {"queue": name, "text": _listed(left), "kinds": left},
            extra={"queue": name, "kinds": left},
        )


def _log_queue(queue: QueueOptions, kinds: list[str], total: int | None) -> None:
    slots = f"{queue.capacity} slots"
    if total is not None:
        slots = f"{queue.min_workers} slots, weight {queue.weight} of {total} slots in all"
    parts = [slots]
    if queue.rate_limit is not None:
        parts.append(f"at most {queue.rate_limit.max_rate:g} jobs/s")
    seconds = queue.deadline_seconds
    parts.append("no deadline" if seconds is None else f"deadline {seconds:g} s")
    parts.append(f"kinds: {_listed(kinds)}")
    fields = {
        "queue": queue.name,
        "slots": queue.capacity,
        "jobs_per_second": queue.rate_limit and queue.rate_limit.max_rate,
        "deadline_seconds": seconds,
        "kinds": kinds,
    }
    logger.info("queue %(queue)s: %(text)s", {**fields, "text": "; ".join(parts)}, extra=fields)


def _listed(kinds: list[str]) -> str:
    text = ", ".join(kinds[:_MOST_KINDS]) or "none declared for it"
    left = len(kinds) - _MOST_KINDS
    return f"{text} and {left} more" if left > 0 else text


def log_stop(handed_back: int, left: Sequence[Attempt]) -> None:
    """Log how many jobs were handed back, and the jobs of handlers that did not end."""
    told: dict[str, Any] = {"handed_back": handed_back}
    extra = told | ({"abandoned": [attempt.job.id for attempt in left]} if left else {})
    logger.info("worker stopped; jobs handed back: %(handed_back)d", told, extra=extra)
