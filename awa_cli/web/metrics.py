"""Metrics in the Prometheus text format, read from the database.

Names and labels equal those of the workers' OpenTelemetry metrics where the meaning is the same.
Histograms and rates cover the last five minutes instead of the time since a process started, so
that several servers give the same answer.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from awa_cli.version import version
from awa_lib.errors import AwaError
from awa_lib.ops.schema import read_schema
from awa_lib.reads.cron import list_cron_jobs
from awa_lib.reads.dead_letters import dlq_depth_by_queue
from awa_lib.reads.metrics import (
    BOUNDS,
    Durations,
    database_health,
    recent_ends,
    table_health,
    workflow_counts,
)
from awa_lib.reads.overviews import declared_kinds, list_queues
from awa_lib.reads.runtime import queue_runtimes, runtime_overview
from awa_lib.states import COUNTED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from awa_cli.web.state import State
    from awa_lib._sql import Op
    from awa_lib.reads.overviews import DeclaredKind, QueueOverview

__all__ = ["CONTENT_TYPE", "Exposition", "exposition"]

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_QUEUE: Final = "awa_job_queue"


class Exposition:
    """Collects samples, and writes them grouped by metric."""

    def __init__(self) -> None:
        self._lines: dict[str, list[str]] = {}

    def declare(self, name: str, kind: str, text: str) -> Callable[..., None]:
        """Declare a metric; return a function that adds a sample."""
        lines = self._lines.setdefault(name, [f"# HELP {name} {text}", f"# TYPE {name} {kind}"])

        def add(value: float, /, suffix: str = "", **labels: object) -> None:
            inner = ",".join(f'{key}="{_escaped(one)}"' for key, one in labels.items())
            braces = f"{{{inner}}}" if inner else ""
            lines.append(f"{name}{suffix}{braces} {_number(value)}")

        return add

    def gauge(self, name: str, text: str) -> Callable[..., None]:
        """Declare a gauge."""
        return self.declare(name, "gauge", text)

    def text(self) -> str:
        """Return the text of all metrics."""
        return "\n".join(line for lines in self._lines.values() for line in lines) + "\n"


def _escaped(value: object) -> str:
    return str(value).replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _number(value: float) -> str:
    return str(int(value)) if isinstance(value, bool | int) else repr(float(value))


async def exposition(state: State) -> str:
    """Return all metrics; with an unreachable database only ``awa_up 0`` and a few more."""
    out = Exposition()
    began = time.perf_counter()
    up = True
    try:
        await state.run(_read(out))
    except AwaError:
        up = False
    out.gauge("awa_up", "Whether the database answered.")(up)
    seconds = time.perf_counter() - began
    out.gauge("awa_scrape_duration_seconds", "Time to read these metrics.")(seconds)
    out.gauge("awa_build_info", "The version of this server.")(1, version=version())
    return out.text()


def _read(out: Exposition) -> Op[None]:
    _queues(out, (yield from list_queues()))
    _kinds(out, (yield from declared_kinds()))
    yield from _ends(out)
    yield from _fleet(out)
    yield from _schedules(out)
    dead_letters = out.gauge("awa_dead_letters", "Dead letters of a queue.")
    for queue, depth in (yield from dlq_depth_by_queue()).items():
        dead_letters(depth, awa_job_queue=queue)
    yield from _workflows(out)
    yield from _database(out)


def _queues(out: Exposition, queues: list[QueueOverview]) -> None:
    depth = out.gauge("awa_queue_depth", "Jobs of a queue in a state.")
    lag = out.gauge("awa_queue_lag_seconds", "Age of the oldest job that could run, or 0.")
    paused = out.gauge("awa_queue_paused", "Whether a queue is paused.")
    info = out.gauge("awa_queue_info", "What workers declare about a queue.")
    for one in queues:
        label = {_QUEUE: one.queue}
        for job_state in COUNTED:
            depth(getattr(one, job_state), **label, awa_job_state=job_state)
        lag(one.lag_seconds or 0.0, **label)
        paused(one.paused, **label)
        info(1, **label, **_declared("awa_queue_", one))


def _kinds(out: Exposition, kinds: list[DeclaredKind]) -> None:
    info = out.gauge("awa_job_kind_info", "What workers declare about a kind.")
    drift = out.gauge("awa_job_kind_drift", "Whether workers declare a kind in different ways.")
    for one in kinds:
        info(1, awa_job_kind=one.kind, **_declared("awa_job_kind_", one))
        drift(one.descriptor_mismatch, awa_job_kind=one.kind)


def _declared(prefix: str, one: Any) -> dict[str, str]:
    found = {name: getattr(one, name) for name in ("display_name", "description", "owner")}
    found |= {"docs_url": one.docs_url, "tags": ",".join(one.tags)}
    return {prefix + name: value for name, value in found.items() if value}


def _ends(out: Exposition) -> Op[None]:
    ended = yield from recent_ends()
    rate = out.gauge(
        "awa_job_ended_per_second",
        "Jobs a second that ended in a state, over the last 5 minutes.",
    )
    for one in ended.rates:
        rate(
            one.per_second,
            awa_job_queue=one.queue,
            awa_job_kind=one.kind,
            awa_job_state=one.state,
        )
    retried = out.gauge(
        "awa_job_retried_per_second",
        "Attempts a second that failed and are tried again, over the last 5 minutes.",
    )
    for one in ended.retried:
        retried(one.per_second, awa_job_queue=one.queue, awa_job_kind=one.kind)
    _histogram(
        out,
        "awa_job_recent_wait_seconds",
        "Time from due to start, of recently completed jobs.",
        ended.waited.items(),
    )
    _histogram(
        out,
        "awa_job_recent_run_seconds",
        "Time from start to end, of recently completed jobs.",
        ended.ran.items(),
    )


def _histogram(
    out: Exposition, name: str, text: str, found: Iterable[tuple[str, Durations]]
) -> None:
    add = out.declare(name, "histogram", text)
    for queue, durations in found:
        total = 0
        for bound, count in zip([*BOUNDS, None], durations.counts, strict=True):
            total += count
            end = "+Inf" if bound is None else f"{bound:g}"
            add(total, "_bucket", awa_job_queue=queue, le=end)
        add(durations.total, "_sum", awa_job_queue=queue)
        add(total, "_count", awa_job_queue=queue)


def _fleet(out: Exposition) -> Op[None]:
    fleet = yield from runtime_overview()
    instances = out.gauge(
        "awa_runtime_instances",
        "Worker processes of the last day: live, stale, healthy, leader.",
    )
    for role in ("live", "stale", "healthy", "leader"):
        instances(getattr(fleet, f"{role}_instances"), awa_runtime_role=role)
    in_flight = out.gauge("awa_runtime_in_flight", "Jobs of a queue that live workers run.")
    workers = out.gauge("awa_runtime_workers", "Live worker processes of a queue.")
    mismatch = out.gauge(
        "awa_runtime_config_mismatch", "Whether its workers have different settings."
    )
    for one in (yield from queue_runtimes()):
        in_flight(one.total_in_flight, awa_job_queue=one.queue)
        workers(one.live_instances, awa_job_queue=one.queue)
        mismatch(one.config_mismatch, awa_job_queue=one.queue)


def _schedules(out: Exposition) -> Op[None]:
    last = out.gauge("awa_cron_last_fire_timestamp_seconds", "The last fire that enqueued a job.")
    following = out.gauge("awa_cron_next_fire_timestamp_seconds", "The next fire.")
    paused = out.gauge("awa_cron_paused", "Whether a schedule is paused.")
    for one in (yield from list_cron_jobs()):
        if one.last_enqueued_at is not None:
            last(one.last_enqueued_at.timestamp(), awa_cron_name=one.name)
        if one.next_fire_at is not None:
            following(one.next_fire_at.timestamp(), awa_cron_name=one.name)
        paused(one.paused_at is not None, awa_cron_name=one.name)


def _workflows(out: Exposition) -> Op[None]:
    found = yield from workflow_counts()
    out.gauge("awa_workflow_open", "Open workflows, at most 10,000.")(found.open)
    tasks = out.gauge("awa_workflow_tasks", "Tasks of open workflows in a state.")
    for state, count in found.tasks.items():
        tasks(count, awa_workflow_task_state=state)
    ended = out.gauge(
        "awa_workflow_ended_per_second",
        "Workflows a second that ended in a state, over the last 5 minutes.",
    )
    for state, rate in found.ended.items():
        ended(rate, awa_workflow_state=state)
    out.gauge(
        "awa_workflow_tasks_skipped_per_second",
        "Skipped tasks a second of workflows that ended, over the last 5 minutes.",
    )(found.skipped_per_second)


def _database(out: Exposition) -> Op[None]:
    status = yield from read_schema()
    out.gauge("awa_schema_pending_migrations", "Migrations that are not applied.")(
        len(status.pending)
    )
    server = yield from database_health()
    out.gauge("awa_database_size_bytes", "Size of the database.")(server.size_bytes)
    out.gauge("awa_database_connections", "Connections to the database.")(server.connections)
    out.gauge("awa_database_max_connections", "Connections the server allows.")(
        server.max_connections
    )
    out.gauge("awa_database_standby", "Whether the server is a standby.")(server.standby)
    out.gauge(
        "awa_database_oldest_transaction_seconds", "Age of the oldest transaction with a snapshot."
    )(server.oldest_transaction_seconds)
    live = out.gauge("awa_table_live_rows", "Rows of a table, as estimated by the server.")
    dead = out.gauge("awa_table_dead_rows", "Dead rows of a table that vacuum has not removed.")
    size = out.gauge("awa_table_size_bytes", "Size of a table with its indexes.")
    for one in (yield from table_health()):
        live(one.live_rows, awa_table=one.name)
        dead(one.dead_rows, awa_table=one.name)
        size(one.size_bytes, awa_table=one.name)
