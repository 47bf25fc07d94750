"""OpenTelemetry metrics under the names of awa 0.5; traces are in ``tracing``.

Nothing is imported until the application has loaded OpenTelemetry; before that, a call here only
checks ``sys.modules``.  A measurement takes the SDK 5 to 15 µs, up to half of the worker's own time
for a job.  So counters are added once per batch, and durations are recorded up to a limit per
second, and above it for an even sample of each batch.
"""

from __future__ import annotations

import sys
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Protocol

from awa_lib.states import COUNTED
from awa_lib.telemetry.tracing import Allowance

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from awa_lib.telemetry.tracing import Attempt

__all__ = [
    "claimed",
    "described",
    "dropped",
    "ended",
    "heartbeat",
    "inserted",
    "measuring",
    "promoted",
    "rescued",
    "workflows",
]

_NAME: Final = "awa"
# Its place in a claimed row.
_CREATED_AT: Final = -3
_SAMPLES_PER_SECOND: Final = 500
_KIND: Final = "awa.job.kind"
_QUEUE: Final = "awa.job.queue"
_STATE: Final = "awa.job.state"
_TASK_STATE: Final = "awa.workflow.task_state"
_COUNTERS: Final = {
    "awa.job.inserted": "{job}",
    "awa.job.claimed": "{job}",
    "awa.job.completed": "{job}",
    "awa.job.failed": "{job}",
    "awa.job.retried": "{job}",
    "awa.job.cancelled": "{job}",
    "awa.job.waiting_external": "{job}",
    "awa.dispatch.claim_batches": "{batch}",
    "awa.completion.flushes": "{batch}",
    "awa.maintenance.promote_batches": "{batch}",
    "awa.maintenance.rescues": "{job}",
    "awa.heartbeat.batches": "{batch}",
}
_HISTOGRAMS: Final = {
    "awa.job.duration": "s",
    "awa.job.wait_duration": "s",
    "awa.dispatch.claim_batch_size": "{job}",
    "awa.dispatch.claim_duration": "s",
    "awa.completion.flush_batch_size": "{job}",
    "awa.completion.flush_duration": "s",
    "awa.maintenance.promote_batch_size": "{job}",
    "awa.maintenance.promote_duration": "s",
}
_GAUGES: Final = {
    "awa.queue.depth": "{job}",
    "awa.queue.lag": "s",
    "awa.queue.info": "{queue}",
    "awa.job_kind.info": "{kind}",
    "awa.workflow.open": "{workflow}",
    "awa.workflow.tasks": "{task}",
}
# The counter of each target state of an attempt; other targets have none.
_ENDS: Final = {
    "failed": "awa.job.failed",
    "retryable": "awa.job.retried",
    "cancelled": "awa.job.cancelled",
    "waiting_external": "awa.job.waiting_external",
}
_SHARD: Final = {"awa.completion.shard": 0}


class _Instruments:
    """The instruments, by the names of awa 0.5."""

    def __init__(self) -> None:
        from opentelemetry import metrics

        meter = metrics.get_meter(_NAME)
        self.waits = Allowance(_SAMPLES_PER_SECOND)
        self.durations = Allowance(_SAMPLES_PER_SECOND)
        self.by_name: dict[str, Any] = {
            **{name: meter.create_counter(name, unit) for name, unit in _COUNTERS.items()},
            **{name: meter.create_histogram(name, unit) for name, unit in _HISTOGRAMS.items()},
            **{name: meter.create_gauge(name, unit) for name, unit in _GAUGES.items()},
            "awa.job.in_flight": meter.create_up_down_counter("awa.job.in_flight", "{job}"),
        }

    def add(self, name: str, count: int, attributes: dict[str, Any] | None = None) -> None:
        self.by_name[name].add(count, attributes)

    def record(self, name: str, value: float, attributes: dict[str, Any] | None = None) -> None:
        self.by_name[name].record(value, attributes)

    def gauge(self, name: str, value: float, attributes: dict[str, Any]) -> None:
        self.by_name[name].set(value, attributes)


_made: _Instruments | None = None


def _instruments() -> _Instruments | None:
    global _made  # noqa: PLW0603 - made once, after the application loads OpenTelemetry
    if _made is None and "opentelemetry.metrics" in sys.modules:
        _made = _Instruments()
    return _made


class End(Protocol):
    """What is counted of an attempt that did not complete."""

    @property
    def target(self) -> str:
        """The state that the job gets."""
        ...

    @property
    def terminal(self) -> bool:
        """True when attempts were left."""
        ...


class Described(Protocol):
    """The descriptor of a queue or a kind."""

    @property
    def docs_url(self) -> str | None: ...
    @property
    def tags(self) -> Sequence[str]: ...


class Queue(Described, Protocol):
    """A queue with a count for each state."""

    @property
    def queue(self) -> str: ...
    @property
    def lag_seconds(self) -> float | None: ...


class Kind(Described, Protocol):
    """A kind."""

    @property
    def kind(self) -> str: ...


def measuring() -> bool:
    """Return True once the application has loaded the metrics of OpenTelemetry."""
    return _instruments() is not None


