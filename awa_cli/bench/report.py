"""The results of a measurement."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BenchReport", "Latency", "Machine", "Plan", "Rate"]


@dataclass(frozen=True, slots=True)
class Plan:
    """The parameters of a run."""

    database: str
    jobs: int
    duration_seconds: float
    processes: int
    concurrency: int
    """Concurrent jobs per process."""


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine of producer and workers; the server may run on another."""

    cpus: int
    memory_bytes: int
    system: str
    python: str
    awa: str
    psycopg: str
    uvloop: bool


@dataclass(frozen=True, slots=True)
class Rate:
    """A number of jobs in a number of seconds."""

    jobs: int
    seconds: float
    jobs_per_second: float


@dataclass(frozen=True, slots=True)
class Latency:
    """Percentiles in milliseconds."""

    samples: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float


@dataclass(frozen=True, slots=True)
class BenchReport:
    """The results of a run and its environment."""

    plan: Plan
    machine: Machine
    server: dict[str, str | None]
    """Version and settings of the server; None for a setting it does not have."""
    round_trip: Latency
    """Of the simplest statement, on the connection of the producer."""
    enqueue_single: Rate
    """One producer, one commit per job."""
    enqueue_bulk: Rate
    """One producer, one commit per 1,000 jobs."""
    drain: Rate
    """From the start of the first worker to the last commit."""
    pickup: Latency
    """From just before an enqueue to the start of its handler, workers idle."""
