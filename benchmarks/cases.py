"""The cases of the report: what is measured, of whom, and on which side of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import psycopg

from benchmarks import measures
from benchmarks.between import distant, pooled
from benchmarks.measures import Sizes
from benchmarks.peers import BARE, Peer

NETWORK_SECONDS = 0.02
QUEUES = 200
STATEMENTS, VALUES = BARE
Measure = Callable[[Peer, str, Sizes], dict[str, float]]


@dataclass(frozen=True)
class Case:
    """One thing that is measured."""

    title: str
    what: str
    measure: Measure
    unit: str = "jobs/s"
    figure: str = "jobs_per_second"
    more: bool = True
    environment: dict[str, str] = field(default_factory=dict)
    bare: tuple[str, ...] = ()
    """The bare statements that are run beside."""
    peers: tuple[str, ...] | None = None
    """Whom it is measured of; None for all."""
    reps: int | None = None
    """At most so many repetitions."""
    seconds: Callable[[Sizes], float] = lambda sizes: 6 + sizes.drain_jobs / 12_000
    """About how long a run takes."""
    others: tuple[str, ...] = ()
    """Further figures of its table."""


def two_processes(peer: Peer, url: str, sizes: Sizes) -> dict:
    return measures.drain(peer, url, sizes, workers=2)


def of_handlers(peer: Peer, url: str, sizes: Sizes) -> dict:
    return measures.drain(peer, url, sizes.with_jobs(sizes.handler_jobs))


def behind_network(peer: Peer, url: str, sizes: Sizes) -> dict:
    with distant(url, NETWORK_SECONDS) as there:
        return measures.drain(peer, url, sizes, through=there)


def behind_pooler(peer: Peer, url: str, sizes: Sizes) -> dict:
    with pooled(url) as there:
        return measures.drain(peer, url, sizes, through=there)


def with_old_snapshot(peer: Peer, url: str, sizes: Sizes) -> dict:
    with psycopg.connect(url) as old:
        old.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        old.execute("SELECT count(*) FROM pg_class")
        return measures.drain(peer, url, sizes)


def _producing(sizes: Sizes) -> float:
    return 6


def _longer(sizes: Sizes) -> float:
    return 8 + sizes.drain_jobs / 6_000


def _flow(sizes: Sizes) -> float:
    return 14 + sizes.flow_seconds


MANY = {"BENCH_QUEUES": str(QUEUES)}
# What one drains and the other waits with is ours and the fastest other's.
FEW = ("awa", "pgqueuer")

MAIN = {
    "drain": Case(
        "Drain, one process",
        "A queue of jobs that do nothing, from just before the worker's own start call to the"
        " last commit. The bare statements claim 500 jobs and complete them, on two connections.",
        measures.drain, bare=(STATEMENTS,), others=("worker_rss_mib",),
    ),
    "drain-two": Case(
        "Drain, two processes", "The same with two worker processes that start together.",
        two_processes,
    ),
    "waiting-handlers": Case(
        "Handlers that wait 5 ms", "The same with async handlers that sleep for 5 ms.",
        of_handlers, environment={"BENCH_HANDLER": "waits"},
    ),
    "blocking-handlers": Case(
        "Handlers that block a thread for 5 ms",
        "The same with blocking handlers. A queue that takes only async handlers runs them in a"
        " pool with a thread for each of its concurrent jobs.",
        of_handlers, environment={"BENCH_HANDLER": "blocks"},
    ),
    "steady": Case(
        "Steady load",
        "Completed jobs while a producer on the same processors inserts batches of 500 as fast as"
        " it can.",
        measures.steady, seconds=lambda sizes: 9 + sizes.steady_seconds,
        others=("enqueued_per_second", "backlog"),
    ),
    "latency": Case(
        "Pickup on an idle worker",
        "From just before an enqueue to the start of its handler, 20 ms apart.",
        measures.latency, unit="ms, p50", figure="p50_ms", more=False,
        others=("p95_ms", "p99_ms"), seconds=lambda sizes: 9 + sizes.paced_jobs * 0.025,
    ),
    "single": Case(
        "One job per commit, async", "One producer on an event loop.",
        measures.single, bare=(STATEMENTS, VALUES), seconds=_producing,
    ),
    "single-sync": Case(
        "One job per commit, sync", "One producer without an event loop.",
        measures.single_sync, bare=(STATEMENTS, VALUES), seconds=_producing,
    ),
    "callers": Case(
        "50 concurrent callers",
        "Tasks of one process, each inserting one job at a time, on at most 10 connections. Each"
        " caller goes on when its job is committed.",
        measures.callers, seconds=_producing,
    ),
    "bulk": Case(
        "1,000 jobs per commit",
        "One producer. Only the queues give back the ids; the bare statement is a COPY whose text"
        " is ready.",
        measures.bulk, bare=(STATEMENTS,), seconds=_producing,
    ),
}  # fmt: skip

ADVERSE = {
    "analysed-empty": Case(
        "statistics of empty tables",
        "The jobs are inserted under an idle worker after ANALYZE of empty tables.",
        measures.analysed_empty, seconds=_longer,
    ),
    "stale": Case(
        "stale statistics", "The same with the statistics of a full queue that was then drained.",
        measures.analysed, seconds=lambda sizes: 2 * _longer(sizes),
    ),
    "old-snapshot": Case(
        "an old snapshot", "A drain while an idle transaction holds a snapshot.",
        with_old_snapshot,
    ),
    "pooler": Case(
        "a transaction pooler",
        "A drain through PgBouncer in transaction mode, which keeps no prepared statements.",
        behind_pooler, environment={"BENCH_POOLED": "1"},
    ),
    "network": Case(
        "20 ms of network", "A drain with a round trip of 20 ms.", behind_network,
    ),
    "many-queues": Case(
        f"{QUEUES} queues", f"The jobs of a drain are spread over {QUEUES} queues.",
        measures.drain, environment=MANY,
    ),
    "kinds": Case(
        "two kinds", "The jobs of a drain are of two kinds.", measures.drain,
        environment={"BENCH_KINDS": "2"},
    ),
}  # fmt: skip

LASTING = {
    "pinned": Case(
        "A flow under an old snapshot",
        "A flow in batches while another transaction holds an old snapshot: the pickup and the"
        " server's share of a processor, at the beginning and at the end.",
        measures.pinned, unit="ms, p50 at the end", figure="last_p50_ms", more=False,
        peers=FEW, reps=1, seconds=_flow,
        others=("first_p50_ms", "first_p99_ms", "last_p99_ms", "first_server_cpu",
                "last_server_cpu", "left"),
    ),
    "idle": Case(
        f"{QUEUES} idle queues",
        "A worker of queues without jobs: transactions a second, and the CPU of worker and server"
        " in percent of a core.",
        measures.idle, unit="transactions/s", figure="transactions_per_second", more=False,
        environment=MANY, peers=FEW, others=("percent", "worker_percent", "server_percent"),
        seconds=lambda sizes: 16 + sizes.idle_seconds,
    ),
}  # fmt: skip
CASES = MAIN | ADVERSE | LASTING