def inserted(jobs: Iterable[tuple[str, str]]) -> None:
    """Count inserted jobs by kind and queue; the caller's transaction may still be rolled back.

    ``jobs`` is not read without metrics.
    """
    if (made := _instruments()) is None:
        return
    for (kind, queue), count in Counter(jobs).items():
        made.add("awa.job.inserted", count, {_KIND: kind, _QUEUE: queue})


def claimed(queue: str, rows: Sequence[tuple[Any, ...]], seconds: float) -> None:
    """Record a claim, also if it is empty."""
    if (made := _instruments()) is None:
        return
    labels = {_QUEUE: queue}
    made.add("awa.dispatch.claim_batches", 1, labels)
    made.record("awa.dispatch.claim_batch_size", len(rows), labels)
    made.record("awa.dispatch.claim_duration", seconds, labels)
    if not rows:
        return
    made.add("awa.job.claimed", len(rows), labels)
    made.add("awa.job.in_flight", len(rows), labels)
    now, column = datetime.now(UTC), _CREATED_AT
    for row in _sample(rows, made.waits):
        waited = (now - datetime.fromisoformat(row[column])).total_seconds()
        made.record("awa.job.wait_duration", max(0.0, waited), labels)


def ended(ends: Sequence[tuple[Attempt, End | None]], seconds: float) -> None:
    """Record a flush of ended attempts."""
    if (made := _instruments()) is None:
        return
    made.add("awa.completion.flushes", 1, _SHARD)
    made.record("awa.completion.flush_batch_size", len(ends), _SHARD)
    made.record("awa.completion.flush_duration", seconds, _SHARD)
    counts: Counter[tuple[str, str, str, bool]] = Counter()
    completed: list[Attempt] = []
    for attempt, outcome in ends:
        job = attempt.job
        if outcome is None:
            completed.append(attempt)
            counts["awa.job.completed", job.kind, job.queue, False] += 1
        elif name := _ENDS.get(outcome.target):
            counts[name, job.kind, job.queue, outcome.terminal] += 1
    for (name, kind, queue, terminal), count in counts.items():
        labels: dict[str, Any] = {_KIND: kind, _QUEUE: queue}
        if name == "awa.job.failed":
            labels["awa.job.terminal"] = terminal
        made.add(name, count, labels)
    for queue, count in Counter(attempt.job.queue for attempt, _ in ends).items():
        made.add("awa.job.in_flight", -count, {_QUEUE: queue})
    for attempt in _sample(completed, made.durations):
        labels = {_KIND: attempt.job.kind, _QUEUE: attempt.job.queue}
        made.record("awa.job.duration", attempt.ran, labels)


def dropped(queue: str) -> None:
    """Count an attempt as ended that no longer owns its job."""
    if (made := _instruments()) is not None:
        made.add("awa.job.in_flight", -1, {_QUEUE: queue})


def promoted(state: str, count: int, seconds: float) -> None:
    """Record a batch of due jobs that became available."""
    if count and (made := _instruments()) is not None:
        labels = {_STATE: state}
        made.add("awa.maintenance.promote_batches", 1, labels)
        made.record("awa.maintenance.promote_batch_size", count, labels)
        made.record("awa.maintenance.promote_duration", seconds, labels)


def rescued(why: str, count: int) -> None:
    """Count rescued jobs; ``why`` is heartbeat, deadline or callback_timeout."""
    if count and (made := _instruments()) is not None:
        made.add("awa.maintenance.rescues", count, {"awa.rescue.kind": why})


def heartbeat() -> None:
    """Count a renewal of leases."""
    if (made := _instruments()) is not None:
        made.add("awa.heartbeat.batches", 1)


def described(queues: Iterable[Queue], kinds: Iterable[Kind]) -> None:
    """Set the gauges of queues and kinds."""
    if (made := _instruments()) is None:
        return
    for queue in queues:
        for state in COUNTED:
            depth = getattr(queue, state)
            made.gauge("awa.queue.depth", depth, {_QUEUE: queue.queue, _STATE: state})
        made.gauge("awa.queue.lag", queue.lag_seconds or 0.0, {_QUEUE: queue.queue})
        made.gauge("awa.queue.info", 1, {_QUEUE: queue.queue, **_info("awa.queue.", queue)})
    for kind in kinds:
        made.gauge("awa.job_kind.info", 1, {_KIND: kind.kind, **_info("awa.job_kind.", kind)})


def workflows(still_open: int, tasks: Mapping[str, int]) -> None:
    """Set the gauges of open workflows and of their tasks by state."""
    if (made := _instruments()) is None:
        return
    made.gauge("awa.workflow.open", still_open, {})
    for state, count in tasks.items():
        made.gauge("awa.workflow.tasks", count, {_TASK_STATE: state})


def _info(prefix: str, one: Described) -> dict[str, str]:
    found = {name: getattr(one, name) for name in ("display_name", "description", "owner")}
    found |= {"docs_url": one.docs_url, "tags": ",".join(one.tags)}
    return {prefix + name: value for name, value in found.items() if value}


def _sample(batch: Sequence[Any], allowance: Allowance) -> Sequence[Any]:
    granted = allowance.take(len(batch))
    return batch[:: -(-len(batch) // granted)] if granted else ()
