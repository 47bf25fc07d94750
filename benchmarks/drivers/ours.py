"""awa, as in this checkout."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import dataclass, make_dataclass

import roles

import awa_lib as awa


@dataclass
class Noop:
    n: int
    t: float = 0.0


# A type for each kind.
TYPES = [Noop, *(
    make_dataclass(f"Noop{i}", [("n", int), ("t", float, 0.0)]) for i in range(1, roles.KINDS)
)]  # fmt: skip
OPTIONS = json.loads(os.environ.get("BENCH_OPTIONS", "{}"))
NAMES = ["q", *(f"q{i}" for i in range(1, roles.QUEUES))]


def observe(what: str) -> None:
    """Turn OpenTelemetry on, with exporters that keep the data in memory."""
    if "metrics" in what:
        from opentelemetry import metrics
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader

        metrics.set_meter_provider(MeterProvider([InMemoryMetricReader()]))
    if "traces" in what:
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider

        trace.set_tracer_provider(TracerProvider())


def after(event: awa.Completed[Noop]) -> list[awa.NewJob]:
    """Return the job behind this one, whose number is smaller by one."""
    left = event.args.n
    return [awa.NewJob(Noop(left - 1), queue="q")] if left else []


class Driver:
    async def setup(self) -> None:
        await awa.migrate(roles.URL)
        if policy := os.environ.get("BENCH_POLICY"):
            async with awa.AsyncClient(roles.URL) as client:
                await client.set_queue_policy("q", **json.loads(policy))

    async def open(self, connections: int = 1) -> None:
        self.client = awa.AsyncClient(roles.URL, max_connections=connections)

    async def insert_beside(self, i: int, t: float) -> None:
        """Insert beside other callers, whose jobs share a commit."""
        await self.client.enqueue(Noop(i, t), queue="q")

    def open_sync(self) -> None:
        self.client = awa.Client(roles.URL, max_connections=1)

    def insert_sync(self, i: int, t: float) -> None:
        self.client.insert(Noop(i, t), queue="q")

    async def insert(self, i: int, t: float) -> None:
        await self.client.insert(Noop(i, t), queue="q")

    async def insert_batch(self, numbers: range, t: float = 0.0) -> None:
        queue, kind = roles.place(numbers)
        keys = int(os.environ.get("BENCH_KEYS", "0"))
        if keys:
            jobs = [awa.NewJob(Noop(i, t), concurrency_key=str(i % keys)) for i in numbers]
        else:
            jobs = [TYPES[kind](i, t) for i in numbers]
        await self.client.insert_many_copy(jobs, queue=NAMES[queue])

    async def close(self) -> None:
        await self.client.close()

    async def work(self, concurrency: int, ready) -> None:
        observe(os.environ.get("BENCH_OTEL", ""))
        client = awa.AsyncClient(roles.URL)

        async def noop(job: awa.Job) -> None:
            await roles.handle(job.args.t)

        def blocking(job: awa.Job) -> None:
            roles.block(job.args.t)

        for one in TYPES:
            client.task(one, queue="q")(blocking if roles.BLOCKS else noop)
        if os.environ.get("BENCH_CHAIN"):
            client.follow_up("noop", awa.Completed)(after)
        ready()
        await client.start([(name, concurrency) for name in NAMES], **OPTIONS)
        await asyncio.Event().wait()


roles.main(Driver)
