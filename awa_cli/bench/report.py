"""The results of a measurement."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BenchReport", "Latency", "Machine", "Plan", "Rate"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What was asked for."""

    database: str
    jobs: int
    duration_seconds: float
    processes: int
    concurrency: int
    """Jobs at once in each process."""


@dataclass(frozen=True, slots=True)
class Machine:
    """Where producer and workers ran; the server may be elsewhere."""

    cpus: int
    memory_bytes: int
    system: str
    python: str
    awa: str
    psycopg: str
    uvloop: bool


@dataclass(frozen=True, slots=True)
class Rate:
    """So many jobs in so many seconds."""

    jobs: int
    seconds: float
    jobs_per_second: float


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds, of so many samples."""

    samples: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float


@dataclass(frozen=True, slots=True)
class BenchReport:
    """Figures of one run, with what they depend on."""

    plan: Plan
    machine: Machine
    server: dict[str, str | None]
    """Version and settings of the server; None for one it does not have."""
    round_trip: Latency
    """The least statement there is, on the producer's connection."""
    enqueue_single: Rate
    """One producer, a commit for each job."""
    enqueue_bulk: Rate
    """One producer, a commit for each thousand."""
    drain: Rate
    """From the start of the first worker to the last commit."""
    pickup: Latency
    """From just before an enqueue to the start of its handler, workers idle."""
